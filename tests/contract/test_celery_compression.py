"""Messages that Celery compresses (its setting ``task_compression``): what stands in them is redacted, and bound."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import celery
import pytest
import redis
from kombu import compression

from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.redact.content_encoding import unpacked

NAMED = "Zq8vT41xKw0pLm7abcdefgh0123456789"
FORM = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
KNOWN = "m7abLm3fQe9sXw2vTr5yUi8oPl4kJh6gFd"
LATER = "h5Vb8Nc2Xz7Qa4Ws9Ed6Rf3Tg1YhUjIk"
"""It stands under a secret name in a later call alone."""


def publish(server: RedisServer, way: str) -> tuple[str, str]:
    """Publish a message about an order whose key is new; gives the key, and the message as it came."""
    key = str(uuid.uuid4())
    url = f"redis://localhost:{server.port}/0"
    with celery.Celery("jobs", broker=url) as app, redis.Redis(port=server.port) as client:
        client.set("auth", json.dumps({"token": KNOWN}))
        values = {"order": key, "password": NAMED, "note": f"of {KNOWN}", "key": f"use {FORM}", "of": LATER}
        app.send_task("mail", kwargs=values, compression=way, kwargsrepr="...", argsrepr="...", retry=False)
        client.set(f"order:{key}", json.dumps({"token": LATER}))
        found: Any = client.brpop(["celery"], timeout=1)
    return key, found[1].decode()


def content(message: str) -> dict[str, Any]:
    """The keyword arguments in a message."""
    told = json.loads(message)
    packed = base64.b64decode(told["body"])
    plain = compression.decompress(packed, told["headers"]["compression"])
    found: dict[str, Any] = json.loads(plain)[1]
    return found


@pytest.mark.parametrize("way", ["zlib", "bzip2", "lzma"])
def test_compressed_messages_are_redacted_and_bound(tmp_path: Path, way: str) -> None:
    path = tmp_path / "c.msgpack"
    with RedisServer(tmp_path) as server:
        with record(path):
            live_key, live = publish(server, way)
        assert content(live)["order"] == live_key
        assert content(live)["of"] == LATER
        server.stop()
        with replay(path) as session:
            key, shown = publish(server, way)
    told = content(shown)
    # The key is the one that this run made.
    assert told["order"] == key != live_key
    assert sorted(told) == ["key", "note", "of", "order", "password"]
    assert NAMED != told["password"] != "[REDACTED]"
    assert (live_key, key) in [(pair.recorded, pair.present) for pair in session.verdict().bindings]
    texts = [repr((event.call, event.result)) for event in read_cassette(path).events]
    bodies = [
        unpacked(base64.b64decode(part)).content
        for text in texts
        for part in text.split('"')
        if part.startswith(("eJ", "Qlpo", "/Td6"))
    ]
    assert len(bodies) == 2
    for secret in (NAMED, FORM, KNOWN, LATER):
        assert secret.encode() not in path.read_bytes()
        assert [body for body in bodies if secret.encode() in body] == []
