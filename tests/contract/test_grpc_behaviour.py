"""What a user of gRPC sees besides the contract: spans, redaction, new calls, what a replay refuses."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests import forks
from tests.contract.framework import deadline
from tests.servers.grpc_service import GrpcService, stub
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.base import faults
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import NetworkBlockedError
from timetracer_otel.libraries.grpc.answer import AsyncAnswer
from timetracer_otel.libraries.grpc.script import Script
from timetracer_otel.libraries.kits.conversation.pace import Pace
from timetracer_otel.plugins import disable_grpc, enable_grpc
from timetracer_otel.report import event_detail
from timetracer_otel.session import ReplaySession
from timetracer_otel.threads import carrying

ROOT = Path(__file__).parents[2]


@pytest.fixture
def service() -> Iterator[GrpcService]:
    server = GrpcService()
    with deadline(60):
        yield server
    server.close()


def text(value: str) -> StringValue:
    return StringValue(value=value)


def echoed(address: str, *values: str, **options: Any) -> list[str]:
    with grpc.insecure_channel(address) as channel:
        return [stub(channel, "Echo")(text(value), **options).value for value in values]


async def echoed_async(address: str, *values: str, **options: Any) -> list[str]:
    async with grpc.aio.insecure_channel(address) as channel:
        return [(await stub(channel, "Echo")(text(value), **options)).value for value in values]


@pytest.mark.parametrize("when", ["before", "after", "seam"])
def test_spans_are_those_of_a_bare_run(tmp_path: Path, when: str) -> None:
    probe = ("-m", "tests.contract.grpc_telemetry_probe", str(tmp_path), when)
    done = forks.run(*probe, env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    def without(spans: Any, *names: str) -> Any:
        return [
            {**span, "id": "", "attributes": {k: v for k, v in span["attributes"].items() if k not in names}}
            for span in spans
        ]

    assert found["same"] == [True]
    assert without(found["recorded"]) == without(found["bare"])
    assert without(found["replayed"], "timetracer.replayed") == without(found["bare"], "timetracer.replayed")
    methods = [*("Echo", "Echo", "Fail", "Count", "Join", "Talk"), *("Echo", "Fail", "Count", "Join", "Talk")]
    assert [(method, reason) for method, _, reason in found["events"]] == [(method, None) for method in methods]
    names = [span["name"] for span in found["bare"]]
    assert names == ["work"] if when == "seam" else [*(f"/shop.Stock/{method}" for method in methods), "work"]
    ids = {span["id"]: span["name"] for span in found["recorded"]}
    for method, span_id, _ in found["events"]:
        assert ids[span_id] == ("work" if when == "seam" else f"/shop.Stock/{method}")
    if when != "seam":
        assert [span["attributes"].get("timetracer.replayed") for span in found["replayed"]] == [True] * 11 + [None]
    assert found["left"] == []
    assert found["instrumented"] == [when == "before"] * 2


def test_a_channel_of_before_is_used_in_sessions(service: GrpcService, tmp_path: Path) -> None:
    with grpc.insecure_channel(service.address) as channel:
        echo = stub(channel, "Echo")
        assert echo(text("bare")).value == "<bare>"
        with record(tmp_path / "x.msgpack"):
            found = [echo(text("a")).value, echo.future(text("b")).result().value]
        service.stop()
        with replay(tmp_path / "x.msgpack") as session:
            assert [echo(text("a")).value, echo.future(text("b")).result().value] == found
        assert session.verdict().ok
        # Nothing is left of the replay.
        with pytest.raises(grpc.RpcError):
            echo(text("a"))


def test_a_call_that_was_not_recorded_is_refused_at_once(service: GrpcService, tmp_path: Path) -> None:
    def stream(channel: Any, *said: str) -> list[str]:
        return [message.value for message in stub(channel, "Talk")(iter(map(text, said)))]

    with record(tmp_path / "x.msgpack"), grpc.insecure_channel(service.address) as channel:
        stub(channel, "Echo")(text("tea"))
        stub(channel, "Join")(iter([text("a"), text("b")]))
        stream(channel, "one", "two")
    service.stop()
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), grpc.insecure_channel(service.address) as channel:
        with pytest.raises(ReplayMismatchError, match=r"(?s)Echo grpc://127.0.0.1:\d+/shop.Stock.*milk"):
            stub(channel, "Echo")(text("milk"))
        with pytest.raises(ReplayMismatchError, match="milk"):
            stub(channel, "Echo").future(text("milk"))
        with pytest.raises(ReplayMismatchError):
            list(stub(channel, "Count")(text("1")))
        with pytest.raises(ReplayMismatchError):
            stub(channel, "Join")(iter([text("a"), text("c")]))
        with pytest.raises(ReplayMismatchError):
            stub(channel, "Join").future(iter([text("a")])).result()
        with pytest.raises(ReplayMismatchError):
            stream(channel, "other", "two")
    for said in (("one", "three"), ("one", "two", "three"), ("one",)):
        with replay(tmp_path / "x.msgpack", fail_on_miss=False), grpc.insecure_channel(service.address) as channel:
            with pytest.raises(ReplayMismatchError):
                stream(channel, *said)
            assert stub(channel, "Echo")(text("tea")).value == "<tea>"


def test_asyncio_refuses_what_was_not_recorded(service: GrpcService, tmp_path: Path) -> None:
    async def work(*said: str) -> Any:
        async with grpc.aio.insecure_channel(service.address) as channel:
            call = stub(channel, "Talk")()
            found = []
            for each in said:
                await call.write(text(each))
                found.append((await call.read()).value)
            await call.done_writing()
            return [*found, await stub(channel, "Join")(iter(map(text, said)))]

    with record(tmp_path / "x.msgpack"):
        asyncio.run(work("one", "two"))
    service.stop()
    for said in (("one", "three"), ("other",), ("one", "two", "three"), ("one",)):
        with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError):
            asyncio.run(work(*said))
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError, match="milk"):
        asyncio.run(echoed_async(service.address, "milk"))
    with replay(tmp_path / "x.msgpack", fail_on_miss=False) as session:
        asyncio.run(work("one", "two"))
    assert session.verdict().ok


def test_each_answer_stands_behind_what_was_said_before(service: GrpcService, tmp_path: Path) -> None:
    def work() -> Any:
        said: queue.Queue[Any] = queue.Queue()
        with grpc.insecure_channel(service.address) as channel:
            call = stub(channel, "Talk")(iter(said.get, None))
            heard = []
            for each in ("one", "two"):
                said.put(text(each))
                heard.append(next(call).value)
            said.put(None)
            return heard, list(call)

    with record(tmp_path / "x.msgpack"):
        found = work()
    service.stop()
    with replay(tmp_path / "x.msgpack"):
        assert work() == found == (["<one>", "<two>"], [])
    (event,) = read_cassette(tmp_path / "x.msgpack").events
    assert [after for after, *_ in event.result.reply["messages"]] == [1, 2]
    # The server's first word is the answer of a stream.
    assert event.ended_ms is not None
    assert event.duration_ms < event.ended_ms


def test_the_deadline_of_a_call_holds_in_a_replay(service: GrpcService, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"), grpc.insecure_channel(service.address) as channel:
        said: queue.Queue[Any] = queue.Queue()
        call = stub(channel, "Talk")(iter(said.get, None))
        said.put(text("one"))
        assert next(call).value == "<one>"
        said.put(text("two"))
        assert next(call).value == "<two>"
        said.put(None)
        list(call)
    service.stop()
    with replay(tmp_path / "x.msgpack"), grpc.insecure_channel(service.address) as channel:
        said = queue.Queue()
        call = stub(channel, "Talk")(iter(said.get, None), timeout=0.3)
        said.put(text("one"))
        assert next(call).value == "<one>"
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        said.put(None)


def test_secrets_of_metadata_and_messages_are_replaced(service: GrpcService, tmp_path: Path) -> None:
    token, key = "ghp_" + "aB3dE6gH9jK2mN5pQ8rT1vX4zC7fL0wY2sUe", "sk-" + "Q7x" * 16
    sent = (("authorization", f"Bearer {token}"), ("x-api-key", key), ("echo-a", "plain"))

    def work() -> list[str]:
        return echoed(service.address, "tea", f"with {token} in it", metadata=sent)

    with record(tmp_path / "x.msgpack"):
        assert work() == ["<tea>", f"<with {token} in it>"]
    data = (tmp_path / "x.msgpack").read_bytes()
    assert token.encode() not in data
    assert key.encode() not in data
    assert b"plain" in data
    service.stop()
    with replay(tmp_path / "x.msgpack") as session:
        tea, other = work()
    assert session.verdict().ok
    # The recording has a pseudonym. The app gets back the token that it has sent.
    assert (tea, other) == ("<tea>", f"<with {token} in it>")


def test_a_key_that_an_app_makes_anew_is_bound(service: GrpcService, tmp_path: Path) -> None:
    def work() -> bool:
        key = str(uuid.uuid4())
        return echoed(service.address, key) == [f"<{key}>"]

    with record(tmp_path / "x.msgpack"):
        assert work()
    service.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert work()
    assert [binding.kind for binding in session.verdict().bindings] == ["uuid"]


async def chat(address: str, *values: str) -> list[str]:
    """Say something, hear what comes of it, and so on."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = stub(channel, "Talk")()
        found = []
        for value in values:
            await call.write(text(value))
            found.append((await call.read()).value)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        return found


