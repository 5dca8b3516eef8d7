"""The sampler ``timetracer``: unsampled traces are recorded in full, and still not sent to the backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from timetracer_otel.base import faults
from timetracer_otel.config import environment

__all__ = ["TimetracerSampler", "declared_sampler", "sampler_factory"]


class TimetracerSampler(sampling.Sampler):
    """Asks another sampler, and turns its decision DROP into RECORD_ONLY: the span is recorded, and not exported.

    A span keeps the attributes that it starts with. The SDK's own samplers give none back for a span that they drop.

    Args:
        root: Decides what the backend gets.
    """

    def __init__(self, root: sampling.Sampler = sampling.DEFAULT_ON) -> None:
        self._root = root

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> sampling.SamplingResult:
        """The other sampler's result; RECORD_ONLY with the start attributes where that is DROP."""
        result = self._root.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is not sampling.Decision.DROP:
            return result
        kept = {**(attributes or {}), **(result.attributes or {})}
        return sampling.SamplingResult(sampling.Decision.RECORD_ONLY, kept, result.trace_state)

    def get_description(self) -> str:
        """The name of this sampler, with the other one's in braces."""
        return f"TimetracerSampler{{{self._root.get_description()}}}"


_BY_NAME: dict[str, Callable[[float], sampling.Sampler]] = {
    "always_on": lambda _: sampling.ALWAYS_ON,
    "always_off": lambda _: sampling.ALWAYS_OFF,
    "parentbased_always_on": lambda _: sampling.DEFAULT_ON,
    "parentbased_always_off": lambda _: sampling.DEFAULT_OFF,
    "traceidratio": sampling.TraceIdRatioBased,
    "parentbased_traceidratio": sampling.ParentBasedTraceIdRatio,
}


def sampler_factory(argument: str | float | None = None) -> TimetracerSampler:
    """Make the sampler that ``OTEL_TRACES_SAMPLER=timetracer`` names.

    Args:
        argument: ``OTEL_TRACES_SAMPLER_ARG``: what decides for the backend, as the name of a sampler
            (``always_off``), a ratio (``0.1``, the parent's decision first), or both
            (``traceidratio=0.1``). Where it is missing or cannot be used: ``parentbased_always_on``.
    """
    text = "" if argument is None else str(argument).strip()
    name, _, ratio = text.partition("=")
    if name and name not in _BY_NAME:
        name, ratio = "parentbased_traceidratio", name
    try:
        return TimetracerSampler(_BY_NAME[name or "parentbased_always_on"](float(ratio or 1.0)))
    except ValueError:
        faults.warn_once(
            "sampler-argument",
            f"OTEL_TRACES_SAMPLER_ARG={text!r} is neither a sampler ({', '.join(_BY_NAME)}) nor a ratio "
            "from 0 to 1; parentbased_always_on is used.",
        )
        return TimetracerSampler()


def declared_sampler(root: str | float | None = None) -> TimetracerSampler:
    """Make the sampler that ``sampler: {timetracer: }`` names in the configuration file of OpenTelemetry.

    Args:
        root: What decides for the backend, in the form of ``OTEL_TRACES_SAMPLER_ARG`` (see `sampler_factory`).
            Without it that variable counts: no release of OpenTelemetry gives options to a sampler yet.
    """
    return sampler_factory(environment("OTEL_TRACES_SAMPLER_ARG") if root is None else root)
