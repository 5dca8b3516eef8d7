"""Spans that are no objects of the SDK: an app gets a vendor's span, and our processor gets the SDK's beneath it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import timetracer_otel
from tests.loopback import Loopback
from tests.process._programs import plain
from timetracer_otel.process.runtime import runtime


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

_WRAPPED = """
    import dataclasses, os
    import httpx
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    import timetracer_otel

    class Vendor{base}:
        {slots}
        def __init__(self, inner):
            self.inner = inner

        def __eq__(self, other):
            return self.inner == other.inner

        def get_tracer(self, *args, **kwargs):
            return self.inner.get_tracer(*args, **kwargs)

        def add_span_processor(self, processor):
            {adds}

    trace.set_tracer_provider(Vendor(TracerProvider()))
    for _ in range(2):
        with timetracer_otel.record(os.environ["FILE"]) as session:
            with trace.get_tracer("tests").start_as_current_span("job"):
                print(httpx.get(os.environ["URL"]).json()["id"])
        print([event.path for event in session.events])
"""


@pytest.mark.parametrize(
    ("wrapper", "path"),
    [
        ({"base": "(trace.TracerProvider)"}, ("job",)),
        ({"slots": "__slots__ = ('inner',)"}, ("job",)),
        ({"adds": "raise RuntimeError('no more of them')"}, ()),
    ],
    ids=["no hash", "no weak references", "no processors"],
)
def test_a_vendor_may_wrap_the_provider_in_any_object(
    tmp_path: Path, wrapper: dict[str, str], path: tuple[str, ...]
) -> None:
    code = _WRAPPED.format(**{"base": "", "slots": "", "adds": "self.inner.add_span_processor(processor)", **wrapper})
    with Loopback() as upstream:
        done = plain(code, URL=f"{upstream.url}/users/1", FILE=str(tmp_path / "x.msgpack"))
    assert (done.stdout, done.returncode) == (f"1\n[{path}]\n" * 2, 0), done.stderr
    assert done.stderr.count("takes no span processor (RuntimeError: no more of them)") == (not path)
    assert "Traceback" not in done.stderr


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