def test_what_an_app_makes_anew_in_later_messages_is_bound(service: GrpcService, tmp_path: Path) -> None:
    def work(last: str = "that is all") -> None:
        values = [str(uuid.uuid4()) for _ in range(3)]
        said = ["tea", *values[:2], f"{values[0]} again", f"at {datetime.now(timezone.utc).isoformat()}", last]
        assert asyncio.run(chat(service.address, *said)) == [f"<{each}>" for each in said]
        # What a call begins with may be bound already, and what it says later may not.
        assert asyncio.run(chat(service.address, *values[::2])) == [f"<{each}>" for each in values[::2]]
        with grpc.insecure_channel(service.address) as channel:
            heard = stub(channel, "Talk")(text(each) for each in values)
            assert [each.value for each in heard] == [f"<{each}>" for each in values]

    with record(tmp_path / "x.msgpack"):
        work()
    service.stop()
    with replay(tmp_path / "x.msgpack") as session:
        work()
    assert session.verdict().ok
    assert [binding.kind for binding in session.verdict().bindings].count("uuid") == 3
    # What is no such value is compared as it is.
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match="message 6 of the app is another one"),
    ):
        work("that is not all")


@pytest.mark.parametrize(
    ("kind", "name"),
    [(ReplaySession, "upcoming"), (Script, "sent"), (Script, "ends"), (AsyncAnswer, "_changes"), (Script, "ready")],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_fault_of_ours_ends_what_waits_for_a_call(
    service: GrpcService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, name: str
) -> None:
    """No task is left waiting: not the app's, and not those by which gRPC sends and reads for it."""

    async def joined() -> Any:
        async def words() -> AsyncIterator[StringValue]:
            for word in ("a", "b"):
                yield text(word)

        async with grpc.aio.insecure_channel(service.address) as channel:
            return (await stub(channel, "Join")(words())).value

    async def cancelled() -> Any:
        async with grpc.aio.insecure_channel(service.address) as channel:
            call = stub(channel, "Endless")(text("more"))
            first = (await call.read()).value
            call.cancel()
            return first

    async def asked() -> list[Any]:
        calls = (chat(service.address, "one", "two"), joined(), cancelled())
        return [await asyncio.wait_for(_outcome(call), 40) for call in calls]

    def waited() -> Any:
        with grpc.insecure_channel(service.address) as channel:
            return stub(channel, "Echo").future(text("later")).result(timeout=40).value

    def work() -> list[Any]:
        found = asyncio.run(asked())
        try:
            return [*found, waited()]
        except ReplayMismatchError as error:
            return [*found, type(error)]

    with record(tmp_path / "x.msgpack"):
        found = work()
    service.stop()
    monkeypatch.setattr(faults, "raise_faults", False)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault of ours, injected")

    monkeypatch.setattr(kind, name, broken)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False):
        seen = work()
    assert any(now != was for was, now in zip(found, seen, strict=True))
    assert [now for was, now in zip(found, seen, strict=True) if now not in (was, ReplayMismatchError)] == []
    monkeypatch.undo()


