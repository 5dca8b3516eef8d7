"""The seams of an enabled plugin are out as long as no session is anywhere, and in as soon as there is one."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import pytest
import requests
import sqlalchemy
from opentelemetry.sdk.trace import TracerProvider

from tests.seams.program import Http, Server, arrived
from timetracer_otel import record, replay
from timetracer_otel.base import faults, patching
from timetracer_otel.base.holds import Holds
from timetracer_otel.base.patching import Patch, Seams, Staying
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.cassette import read_cassette, write_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import TraceMode
from timetracer_otel.context import reset_session, set_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.plugins import (
    aiohttp_plugin,
    function_plugin,
    httpx_plugin,
    redis_plugin,
    requests_plugin,
    sqlalchemy_plugin,
)
from timetracer_otel.process import surroundings
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import TraceSession
from timetracer_otel.threads import holding

PLUGINS = {
    "httpx": httpx_plugin.plugin,
    "requests": requests_plugin.plugin,
    "aiohttp": aiohttp_plugin.plugin,
    "redis": redis_plugin.plugin,
    "sqlalchemy": sqlalchemy_plugin.plugin,
}
KEPT = {
    "redis": {"NodesManager.initialize", "CommandsParser.initialize", "AsyncCommandsParser.initialize"},
    "sqlalchemy": {"Engine.raw_connection", "Pool._invoke_creator", "PGDialect_psycopg2.do_executemany"},
}
"""What is noted outside sessions, too: what a cluster was asked, and whose a connection is."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = Server(Http)
    yield f"http://{server.address}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _disabled() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        # Tests that ran before in this process may have left a session behind, which a thread or a task refers to.
        patched.setattr(holding, "_holds", Holds())
        patched.setattr(holding, "_lingering", WeakKeyDictionary())
        look()
        assert not holding.present
        yield
        for plugin in PLUGINS.values():
            plugin.disable()
    holding.look()


def look() -> None:
    """Collect the sessions that nobody has any more, and look whether any is left."""
    gc.collect()
    holding.look()


def functions_of(plugin: LibraryPlugin) -> dict[str, tuple[Any, Any]]:
    """Every function of every class of the library that is loaded, with its code."""
    found: dict[str, tuple[Any, Any]] = {}
    packages = {plugin.name} if plugin.name != "httpx" else {"httpx", "httpx2"}
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] in packages]:
        for cls in [item for item in vars(module).values() if isinstance(item, type)]:
            for name, item in list(vars(cls).items()):
                if callable(item) or isinstance(item, (property, staticmethod, classmethod)):
                    found[f"{cls.__module__}:{cls.__qualname__}.{name}"] = item, getattr(item, "__code__", None)
    return found


@pytest.mark.parametrize("name", PLUGINS)
def test_an_enabled_library_has_its_own_functions_while_there_is_no_session(name: str, tmp_path: Path) -> None:
    plugin = PLUGINS[name]
    for module in plugin.modules:
        importlib.import_module(module)
    plugin.enable()
    plugin.disable()
    before = functions_of(plugin)

    def changed() -> set[str]:
        now = functions_of(plugin)
        return {key.partition(":")[2] for key in before | now if before.get(key) != now.get(key)}

    plugin.enable()
    assert changed() == KEPT.get(name, set())
    with record(tmp_path / "x.msgpack"):
        assert len(changed()) > len(KEPT.get(name, set()))
    look()
    assert changed() == KEPT.get(name, set())
    session = TraceSession(TraceConfig())
    token = set_session(session)
    assert len(changed()) > len(KEPT.get(name, set()))
    reset_session(token)
    del session, token
    look()
    assert changed() == KEPT.get(name, set())
    plugin.disable()
    assert changed() == set()


def test_a_session_that_is_set_by_hand_records_what_was_enabled_before(upstream: str, tmp_path: Path) -> None:
    requests_plugin.plugin.enable()
    # The library's own function is taken while the seams rest.
    send = requests.adapters.HTTPAdapter().send
    requests.get(upstream, timeout=20)
    session = TraceSession(TraceConfig(cassette_dir=str(tmp_path)))
    token = set_session(session)
    requests.get(upstream, timeout=20)
    send(requests.Request("GET", upstream).prepare(), timeout=20)
    reset_session(token)
    requests.get(upstream, timeout=20)
    assert len(read_cassette(write_cassette(session, session.config)).events) == 2


