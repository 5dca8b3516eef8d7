"""An app of greenlets: recording begins before gevent patches the process, and no greenlet has to wait for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented
from timetracer_otel.config import TraceConfig
from timetracer_otel.otel.spans import LiveSpans
from timetracer_otel.process.recordings import Recordings
from timetracer_otel.process.writer import BackgroundWriter

pytest.importorskip("gevent", reason="it is a dependency of the tests on Linux")

_PROGRAM = """
    from gevent import monkey
    from opentelemetry import trace

    tracer = trace.get_tracer("app")
    {before}
    monkey.patch_all()
    import gevent, httpx

    def job(user):
        with tracer.start_as_current_span(f"job {{user}}"):
            gevent.sleep()
            return httpx.get(f"{url}/users/{{user}}").json()["id"]

    print([greenlet.get() for greenlet in [gevent.spawn(job, user) for user in (1, 2, 3)]])
"""


@pytest.mark.parametrize(
    "before", ["", "tracer.start_span('begun before').end()"], ids=["at once", "with its thread"]
)
def test_an_app_that_gevent_patches_later_goes_on_and_is_recorded(tmp_path: Path, before: str) -> None:
    with Loopback() as upstream:
        done = instrumented(
            _PROGRAM.format(url=upstream.url, before=before),
            TIMETRACER_MODE="record",
            TIMETRACER_DIR=str(tmp_path),
            PYTHONWARNINGS="ignore",
        )
        assert (done.stdout, done.returncode) == ("[1, 2, 3]\n", 0), done.stderr
        # gevent may complain that it does not know a thread, when one ends that began before the patching.
        assert "timetracer-otel:" not in done.stderr
        found = {
            cassette.request.path: [event.signature.url for event in cassette.events]
            for cassette in cassettes(tmp_path)
        }
    found.pop("begun before", None)
    assert found == {f"job {user}": [f"{upstream.url}/users/{user}"] for user in (1, 2, 3)}


def test_the_thread_of_the_writer_has_ended_when_the_recorder_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = BackgroundWriter._run

    def work_and_end_slowly(writer: BackgroundWriter) -> None:
        work(writer)
        time.sleep(0.3)

    monkeypatch.setattr(BackgroundWriter, "_run", work_and_end_slowly)
    recordings = Recordings(TraceConfig(cassette_dir=str(tmp_path)), LiveSpans(lambda: None), lambda: None)
    session = recordings.begin()
    assert session is not None
    recordings.end(session, has_failed=False)
    recordings.stop()
    # Where gevent patched the app after the thread began, the thread ends with a traceback on stderr. Python aborts
    # when the interpreter ends meanwhile.
    assert "timetracer-otel-writer" not in [thread.name for thread in threading.enumerate()]
    assert len(cassettes(tmp_path)) == 1
