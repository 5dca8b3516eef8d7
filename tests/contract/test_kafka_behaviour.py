"""What a user of Kafka sees besides the contract: spans, redaction, what a replay refuses, messages as requests."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import kafka
import pytest

from tests import forks
from tests.children import ROOT, environment, instrumented_path, script, told_under_hash_seed
from tests.contract.kafka_cases import AT
from tests.contract.kafka_flavour import with_topics
from tests.examples import drawn
from tests.loopback import Loopback
from tests.process._programs import cassettes
from tests.servers.kafka import Kafka, needs_kafka
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.base import faults
from timetracer_otel.cassette import read_cassette
from timetracer_otel.libraries.kafka_python import internals

pytestmark = [pytest.mark.timeout(300), needs_kafka]


@pytest.fixture(scope="module")
def shared() -> Iterator[Kafka]:
    """A broker for all tests here."""
    server = Kafka()
    yield server
    server.stop()


@pytest.fixture
def broker(shared: Kafka) -> Kafka:
    """The same, with nothing in it."""
    shared.forget()
    with_topics(shared)
    return shared


def _messages(broker: Kafka, topic: str) -> list[bytes | None]:
    """What is in a topic of one partition."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.address, "group.id": "test"})
    partition = confluent_kafka.TopicPartition(topic, 0, 0)
    _, end = consumer.get_watermark_offsets(partition, 10)
    consumer.assign([partition])
    found = [message.value() for message in consumer.consume(end, 10)] if end else []
    consumer.close()
    return found