def test_a_recording_of_the_process_has_the_seams_of_enabled_plugins(upstream: str, tmp_path: Path) -> None:
    httpx_plugin.plugin.enable()
    before = httpx.HTTPTransport.handle_request
    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path)))
    try:
        assert httpx.HTTPTransport.handle_request is not before
        thread = threading.Thread(target=httpx.get, args=(upstream,))
        thread.start()
        thread.join()
    finally:
        runtime().stop()
    look()
    assert httpx.HTTPTransport.handle_request is before
    (path,) = tmp_path.rglob("*.msgpack")
    assert [event.signature.url for event in read_cassette(path).events] == [upstream]


def test_a_thread_that_outlives_its_replay_does_not_go_out(upstream: str, tmp_path: Path) -> None:
    httpx_plugin.plugin.enable()
    with record(tmp_path / "x.msgpack"):
        httpx.get(upstream)
    ended = threading.Event()
    seen: list[BaseException] = []

    def late() -> None:
        ended.wait(20)
        try:
            httpx.get(upstream)
        except ReplayMismatchError as error:
            seen.append(error)

    arrived.clear()
    with replay(tmp_path / "x.msgpack") as session:
        httpx.get(upstream)
        thread = threading.Thread(target=late)
        thread.start()
    ended.set()
    thread.join()
    assert [type(error) for error in seen] == [ReplayMismatchError]
    assert not arrived
    before = httpx.HTTPTransport.handle_request
    look()
    assert httpx.HTTPTransport.handle_request is before, "the session is still there"
    del session, thread
    seen.clear()
    look()
    assert httpx.HTTPTransport.handle_request is not before, "the seams rest again"


def test_calls_find_out_that_the_last_session_is_gone(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    sqlalchemy_plugin.plugin.enable()
    before = functions_of(sqlalchemy_plugin.plugin)
    with record(tmp_path / "x.msgpack"):
        pass
    session = TraceSession(TraceConfig())
    # Nobody resets it.
    contextvars.copy_context().run(set_session, session)
    del session
    gc.collect()
    assert functions_of(sqlalchemy_plugin.plugin) != before
    for _ in range(100):
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
    assert functions_of(sqlalchemy_plugin.plugin) == before


def test_a_recording_that_a_timer_keeps_counts_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "LATE_CALLS_S", 0.05)
    requests_plugin.plugin.enable()
    with record(tmp_path / "x.msgpack") as session:
        pass
    assert holding.present
    time.sleep(0.1)
    look()
    assert not holding.present
    assert len(session.events) == 0


def test_a_task_that_outlives_a_session_set_by_hand_is_recorded(upstream: str) -> None:
    httpx_plugin.plugin.enable()
    session = TraceSession(TraceConfig())

    async def app() -> None:
        reset = asyncio.Event()

        async def late() -> None:
            await reset.wait()
            async with httpx.AsyncClient() as client:
                await client.get(upstream)

        token = set_session(session)
        task = asyncio.create_task(late())
        reset_session(token)
        reset.set()
        await task

    asyncio.run(app())
    assert len(session.events) == 1


def test_sessions_that_begin_at_the_same_moment_all_have_their_seams(upstream: str, tmp_path: Path) -> None:
    httpx_plugin.plugin.enable()
    counts: list[int] = []
    barrier = threading.Barrier(8)

    def one() -> None:
        with httpx.HTTPTransport(verify=False) as transport:
            for _ in range(20):
                barrier.wait(20)
                session = TraceSession(TraceConfig())
                token = set_session(session)
                try:
                    transport.handle_request(httpx.Request("GET", upstream)).read()
                finally:
                    reset_session(token)
                counts.append(len(session.events))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 160


def test_a_connection_of_before_the_session_has_the_address_of_its_engine(tmp_path: Path) -> None:
    sqlalchemy_plugin.plugin.enable()
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
        with record(tmp_path / "x.msgpack"):
            connection.execute(sqlalchemy.text("SELECT 2"))
    (event,) = read_cassette(tmp_path / "x.msgpack").events
    assert event.signature.url is not None
    assert event.signature.url.endswith("shop.db")
    engine.dispose()