async def _outcome(call: Any) -> Any:
    try:
        return await call
    except Exception as error:
        return type(error)


def test_the_thread_of_the_core_belongs_to_no_session(service: GrpcService, tmp_path: Path) -> None:
    """It serves all channels of the process for ever, and the core cannot do without it: in a process of its own."""
    program = (
        "import asyncio, sys; from pathlib import Path; from tests.contract import test_grpc_behaviour as here; "
        "here._with_a_fault_in_threads(sys.argv[1], Path(sys.argv[2]))"
    )
    done = forks.run("-c", program, service.address, str(tmp_path), env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['<tea>']"


def _with_a_fault_in_threads(address: str, folder: Path) -> None:
    def broken() -> Any:
        raise RuntimeError("a fault of ours, injected")

    faults.raise_faults = False
    with record(folder / "x.msgpack"):
        echoed(address, "tea")
    carrying.carried = broken
    with replay(folder / "x.msgpack"):
        print(asyncio.run(echoed_async(address, "tea")))


def test_new_calls_are_added(service: GrpcService, tmp_path: Path) -> None:
    cassette = tmp_path / "x.msgpack"
    with record(cassette):
        pass

    def streams() -> Any:
        with grpc.insecure_channel(service.address) as channel:
            counted = [message.value for message in stub(channel, "Count")(text("2"))]
            joined = stub(channel, "Join")(iter([text("a"), text("b")])).value
            return counted, joined, [message.value for message in stub(channel, "Talk")(iter([text("c")]))]

    with replay(cassette, record_mode="new_episodes"):
        assert echoed(service.address, "tea") == ["<tea>"]
        assert asyncio.run(echoed_async(service.address, "milk")) == ["<milk>"]
    with replay(cassette, record_mode="new_episodes") as session:
        assert echoed(service.address, "tea", "cake") == ["<tea>", "<cake>"]
        assert asyncio.run(echoed_async(service.address, "milk", "salt")) == ["<milk>", "<salt>"]
        found = streams()
    assert session.verdict().recorded == 5
    assert found == (["0", "1"], "a,b", ["<c>"])
    service.stop()
    with replay(cassette) as session:
        assert echoed(service.address, "tea", "cake") == ["<tea>", "<cake>"]
        assert asyncio.run(echoed_async(service.address, "milk", "salt")) == ["<milk>", "<salt>"]
        assert streams() == found
    assert session.verdict().ok


@pytest.mark.parametrize("name", ["grpc", "rpc"])
def test_live_calls(service: GrpcService, tmp_path: Path, name: str) -> None:
    with record(tmp_path / "x.msgpack"):
        pass
    with replay(tmp_path / "x.msgpack", live_plugins=[name]) as session:
        assert echoed(service.address, "a", "b") == ["<a>", "<b>"]
        assert asyncio.run(echoed_async(service.address, "c")) == ["<c>"]
    assert session.verdict().live == {"grpc": 3}
    with replay(tmp_path / "x.msgpack", live_hosts=[service.address]) as session:
        assert echoed(service.address, "a") == ["<a>"]
    assert session.verdict().live == {"grpc": 1}


def test_a_replay_without_the_plugin_refuses_calls(service: GrpcService, tmp_path: Path) -> None:
    from timetracer_otel.context import reset_session, set_session

    with record(tmp_path / "x.msgpack"):
        pass
    session = ReplaySession(read_cassette(tmp_path / "x.msgpack"), str(tmp_path / "x.msgpack"))
    with grpc.insecure_channel(service.address) as channel:
        token = set_session(session)
        try:
            for call in (stub(channel, "Echo"), stub(channel, "Echo").future, stub(channel, "Count")):
                with pytest.raises((NetworkBlockedError, ReplayMismatchError)):
                    call(text("x"))
        finally:
            reset_session(token)
    assert str(session.verdict()).startswith("0 hit, 0 missed, 0 unused, 0 live, 3 blocked")


def test_what_is_suppressed_is_left_alone(service: GrpcService, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"), suppress_instrumentation():
        assert echoed(service.address, "a") == ["<a>"]
        assert asyncio.run(echoed_async(service.address, "a")) == ["<a>"]
    assert read_cassette(tmp_path / "x.msgpack").events == []


def test_large_messages_are_not_kept(service: GrpcService, tmp_path: Path) -> None:
    def work() -> int:
        with grpc.insecure_channel(service.address) as channel:
            return len(stub(channel, "Size")(text("3000")).value)

    with record(tmp_path / "x.msgpack", max_body_kb=2):
        assert work() == 3000
    (event,) = read_cassette(tmp_path / "x.msgpack").events
    assert "TIMETRACER_MAX_BODY_KB=2" in str(event.not_replayable)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError, match="MAX_BODY_KB"):
        work()


def test_a_stream_that_was_left_open_is_replayed_as_far_as_it_was_read(service: GrpcService, tmp_path: Path) -> None:
    def work(count: int) -> list[str]:
        with grpc.insecure_channel(service.address) as channel:
            call = stub(channel, "Endless")(text("more"))
            found = [next(call).value for _ in range(count)]
            call.cancel()
            return found

    with record(tmp_path / "x.msgpack"):
        found = work(2)
    service.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert work(2) == found
    assert session.verdict().ok
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match="the app cancelled it there"),
    ):
        work(3)


