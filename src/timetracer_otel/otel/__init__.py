"""What OpenTelemetry loads of us (exporter, instrumentor, sampler, flags), and what we know of its spans.

For others are the names in ``__all__``. Each is imported when it is first used: ``opentelemetry-instrument`` imports
`flags` from here at every start of every program.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timetracer_otel.otel.by_hand import TimetracerSpanProcessor
    from timetracer_otel.otel.exporter import TimetracerSpanExporter
    from timetracer_otel.otel.instrumentor import TimetracerInstrumentor, post_instrument, pre_instrument
    from timetracer_otel.otel.sampler import TimetracerSampler, declared_sampler, sampler_factory

__all__ = [
    "TimetracerInstrumentor",
    "TimetracerSampler",
    "TimetracerSpanExporter",
    "TimetracerSpanProcessor",
    "declared_sampler",
    "post_instrument",
    "pre_instrument",
    "sampler_factory",
]

_HOME = {
    "TimetracerInstrumentor": "instrumentor",
    "TimetracerSampler": "sampler",
    "TimetracerSpanExporter": "exporter",
    "TimetracerSpanProcessor": "by_hand",
    "declared_sampler": "sampler",
    "post_instrument": "instrumentor",
    "pre_instrument": "instrumentor",
    "sampler_factory": "sampler",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
