"""Run in a process of its own: a shop that makes up keys, tokens and times, recorded or replayed.

Usage: ``_fresh_values.py record|replay CASSETTE POSTGRES REDIS PORT``. For each order it inserts into three tables,
caches, queues a message as Celery does, and publishes by HTTP with an idempotency key. Two orders are placed at a
time; in a replay in another order. Each value that comes back is compared with the one that was made here.

Prints the orders' keys, the account, and the bindings, as JSON.
"""

from __future__ import annotations

import base64
import json
import random
import secrets
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import redis
import sqlalchemy as sa

from timetracer_otel import record, replay
from timetracer_otel.plugins import enable_httpx, enable_redis, enable_sqlalchemy

ITEMS = ["tea", "cup", "pot", "milk"]
META = sa.MetaData()
MADE = sa.Column("made_at", sa.DateTime(timezone=True), nullable=False)
ORDERS = sa.Table("orders", META, sa.Column("id", sa.Uuid, primary_key=True), sa.Column("item", sa.Text), MADE.copy())
LINES = sa.Table(
    "lines",
    META,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid),
    sa.Column("n", sa.Integer),
)
AUDIT = sa.Table(
    "audit",
    META,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("text", sa.Text),
    sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
)


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer({"accepted": order["id"], "at": order["at"], "number": order["item"] * 2})

    def do_GET(self) -> None:
        self._answer({"order": self.path.rpartition("/")[2], "state": "paid"})

    def _answer(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


def place(item: str, engine: sa.Engine, cache: redis.Redis, http: httpx.Client) -> str:
    key, now, token = uuid.uuid4(), datetime.now(timezone.utc), secrets.token_urlsafe(32)
    with engine.begin() as connection:
        connection.execute(sa.insert(ORDERS).values(id=key, item=item, made_at=now))
        connection.execute(
            sa.insert(LINES), [{"id": uuid.uuid4(), "order_id": key, "n": number} for number in range(2)]
        )
        connection.execute(sa.insert(AUDIT).values(id=uuid.uuid4().hex, text=f"order {key} of {item}"))
        row = connection.execute(sa.select(ORDERS).where(ORDERS.c.id == key)).one()
        same(tuple(row), (key, item, now))
        lines = connection.execute(sa.select(LINES.c.order_id).where(LINES.c.order_id == key)).scalars().all()
        same(lines, [key, key])
    cache.set(f"order:{key}", json.dumps({"id": str(key), "at": now.isoformat()}), ex=60)
    cache.hset(f"session:{token}", mapping={"order": str(key), "item": item})
    body = base64.b64encode(json.dumps([[str(key)], {}, {"callbacks": None}]).encode()).decode()
    cache.lpush("celery", json.dumps({"body": body, "headers": {"id": str(uuid.uuid4()), "task": "mail"}}))
    same(json.loads(cache.get(f"order:{key}") or b""), {"id": str(key), "at": now.isoformat()})
    same(cache.hgetall(f"session:{token}"), {b"order": str(key).encode(), b"item": item.encode()})
    published = http.post(
        "/publish",
        json={"id": str(key), "item": item, "at": now.timestamp(), "key": str(uuid.uuid4())},
        headers={"Idempotency-Key": str(uuid.uuid4())},
    ).json()
    same(published, {"accepted": str(key), "at": now.timestamp(), "number": item * 2})
    same(http.get(f"/orders/{key}").json(), {"order": str(key), "state": "paid"})
    return str(key)


def same(got: Any, made: Any) -> None:
    if got != made:
        raise AssertionError(f"got {got!r}, where {made!r} was made")


def main(mode: str, cassette: str, postgres: str, redis_url: str, port: str) -> None:
    enable_httpx()
    enable_redis()
    enable_sqlalchemy()
    items = ITEMS
    if mode == "record":
        server = ThreadingHTTPServer(("127.0.0.1", int(port)), Shop)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine = sa.create_engine(postgres)
        META.drop_all(engine)
        META.create_all(engine)
        engine.dispose()
    else:
        items = random.sample(ITEMS, len(ITEMS))
    engine = sa.create_engine(postgres)
    session: Any = record(cassette) if mode == "record" else replay(cassette, fail_on_miss=False)
    with (
        session as running,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as http,
        redis.Redis.from_url(redis_url) as cache,
        ThreadPoolExecutor(2) as pool,
    ):
        keys = list(pool.map(lambda item: place(item, engine, cache, http), items))
    verdict = running.verdict()
    bindings = [[each.kind, each.recorded, each.present] for each in verdict.bindings]
    print(json.dumps({"keys": keys, "account": str(verdict), "ok": verdict.ok, "bindings": bindings}))


if __name__ == "__main__":
    main(*sys.argv[1:])
