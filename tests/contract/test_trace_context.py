"""An app that passes its trace on within bodies and arguments is replayed in another trace, and in none."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import requests
import sqlalchemy
from opentelemetry import baggage, context, propagate
from opentelemetry.sdk.trace import TracerProvider

from tests.loopback import Loopback
from tests.servers.redis import RedisServer
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import pack, read_cassette, save_cassette
from timetracer_otel.redact.forms import form_of


@contextmanager
def _span() -> Iterator[None]:
    token = context.attach(baggage.set_baggage("cart", "9"))
    try:
        with TracerProvider(shutdown_on_exit=False).get_tracer("app").start_as_current_span("work"):
            yield
    finally:
        context.detach(token)


def _injected(**others: Any) -> dict[str, Any]:
    carrier = dict(others)
    propagate.inject(carrier)
    return carrier


def _app(url: str, address: str, database: str, number: int = 7) -> list[Any]:
    meta = _injected()
    message = {"jsonrpc": "2.0", "id": 1, "params": {"name": "add", "n": number, **({"_meta": meta} if meta else {})}}
    attributes = {
        name: {"StringValue": value, "DataType": "String"} for name, value in _injected(kind="order").items()
    }
    form = {"Action": "SendMessage", "Body": str(number)}
    for index, (name, attribute) in enumerate(attributes.items(), 1):
        form[f"MessageAttribute.{index}.Name"] = name
        form[f"MessageAttribute.{index}.Value.StringValue"] = attribute["StringValue"]
    seen: list[Any] = [
        httpx.post(f"{url}/v1/mcp", json=message).status_code,
        requests.post(f"{url}/v1/sqs", json={"Body": "hi", "MessageAttributes": attributes}, timeout=60).status_code,
        requests.post(f"{url}/v1/sqs", data=form, timeout=60).status_code,
    ]
    with redis.Redis.from_url(address) as client:
        celery = json.dumps({"body": "W1tdXQ==", "headers": _injected(lang="py", task="add"), "n": number})
        seen += [client.lpush("celery", celery), client.hset("job", mapping=_injected(task="add", n=number))]
    engine = sqlalchemy.create_engine(database)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS outbox (headers TEXT, n INTEGER)"))
        values = {"headers": json.dumps(_injected(task="add")), "n": number}
        seen.append(connection.execute(sqlalchemy.text("INSERT INTO outbox VALUES (:headers, :n)"), values).rowcount)
    engine.dispose()
    return seen


@pytest.mark.parametrize("replayed_in_a_trace", [True, False], ids=["another trace", "no trace"])
def test_what_a_propagator_writes_is_not_compared(tmp_path: Path, replayed_in_a_trace: bool) -> None:
    file, database = tmp_path / "traced.msgpack", f"sqlite:///{tmp_path}/app.sqlite"
    with Loopback() as upstream, RedisServer(tmp_path) as server:
        app = (upstream.url, server.url, database)
        with _span():
            bare = _app(*app)
        with _span(), record(file) as session:
            recorded = _app(*app)
        assert recorded == [200, 200, 200, bare[3] + 1, 0, 1]
        # What is kept is what was sent.
        assert "traceparent" in str(session.to_cassette().events[0].call)
    (tmp_path / "app.sqlite").unlink()
    with replay(file, fail_on_unused=True), _span() if replayed_in_a_trace else nullcontext():
        assert _app(*app) == recorded
    with pytest.raises(ReplayMismatchError, match="recorded 7, now 8") as caught, replay(file), _span():
        _app(*app, number=8)
    assert "traceparent" not in str(caught.value).partition("body")[2]
    with pytest.raises(sqlite3.OperationalError), sqlite3.connect(tmp_path / "app.sqlite") as connection:
        connection.execute("SELECT * FROM outbox")


def test_a_recording_that_was_made_before_is_read_as_well(tmp_path: Path) -> None:
    file, database = tmp_path / "old.msgpack", f"sqlite:///{tmp_path}/app.sqlite"
    with Loopback() as upstream, RedisServer(tmp_path) as server:
        app = (upstream.url, server.url, database)
        with _span(), record(file):
            recorded = _app(*app)
    old = read_cassette(file)
    for event in old.events:
        assert event.call is not None
        if event.call.body is not None:
            # The hash of the bytes as they were sent.
            event.signature.body_hash = event.call.body.hash
        elif event.call.args is not None:
            compared = form_of(event.signature.lib).compared(event.call.args)
            event.signature.body_hash = hashlib.sha256(pack(compared)).hexdigest()
    save_cassette(old, file)
    (tmp_path / "app.sqlite").unlink()
    with replay(file, fail_on_unused=True), _span():
        assert _app(*app) == recorded
