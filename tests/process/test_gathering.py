"""The thread that writes lets recordings gather, and keeps nobody waiting for that."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.process._programs import cassettes
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import TraceMode
from timetracer_otel.incoming import wsgi
from timetracer_otel.process import writer
from timetracer_otel.process.runtime import runtime


def _serve(path: str) -> None:
    """A request to an app that makes no calls."""
    environ: wsgi.Environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}

    def app(_: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return iter([b"done"])

    response = wsgi.serve(app, environ, lambda *_: None, "mine", lambda _: None)
    assert list(response) == [b"done"]
    response.close()  # type: ignore[attr-defined]


def test_recordings_gather_before_they_are_written_and_a_flush_does_not_wait_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_GATHER_S", 60.0)
    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path), journal_s=0.0))
    try:
        for run in range(2):
            for number in range(3):
                _serve(f"/{run}/{number}")
            time.sleep(0.2)
            assert len(cassettes(tmp_path)) == 3 * run
            assert runtime().flush(20)
            assert len(cassettes(tmp_path)) == 3 * (run + 1)
        _serve("/last")
    finally:
        runtime().stop()
    assert len(cassettes(tmp_path)) == 7
