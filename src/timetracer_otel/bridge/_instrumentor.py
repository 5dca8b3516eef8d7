"""What stock ``opentelemetry-instrument`` calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from timetracer_otel import _faults
from timetracer_otel.bridge import _frameworks, _threads
from timetracer_otel.bridge._plugins import Activatable, LeftOut, load_plugins
from timetracer_otel.bridge._runtime import runtime
from timetracer_otel.config import instrumentation_disabled
from timetracer_otel.constants import TraceMode

__all__ = ["TimetracerInstrumentor", "post_instrument"]


class TimetracerInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Does what ``TIMETRACER_MODE`` says for the whole process; with ``off`` (the default), nothing.

    Call ``instrument()`` in programs that set OpenTelemetry up by hand. An exception here would switch all
    instrumentation off, so none leaves.
    """

    _holds_threads = False
    _activated: Sequence[Activatable] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: it is always loaded, whatever libraries are there."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        try:
            if runtime().start_from_environment() is not TraceMode.OFF:
                self._holds_threads = True
                _threads.hold()
                self._activated = [plugin for plugin in load_plugins() if _is_wanted(plugin.name)]
                for plugin in self._activated:
                    plugin.activate()
            if runtime().takes_requests:
                _frameworks.install(_is_wanted)
        except Exception as error:
            _faults.contain("instrumentor", error)

    def _uninstrument(self, **kwargs: Any) -> None:
        try:
            _frameworks.remove()
            for plugin in self._activated:
                plugin.deactivate()
            self._activated = ()
            if self._holds_threads:
                self._holds_threads = False
                _threads.release()
            runtime().stop()
        except Exception as error:
            _faults.contain("instrumentor", error)


def _is_wanted(library: str) -> bool:
    """Whether its calls are ours to see: whoever switches it off wants no recording of it; a replay would go live."""
    return runtime().mode is TraceMode.REPLAY or not instrumentation_disabled(library)


def post_instrument() -> None:
    """Attach the span processor to a provider that was set up while the instrumentors were loaded."""
    try:
        if runtime().mode is not TraceMode.OFF:
            runtime().watch_spans()
            _threads.ensure()
            for plugin in load_plugins():
                if isinstance(plugin, LeftOut) and not instrumentation_disabled(plugin.name):
                    plugin.instrument_left_out()
    except Exception as error:
        _faults.contain("post_instrument", error)
