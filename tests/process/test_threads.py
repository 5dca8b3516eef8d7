"""The session follows the app into the threads, executors and greenlets that it starts."""

from __future__ import annotations

import _thread
import contextvars
import inspect
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tests.children import ROOT
from tests.loopback import Loopback
from tests.process import _thread_ways
from tests.process._programs import cassettes, instrumented, plain
from tests.process._thread_ways import USERS, Worker, in_every_way
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.context import clear_session, get_current_session, reset_session, set_session
from timetracer_otel.current import forget_session
from timetracer_otel.plugins import disable_httpx, enable_httpx
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import DependencyEvent


def _patched() -> list[object]:
    """What stands in the place of each function that starts threads."""
    return [
        *(threading.Thread.start, threading.Thread.run, threading.Timer.run, ThreadPoolExecutor.submit),
        *(_thread.start_new_thread, _thread.start_new, vars(_thread_ways)["start_new_thread"]),
        *("start" in vars(threading.Timer), "submit" in vars(_thread_ways._OwnPool)),
    ]


_ORIGINAL = _patched()
_WAY_OF = {user: way for way, user in USERS.items()}


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """An executor whose worker was started outside any session."""
    with ThreadPoolExecutor(1) as made:
        made.submit(int).result()
        yield made


@pytest.fixture(params=["without theirs", "with theirs"])
def theirs(request: pytest.FixtureRequest) -> Iterator[None]:
    """With and without OpenTelemetry's own threading instrumentation."""
    if request.param == "without theirs":
        yield
        return
    ThreadingInstrumentor().instrument()
    try:
        yield
    finally:
        ThreadingInstrumentor().uninstrument()
        # It leaves a wrapper behind that it has put around an inherited function.
        if "start" in vars(threading.Timer):
            del threading.Timer.start


@contextmanager
def _by_hand(session: BaseSession) -> Iterator[None]:
    enable_httpx()
    token = set_session(session)
    try:
        yield
    finally:
        reset_session(token)
        disable_httpx()


@contextmanager
def _recorded_by_hand(file: Path) -> Iterator[None]:
    session = TraceSession(TraceConfig())
    with _by_hand(session):
        yield
    session.finalize()
    save_cassette(session.to_cassette(), file)


@contextmanager
def _replayed_by_hand(file: Path) -> Iterator[None]:
    session = ReplaySession(read_cassette(file), str(file))
    with _by_hand(session):
        yield
    assert session.verdict().ok
    assert not session.verdict().unused


_Session = Callable[[Path], AbstractContextManager[Any]]


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(
    "sessions",
    [
        pytest.param((record, lambda file: replay(file, fail_on_unused=True)), id="with"),
        pytest.param((_recorded_by_hand, _replayed_by_hand), id="set_session"),
        pytest.param(("timetracer_record", "timetracer_replay"), id="fixtures"),
    ],
)
def test_calls_are_recorded_and_replayed_in_whatever_way_their_thread_is_started(
    request: pytest.FixtureRequest,
    upstream: Loopback,
    tmp_path: Path,
    pool: ThreadPoolExecutor,
    sessions: tuple[str | _Session, str | _Session],
) -> None:
    recorded, replayed = (
        request.getfixturevalue(session) if isinstance(session, str) else session for session in sessions
    )
    file = tmp_path / "threads.msgpack"

    def ask(user: int) -> Any:
        return httpx.get(f"{upstream.url}/users/{user}").json()["id"]

    found = [in_every_way(ask, pool)]
    with recorded(file):
        found.append(in_every_way(ask, pool))
    assert sorted(map(_user, read_cassette(file).events)) == sorted(USERS.values())
    upstream.stop()
    with replayed(file):
        found.append(in_every_way(ask, pool))
    assert found == [USERS] * 3


_IN_EVERY_WAY = """
    import json, os
    from concurrent.futures import ThreadPoolExecutor
    import httpx
    from tests.process._thread_ways import in_every_way
    from timetracer_otel.incoming import wsgi
    {set_up}

    def ask(user):
        return httpx.get(os.environ["UPSTREAM"] + f"/users/{{user}}").json()["id"]

    def app(environ, start_response):
        start_response("200 OK", [])
        yield json.dumps(in_every_way(ask, pool)).encode()

    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": "/all", "SCRIPT_NAME": "", "QUERY_STRING": ""}}
    print(b"".join(wsgi.serve(app, environ, lambda *_: None, "mine", lambda environ: None)).decode())
"""
_BY_HAND = "from timetracer_otel.otel import TimetracerInstrumentor; TimetracerInstrumentor().instrument()"