@pytest.mark.parametrize("when", ["before", "after", "seam"])
def test_spans_are_those_of_a_bare_run(broker: Kafka, tmp_path: Path, when: str) -> None:
    probe = ("-m", "tests.contract.kafka_telemetry_probe", str(tmp_path), when, broker.address)
    done = forks.run(*probe, env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    def without(spans: Any, *names: str) -> Any:
        return sorted(
            (
                span["name"],
                span["kind"],
                span["status"],
                json.dumps({k: v for k, v in span["attributes"].items() if k not in names}, sort_keys=True),
            )
            for span in spans
        )

    assert found["recorded"]["seen"] == found["replayed"]["seen"]
    assert without(found["recorded"]["spans"]) == without(found["bare"]["spans"])
    assert without(found["replayed"]["spans"], "timetracer.replayed") == without(found["bare"]["spans"])
    producers = [span for span in found["replayed"]["spans"] if span["kind"] == "PRODUCER"]
    if when == "seam":
        assert [span["name"] for span in found["bare"]["spans"]] == ["work"]
    else:
        assert len(producers) == 3
        ids = {span["id"]: span["kind"] for span in found["recorded"]["spans"]}
        sent = [span_id for method, span_id in found["events"] if method == "PRODUCE"]
        assert [ids[span_id] for span_id in sent] == ["PRODUCER"] * 3
        # OpenTelemetry's span of aiokafka has ended before the message is sent.
        assert [span["attributes"].get("timetracer.replayed") for span in producers].count(True) == 2
    assert found["left"] == []
    assert found["instrumented"] == [when == "before"] * 3


def test_cases_replay_in_another_process_under_another_hash_seed(broker: Kafka, tmp_path: Path) -> None:
    program = Path(__file__).with_name("cases_program.py")
    recorded = told_under_hash_seed(1, program, "kafka", "record", str(tmp_path), broker.address, folder=tmp_path)
    broker.stop()
    replayed = told_under_hash_seed(2, program, "kafka", "replay", str(tmp_path), broker.address, folder=tmp_path)
    assert replayed == recorded


def _send(client: str, broker: Kafka, value: bytes, **more: Any) -> None:
    """Send one message to the topic ``one``, and wait until it is there."""
    if client == "confluent_kafka":
        producer = confluent_kafka.Producer({"bootstrap.servers": broker.address})
        producer.produce("one", value, **more)
        producer.flush()
    elif client == "kafka_python":
        with kafka.KafkaProducer(bootstrap_servers=broker.address) as other:
            other.send("one", value, **more).get(10)
    else:

        async def send() -> None:
            async with aiokafka.AIOKafkaProducer(bootstrap_servers=broker.address) as third:
                await third.send_and_wait("one", value, **more)

        asyncio.run(send())


CLIENTS = ["aiokafka", "confluent_kafka", "kafka_python"]


@pytest.mark.parametrize("client", drawn([CLIENTS], "clients of Kafka"))
def test_secrets_are_in_no_cassette(broker: Kafka, tmp_path: Path, client: str) -> None:
    headers = [("authorization", b"Bearer hush-1234"), ("shop", b"corner")]
    with record(tmp_path / "x.msgpack"):
        _send(client, broker, b'{"password": "hush-5678", "pot": 1}', headers=headers)
    broker.stop()
    data = (tmp_path / "x.msgpack").read_bytes()
    assert b"hush" not in data
    assert b"corner" in data
    with replay(tmp_path / "x.msgpack") as session:
        _send(client, broker, b'{"password": "hush-5678", "pot": 1}', headers=headers)
    assert session.verdict().ok


@pytest.mark.parametrize("client", CLIENTS)
def test_what_was_not_sent_is_refused_and_does_not_go_out(broker: Kafka, tmp_path: Path, client: str) -> None:
    with record(tmp_path / "x.msgpack"):
        _send(client, broker, b"1")
    miss = pytest.raises(ReplayMismatchError, match=rf"No recorded call matches: {client} PRODUCE")
    with replay(tmp_path / "x.msgpack", fail_on_miss=False, fail_on_unused=False), miss:
        _send(client, broker, b"2")
    assert _messages(broker, "one") == [b"1"]
    with replay(tmp_path / "x.msgpack", live_plugins=["messaging"], fail_on_unused=False) as session:
        _send(client, broker, b"3")
    assert session.verdict().live == {client: 2 - (client == "confluent_kafka")}
    assert _messages(broker, "one") == [b"1", b"3"]


def test_a_producer_that_is_older_than_the_session_is_recorded_and_answered(broker: Kafka, tmp_path: Path) -> None:
    seen: list[Any] = []
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": broker.address, "on_delivery": lambda *args: seen.append(args[1].offset())}
    )
    with kafka.KafkaProducer(bootstrap_servers=broker.address) as other:
        with record(tmp_path / "x.msgpack"):
            producer.produce("one", b"1", on_delivery=lambda *args: seen.append(["own", args[1].offset()]))
            producer.flush()
            # Nothing is known of the settings of this producer: its function is called all the same.
            producer.produce("one", b"2")
            producer.flush()
            seen.append(other.send("one", b"3").get(10).offset)
        assert seen == [["own", 0], 1, 2]
        seen.clear()
        with replay(tmp_path / "x.msgpack") as session:
            producer.produce("one", b"1", on_delivery=lambda *args: seen.append(["own", args[1].offset()]))
            producer.flush()
            seen.append(other.send("one", b"3").get(10).offset)
            producer.produce("one", b"2")
        assert seen == [["own", 0], 2]
        assert session.verdict().ok
    assert _messages(broker, "one") == [b"1", b"2", b"3"]


def test_a_producer_that_is_kept_past_its_replay_does_not_let_the_app_wait(broker: Kafka, tmp_path: Path) -> None:
    settings: Any = {"bootstrap.servers": broker.address}
    with record(tmp_path / "x.msgpack"):
        confluent_kafka.Producer(settings).produce("one", b"1")
    with replay(tmp_path / "x.msgpack", fail_on_unused=False):
        # The app's own limit is longer than the time that this test has.
        producer = confluent_kafka.Producer({**settings, "delivery.timeout.ms": 900_000, "linger.ms": 10})
    seen: list[Any] = []
    producer.produce("one", b"late", on_delivery=lambda error, _: seen.append(error and error.name()))
    assert producer.flush() == 0
    assert seen == ["_MSG_TIMED_OUT"]
    refused = pytest.raises(confluent_kafka.KafkaException, match=r"must be greater than `linger\.ms`")
    with replay(tmp_path / "x.msgpack", fail_on_unused=False), refused:
        confluent_kafka.Producer({**settings, "message.timeout.ms": 5, "linger.ms": 10})


