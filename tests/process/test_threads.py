"""The session follows the app into the threads and executors that it starts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from opentelemetry.instrumentation.threading import ThreadingInstrumentor

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented, plain
from timetracer_otel import record, replay
from timetracer_otel.types import DependencyEvent

_ORIGINAL = (threading.Thread.start, threading.Thread.run, threading.Timer.run, ThreadPoolExecutor.submit)


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def _in_threads(url: str) -> list[int]:
    """What four calls return: of a thread, a timer, an executor, and a thread started by a thread."""
    found: dict[str, int] = {}

    def call(name: str, user: int) -> None:
        found[name] = httpx.get(f"{url}/users/{user}").json()["id"]

    def nested() -> None:
        inner = threading.Thread(target=call, args=("nested", 4))
        inner.start()
        inner.join()

    threads = [
        threading.Thread(target=call, args=("thread", 1)),
        threading.Timer(0.01, call, args=("timer", 2)),
        threading.Thread(target=nested),
    ]
    for thread in threads:
        thread.start()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(call, "pool", 3).result()
    for thread in threads:
        thread.join()
    return [found[name] for name in ("thread", "timer", "pool", "nested")]


def test_calls_in_threads_of_a_block_are_recorded_and_replayed(upstream: Loopback, tmp_path: Path) -> None:
    file = tmp_path / "threads.msgpack"
    bare = _in_threads(upstream.url)
    with record(file):
        recorded = _in_threads(upstream.url)
    upstream.stop()
    with replay(file):
        replayed = _in_threads(upstream.url)
    assert bare == recorded == replayed == [1, 2, 3, 4]


def test_nothing_is_left_in_threading_behind_a_block(tmp_path: Path) -> None:
    for _ in range(3):
        with record(tmp_path / "x.msgpack"):
            assert ThreadingInstrumentor().is_instrumented_by_opentelemetry
    assert not ThreadingInstrumentor().is_instrumented_by_opentelemetry
    now = (threading.Thread.start, threading.Thread.run, threading.Timer.run, ThreadPoolExecutor.submit)
    assert now == _ORIGINAL
    assert "start" not in vars(threading.Timer)


def test_what_the_user_switched_on_stays_on(tmp_path: Path) -> None:
    ThreadingInstrumentor().instrument()
    try:
        with record(tmp_path / "x.msgpack"):
            pass
        assert ThreadingInstrumentor().is_instrumented_by_opentelemetry
    finally:
        ThreadingInstrumentor().uninstrument()
        del threading.Timer.start


_SERVICE = """
    import json, os, queue, threading
    from concurrent.futures import ThreadPoolExecutor
    import httpx
    from timetracer_otel.incoming import wsgi
    {set_up}

    pool = ThreadPoolExecutor(2)
    jobs, answers = queue.Queue(), queue.Queue()

    def call(user):
        return httpx.get(os.environ["UPSTREAM"] + f"/users/{{user}}").json()["id"]

    def work():
        while True:
            answers.put(call(jobs.get()))

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/1":
            # A request starts this thread, which then works for all later requests.
            threading.Thread(target=work, daemon=True).start()
        start_response("200 OK", [])
        user = int(environ["PATH_INFO"][1:])
        return [json.dumps(list(pool.map(call, [user * 10, user * 10 + 1]))).encode()]

    def ask(user):
        environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": f"/{{user}}", "SCRIPT_NAME": "", "QUERY_STRING": ""}}
        return b"".join(wsgi.serve(app, environ, lambda *_: None, "mine", lambda environ: None)).decode()

    told = [ask(1), ask(2)]
    from timetracer_otel.process.runtime import runtime
    runtime().flush()
    jobs.put(99)
    print(json.dumps([told, answers.get(timeout=60)]))
"""


@pytest.mark.parametrize("by_hand", [True, False])
def test_each_request_has_its_own_calls_of_a_pool_they_share(
    upstream: Loopback, tmp_path: Path, by_hand: bool
) -> None:
    set_up = "from timetracer_otel.otel import TimetracerInstrumentor; TimetracerInstrumentor().instrument()"
    run = (plain if by_hand else instrumented)(
        _SERVICE.format(set_up=set_up if by_hand else ""),
        UPSTREAM=upstream.url,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [["[10, 11]", "[20, 21]"], 99]
    assert run.stderr == ""
    called = {cassette.request.path: sorted(map(_user, cassette.events)) for cassette in cassettes(tmp_path)}
    assert called == {"/1": [10, 11], "/2": [20, 21], "": [99]}


def _user(event: DependencyEvent) -> int:
    return int((event.signature.url or "").rpartition("/")[2])
