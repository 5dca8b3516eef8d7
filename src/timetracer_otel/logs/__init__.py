"""The app's own log records, which stand in the timeline of its recording.

While a recording may run (`hold`), ``logging.Logger.callHandlers`` is replaced by a function that notes the record
behind the handlers. We add no handler: with one, ``logging.basicConfig`` would do nothing, and Python's handler of
last resort would be silent. OpenTelemetry's own handler may be there or not.
"""

from timetracer_otel.logs.noting import hold, release

__all__ = ["hold", "release"]