@pytest.mark.parametrize("of_folder", [True, False], ids=["a folder, with theirs", "a process, without theirs"])
def test_the_same_in_a_service_and_in_a_process(upstream: Loopback, tmp_path: Path, of_folder: bool) -> None:
    folder = tmp_path / "cassettes"
    cassette = folder if of_folder else tmp_path / "process.msgpack"
    run, code = (instrumented, "") if of_folder else (plain, _BY_HAND)
    recording = (
        {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder)}
        if of_folder
        else {"TIMETRACER_MODE": "replay", "TIMETRACER_RECORD_MODE": "once", "TIMETRACER_CASSETTE": str(cassette)}
    )
    replaying = {"TIMETRACER_MODE": "replay", "TIMETRACER_CASSETTE": str(cassette)}
    bare: dict[str, str] = {}
    for settings in (bare, recording, replaying):
        done = run(_IN_EVERY_WAY.format(set_up=code), UPSTREAM=upstream.url, PYTHONPATH=str(ROOT), **settings)
        assert json.loads(done.stdout or "null") == USERS, done.stderr
        if settings is recording:
            upstream.stop()
    assert f"{len(USERS)} hit, 0 missed, 0 unused, 0 live" in done.stderr
    if of_folder:
        (one,) = cassettes(folder)
        assert one.request.path == "/all"


def test_nothing_is_left_in_threading_behind_a_block(tmp_path: Path) -> None:
    for _ in range(3):
        with record(tmp_path / "x.msgpack"):
            assert threading.Thread.start is not _ORIGINAL[0]
            assert not ThreadingInstrumentor().is_instrumented_by_opentelemetry
        assert _patched() == _ORIGINAL


def test_nothing_is_left_behind_a_session_that_was_set_twice_or_never_reset(tmp_path: Path) -> None:
    session = TraceSession(TraceConfig())
    outer, inner = set_session(session), set_session(session)
    reset_session(inner)
    assert threading.Thread.start is not _ORIGINAL[0]
    reset_session(outer)
    assert _patched() == _ORIGINAL
    contextvars.Context().run(set_session, TraceSession(TraceConfig()))
    with record(tmp_path / "x.msgpack"):
        pass
    assert _patched() == _ORIGINAL


def test_what_the_user_switched_on_stays_on_and_no_task_is_wrapped_twice(tmp_path: Path) -> None:
    def wrapped() -> list[str]:
        return [frame.function for frame in inspect.stack() if frame.filename.endswith("seams.py")]

    def in_task() -> list[str]:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(wrapped).result()

    with record(tmp_path / "x.msgpack"):
        alone = in_task()
    ThreadingInstrumentor().instrument()
    try:
        with record(tmp_path / "x.msgpack"):
            assert len(in_task()) == len(alone) - 1
        assert ThreadingInstrumentor().is_instrumented_by_opentelemetry
    finally:
        ThreadingInstrumentor().uninstrument()
        del threading.Timer.start


def test_code_outside_any_session_starts_threads_outside_any_session(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    outside = Worker()
    outside.start()
    seen: dict[str, BaseSession | None] = {}

    def started() -> None:
        in_every_way(lambda user: seen.setdefault(_WAY_OF[user], get_current_session()), pool)

    with record(tmp_path / "x.msgpack") as session:
        outside.ask(started)
        assert seen == dict.fromkeys(USERS)
        seen.clear()
        started()
        assert seen == dict.fromkeys(USERS, session)
    outside.stop()


def test_the_worker_of_an_executor_keeps_no_session(tmp_path: Path) -> None:
    begun: list[BaseSession | None] = []
    with ThreadPoolExecutor(1, initializer=lambda: begun.append(get_current_session())) as shared:
        with record(tmp_path / "one.msgpack") as one:
            assert shared.submit(get_current_session).result() is one
        assert shared.submit(get_current_session).result() is None
        with record(tmp_path / "two.msgpack") as two:
            assert shared.submit(get_current_session).result() is two
        assert shared.submit(get_current_session).result() is None
    assert begun == [one]


def test_a_thread_where_no_session_is_current_by_choice_has_none(tmp_path: Path) -> None:
    found: list[BaseSession | None] = []

    def cleared() -> None:
        clear_session()
        thread = threading.Thread(target=lambda: found.append(get_current_session()))
        thread.start()
        thread.join()

    with record(tmp_path / "x.msgpack"):
        contextvars.copy_context().run(cleared)
    assert found == [None]


@pytest.mark.parametrize("theirs", ["without theirs", "with theirs"], indirect=True)
def test_spans_and_baggage_reach_into_threads_where_opentelemetry_carries_them(
    request: pytest.FixtureRequest, tmp_path: Path, theirs: None
) -> None:
    carried = "with theirs" in request.node.name
    span = NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(1)))
    found: list[Any] = []

    def look() -> None:
        found.extend([get_current_session(), trace.get_current_span() is span, baggage.get_baggage("user")])

    with record(tmp_path / "x.msgpack") as session, trace.use_span(span):
        token = attach(baggage.set_baggage("user", "7"))
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        detach(token)
    assert found == [session, carried, "7" if carried else None]