def test_a_replay_keeps_the_pace_of_the_recording_where_it_is_asked_to(service: GrpcService, tmp_path: Path) -> None:
    def work() -> tuple[str, float]:
        loop_began = asyncio.new_event_loop()
        try:
            began = loop_began.time()
            with grpc.insecure_channel(service.address) as channel:
                return stub(channel, "Slow")(text("0.4")).value, loop_began.time() - began
        finally:
            loop_began.close()

    with record(tmp_path / "x.msgpack"):
        work()
    service.stop()
    with replay(tmp_path / "x.msgpack"):
        assert work()[1] < 0.3
    with replay(tmp_path / "x.msgpack", replay_timing=True):
        assert work()[1] >= 0.35


def test_a_message_whose_time_comes_while_it_is_looked_at_is_given(
    service: GrpcService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with record(tmp_path / "x.msgpack"):
        echoed(service.address, "tea")
    looks = iter([0.05])
    monkeypatch.setattr(Pace, "to_wait_s", lambda self, at_ms: next(looks, 0.0))
    with replay(tmp_path / "x.msgpack", replay_timing=True):
        assert echoed(service.address, "tea") == ["<tea>"]


def test_a_secure_channel(tmp_path: Path) -> None:
    server = GrpcService(tmp_path)
    address = server.secure_address
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(server.authority), grpc.access_token_call_credentials("token")
    )

    async def later() -> Any:
        async with grpc.aio.secure_channel(address, credentials) as channel:
            return (await stub(channel, "Echo")(text("tea"), timeout=20)).value

    def work() -> Any:
        seen = [asyncio.run(later())]
        with grpc.secure_channel(address, credentials) as channel:
            seen.append(stub(channel, "Echo")(text("milk"), timeout=20).value)
            seen += [message.value for message in stub(channel, "Talk")(iter([text("a"), text("b")]), timeout=20)]
        # This client does not know who vouches for the server's certificate.
        with grpc.secure_channel(address, grpc.ssl_channel_credentials()) as channel:
            try:
                stub(channel, "Echo")(text("a"), timeout=20)
            except grpc.RpcError as error:
                return [*seen, error.code(), error.details()]

    with record(tmp_path / "x.msgpack"):
        found = work()
    server.close()
    assert found[:-1] == ["<tea>", "<milk>", "<a>", "<b>", grpc.StatusCode.UNAVAILABLE]
    with replay(tmp_path / "x.msgpack") as session:
        assert work() == found
    assert session.verdict().ok


