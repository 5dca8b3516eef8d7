"""What a user of MongoDB sees besides the contract: spans, redaction, new calls, what a replay refuses."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.resolver
import dns.rrset
import pymongo
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from opentelemetry.instrumentation.utils import suppress_instrumentation
from pymongo.errors import AutoReconnect, ConnectionFailure

from tests import forks
from tests.contract.framework import network_attempts
from tests.contract.pymongo_cases import got
from tests.servers.mongo import Mongo
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_pymongo, enable_pymongo
from timetracer_otel.report import event_detail

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Mongo]]:
    """The server that tests use one after the other, and before it those that were stopped."""
    made: list[Mongo] = []
    yield made
    for server in made:
        server.close()


@pytest.fixture
def mongo(servers: list[Mongo]) -> Mongo:
    """An empty server, which a test may stop."""
    if servers and servers[-1].running:
        servers[-1].clear()
    else:
        servers.append(Mongo())
    return servers[-1]


def _client(mongo: Mongo, **options: Any) -> Any:
    return pymongo.MongoClient(mongo.url, **options)


def _methods(cassette: Path) -> list[str]:
    return [event.signature.method for event in read_cassette(cassette).events]


@pytest.mark.parametrize("when", ["before", "after", "seam"])
def test_spans_are_those_of_a_bare_run(tmp_path: Path, when: str) -> None:
    probe = ("-m", "tests.contract.pymongo_telemetry_probe", str(tmp_path), when)
    done = forks.run(*probe, env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    def without(spans: Any, *names: str) -> Any:
        return [
            (span["name"], span["status"], {k: v for k, v in span["attributes"].items() if k not in names})
            for span in spans
        ]

    assert found["same"] == [True]
    assert without(found["recorded"]) == without(found["bare"])
    assert without(found["replayed"], "timetracer.replayed") == without(found["bare"])
    names = [span["name"] for span in found["bare"]]
    commands = ["shop.insert", "shop.find", "shop.getMore", "shop.getMore", "shop.nosuch", "shop.insert"]
    if when == "seam":
        assert names == ["work"]
    else:
        assert names[:6] == commands
        marked = {span["name"]: span["attributes"].get("timetracer.replayed") for span in found["replayed"]}
        assert marked.pop("work") is None
        assert set(marked.values()) == {True}
    assert found["left"] == []
    assert found["instrumented"] == [when == "before"]
    ids = {span["id"]: span["name"] for span in found["recorded"]}
    assert [method for method, _, _ in found["events"]][:6] == [name.partition(".")[2] for name in commands]
    for method, span_id, reason in found["events"]:
        assert reason is None
        assert ids[span_id] == "work" if when == "seam" else ids[span_id].endswith(f".{method}")


def test_change_streams_are_refused(mongo: Mongo, tmp_path: Path) -> None:
    def work() -> Any:
        with _client(mongo) as client:
            client.shop.items.insert_one({"_id": 1})
            with client.shop.items.watch(max_await_time_ms=10) as stream:
                return stream.try_next()

    with record(tmp_path / "x.msgpack"):
        assert work() is None
    mongo.stop()
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match="a change stream tells of others' changes"),
    ):
        work()


def test_a_client_of_before_is_used_in_sessions(mongo: Mongo, tmp_path: Path) -> None:
    with _client(mongo, heartbeatFrequencyMS=500, serverSelectionTimeoutMS=2000) as client:
        items = client.shop.items
        items.insert_one({"_id": 1})
        with record(tmp_path / "x.msgpack"):
            found = [items.find_one({}), list(items.find())]
        mongo.stop()
        with replay(tmp_path / "x.msgpack") as session:
            # The real monitor finds out meanwhile that the server is gone.
            time.sleep(0.8)
            seen = [items.find_one({})]
            time.sleep(0.8)
            assert [*seen, list(items.find())] == found
        assert session.verdict().ok
        # Nothing is left of the replay.
        with pytest.raises(ConnectionFailure):
            items.find_one({})


def test_a_client_of_a_replay_finds_its_servers_afterwards(mongo: Mongo, tmp_path: Path) -> None:
    def found(client: Any) -> Any:
        return client.shop.items.find_one({})

    with record(tmp_path / "x.msgpack"), _client(mongo) as client:
        client.shop.items.insert_one({"_id": 1})
        found(client)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), network_attempts() as attempts:
        client = _client(mongo)
        assert found(client) == {"_id": 1}
    assert attempts == []
    client.shop.items.insert_one({"_id": 0})
    assert client.shop.items.count_documents({}) == 2
    client.close()


def test_no_thread_of_the_driver_is_part_of_a_recording(mongo: Mongo, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack") as session:
        client = _client(mongo, heartbeatFrequencyMS=500)
        client.admin.command("ping")
        time.sleep(0.7)
        mine = [each for each in threading.enumerate() if each.name.startswith("pymongo")]
        assert mine
    assert [event.signature.method for event in session.events] == ["ping"]
    client.close()


def test_a_replay_starts_no_thread(mongo: Mongo, tmp_path: Path) -> None:
    def work() -> None:
        with _client(mongo) as client:
            client.admin.command("ping")
            assert len([each for each in threading.enumerate() if each.name.startswith("pymongo")]) == present

    with record(tmp_path / "x.msgpack"), _client(mongo) as client:
        client.admin.command("ping")
    mongo.stop()
    deadline = time.monotonic() + 20
    while any(each.name.startswith("pymongo") for each in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.05)
    present = 0
    with replay(tmp_path / "x.msgpack"):
        work()


def test_a_call_that_was_not_recorded_is_refused_at_once(mongo: Mongo, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"), _client(mongo) as client:
        client.shop.items.find_one({"name": "tea"})
    mongo.stop()
    began = time.monotonic()
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), _client(mongo) as client:
        with pytest.raises(ReplayMismatchError, match=r"(?s)find mongodb://127.0.0.1/shop.items.*'name': 'milk'"):
            client.shop.items.find_one({"name": "milk"})
        with pytest.raises(ReplayMismatchError, match=r"find mongodb://127.0.0.1/shop.orders"):
            client.shop.orders.find_one({"name": "tea"})
        # The order of what is sorted by counts.
        with pytest.raises(ReplayMismatchError):
            client.shop.items.find_one({"name": "tea"}, sort=[("name", 1)])
        assert client.shop.items.find_one({"name": "tea"}) is None
    with replay(tmp_path / "x.msgpack", fail_on_miss=False):
        other: Any = pymongo.MongoClient("mongodb://elsewhere.example/")
        with pytest.raises(ReplayMismatchError, match=r"SELECT mongodb://elsewhere\.example/"):
            other.shop.items.find_one({})
        other.close()
    assert time.monotonic() - began < 10


def test_the_order_of_a_sort_counts(mongo: Mongo, tmp_path: Path) -> None:
    def work(*keys: tuple[str, int]) -> Any:
        with _client(mongo) as client:
            return list(client.shop.items.find(sort=list(keys)))

    with record(tmp_path / "x.msgpack"):
        work(("a", 1), ("b", 1))
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError):
        work(("b", 1), ("a", 1))


def test_secrets_of_documents_are_replaced(mongo: Mongo, tmp_path: Path) -> None:
    secret, key = "pa55-" + "w0rd-of-tea", ObjectId()

    def work() -> Any:
        with _client(mongo) as client:
            users = client.shop.users
            users.insert_one(
                {
                    "_id": 1,
                    "password": secret,
                    "auth": {"token": Binary(secret.encode(), 128), "secret": Decimal128("987654.25")},
                    "api_key": Int64(1234567890123),
                    "access_token": key,
                }
            )
            found = users.find_one({"password": secret})
            assert users.find_one({"auth.token": {"$in": [Binary(secret.encode(), 128)]}}) == found
            users.update_one({"_id": 1}, {"$set": {"auth.token": "next-" + secret}})
            return {name: type(value) for name, value in (found or {}).items()}

    with record(tmp_path / "x.msgpack"):
        kinds = work()
    data = (tmp_path / "x.msgpack").read_bytes()
    for text in (secret.encode(), b"987654.25", b"1234567890123", str(key).encode()):
        assert text not in data
    mongo.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert work() == kinds
    assert session.verdict().ok


def test_new_calls_are_added(mongo: Mongo, tmp_path: Path) -> None:
    def work(*names: str) -> Any:
        with _client(mongo) as client:
            return [client.shop.items.find_one({"name": name}) for name in names]

    async def asynchronous(*names: str) -> Any:
        client: Any
        async with pymongo.AsyncMongoClient(mongo.url) as client:
            return [await client.shop.items.find_one({"name": name}) for name in names]

    cassette = tmp_path / "x.msgpack"
    with _client(mongo) as client:
        client.shop.items.insert_many([{"_id": 1, "name": "tea"}, {"_id": 2, "name": "milk"}])
    with record(cassette):
        pass
    with replay(cassette, record_mode="new_episodes"):
        tea = work("tea")
    assert tea == [{"_id": 1, "name": "tea"}]
    with replay(cassette, record_mode="new_episodes"):
        both = work("tea", "milk")
    assert both[1] == {"_id": 2, "name": "milk"}
    with replay(cassette, record_mode="new_episodes"):
        asyncio.run(asynchronous("tea", "none"))
    assert [method for method in _methods(cassette) if method != "endSessions"] == ["find"] * 3
    mongo.stop()
    with replay(cassette):
        assert work("tea", "milk", "none") == [*both, None]


def test_a_new_transaction_is_undone_for_real(mongo: Mongo, tmp_path: Path) -> None:
    cassette = tmp_path / "x.msgpack"
    with record(cassette):
        pass
    with replay(cassette, record_mode="new_episodes"), _client(mongo) as client, client.start_session() as session:
        session.start_transaction()
        client.shop.items.insert_one({"_id": 1}, session=session)
        session.abort_transaction()
        assert client.shop.items.count_documents({}) == 0


@pytest.mark.parametrize("name", ["pymongo", "nosql"])
def test_a_live_database(mongo: Mongo, tmp_path: Path, name: str) -> None:
    def work() -> Any:
        with _client(mongo) as client:
            changed = client.shop.items.find_one_and_update({}, {"$inc": {"n": 1}}, upsert=True, return_document=True)
            return changed["n"]

    with record(tmp_path / "x.msgpack"):
        assert work() == 1
    with replay(tmp_path / "x.msgpack", live_plugins=[name]) as session:
        assert work() == 2
    assert session.verdict().live == {"pymongo": 2}


def test_a_large_reply_is_not_kept(mongo: Mongo, tmp_path: Path) -> None:
    def work() -> Any:
        with _client(mongo) as client:
            client.shop.items.insert_one({"_id": 1, "text": "x" * 3000})
            return client.shop.items.find_one({})

    with record(tmp_path / "x.msgpack", max_body_kb=2):
        assert len(work()["text"]) == 3000
    insert, find, _ = read_cassette(tmp_path / "x.msgpack").events
    assert insert.call is not None
    assert insert.call.args == {"insert": "items"}
    for event in (insert, find):
        assert "TIMETRACER_MAX_BODY_KB=2" in str(event.not_replayable)


def test_what_is_suppressed_is_left_alone(mongo: Mongo, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"), suppress_instrumentation(), _client(mongo) as client:
        client.admin.command("ping")
    assert _methods(tmp_path / "x.msgpack") == []


def test_a_connection_of_a_replay_reaches_nothing_afterwards(mongo: Mongo, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"), _client(mongo) as client:
        client.admin.command("ping")
    mongo.stop()
    with replay(tmp_path / "x.msgpack"):
        client = _client(mongo, serverSelectionTimeoutMS=300)
        client.admin.command("ping")
    enable_pymongo()
    try:
        with pytest.raises((AutoReconnect, ConnectionFailure)):
            client.admin.command("ping")
    finally:
        disable_pymongo()
        client.close()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "asyncio"])
def test_servers_behind_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asynchronous: bool) -> None:
    asked: list[str] = []

    def resolve(name: str, kind: str, **_: Any) -> Any:
        asked.append(kind)
        if kind == "TXT":
            raise dns.resolver.NoAnswer
        return dns.rrset.from_text(name, 60, "IN", "SRV", "0 0 27017 one.shop.test.", "0 0 27018 two.shop.test.")

    async def resolve_async(name: str, kind: str, **options: Any) -> Any:
        return resolve(name, kind, **options)

    async def seeds() -> Any:
        kind: Any = pymongo.AsyncMongoClient if asynchronous else pymongo.MongoClient
        client = kind("mongodb+srv://db.shop.test/?tls=false", connect=False)
        await got(client._resolve_srv() if hasattr(client, "_resolve_srv") else client._get_topology())
        found = sorted(client._topology_settings.seeds)
        await got(client.close())
        return found

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    monkeypatch.setattr(dns.asyncresolver, "resolve", resolve_async)
    with record(tmp_path / "x.msgpack"):
        found = asyncio.run(seeds())
    assert found == [("one.shop.test", 27017), ("two.shop.test", 27018)]
    assert sorted(asked) == sorted(_methods(tmp_path / "x.msgpack")) == ["SRV", "TXT"]
    with replay(tmp_path / "x.msgpack") as session:
        assert asyncio.run(seeds()) == found
    assert session.verdict().ok
    assert len(asked) == 2


def test_compressed_messages(mongo: Mongo, tmp_path: Path) -> None:
    def work() -> Any:
        with _client(mongo, compressors="zlib") as client:
            client.shop.items.insert_one({"_id": 1, "text": "tea" * 100})
            return client.shop.items.find_one({})

    with record(tmp_path / "x.msgpack"):
        found = work()
    assert _methods(tmp_path / "x.msgpack") == ["insert", "find", "endSessions"]
    mongo.stop()
    with replay(tmp_path / "x.msgpack"):
        assert work() == found


def test_a_command_is_shown_as_the_app_wrote_it(mongo: Mongo, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"), _client(mongo) as client, client.start_session() as session:
        client.shop.items.find_one({"name": "tea", "n": {"$gt": Int64(5)}}, session=session)
    cassette = read_cassette(tmp_path / "x.msgpack")
    lines = "\n".join(event_detail(cassette.events[0]))
    assert "pymongo find items mongodb://127.0.0.1/shop.items" in lines
    assert "arguments: {'find': 'items', 'filter': {'name': 'tea', 'n': {'$gt': Int64(5)}}" in lines
    assert "lsid" not in lines
