"""The instrumentor and the two hooks that ``opentelemetry-instrument`` calls, found by their entry points.

That command calls them at each start of any program, wherever this package is installed. So everything else of ours,
and the SDK, is imported only where there is something to do.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from timetracer_otel.base import faults
from timetracer_otel.config import environment_speaks, instrumentation_disabled, replay_is_wanted
from timetracer_otel.constants import TraceMode

if TYPE_CHECKING:
    from timetracer_otel.calls.registry import Activatable

__all__ = ["TimetracerInstrumentor", "post_instrument", "pre_instrument"]


class TimetracerInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Does what ``TIMETRACER_MODE`` says for the whole process; with ``off`` (the default), nothing.

    Call ``instrument()`` in programs that set OpenTelemetry up by hand. An exception that left this class would keep
    ``opentelemetry-instrument`` from loading all other instrumentors, so every exception is contained.
    """

    _begun = False
    _activated: Sequence[Activatable] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: OpenTelemetry loads this instrumentor whatever libraries are installed."""
        return ()

    def begin(self) -> None:
        """Do what `instrument` does, before OpenTelemetry calls that; harmless when repeated."""
        if self._begun:
            return
        self._begun = True
        try:
            if not (environment_speaks() or _runtime_is_loaded()):
                return
            from timetracer_otel.calls.registry import load_plugins
            from timetracer_otel.incoming import frameworks
            from timetracer_otel.process.runtime import runtime

            if runtime().start_from_environment() is not TraceMode.OFF:
                self._activated = [plugin for plugin in load_plugins() if _is_wanted(plugin.name)]
                for plugin in self._activated:
                    plugin.activate()
            if runtime().takes_requests:
                frameworks.install(_is_wanted)
        except Exception as error:
            faults.contain("instrumentor", error)

    def _instrument(self, **kwargs: Any) -> None:
        self.begin()

    def _uninstrument(self, **kwargs: Any) -> None:
        self._begun = False
        try:
            if not _runtime_is_loaded():
                return
            from timetracer_otel.incoming import frameworks
            from timetracer_otel.process.runtime import runtime

            frameworks.remove()
            for plugin in self._activated:
                plugin.deactivate()
            self._activated = ()
            runtime().stop()
        except Exception as error:
            faults.contain("instrumentor", error)


def _runtime_is_loaded() -> bool:
    """Whether the runtime is imported: our exporter imports it, also where the app makes the exporter in code."""
    return "timetracer_otel.process.runtime" in sys.modules


def _is_wanted(library: str) -> bool:
    """Whether a library or framework is patched.

    In a recording, one that OpenTelemetry's variables switch off is not patched. In a replay every one is: without
    its patches its calls would go to the real service.
    """
    from timetracer_otel.process.runtime import runtime

    return runtime().mode is TraceMode.REPLAY or not instrumentation_disabled(library)


def pre_instrument() -> None:
    """Begin a replay before any instrumentor is loaded.

    An instrumentor that raises keeps all that come after it from being loaded. Example: the one of httpx, where
    ``OTEL_PYTHON_HTTPX_EXCLUDED_URLS`` is no regular expression. If ours were among those, the app would call the
    real services.
    """
    if replay_is_wanted() and not instrumentation_disabled("timetracer"):
        TimetracerInstrumentor().begin()


def post_instrument() -> None:
    """Attach the span processor to a provider that was set up while the instrumentors were loaded."""
    try:
        if not _runtime_is_loaded():
            return
        from timetracer_otel.calls.registry import LeftOut, load_plugins
        from timetracer_otel.process.runtime import runtime

        if runtime().mode is not TraceMode.OFF:
            runtime().watch_spans()
            for plugin in load_plugins():
                if isinstance(plugin, LeftOut) and not instrumentation_disabled(plugin.name):
                    plugin.instrument_left_out()
    except Exception as error:
        faults.contain("post_instrument", error)
