"""The bridge to OpenTelemetry: span processor, exporter, sampler, and what ``opentelemetry-instrument`` calls.

Names are imported when they are first used: ``opentelemetry-instrument`` loads the instrumentor at each start of any
program, and most of them neither record nor replay.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timetracer_otel.bridge import _network_guard as network_guard
    from timetracer_otel.bridge import _threads as threads
    from timetracer_otel.bridge._exclusions import ExcludedUrls
    from timetracer_otel.bridge._exporter import TimetracerSpanExporter
    from timetracer_otel.bridge._instrumentor import TimetracerInstrumentor, post_instrument, pre_instrument
    from timetracer_otel.bridge._live_spans import TimetracerSpanProcessor
    from timetracer_otel.bridge._plugins import Activatable, load_plugins, register
    from timetracer_otel.bridge._provider import has_real_provider
    from timetracer_otel.bridge._runtime import runtime
    from timetracer_otel.bridge._sampler import TimetracerSampler, sampler_factory

__all__ = [
    "Activatable",
    "ExcludedUrls",
    "TimetracerInstrumentor",
    "TimetracerSampler",
    "TimetracerSpanExporter",
    "TimetracerSpanProcessor",
    "has_real_provider",
    "load_plugins",
    "network_guard",
    "post_instrument",
    "pre_instrument",
    "register",
    "runtime",
    "sampler_factory",
    "threads",
]

_MODULES = {"network_guard": "_network_guard", "threads": "_threads"}
_HOME = {
    "ExcludedUrls": "_exclusions",
    "TimetracerSpanExporter": "_exporter",
    **dict.fromkeys(("TimetracerInstrumentor", "post_instrument", "pre_instrument"), "_instrumentor"),
    "TimetracerSpanProcessor": "_live_spans",
    **dict.fromkeys(("Activatable", "load_plugins", "register"), "_plugins"),
    "has_real_provider": "_provider",
    "runtime": "_runtime",
    **dict.fromkeys(("TimetracerSampler", "sampler_factory"), "_sampler"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(f"{__name__}.{_MODULES[name]}")
    elif name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