def test_a_client_that_is_kept_past_its_replay_does_not_wait_for_a_broker(broker: Kafka, tmp_path: Path) -> None:
    settings: Any = {"bootstrap.servers": broker.address}
    with record(tmp_path / "x.msgpack"):
        confluent_kafka.Producer(settings)
    with replay(tmp_path / "x.msgpack"):
        producer = confluent_kafka.Producer({**settings, "transactional.id": "shop"})
    # Without a limit, librdkafka waits for a broker that is known to it.
    for ask in (producer.list_topics, producer.init_transactions):
        with pytest.raises(ReplayMismatchError, match=rf"{ask.__name__}\(\) of confluent-kafka has no answer"):
            ask()
    later = confluent_kafka.Producer(settings)
    assert "one" in later.list_topics(timeout=10).topics


def test_a_fault_of_ours_in_the_thread_of_reports_is_told_to_the_app(
    broker: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("broken")

    with record(tmp_path / "x.msgpack"), kafka.KafkaProducer(bootstrap_servers=broker.address) as producer:
        producer.send("one", b"1").get(10)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False) as session:
        told: queue.SimpleQueue[Exception] = queue.SimpleQueue()
        producer = kafka.KafkaProducer(bootstrap_servers=broker.address)
        with monkeypatch.context() as patch:
            patch.setattr(faults, "raise_faults", False)
            patch.setattr(internals._Later, "give_all", fail)
            producer.send("one", b"1").add_errback(told.put)
            # Nobody waits for the message but this function, which the thread calls.
            error = told.get(timeout=60)
        producer.close()
    assert isinstance(error, ReplayMismatchError)
    assert "a fault of ours" in str(error)
    assert session.verdict().hits


@pytest.mark.parametrize("client", drawn([CLIENTS], "clients of Kafka whose plugin is imported first"))
def test_the_seams_are_whole_where_our_file_imports_the_client(client: str) -> None:
    code = f"""
from timetracer_otel.plugins import enable_{client}
enable_{client}()
from timetracer_otel.libraries.{client} import internals
made = internals.PRODUCER.send if hasattr(internals.PRODUCER, "send") else internals.PRODUCER.produce
assert made.__code__.co_name in ("guarded_call", "guarded_await"), made
from timetracer_otel.libraries.{client} import seams
assert seams.internals is internals
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_report_that_came_with_a_poll_comes_with_that_poll(broker: Kafka, tmp_path: Path) -> None:
    def work() -> list[Any]:
        seen: list[Any] = []
        producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, "linger.ms": 50})
        producer.produce("one", b"1", on_delivery=lambda *args: seen.append(args[1].latency()))
        seen.append(producer.poll(0))
        while len(seen) == 1:
            producer.poll(0.5)
        return [*seen, len(producer)]

    with record(tmp_path / "x.msgpack"):
        recorded = work()
    broker.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert work() == recorded
    assert session.verdict().ok


def test_batches_that_were_not_seen_are_counted_as_lost_and_refused(broker: Kafka, tmp_path: Path) -> None:
    async def send() -> None:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
            await (await producer.send_batch(batches.pop(), "one", partition=0))

    async def fill() -> Any:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
            batch = producer.create_batch()
            batch.append(key=None, value=b"1", timestamp=None)
            return batch

    # They are filled before any session begins.
    batches = [asyncio.run(fill()) for _ in range(2)]

    def produce() -> None:
        producer: Any = confluent_kafka.Producer({"bootstrap.servers": broker.address})
        producer.produce_batch("one", [_Order(value=b"2")] * 2)
        producer.flush()

    with record(tmp_path / "x.msgpack") as recording:
        asyncio.run(send())
        produce()
    assert recording.to_cassette().stats.dropped == {
        "aiokafka calls that cannot be seen": 1,
        "confluent_kafka calls that cannot be seen": 1,
    }
    with replay(tmp_path / "x.msgpack", fail_on_miss=False):
        with pytest.raises(ReplayMismatchError, match="whose messages were not seen is not captured"):
            asyncio.run(send())
        with pytest.raises(ReplayMismatchError, match="in which a message is no dictionary is not captured"):
            produce()
    assert _messages(broker, "one") == [b"1", b"2", b"2"]


class _Order(dict[str, Any]):
    """A dictionary of the app's own."""