def test_enabling_is_harmless_when_repeated() -> None:
    enable_grpc()
    enable_grpc()
    disable_grpc()
    disable_grpc()


def _login_messages() -> tuple[Any, Any]:
    """The messages of ``/shop.Stock/Echo``, in the pool of descriptors, as generated code would put them there."""
    pool = descriptor_pool.Default()
    made = descriptor_pb2.FileDescriptorProto(name="login_for_tests.proto", package="shop", syntax="proto3")
    login = made.message_type.add(name="Login")
    for number, name in enumerate(("user", "password"), 1):
        login.field.add(name=name, number=number, type=9, label=1)
    service = made.service.add(name="Stock")
    service.method.add(name="Size", input_type=".shop.Login", output_type=".shop.Login")
    service.method.add(name="Echo", input_type=".shop.Login", output_type=".shop.Login")
    pool.Add(made) if hasattr(pool, "Add") else pool.AddSerializedFile(made.SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Login"))
    return kind, pool


def test_secrets_are_found_by_the_names_of_fields(tmp_path: Path) -> None:
    # In a process of its own, as a descriptor stays.
    program = (
        "import sys; from pathlib import Path; from tests.contract import test_grpc_behaviour as here; "
        "here._with_names(Path(sys.argv[1]))"
    )
    done = forks.run("-c", program, str(tmp_path), env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def _with_names(folder: Path) -> None:
    kind, _ = _login_messages()
    secret = "tea-for-" + "two-Q7"
    server = GrpcService()

    def work() -> Any:
        with grpc.insecure_channel(server.address) as channel:
            call = channel.unary_unary("/shop.Stock/Echo", kind.SerializeToString, kind.FromString)
            return call(kind(user="me", password=secret))

    with record(folder / "x.msgpack"):
        recorded = work()
    server.close()
    assert recorded.user == "<me>"
    assert secret.encode() not in (folder / "x.msgpack").read_bytes()
    (event,) = read_cassette(folder / "x.msgpack").events
    text = "\n".join(event_detail(event))
    assert "'user': 'me'" in text
    assert secret not in text
    with replay(folder / "x.msgpack") as session:
        assert work().user == "<me>"
    assert session.verdict().ok


def test_a_message_without_names_is_shown_by_numbers(service: GrpcService, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"):
        echoed(service.address, "tea")
    (event,) = read_cassette(tmp_path / "x.msgpack").events
    text = "\n".join(event_detail(event))
    assert "5 bytes {1: 'tea'}" in text
    assert "7 bytes {1: '<tea>'}" in text
