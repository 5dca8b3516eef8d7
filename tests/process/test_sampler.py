"""The sampler: what another one drops is recorded with all its attributes, and never sampled."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from timetracer_otel.otel.sampler import sampler_factory


def _spans(argument: str | None, parent_sampled: bool | None = None) -> tuple[ReadableSpan, int]:
    """A span started with attributes under the sampler, and how many spans an exporter got."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler_factory(argument))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    context = None
    if parent_sampled is not None:
        flags = TraceFlags(TraceFlags.SAMPLED if parent_sampled else TraceFlags.DEFAULT)
        context = trace.set_span_in_context(NonRecordingSpan(SpanContext(1, 2, True, flags)))
    span = provider.get_tracer("t").start_span("s", context, attributes={"http.method": "GET"})
    span.end()
    assert isinstance(span, ReadableSpan)
    return span, len(exporter.get_finished_spans())


@pytest.mark.parametrize(
    ("argument", "parent_sampled", "exported"),
    [
        (None, None, 1),
        (None, False, 0),
        ("always_off", None, 0),
        ("always_on", False, 1),
        ("parentbased_always_off", None, 0),
        ("parentbased_always_off", True, 1),
        ("0.0", None, 0),
        ("0.0", True, 1),
        ("traceidratio=0.0", True, 0),
        ("traceidratio=1.0", False, 1),
    ],
)
def test_the_backend_gets_what_the_other_sampler_lets_through(
    argument: str | None, parent_sampled: bool | None, exported: int
) -> None:
    span, seen = _spans(argument, parent_sampled)
    assert seen == exported
    assert span.attributes == {"http.method": "GET"}


@pytest.mark.parametrize("argument", ["mostly", "1.5", "traceidratio=x"])
def test_an_argument_that_cannot_be_read_is_named_and_replaced(
    argument: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timetracer_otel.base import faults

    monkeypatch.setattr(faults, "_warned", set())
    assert "parentbased_always_on" not in caplog.text
    assert _spans(argument)[1] == 1
    assert f"OTEL_TRACES_SAMPLER_ARG={argument!r} is neither a sampler" in caplog.text
    assert sampler_factory().get_description().startswith("TimetracerSampler{ParentBased{root:AlwaysOnSampler")
