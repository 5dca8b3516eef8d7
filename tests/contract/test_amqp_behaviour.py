"""What a user of AMQP sees besides the contract: spans, redaction, what a replay refuses, messages as requests."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pika
import pytest

from tests import forks
from tests.children import ROOT, environment, instrumented_path, script, told_under_hash_seed
from tests.examples import drawn
from tests.loopback import Loopback
from tests.process._programs import cassettes
from tests.servers.rabbitmq import RabbitMq, Relay, needs_rabbitmq
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_aio_pika, disable_pika, enable_aio_pika, enable_pika

pytestmark = [pytest.mark.timeout(300), needs_rabbitmq]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    """A broker for all tests here."""
    with RabbitMq(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
def relay(broker: RabbitMq) -> Iterator[Relay]:
    """A way to the broker, which a test may stop."""
    made = Relay(broker.port)
    enable_pika()
    enable_aio_pika()
    yield made
    disable_pika()
    disable_aio_pika()
    made.stop()


def _connect(relay: Relay) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(relay.url))


def _has(broker: RabbitMq, queue: str, expected: int) -> bool:
    """Whether a queue gets so many messages, and no more."""
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port)) as own:
        channel = own.channel()
        until = time.monotonic() + 5
        found = -1
        while found != expected and time.monotonic() < until:
            found = channel.queue_declare(queue).method.message_count
        own.process_data_events(time_limit=0.1)
        return bool(channel.queue_declare(queue).method.message_count == expected)


@pytest.mark.parametrize("when", ["before", "after", "seam"])
def test_spans_are_those_of_a_bare_run(broker: RabbitMq, tmp_path: Path, when: str) -> None:
    probe = ("-m", "tests.contract.amqp_telemetry_probe", str(tmp_path), when, str(broker.port))
    done = forks.run(*probe, env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    def without(spans: Any, *names: str) -> Any:
        return sorted(
            (
                span["name"],
                span["kind"],
                span["status"],
                {k: v for k, v in span["attributes"].items() if k not in names},
            )
            for span in spans
        )

    bare, recorded, replayed = found["seen"]
    assert bare == recorded == replayed
    # aiormq makes up an id for each message.
    changing = ("messaging.message.id", "timetracer.replayed")
    assert without(found["recorded"], *changing) == without(found["bare"], *changing)
    assert without(found["replayed"], *changing) == without(found["bare"], *changing)
    producers = [span for span in found["replayed"] if span["kind"] == "PRODUCER"]
    if when == "seam":
        assert [span["name"] for span in found["bare"]] == ["work"]
    else:
        # OpenTelemetry traces a message of pika's twice: at the blocking channel, and at the one beneath it.
        assert [span["attributes"].get("timetracer.replayed") for span in producers].count(True) == 3
        ids = {span["id"]: span["kind"] for span in found["recorded"]}
        published = [span_id for _, method, span_id in found["events"] if method == "Basic.Publish"]
        assert [ids[span_id] for span_id in published] == ["PRODUCER"] * 3
    assert found["left"] == []
    assert found["instrumented"] == [when == "before"] * 2


def test_cases_replay_in_another_process_under_another_hash_seed(broker: RabbitMq, tmp_path: Path) -> None:
    program = Path(__file__).with_name("cases_program.py")
    relay = Relay(broker.port)
    recorded = told_under_hash_seed(1, program, "amqp", "record", str(tmp_path), relay.url, folder=tmp_path)
    relay.stop()
    replayed = told_under_hash_seed(2, program, "amqp", "replay", str(tmp_path), relay.url, folder=tmp_path)
    assert replayed == recorded


def test_secrets_are_in_no_cassette(relay: Relay, tmp_path: Path) -> None:
    def work() -> list[Any]:
        with _connect(relay) as connection:
            channel = connection.channel()
            channel.queue_declare("tea", exclusive=True)
            properties = pika.BasicProperties(headers={"authorization": "Bearer hush-1234", "shop": "corner"})
            channel.basic_publish("", "tea", b'{"password": "hush-5678", "pot": 1}', properties)
            channel.confirm_delivery()
            channel.basic_publish("", "tea", b"behind it")
            _, got, body = channel.basic_get("tea", auto_ack=True)
            assert got is not None
            assert body is not None
            return [got.headers["shop"], json.loads(body)["pot"], "hush" in str(got.headers), b"hush" in body]

    with record(tmp_path / "x.msgpack"):
        assert work() == ["corner", 1, True, True]
    relay.stop()
    assert b"hush" not in (tmp_path / "x.msgpack").read_bytes()
    assert b"guest:guest" not in (tmp_path / "x.msgpack").read_bytes()
    with replay(tmp_path / "x.msgpack") as session:
        # What the broker gave back is redacted as well.
        assert work() == ["corner", 1, False, False]
    assert session.verdict().ok


def test_what_was_not_published_is_refused_and_does_not_go_out(
    broker: RabbitMq, relay: Relay, tmp_path: Path
) -> None:
    with _connect(relay) as connection:
        channel = connection.channel()
        channel.queue_declare("refused")
        with record(tmp_path / "x.msgpack"):
            channel.basic_publish("", "refused", b"1")
        with replay(tmp_path / "x.msgpack", fail_on_miss=False):
            channel.basic_publish("", "refused", b"1")
            with pytest.raises(ReplayMismatchError, match=r"No recorded call matches: pika Basic\.Publish"):
                channel.basic_publish("", "refused", b"2")
        connection.process_data_events()
        assert _has(broker, "refused", 1)
        with replay(tmp_path / "x.msgpack", live_plugins=["messaging"], fail_on_unused=False):
            channel.basic_publish("", "refused", b"3")
        connection.process_data_events()
        assert _has(broker, "refused", 2)
        channel.queue_delete("refused")


def test_what_was_not_published_by_aio_pika_is_refused_and_does_not_go_out(
    broker: RabbitMq, relay: Relay, tmp_path: Path
) -> None:
    async def work() -> None:
        async with await aio_pika.connect(relay.url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("refused-too")
            publish = channel.default_exchange.publish
            with record(tmp_path / "x.msgpack"):
                await publish(aio_pika.Message(b"1"), "refused-too")
            with replay(tmp_path / "x.msgpack", fail_on_miss=False):
                await publish(aio_pika.Message(b"1"), "refused-too")
                with pytest.raises(ReplayMismatchError, match=r"No recorded call matches: aio_pika Basic\.Publish"):
                    await publish(aio_pika.Message(b"2"), "refused-too")
            assert _has(broker, "refused-too", 1)
            # The channel is as good as before.
            await publish(aio_pika.Message(b"3"), "refused-too")
            assert _has(broker, "refused-too", 2)
            await queue.delete(if_empty=False)

    asyncio.run(work())


def test_a_connection_of_a_replay_reaches_nobody_behind_it(relay: Relay, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"), _connect(relay) as connection:
        connection.channel().queue_declare("tea", exclusive=True)
    with replay(tmp_path / "x.msgpack"):
        connection = _connect(relay)
        channel = connection.channel()
        channel.queue_declare("tea", exclusive=True)
    with pytest.raises(ReplayMismatchError, match=r"Basic\.Publish is sent over a connection of a replay"):
        channel.basic_publish("", "tea", b"1")
    connection.close()


def test_a_channel_that_is_older_than_the_plugin_is_recorded(broker: RabbitMq, tmp_path: Path) -> None:
    relay = Relay(broker.port)
    with _connect(relay) as connection:
        channel = connection.channel()
        channel.queue_declare("tea", exclusive=True)
        channel.confirm_delivery()
        channel.basic_publish("", "tea", b"0")
        enable_pika()
        try:
            with record(tmp_path / "x.msgpack"):
                for number in range(2):
                    channel.basic_publish("", "tea", b"%d" % number)
        finally:
            disable_pika()
    relay.stop()
    said = [event.result.reply["said"] for event in read_cassette(tmp_path / "x.msgpack").events]
    assert [[each[0] for each in one] for one in said] == [["Basic.Ack"]] * 2


def _consume(kind: str, broker: str, upstream: str, count: int, **changes: str) -> tuple[list[str], str]:
    """What a consumer told, and its log."""
    env = environment({"httpx", "pika", "aio-pika"}, OTEL_TRACES_EXPORTER="none", **changes)
    env |= {"PYTHONPATH": instrumented_path(str(ROOT), ROOT), "PYTHONWARNINGS": "ignore"}
    done = forks.run(
        "-m", "tests.contract.amqp_consumers", kind, broker, upstream, str(count), env=env, cwd=ROOT, turn=0
    )
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("kind", drawn([["pika", "aio-pika"], ["pika-loop", "aio-pika-loop"]], "consumers of AMQP"))
def test_a_message_is_a_request_of_its_own_and_verify_gives_it_again(
    broker: RabbitMq, tmp_path: Path, kind: str
) -> None:
    relay = Relay(broker.port)
    with _connect(relay) as connection:
        channel = connection.channel()
        for queue in ("orders", "done"):
            channel.queue_declare(queue)
            channel.queue_purge(queue)
        for user in (1, 2):
            properties = pika.BasicProperties(
                content_type="application/json", headers={"try": user, "shop": "corner"}
            )
            channel.basic_publish("", "orders", json.dumps({"user": user}).encode(), properties)
    folder = tmp_path / "cassettes"
    with Loopback() as upstream:
        settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder)}
        told, log = _consume(kind, relay.url, upstream.url, 2, **settings)
        assert told == ["order 1 is of Ada", "order 2 is of Ada"], log
    relay.stop()
    found = cassettes(folder)
    messages = sorted(
        (each for each in found if each.request.method == "MESSAGE"), key=lambda each: str(each.request.body)
    )
    assert [each.request.path for each in messages] == ["orders"] * 2, [str(each.request) for each in found]
    assert [json.loads(each.request.body.data)["user"] for each in messages] == [1, 2]  # type: ignore[union-attr]
    assert [each.request.headers["shop"] for each in messages] == ["corner"] * 2
    for each in messages:
        assert [event.signature.method for event in each.events] == ["GET", "Basic.Publish", "Basic.Ack"]
    # No message is in the recording of the process, nor is there a cassette of anything else.
    others = [each for each in found if each.request.method != "MESSAGE"]
    assert [each.request.method for each in others] == [""]
    assert not any(event.result.reply.get("deliveries") for event in others[0].events)
    env = environment({"httpx", "pika", "aio-pika"}, OTEL_TRACES_EXPORTER="none")
    env |= {"PYTHONPATH": instrumented_path(str(ROOT), ROOT), "PYTHONWARNINGS": "ignore"}
    command = (sys.executable, "-m", "tests.contract.amqp_consumers", kind, relay.url, upstream.url, "2")
    done = forks.run(
        script("timetracer-otel"), "verify", str(folder), "--", *command, env=env, cwd=ROOT, loaded="tool"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed    MESSAGE orders") == 2, done.stdout