@pytest.mark.parametrize("client", drawn([CLIENTS], "consumers of Kafka in sessions"))
def test_a_consumer_in_a_session_that_is_set_is_refused(broker: Kafka, tmp_path: Path, client: str) -> None:
    async def start() -> None:
        consumer = aiokafka.AIOKafkaConsumer("one", bootstrap_servers=broker.address)
        try:
            await consumer.start()
        finally:
            await consumer.stop()

    make: dict[str, Callable[[], Any]] = {
        "aiokafka": lambda: asyncio.run(start()),
        "confluent_kafka": lambda: confluent_kafka.Consumer({"bootstrap.servers": broker.address, "group.id": "x"}),
        "kafka_python": lambda: kafka.KafkaConsumer("one", bootstrap_servers=broker.address),
    }
    with record(tmp_path / "x.msgpack"):
        pass
    miss = pytest.raises(ReplayMismatchError, match=f"A consumer of {client} is not captured in a session")
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), miss:
        make[client]()


def _consume(kind: str, broker: str, upstream: str, count: int, **changes: str) -> tuple[list[str], str]:
    """What a consumer told, and its log."""
    env = environment(_DISTRIBUTIONS, OTEL_TRACES_EXPORTER="none", **changes)
    env |= {"PYTHONPATH": instrumented_path(str(ROOT), ROOT), "PYTHONWARNINGS": "ignore"}
    done = forks.run(
        "-m", "tests.contract.kafka_consumers", kind, broker, upstream, str(count), env=env, cwd=ROOT, turn=0
    )
    return done.stdout.splitlines(), done.stderr


_DISTRIBUTIONS = {"httpx", "aiokafka", "confluent_kafka", "kafka"}
_HEADERS: list[tuple[str, str | bytes | None]] = [("try", b"1"), ("shop", b"corner"), ("raw", b"\xff\x00")]


