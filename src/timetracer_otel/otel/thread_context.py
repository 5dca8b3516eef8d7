"""Sessions in the threads and executors that the app starts.

The session stands in the OpenTelemetry context. A new thread begins with an empty context, so OpenTelemetry's own
threading instrumentation is switched on: it copies the starter's context into the thread, and makes no telemetry.
"""

from __future__ import annotations

import sys
import threading

from opentelemetry.instrumentation.threading import ThreadingInstrumentor

from timetracer_otel.base import faults
from timetracer_otel.config import instrumentation_disabled

__all__ = ["ensure", "hold", "release"]

_lock = threading.RLock()
_holds = 0
_switched_on = False


def hold() -> None:
    """Copy the context into new threads until `release`; nothing where the instrumentation is on, or disabled."""
    global _holds
    with _lock:
        _holds += 1
        if "opentelemetry.instrumentation.auto_instrumentation" not in sys.modules:
            ensure()


def ensure() -> None:
    """Switch the instrumentation on if `hold` asked for it and nobody else has switched it on.

    Under ``opentelemetry-instrument`` `hold` leaves this to the hook that runs after all instrumentors are loaded:
    the threading instrumentation is loaded like any other, and would warn about being switched on a second time.
    """
    global _switched_on
    with _lock:
        if _holds and not instrumentation_disabled("threading"):
            instrumentor = ThreadingInstrumentor()
            if not instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.instrument()
                _switched_on = True


def release() -> None:
    """Undo one `hold`; the last one switches the instrumentation off, if we switched it on."""
    global _holds, _switched_on
    with _lock:
        _holds = max(_holds - 1, 0)
        if _holds or not _switched_on:
            return
        _switched_on = False
        try:
            if ThreadingInstrumentor().is_instrumented_by_opentelemetry:
                ThreadingInstrumentor().uninstrument()
            _take_out_what_it_leaves()
        except Exception as error:
            faults.contain("thread_context.release", error)


def _take_out_what_it_leaves() -> None:
    # `threading.Timer` inherits the wrapped `Thread.start`. The instrumentation wraps that once more, and sets it on
    # `Timer`. When it is switched off it takes away the outer wrapper alone (seen in 0.61b0 to 0.66b1).
    timer, thread = threading.Timer, threading.Thread
    if "start" in vars(timer) and getattr(timer.start, "__wrapped__", None) is thread.start:
        del timer.start
