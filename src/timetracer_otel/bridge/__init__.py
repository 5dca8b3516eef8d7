"""The bridge to OpenTelemetry: span processor, exporter, sampler, and what ``opentelemetry-instrument`` calls."""

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