@pytest.mark.parametrize(
    "kind",
    drawn(
        [["aiokafka", "aiokafka-many"], ["confluent", "confluent-many"], ["kafka-python", "kafka-python-many"]],
        "consumers of Kafka",
    ),
)
def test_a_message_is_a_request_of_its_own_and_verify_gives_it_again(
    broker: Kafka, tmp_path: Path, kind: str
) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.address})
    for user in (1, 2):
        producer.produce("orders", json.dumps({"user": user}), key=f"k{user}", headers=_HEADERS)
    producer.produce("done", b"made")
    producer.flush()
    folder = tmp_path / "cassettes"
    with Loopback() as upstream:
        settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder)}
        told, log = _consume(kind, broker.address, upstream.url, 2, **settings)
        headers = repr(dict(_HEADERS))
        expected = [
            f"order {n} of {f'k{n}'.encode()!r} with {headers} is of {who}" for n, who in ((1, "Ada"), (2, "Ada"))
        ]
        assert told == expected, log
    broker.stop()
    found = cassettes(folder)
    messages = sorted(
        (each for each in found if each.request.method == "MESSAGE"), key=lambda each: str(each.request.body)
    )
    assert [each.request.path for each in messages] == ["orders"] * 2, [str(each.request) for each in found]
    assert [json.loads(each.request.body.data)["user"] for each in messages] == [1, 2]  # type: ignore[union-attr]
    for number, each in enumerate(messages):
        lines = {name: each.request.headers[name] for name in ("kafka-partition", "kafka-offset")}
        assert lines == {"kafka-partition": "json:0", "kafka-offset": f"json:{number}"}
        assert int(each.request.headers["kafka-timestamp"].removeprefix("json:")) > AT
        assert (each.request.headers["kafka-key"], each.request.headers["shop"]) == (f"k{number + 1}", "corner")
        assert [event.signature.method for event in each.events] == ["GET", "PRODUCE", "COMMIT_OFFSETS"]
    others = [each for each in found if each.request.method != "MESSAGE"]
    assert [each.request.method for each in others] == [""] * len(others)
    env = environment(_DISTRIBUTIONS, OTEL_TRACES_EXPORTER="none")
    env |= {"PYTHONPATH": instrumented_path(str(ROOT), ROOT), "PYTHONWARNINGS": "ignore"}
    command = (sys.executable, "-m", "tests.contract.kafka_consumers", kind, broker.address, upstream.url, "2")
    done = forks.run(
        script("timetracer-otel"), "verify", str(folder), "--", *command, env=env, cwd=ROOT, loaded="tool"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed    MESSAGE orders") == 2, done.stdout


@pytest.mark.parametrize("kind", drawn([["aiokafka", "confluent", "kafka-python"]], "consumers that take several"))
def test_several_messages_are_one_request_and_verify_gives_them_again(
    broker: Kafka, tmp_path: Path, kind: str
) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.address})
    for user in (1, 2, 1, 2):
        producer.produce("orders", json.dumps({"user": user}), key=f"k{user}", headers=_HEADERS)
    producer.produce("done", b"made")
    producer.flush()
    folder = tmp_path / "cassettes"
    with Loopback() as upstream:
        settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder)}
        told, log = _consume(f"{kind}-batch", broker.address, upstream.url, 4, **settings)
        assert len(told) == 4, log
    broker.stop()
    found = [each for each in cassettes(folder) if each.request.method]
    assert [(each.request.method, each.request.path) for each in found] == [("MESSAGES", "orders")] * 2, log
    assert [each.request.headers["kafka-messages"] for each in found] == ["json:2"] * 2
    for each in found:
        methods = [event.signature.method for event in each.events]
        assert methods == ["GET", "PRODUCE", "GET", "PRODUCE", "COMMIT_OFFSETS"]
    env = environment(_DISTRIBUTIONS, OTEL_TRACES_EXPORTER="none")
    env |= {"PYTHONPATH": instrumented_path(str(ROOT), ROOT), "PYTHONWARNINGS": "ignore"}
    tool = script("timetracer-otel")

    def verified(kind: str, *options: str) -> tuple[int, str]:
        # This consumer never ends by itself.
        command = (sys.executable, "-m", "tests.contract.kafka_consumers", kind, broker.address, upstream.url, "0")
        done = forks.run(tool, "verify", str(folder), *options, "--", *command, env=env, cwd=ROOT, loaded="tool")
        return done.returncode, done.stdout + done.stderr

    log_file = tmp_path / "log.txt"
    code, out = verified(f"{kind}-batch", "--only", "MESSAGES *", "--service-log", str(log_file))
    assert code == 0, out
    assert out.count("passed    MESSAGES orders") == 2, out
    assert [line for line in log_file.read_text().splitlines() if line.startswith("order ")] == told, out
    code, out = verified(kind)
    assert code == 1, out
    assert out.count("the consumer asks for one message at a time, and one call gave 2") == 2, out
    done = forks.run(tool, "list", str(folder), env=env, loaded="tool")
    assert done.stdout.count("MESSAGES orders") == 2, done.stdout
    done = forks.run(tool, "find", str(folder), "--route", "MESSAGES *", env=env, loaded="tool")
    paths = done.stdout.splitlines()
    assert len(paths) == 2, done.stdout + done.stderr
    done = forks.run(tool, "show", "--bodies", paths[0], env=env, loaded="tool")
    assert "MESSAGES orders" in done.stdout
    shown = [line.strip() for line in done.stdout.splitlines()]
    assert [line for line in shown if line.startswith("| {")] == ['| {"user": 1}', '| {"user": 2}'], done.stdout
    assert shown.count("shop: corner") == 2


def test_show_names_the_topic(broker: Kafka, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"):
        _send("confluent_kafka", broker, b"1")
    assert [event.call.args["topic"] for event in read_cassette(tmp_path / "x.msgpack").events if event.call] == [
        "one"
    ]
    done = forks.run(script("timetracer-otel"), "show", str(tmp_path / "x.msgpack"), env=os.environ, loaded="tool")
    assert "confluent_kafka PRODUCE one" in done.stdout, done.stdout
