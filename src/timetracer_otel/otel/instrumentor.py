"""The instrumentor and the two hooks that ``opentelemetry-instrument`` calls, found by their entry points.

That command calls them at each start of any program, wherever this package is installed. So everything else of ours,
and the SDK, is imported only where there is something to do.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from timetracer_otel.base import faults
from timetracer_otel.base.declared import declare, withdraw
from timetracer_otel.config import (
    TraceConfig,
    environment_speaks,
    instrumentation_disabled,
    mode_is_explicit,
    replay_is_wanted,
)
from timetracer_otel.constants import TraceMode
from timetracer_otel.exceptions import ConfigurationError

if TYPE_CHECKING:
    from timetracer_otel.calls.registry import Activatable

__all__ = ["TimetracerInstrumentor", "post_instrument", "pre_instrument"]

_PLACE = "the options of the instrumentor timetracer"
_OF_THE_LOADER = {"skip_dep_check", "raise_exception_on_conflict"}
"""What ``opentelemetry-instrument`` gives to every instrumentor."""
_OF_OTHERS = {"meter_provider", "logger_provider"}
"""What programs give to all instrumentors alike. Metrics of ours go to the global provider."""


class TimetracerInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Does what ``TIMETRACER_MODE`` says for the whole process; with ``off`` (the default), nothing.

    Call ``instrument()`` in programs that set OpenTelemetry up by hand, before or after the tracer provider is set.
    It takes settings as options, by their names without prefix in small letters: ``instrument(mode="record",
    dir="cassettes")``. Variables of the environment win. ``tracer_provider`` is a provider besides the global one,
    whose spans are seen as well. ``uninstrument()`` writes what was recorded, and undoes all of it.

    Nothing is raised, since an exception would keep ``opentelemetry-instrument`` from loading all other
    instrumentors: what is wrong with a setting is logged in one line, and nothing is recorded; a replay refuses
    every call. There is one object in a process. Call its methods in the main thread, as those of any instrumentor.
    """

    _begun = False
    _has_put_seams = False
    _declared = False
    _activated: Sequence[Activatable] = ()

    def instrument(self, **kwargs: Any) -> None:
        """Begin to record or replay, as the settings say (see the class)."""
        if self._declared and self.is_instrumented_by_opentelemetry and kwargs.keys() <= _OF_THE_LOADER:
            # The configuration file named this instrumentor, and `opentelemetry-instrument` loads all of them then.
            return
        super().instrument(**kwargs)

    def has_seen_calls(self) -> bool:
        """Whether anything has put seams in: this instrumentor, also where that was undone, or ``enable_httpx()`` and
        its like.
        """
        from timetracer_otel.calls.registry import load_plugins

        return self._has_put_seams or any(getattr(plugin, "is_wanted", False) for plugin in load_plugins())

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
                self._has_put_seams = True
                self._activated = [plugin for plugin in load_plugins() if _is_wanted(plugin.name)]
                for plugin in self._activated:
                    plugin.activate()
            if runtime().takes_requests:
                frameworks.install(_is_wanted)
        except Exception as error:
            faults.contain("instrumentor", error)

    def _instrument(self, **kwargs: Any) -> None:
        try:
            provider = kwargs.pop("tracer_provider", None)
            options = {name: value for name, value in kwargs.items() if name not in _OF_OTHERS}
            if options:
                self._declare(options)
            self.begin()
            if provider is not None and _runtime_is_loaded():
                from timetracer_otel.process.runtime import runtime

                if runtime().mode is not TraceMode.OFF:
                    runtime().watch_spans(provider)
        except Exception as error:
            faults.contain("instrumentor.options", error)

    def _declare(self, options: dict[str, Any]) -> None:
        """Take options. The exporter may have begun before, without them."""
        from timetracer_otel.process.runtime import runtime

        self._declared = True
        mode = runtime().mode
        if mode is TraceMode.REPLAY:
            faults.logger.error(
                "timetracer-otel: %s came when the replay had begun, and have no effect. Give them as options of the "
                "exporter, or as variables of the environment.",
                _PLACE,
            )
            return
        try:
            declare(options, _PLACE)
            if mode is TraceMode.RECORD:
                config = TraceConfig.from_env() if mode_is_explicit() else TraceConfig.from_env(mode=TraceMode.RECORD)
                runtime().stop()
                if config.is_record_mode:
                    runtime().start_recording(config)
        except ConfigurationError as error:
            runtime().stop()
            runtime().refuse(error)

    def _uninstrument(self, **kwargs: Any) -> None:
        self._begun = self._declared = False
        withdraw(_PLACE)
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
    """Begin a replay before any instrumentor is loaded, and let the loader say only what is true.

    An instrumentor that raises keeps all that come after it from being loaded. Example: the one of httpx, where
    ``OTEL_PYTHON_HTTPX_EXCLUDED_URLS`` is no regular expression. If ours were among those, the app would call the
    real services.
    """
    if instrumentation_disabled("timetracer"):
        return
    if replay_is_wanted():
        TimetracerInstrumentor().begin()
    try:
        if _is_wanted_at_all():
            _loader.addFilter(_is_true)
    except Exception as error:
        faults.contain("pre_instrument", error)


_loader = logging.getLogger("opentelemetry.instrumentation.auto_instrumentation._load")


def _is_wanted_at_all() -> bool:
    """Whether this process records or replays, or will when the instrumentor is loaded."""
    if _runtime_is_loaded():
        from timetracer_otel.process.runtime import runtime

        if runtime().mode is not TraceMode.OFF:
            return True
    if not environment_speaks():
        return False
    try:
        return TraceConfig.from_env().is_enabled
    except ConfigurationError:
        return False


def _is_true(record: logging.LogRecord) -> bool:
    """Whether a line of the loader of instrumentors is true: a filter of its logger while it loads.

    It says of an instrumentor which does not declare the installed release of its library that "nothing can be
    instrumented". Of those that `post_instrument` switches on, this is not so. Example: that of SQLAlchemy, which
    declares releases before 2.1, and works with 2.1.
    """
    try:
        text = record.getMessage()
        if not text.endswith("so nothing can be instrumented."):
            return True
        from timetracer_otel.calls.registry import LeftOut, load_plugins

        left_out = {
            name
            for plugin in load_plugins()
            if isinstance(plugin, LeftOut) and not instrumentation_disabled(plugin.name)
            for name in plugin.left_out()
        }
        return text.partition(" ")[0] not in left_out
    except Exception as error:
        faults.contain("pre_instrument.filter", error)
        return True


def post_instrument() -> None:
    """Attach the span processor to a provider that was set up while the instrumentors were loaded.

    Instrumentors that were left out although they work are switched on.
    """
    try:
        _loader.removeFilter(_is_true)
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