class _OfPython314(threading.Thread):
    """A thread that runs in a context of its own, as threads do from Python 3.14 on."""

    def __init__(self, target: Callable[[], object], context: contextvars.Context | None = None) -> None:
        super().__init__(target=target)
        self._context = contextvars.Context() if context is None else context

    def run(self) -> None:
        self._context.run(super().run)


def test_a_thread_with_a_context_has_the_session_there_unless_it_has_another_one(tmp_path: Path) -> None:
    found: list[Any] = []
    # What was once decided about the session, and forgotten, is no decision of the app's.
    forget_session()
    chosen = contextvars.Context()
    chosen.run(attach, baggage.set_baggage("user", "7"))
    other = TraceSession(TraceConfig())
    decided = contextvars.Context()
    decided.run(set_session, other)
    with record(tmp_path / "x.msgpack") as session:
        for context in (None, chosen, decided):
            thread = _OfPython314(lambda: found.append((get_current_session(), baggage.get_baggage("user"))), context)
            thread.start()
            thread.join()
    assert found == [(session, None), (session, "7"), (other, None)]
    # Nothing is left in a context of the app's.
    assert chosen.run(get_current_session) is None
    assert decided.run(get_current_session) is other


def test_a_thread_that_cannot_start_raises_as_ever(tmp_path: Path) -> None:
    thread = threading.Thread(target=int)
    with record(tmp_path / "x.msgpack"):
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            thread.start()
        with pytest.raises(TypeError):
            _thread.start_new_thread("no function", ())  # type: ignore[call-overload]
        with pytest.raises(TypeError), ThreadPoolExecutor(1) as pool:
            pool.submit("no function").result()  # type: ignore[arg-type]
    assert "_bootstrap" not in vars(thread)


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
    run = (plain if by_hand else instrumented)(
        _SERVICE.format(set_up=_BY_HAND if by_hand else ""),
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


_SEEDED = """
    import json, os, random, sys, threading
    from contextlib import nullcontext
    import httpx
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from timetracer_otel import record, replay

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("app")

    class Worker(threading.Thread):
        def run(self):
            with tracer.start_as_current_span("works"):
                self.counted = httpx.get(os.environ["UPSTREAM"] + "/counted").json()

    step, file = sys.argv[1:]
    random.seed(7)
    drawn, answers = [], {}
    with {"bare": nullcontext, "record": record, "replay": replay}[step](file):
        for name in ("left", "right") if step != "replay" else ("right", "left"):
            with tracer.start_as_current_span(name):
                worker = Worker()
                worker.start()
                worker.join()
            answers[name] = worker.counted
            drawn.append(random.random())
    roots = sorted(span.name for span in spans.get_finished_spans() if span.parent is None)
    print(json.dumps([drawn, roots, answers]))
"""


def test_spans_of_threads_and_what_an_app_draws_are_the_same_bare_recorded_and_replayed(tmp_path: Path) -> None:
    file = str(tmp_path / "threads.msgpack")
    told: dict[str, list[Any]] = {}
    with Loopback() as server:
        for step in ("bare", "record"):
            done = plain(_SEEDED, step, file, UPSTREAM=server.url)
            told[step] = json.loads(done.stdout or done.stderr)
    done = plain(_SEEDED, "replay", file, UPSTREAM=server.url)
    told["replay"] = json.loads(done.stdout or done.stderr)
    # The instrumentation of httpx is on in a session, and its spans draw nothing of the app's.
    assert told["bare"][0] == told["record"][0] == told["replay"][0]
    assert told["bare"][1] == told["record"][1] == told["replay"][1] == ["left", "right", "works", "works"]
    # Equal calls are told apart by the span that their thread was started in, in another order as well.
    assert told["replay"][2] == told["record"][2]
    assert told["record"][2]["left"] != told["record"][2]["right"]
