"""An app of greenlets: no greenlet has to wait for a recording, and each has the session it was started in."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented, plain
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
        with tracer.start_as_current_span(f"job {{user}}", kind=trace.SpanKind.CONSUMER):
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
        # It is waited for a second at most.
        time.sleep(0.1)

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


_IN_EVERY_WAY = """
    import json, os, sys
    import timetracer_otel
    from timetracer_otel.context import get_current_session
    {patched}
    import _thread, threading
    import gevent, gevent.pool, gevent.threadpool, httpx

    class OwnRun(threading.Thread):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def run(self):
            call(self.number)

    class OwnGreenlet(gevent.Greenlet):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def _run(self):
            call(self.number)

    found = {{}}

    def call(number):
        found[number] = httpx.get(os.environ["UPSTREAM"] + f"/users/{{number}}").json()["id"]

    def joined(thread):
        thread.start()
        thread.join()

    hub_pool = gevent.threadpool.ThreadPool(1)
    hub_pool.spawn(int).get()

    def in_every_way():
        found.clear()
        gevent.spawn(call, 1).get()
        gevent.spawn_later(0.001, call, 2).get()
        gevent.pool.Pool(1).map(call, [3])
        gevent.spawn(lambda: gevent.spawn(call, 4).get()).get()
        joined(OwnGreenlet(5))
        hub_pool.spawn(call, 6).get()
        gevent.threadpool.ThreadPoolExecutor(1).submit(call, 7).result()
        joined(threading.Thread(target=call, args=(8,)))
        joined(OwnRun(9))
        _thread.start_new_thread(call, (10,))
        while 10 not in found:
            gevent.sleep(0.01)
        return sorted(found.items())

    step, path = sys.argv[1:]
    told = []
    if step == "bare":
        told.append(in_every_way())
    elif step == "record":
        with timetracer_otel.record(path):
            told.append(in_every_way())
    else:
        with timetracer_otel.replay(path, fail_on_unused=True) as session:
            told.append(in_every_way())
        told.append([len(session.verdict().hits), gevent.spawn(get_current_session).get()])
        told.append(hub_pool.spawn(get_current_session).get())
    print(json.dumps(told))
"""


@pytest.mark.parametrize("patched", [False, True], ids=["as it is", "patched"])
def test_greenlets_are_recorded_and_replayed_in_whatever_way_they_are_started(tmp_path: Path, patched: bool) -> None:
    code = _IN_EVERY_WAY.format(patched="from gevent import monkey; monkey.patch_all()" if patched else "")
    path = tmp_path / "greenlets.msgpack"
    every = [[number, number] for number in range(1, 11)]
    with Loopback() as upstream:
        for step in ("bare", "record"):
            done = plain(code, step, str(path), UPSTREAM=upstream.url, PYTHONWARNINGS="ignore")
            assert json.loads(done.stdout or "null") == [every], done.stderr
        upstream.stop()
        replayed = plain(code, "replay", str(path), UPSTREAM=upstream.url, PYTHONWARNINGS="ignore")
        assert json.loads(replayed.stdout or "null") == [every, [10, None], None], replayed.stderr
