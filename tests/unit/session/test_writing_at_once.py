"""A garbage collection may end a call anywhere, also while another call is being written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from timetracer_otel.cassette import read_cassette
from timetracer_otel.cassette.writer import AppendWriter
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType, TraceMode
from timetracer_otel.process.process_recording import ProcessSession
from timetracer_otel.types import DependencyEvent, EventResult, EventSignature


def event(method: str) -> DependencyEvent:
    signature = EventSignature(lib="mine", method=method)
    return DependencyEvent(0, EventType.CUSTOM, 0.0, 0.0, signature, EventResult())


@pytest.mark.timeout(30)
def test_a_call_that_ends_while_another_one_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ProcessSession(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path)), lambda _: None)
    put: Any = AppendWriter._put
    left = ["third", "second"]

    def collecting(self: Any, *args: Any, **keywords: Any) -> Any:
        if left:
            session.add_event(event(left.pop()))
        return put(self, *args, **keywords)

    monkeypatch.setattr(AppendWriter, "_put", collecting)
    session.add_event(event("first"))
    session.finish()
    (written,) = tmp_path.rglob("*.msgpack")
    cassette = read_cassette(written)
    assert cassette.complete
    assert [event.signature.method for event in cassette.events] == ["first", "second", "third"]