def test_spans_cost_nothing_and_are_seen_again_in_a_session(tmp_path: Path) -> None:
    provider = TracerProvider()
    provider.add_span_processor(runtime().processor)
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("outside"):
        assert len(runtime().spans) == 0
    with record(tmp_path / "x.msgpack"), tracer.start_as_current_span("inside"):
        assert len(runtime().spans) == 1
    assert len(runtime().spans) == 0


def test_a_function_plugin_stays_in_for_those_who_take_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("resting_library")
    exec("def fetch(): return 'real'", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    plugin = function_plugin("resting_library", ["resting_library:fetch"])
    own = module.fetch
    plugin.enable()
    try:
        taken = module.fetch
        assert taken is not own
        session = TraceSession(TraceConfig())
        token = set_session(session)
        assert taken() == "real"
        reset_session(token)
        assert len(session.events) == 1
    finally:
        plugin.disable()


def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with a class, which has two methods."""
    module: Any = ModuleType("resting_classes")
    exec("class Client:\n def get(self): return 'got'\n def put(self): return 'put'", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def shouting(original: Callable[..., str]) -> Callable[..., str]:
    return lambda self: original(self).upper()


def seams_of(module: Any, *more: Any) -> Seams:
    def patches(_: Any) -> list[Any]:
        return [Patch(module.Client, "get", shouting), Staying(Patch(module.Client, "put", shouting)), *more]

    return Seams("some", [module.__name__], patches)


def test_what_somebody_wrapped_stays_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = library(monkeypatch)
    seams = seams_of(module)
    seams.install()
    wrapped = module.Client.get
    module.Client.get = lambda self: f"<{wrapped(self)}>"
    theirs = module.Client.get
    seams.rest()
    assert module.Client().get() == "<GOT>"
    seams.wake()
    assert module.Client.get is theirs
    assert module.Client().get() == "<GOT>"


def test_what_is_wrapped_while_it_rests_is_replaced_around_the_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    module = library(monkeypatch)
    seams = seams_of(module)
    seams.install()
    seams.rest()
    own = module.Client.get
    module.Client.get = theirs = lambda self: f"<{own(self)} it>"
    seams.wake()
    assert module.Client().get() == "<GOT IT>"
    seams.rest()
    assert module.Client.get is theirs
    seams.wake()
    seams.remove()
    assert module.Client.get is theirs
    assert module.Client().put() == "put"


def test_a_module_that_is_imported_while_the_seams_rest_gets_them_with_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = library(monkeypatch)
    monkeypatch.delitem(sys.modules, module.__name__)
    seams = seams_of(module)
    seams.install()
    seams.rest()
    sys.modules[module.__name__] = module
    seams._imported(module)
    assert (module.Client().get(), module.Client().put()) == ("got", "PUT")
    seams.wake()
    assert (module.Client().get(), module.Client().put()) == ("GOT", "PUT")
    seams.remove()
    assert (module.Client().get(), module.Client().put()) == ("got", "put")


def test_where_one_cannot_be_put_in_again_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "raise_faults", False)
    module = library(monkeypatch)

    class Once(Patch):
        times = 0

        def apply(self) -> None:
            self.times += 1
            if self.times > 1:
                raise RuntimeError("a class that lets nobody change it any more")
            super().apply()

    seams = seams_of(module, Once(module.Client, "__repr__", lambda _: lambda self: "replaced"))
    seams.install()
    assert module.Client().get() == "GOT"
    seams.rest()
    seams.wake()
    (failure,) = seams.failures
    assert "lets nobody change it" in failure.error
    assert (module.Client().get(), module.Client().put()) == ("got", "put")


def test_seams_that_have_often_rested_stay_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patching, "MOST_RESTS", 3)
    module = library(monkeypatch)
    seams = seams_of(module)
    seams.install()
    seen = []
    for _ in range(5):
        seams.rest()
        seen.append(module.Client().get())
        seams.wake()
    assert seen == ["got", "got", "got", "GOT", "GOT"]


def test_seams_that_are_needed_do_not_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    module = library(monkeypatch)

    class Needed:
        may_rest = False

        def apply(self) -> None: ...

        def undo(self) -> None: ...

    needed = Needed()
    seams = seams_of(module, needed)
    seams.install()
    seams.rest()
    assert module.Client().get() == "GOT"
    needed.may_rest = True
    seams.rest()
    assert module.Client().get() == "got"
