"""What a user expects of sessions around any HTTP client, beyond that calls look the same.

A test class inherits `HttpBehaviour` and names its flavour. Servers are stopped for every replay that is not meant
to go live.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.contract.framework import SharedTests, network_attempts
from tests.contract.http_flavour import HttpFlavour, Pieces, Session
from tests.servers._upstream import Upstream
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.session import ReplaySession

__all__ = ["HttpBehaviour", "one_client_a_test"]

one_client_a_test = SharedTests("behaviour of HTTP clients")
"""Decorates the classes that inherit `HttpBehaviour`: each test is run by one of the clients, which the seed draws.

All that is tested here is decided once, for all clients; what a client states itself is in its contract, whole.
"""


def _status(seen: Any) -> Any:
    """The status of an observed call; its error's class where it has none."""
    return seen["status"] if "status" in seen else seen["error"]["class"]


class HttpBehaviour:
    """Inherit this, and name the flavour."""

    flavour: ClassVar[HttpFlavour]

    @pytest.fixture(autouse=True)
    def _servers(self, upstream: Upstream) -> None:
        """Every test has them, also those that do not name them."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "cassette.msgpack"

    def calls(self, *calls: tuple[Any, ...], **options: Any) -> list[Any]:
        """Observe calls, one after the other on one client; each a tuple of method, target and maybe options."""

        async def run(f: HttpFlavour) -> list[Any]:
            async with f.open(**options) as session:
                return [await session.call(c[0], c[1], **(c[2] if len(c) > 2 else {})) for c in calls]

        return self.flavour.run(run)

    def get(self, target: str, **options: Any) -> Any:
        """Observe one GET."""
        return self.calls(("GET", target, options))[0]

    def refused(self, *calls: tuple[Any, ...]) -> ReplayMismatchError:
        """The error that the last of some calls raises in the current replay."""
        errors: list[ReplayMismatchError] = []

        async def run(f: HttpFlavour) -> None:
            async with f.open() as session:
                for call in calls[:-1]:
                    await session.call(call[0], call[1], **(call[2] if len(call) > 2 else {}))
                seen = await session.call(calls[-1][0], calls[-1][1], **(calls[-1][2] if len(calls[-1]) > 2 else {}))
                raise AssertionError(f"answered with {_status(seen)}")

        try:
            self.flavour.run(run)
        except ReplayMismatchError as error:
            errors.append(error)
        return errors[0]

    # Order and number

    def test_200_calls_at_once_each_get_their_own_answer(self, upstream: Upstream, path: Path) -> None:
        async def run(f: HttpFlavour, numbers: list[int]) -> list[Any]:
            async def one(session: Session, n: int) -> Any:
                return (await session.call("POST", "/reorder?of=200", json={"n": n}))["json"]

            async with f.open(max_connections=50, timeout=60) as session:
                return await f.together([partial(one, session, n) for n in numbers])

        numbers = list(range(200))
        with record(path):
            assert self.flavour.run(lambda f: run(f, numbers)) == [{"answer": n} for n in numbers]
        upstream.stop()
        with replay(path) as session:
            assert self.flavour.run(lambda f: run(f, numbers[::-1])) == [{"answer": n} for n in numbers[::-1]]
        assert isinstance(session, ReplaySession)
        assert session.get_unconsumed_events() == []

    def test_a_call_past_the_last_recorded_one_is_refused(self, upstream: Upstream, path: Path) -> None:
        with record(path):
            self.calls(("GET", "/counter/a"), ("GET", "/counter/a"))
        upstream.stop()
        with replay(path):
            error = self.refused(*[("GET", "/counter/a")] * 3)
        assert "/counter/a" in str(error)

    def test_recorded_order_of_different_calls_does_not_matter(self, upstream: Upstream, path: Path) -> None:
        with record(path):
            self.calls(("GET", "/counter/a"), ("GET", "/counter/b"), ("GET", "/counter/a"))
        upstream.stop()
        with replay(path):
            seen = self.calls(("GET", "/counter/b"), ("GET", "/counter/a"), ("GET", "/counter/a"))
        assert [one["json"]["n"] for one in seen] == [1, 1, 2]

    # Misses

    def test_an_unrecorded_call_is_refused_and_names_the_nearest(self, upstream: Upstream, path: Path) -> None:
        with record(path):
            self.calls(("GET", "/echo?page=1"), ("GET", "/status/404"))
        upstream.stop()
        with replay(path) as session, network_attempts() as attempts:
            error = self.refused(("GET", "/echo?page=2"))
        assert attempts == []
        assert error.candidates
        assert "/echo" in error.candidates[0]
        assert "page" in str(error)
        assert str(path) in str(error)
        assert error.hint
        assert isinstance(session, ReplaySession)
        assert session.misses == [error]
        assert len(session.get_unconsumed_events()) == 2

    @pytest.mark.parametrize(
        "call",
        [
            ("POST", "/echo", {"json": {"a": 1}}),
            ("PUT", "/echo", {"json": {"a": 2}}),
            ("PUT", "/echo?x=1", {"json": {"a": 1}}),
            ("PUT", "/echo/", {"json": {"a": 1}}),
            ("PUT", "/echo"),
        ],
        ids=["method", "body", "query", "path", "no body"],
    )
    @pytest.mark.parametrize("strict", [True, False])
    def test_a_call_that_differs_is_refused(self, upstream: Upstream, path: Path, call: Any, strict: bool) -> None:
        with record(path):
            self.calls(("PUT", "/echo", {"json": {"a": 1}}))
        upstream.stop()
        with replay(path, strict_replay=strict):
            self.refused(call)

    def test_another_server_is_another_call(self, upstream: Upstream, path: Path) -> None:
        with record(path):
            self.get("/echo")
        upstream.stop()
        with replay(path):
            self.refused(("GET", upstream.url("/echo", "proxy")))

    def test_only_a_lax_replay_takes_equal_json_in_other_bytes(self, upstream: Upstream, path: Path) -> None:
        kind = {"Content-Type": "application/json"}
        with record(path):
            self.calls(("POST", "/echo", {"content": b'{"a": 1, "b": 2}', "headers": kind}))
        upstream.stop()
        other = ("POST", "/echo", {"content": b'{"b":2,"a":1}', "headers": kind})
        with replay(path):
            self.refused(other)
        with replay(path, strict_replay=False):
            assert _status(self.calls(other)[0]) == 200

    def test_headers_that_change_each_time_do_not_matter(self, upstream: Upstream, path: Path) -> None:
        with record(path):
            self.get("/echo", headers={"traceparent": "00-1", "X-Request-Id": "1"})
        upstream.stop()
        with replay(path):
            assert _status(self.get("/echo", headers={"traceparent": "00-2", "X-Request-Id": "2"})) == 200

    @pytest.mark.parametrize("name", ["Range", "X-Amz-Target", "SOAPAction"])
    def test_a_header_that_names_what_is_asked_for_tells_calls_apart(
        self, upstream: Upstream, path: Path, name: str
    ) -> None:
        first, second, third = (("GET", "/echo", {"headers": {name: f"bytes={n}-{n}9"}}) for n in (1, 2, 3))
        with record(path):
            there = self.calls(first, second)
        upstream.stop()
        with replay(path):
            assert self.calls(second, first)[0]["json"] == there[1]["json"]
        with replay(path):
            error = self.refused(first, third)
        assert f"headers.{name.lower()}" in str(error)
        assert "bytes=2-29" in str(error)
        with replay(path, ignore=[f"header:{name}"]):
            assert self.calls(third)[0]["json"] == there[0]["json"]

    # What is recorded, what goes live

    def test_nothing_is_recorded_outside_a_session(self, upstream: Upstream, path: Path) -> None:
        self.get("/counter/a")
        with record(path) as session:
            self.get("/counter/a")
        self.get("/counter/a")
        assert len(session.events) == len(read_cassette(path).events) == 1
        assert upstream.hits("/counter/a") == 3

    def test_an_event_says_what_was_called_and_answered(self, upstream: Upstream, path: Path) -> None:
        with record(path, redact="off"):
            self.calls(("POST", "/encoded/gzip?b=2&a=1", {"content": b"sent", "headers": {"X-Mine": "1"}}))
        (event,) = read_cassette(path).events
        assert (event.signature.lib, event.signature.method) == (self.flavour.plugin, "POST")
        assert event.signature.url == upstream.url("/encoded/gzip")
        assert event.signature.query == {"a": "1", "b": "2"}
        assert event.call is not None
        assert event.call.body is not None
        assert event.call.body.data == b"sent"
        assert event.call.headers["x-mine"] == "1"
        assert event.result.status == 200
        assert event.result.body is not None
        assert event.result.body.data.startswith(b"\x1f\x8b")
        assert event.duration_ms > 0
        assert event.not_replayable is None

    @pytest.mark.parametrize("name", ["http", "library"])
    def test_live_plugins_go_out_for_real(self, upstream: Upstream, path: Path, name: str) -> None:
        name = self.flavour.plugin if name == "library" else name
        with record(path):
            self.get("/counter/a")
        with replay(path, live_plugins=[name]) as session:
            assert self.get("/counter/a")["json"] == {"n": 2}
        assert upstream.hits("/counter/a") == 2
        assert isinstance(session, ReplaySession)
        assert session.live_calls == {self.flavour.plugin: 1}

    @pytest.mark.parametrize("name", ["http", "library"])
    def test_mock_plugins_are_answered(self, upstream: Upstream, path: Path, name: str) -> None:
        name = self.flavour.plugin if name == "library" else name
        with record(path):
            self.get("/counter/a")
        with replay(path, mock_plugins=[name]):
            assert self.get("/counter/a")["json"] == {"n": 1}
        with replay(path, mock_plugins=["db"]):
            assert self.get("/counter/a")["json"] == {"n": 2}
        assert upstream.hits("/counter/a") == 2

    def test_capture_leaves_other_plugins_out(self, path: Path) -> None:
        with record(path, capture=["db"]) as session:
            self.get("/echo")
        assert session.events == []

    def test_suppressed_instrumentation_passes_through(self, upstream: Upstream, path: Path) -> None:
        with record(path) as session:
            with suppress_instrumentation():
                self.get("/counter/a")
            self.get("/counter/a")
        assert len(session.events) == 1
        with replay(path):
            with suppress_instrumentation():
                assert self.get("/counter/a")["json"] == {"n": 3}
            assert self.get("/counter/a")["json"] == {"n": 2}
        assert upstream.hits("/counter/a") == 3

    @pytest.mark.parametrize(
        "setting", [{"max_body_kb": 1}, {"store_response_body": "never"}, {"store_response_body": "on_error"}]
    )
    def test_a_body_that_was_not_kept_is_not_made_up(
        self, upstream: Upstream, path: Path, setting: dict[str, Any]
    ) -> None:
        with record(path, **setting):
            assert self.get("/bytes/5000")["status"] == 200
        upstream.stop()
        with replay(path):
            self.refused(("GET", "/bytes/5000"))

    @pytest.mark.parametrize("setting", [{"max_body_kb": 1}, {"max_session_kb": 1}])
    def test_a_stream_that_was_sent_and_not_kept_answers_no_other(
        self, upstream: Upstream, path: Path, setting: dict[str, Any]
    ) -> None:
        """Nothing is left of it to tell one from another."""

        def upload(letter: bytes) -> tuple[Any, ...]:
            return "POST", "/bytes/10", {"content": Pieces([letter * 1000] * 5)}

        with record(path, **setting):
            assert [_status(seen) for seen in self.calls(upload(b"x"), upload(b"y"))] == [200, 200]
        upstream.stop()
        for letter in (b"x", b"y", b"z"):
            with replay(path):
                assert "its request body of 5000 bytes" in str(self.refused(upload(letter)))

    def test_a_stream_that_failed_before_it_was_sent_fails_first_in_a_replay(
        self, upstream: Upstream, path: Path
    ) -> None:
        """The same upload once more is not the first attempt."""

        async def run(f: HttpFlavour, live: bool) -> list[Any]:
            seen = []
            async with f.open() as session:
                for attempt in ("down", "up", "up"):
                    if live:
                        upstream.control(attempt)
                    pieces = Pieces([b"one ", b"two"])
                    seen += [await session.call("POST", "/echo", content=pieces), pieces.pulled]
            return seen

        bare = self.flavour.run(partial(run, live=True))
        with record(path):
            recorded = self.flavour.run(partial(run, live=True))
        assert [_status(seen) for seen in recorded[::2]] == [_status(seen) for seen in bare[::2]]
        assert recorded[1::2] == bare[1::2]
        assert "error" in recorded[0]
        assert recorded[2]["status"] == 200
        upstream.stop()
        with replay(path) as session:
            assert self.flavour.run(partial(run, live=False)) == recorded
        assert isinstance(session, ReplaySession)
        assert session.get_unconsumed_events() == []

    def test_errors_keep_their_body_when_only_they_are_stored(self, upstream: Upstream, path: Path) -> None:
        with record(path, store_response_body="on_error"):
            self.get("/status/500")
        upstream.stop()
        with replay(path):
            assert self.get("/status/500")["json"] == {"status": 500}

    # Time

    def test_replay_timing_keeps_the_recorded_pace(self, upstream: Upstream, path: Path) -> None:
        with record(path):
            self.calls(("GET", "/slow/600"), ("GET", "/slow-body/600"))
        upstream.stop()
        for timed in (True, False):
            with replay(path, replay_timing=timed):
                started = time.perf_counter()
                self.get("/slow/600")
                between = time.perf_counter()
                self.get("/slow-body/600")
                ended = time.perf_counter()
            assert (between - started >= 0.59, ended - between >= 0.59) == (timed, timed)

    # Sessions beside, within and after each other

    def test_sessions_in_threads_do_not_mix(self, upstream: Upstream, tmp_path: Path) -> None:
        def one(name: str, results: dict[str, Any], live: bool) -> None:
            file = tmp_path / f"{name}.msgpack"
            with record(file) if live else replay(file):
                barrier.wait()
                results[name] = [self.get(f"/counter/{name}")["json"]["n"] for _ in range(5)]
                barrier.wait()

        for live in (True, False):
            barrier = threading.Barrier(3, timeout=60)
            results: dict[str, Any] = {}
            threads = [threading.Thread(target=one, args=(name, results, live)) for name in "abc"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert results == {key: [1, 2, 3, 4, 5] for key in "abc"}
            if live:
                upstream.stop()
        assert {len(read_cassette(tmp_path / f"{name}.msgpack").events) for name in "abc"} == {5}

    def test_nested_sessions(self, upstream: Upstream, tmp_path: Path) -> None:
        outer, inner = tmp_path / "outer.msgpack", tmp_path / "inner.msgpack"
        with record(outer) as outside:
            self.get("/counter/a")
            with record(inner) as inside:
                self.get("/counter/b")
            with replay(inner):
                self.get("/counter/b")
            self.get("/counter/a")
        assert [event.signature.url for event in outside.events] == [upstream.url("/counter/a")] * 2
        assert [event.signature.url for event in inside.events] == [upstream.url("/counter/b")]
        upstream.stop()
        with replay(outer):
            assert self.get("/counter/a")["json"] == {"n": 1}
            with replay(inner):
                assert self.get("/counter/b")["json"] == {"n": 1}
            assert self.get("/counter/a")["json"] == {"n": 2}

    def test_the_cassette_is_written_when_the_block_fails(self, upstream: Upstream, path: Path) -> None:
        def work() -> None:
            self.get("/echo")
            raise KeyError("mine")

        with pytest.raises(KeyError):
            record(path)(work)()
        cassette = read_cassette(path)
        assert len(cassette.events) == 1
        assert cassette.error_info is not None
        assert "KeyError" in cassette.error_info["type"]

    def test_one_scope_object_used_twice(self, upstream: Upstream, path: Path) -> None:
        recording = record(path)
        for n in (1, 2):
            with recording as session:
                assert self.get("/counter/a")["json"] == {"n": n}
            assert len(session.events) == 1
        upstream.stop()
        replaying = replay(path)
        for _ in range(2):
            with replaying:
                assert self.get("/counter/a")["json"] == {"n": 2}

    def test_as_a_decorator(self, upstream: Upstream, path: Path) -> None:
        def work() -> Any:
            return self.get("/counter/a")["json"]["n"]

        async def work_async(f: HttpFlavour) -> Any:
            async with f.open() as session:
                return (await session.call("GET", "/counter/a"))["json"]["n"]

        assert record(path)(work)() == 1
        assert self.flavour.run(record(path)(work_async)) == 2
        upstream.stop()
        for _ in range(2):
            assert replay(path)(work)() == 2
            assert self.flavour.run(replay(path)(work_async)) == 2

    def test_as_an_async_context(self, upstream: Upstream, path: Path) -> None:
        async def run(f: HttpFlavour, scope: Any) -> Any:
            async with scope, f.open() as session:
                return (await session.call("GET", "/counter/a"))["json"]["n"]

        assert self.flavour.run(lambda f: run(f, record(path))) == 1
        upstream.stop()
        assert self.flavour.run(lambda f: run(f, replay(path))) == 1
