"""Spans that are no objects of the SDK: vendors hand out their own, and our processor sees what is beneath."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import timetracer_otel
from tests.loopback import Loopback
from timetracer_otel.bridge import runtime


class Foreign:
    """What a vendor's span may look like from outside: the API of one, and a state of its own."""

    def __init__(self, span: trace.Span, **state: Any) -> None:
        self._span = span
        vars(self).update(state)

    def get_span_context(self) -> trace.SpanContext:
        return self._span.get_span_context()

    def is_recording(self) -> bool:
        return self._span.is_recording()


trace.Span.register(Foreign)


@pytest.mark.parametrize("state", [{}, {"_context": None}, {"_context": "one of theirs"}, {"_context": {"id": 1}}])
def test_a_call_belongs_to_the_span_that_a_foreign_object_stands_for(tmp_path: Path, state: dict[str, Any]) -> None:
    provider = TracerProvider()
    provider.add_span_processor(runtime().processor)
    path = tmp_path / "x.msgpack"
    with Loopback() as upstream, timetracer_otel.record(path) as session:
        span = provider.get_tracer("tests").start_span("job")
        foreign: Any = Foreign(span, **state)
        with trace.use_span(foreign, record_exception=False, set_status_on_exception=False):
            httpx.get(f"{upstream.url}/users/1")
        span.end()
        (event,) = session.events
    assert event.span is not None
    assert event.span.name == "job"
    assert event.span.span_id == f"{span.get_span_context().span_id:016x}"
    assert event.path == ("job",)
