"""A service that takes orders, and its clients, in one process.

Usage: ``python -m tests.hybrid._order_service SEED AT_ONCE [record|replay CASSETTE]``. The requests are sent in an
order that SEED draws, so many AT_ONCE. Where no CASSETTE holds all of them, the environment (``TIMETRACER_*``) says
what is done with each. SHIFT_S in the environment sets the clock ahead.

The service makes up keys, references, ULIDs, idempotency keys, boundaries, times and signatures, and uses the tokens,
cookies, pages and tags that it is given. Each value that comes back is compared with what was sent. It has no rule
about any of them.

Prints the answers in the order of `REQUESTS`, and the account of a CASSETTE's replay, as JSON.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import random
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, urlencode

import celery
import httpx
import redis
import sqlalchemy as sa
import time_machine
import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.servers.order_upstream import CATALOGUE, CLIENT, SIGNING_KEY, signature_of
from timetracer_otel import record, replay
from timetracer_otel.session import BaseSession, ReplaySession

UPSTREAM = os.environ["UPSTREAM"]
META = sa.MetaData()
ORDERS = sa.Table(
    "orders",
    META,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("number", sa.Integer, sa.Identity()),
    sa.Column("reference", sa.Text),
    sa.Column("item", sa.Text),
    sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
)
LINES = sa.Table(
    "lines",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("order_id", sa.ForeignKey("orders.id")),
    sa.Column("sku", sa.Text),
)
OUTBOX = sa.Table(
    "outbox",
    META,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("order_id", sa.Uuid),
    sa.Column("payload", sa.JSON),
    sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
)

engine = sa.create_engine(os.environ["POSTGRES"])
cache = redis.Redis.from_url(os.environ["REDIS"])
web = httpx.Client(base_url=UPSTREAM)
queue = celery.Celery("shop", broker=os.environ["REDIS"])
queue.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=False, broker_pool_limit=1)
app = FastAPI()


@queue.task(name="ship")
def ship(order: str, *, reference: str) -> None:
    """Somebody else's work: nobody takes the messages here."""


def warm_up() -> None:
    """Open the connection to the broker, which all requests share, before the first of them, and complete the tasks.

    Celery completes a task when it is first used. Where two threads use it at once, one of them may send it without
    its settings (``"ignore_result": null``), which is another message.
    """
    queue.finalize()
    same(ship.ignore_result, True)
    with queue.producer_pool.acquire(block=True) as producer:
        producer.maybe_declare(queue.amqp.queues["celery"])


def now() -> datetime:
    return datetime.now(timezone.utc)


def same(got: Any, made: Any) -> None:
    if got != made:
        raise AssertionError(f"got {got!r}, where {made!r} was made")


@app.post("/orders")
def place(order: dict[str, str]) -> dict[str, Any]:
    """Take an order. FastAPI runs it in a thread, so several are under way at once."""
    item, key, reference = order["item"], uuid.uuid4(), secrets.token_hex(12)
    cents = price(item)
    number = stored(key, item, reference)
    payment = paid(key, cents)
    uploaded(key, item)
    message = mailed(key, item, reference)
    ship.apply_async(args=[str(key)], kwargs={"reference": reference}, countdown=60, expires=3600)
    supplier = reserved(key, item)
    same([*catalogue()], CATALOGUE)
    basket = f"basket:{secrets.token_urlsafe(32)}"
    cache.hset(basket, mapping={"order": str(key), "item": item})
    same(cache.hgetall(basket), {b"order": str(key).encode(), b"item": item.encode()})
    row = cache.get(f"order:{key}")
    same(json.loads(row or b"{}"), {"id": str(key), "payment": payment})
    return {
        "id": str(key),
        "reference": reference,
        "item": item,
        "cents": cents,
        "number": number,
        "payment": payment,
        "message": message,
        "supplier": supplier,
    }


@app.get("/items")
def items(after: str) -> list[str]:
    return [item for item in catalogue() if item > after]


def access_token() -> str:
    known = json.loads(cache.get("oauth:payments") or b"{}")
    if known:
        return known["access_token"]
    answer = web.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=CLIENT)
    token = answer.raise_for_status().json()
    token["expires_at"] = int(time.time()) + token["expires_in"]
    cache.set("oauth:payments", json.dumps(token), ex=token["expires_in"] - 60)
    return token["access_token"]


def price(item: str) -> int:
    held = json.loads(cache.get(f"price:{item}") or b"{}")
    answer = web.get(f"/prices/{item}", headers={"If-None-Match": held["etag"]} if held else {})
    if answer.status_code == 304:
        return held["cents"]
    cents = answer.raise_for_status().json()["cents"]
    cache.set(f"price:{item}", json.dumps({"etag": answer.headers["etag"], "cents": cents}))
    return cents


def stored(key: uuid.UUID, item: str, reference: str) -> int:
    made_at = now()
    with engine.begin() as connection:
        values = {"id": key, "reference": reference, "item": item, "made_at": made_at}
        values["due_at"] = made_at + timedelta(days=14)
        number = connection.execute(sa.insert(ORDERS).values(values).returning(ORDERS.c.number)).scalar_one()
        lines = [{"order_id": key, "sku": f"{item}-{index}"} for index in range(2)]
        ids = connection.execute(sa.insert(LINES).returning(LINES.c.id), lines).scalars().all()
        same(len(set(ids)), 2)
        payload = {"order": str(key), "at": made_at.isoformat(), "lines": [*ids]}
        connection.execute(sa.insert(OUTBOX).values(id=ulid(), order_id=key, payload=payload))
        query = sa.select(ORDERS.c.id, ORDERS.c.made_at, OUTBOX.c.payload).join_from(
            ORDERS, OUTBOX, OUTBOX.c.order_id == ORDERS.c.id
        )
        row = connection.execute(query.where(ORDERS.c.id == key)).one()
        same(tuple(row), (key, made_at, payload))
    return number


def paid(key: uuid.UUID, cents: int) -> str:
    headers = {"Authorization": f"Bearer {access_token()}"}
    asked = {"order": str(key), "amount": cents, "at": int(time.time())}
    answer = web.post("/payments", json=asked, headers={**headers, "Idempotency-Key": str(uuid.uuid4())})
    made = answer.raise_for_status().json()
    same((made["order"], made["amount"]), (str(key), cents))
    found = web.get(answer.headers["location"], headers=headers).raise_for_status().json()
    same((found["id"], found["order"], found["status"]), (made["id"], str(key), "captured"))
    cache.set(f"order:{key}", json.dumps({"id": str(key), "payment": made["id"]}), ex=600)
    return made["id"]


def uploaded(key: uuid.UUID, item: str) -> None:
    path, moment = f"/bucket/receipts/{key}.txt", now()
    parameters = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"AKIAQ4UB2LTSEXAMPLE7/{moment:%Y%m%d}/eu-1/s3/aws4_request",
        "X-Amz-Date": f"{moment:%Y%m%dT%H%M%SZ}",
        "X-Amz-Expires": "900",
    }
    parameters["X-Amz-Signature"] = signature_of("PUT", path, parameters)
    receipt = f"{item} for {key}".encode()
    answer = web.put(f"{path}?{urlencode(parameters, quote_via=quote)}", content=receipt)
    same(answer.raise_for_status().json(), {})


def mailed(key: uuid.UUID, item: str, reference: str) -> str:
    text = f"Order {key} of {item}, made at {now():%a, %d %b %Y %H:%M:%S GMT}"
    signature = hmac.new(SIGNING_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
    answer = web.post(
        "/mail",
        data={"subject": f"Your order {reference}", "text": text},
        files={"file": (f"{reference}.txt", b"receipt", "text/plain")},
        headers={"Idempotency-Key": str(uuid.uuid4()), "X-Body-Signature": f"sha256={signature}"},
    )
    told = answer.raise_for_status().json()
    same((told["subject"], told["bytes"]), (f"Your order {reference}", 7))
    return told["message_id"]


def reserved(key: uuid.UUID, item: str) -> int:
    with httpx.Client(base_url=UPSTREAM) as session:
        page = session.get("/supplier/login").raise_for_status().text
        csrf = page.partition('value="')[2].partition('"')[0]
        form = {"item": item, "order": str(key), "csrf_token": csrf}
        answer = session.post("/supplier/orders", data=form, headers={"X-CSRF-Token": csrf}).raise_for_status()
    told = answer.json()
    same((told["reserved"], told["for"]), (item, str(key)))
    return told["number"]


def catalogue() -> Iterator[str]:
    token = None
    while True:
        page = web.get("/catalogue", params={"page_token": token} if token else {}).raise_for_status().json()
        yield from page["items"]
        token = page.get("next_page_token")
        if token is None:
            return


def ulid() -> str:
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * place & 31] for place in reversed(range(26)))


REQUESTS = [
    *(("POST", "/orders", {"item": item}) for item in ("tea", "cup", "pot", "milk")),
    ("GET", "/items?after=jug", None),
]


def ask(port: int, method: str, target: str, body: Any) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    # The client stands for another program: a replay of this one lets it go out.
    with suppress_instrumentation():
        data = None if body is None else json.dumps(body)
        connection.request(method, target, body=data, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
    return json.loads(text) if answer.status == 200 else f"{answer.status} {text}"


@contextmanager
def served() -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def clock_ahead(seconds: float) -> Iterator[None]:
    """The clock of the whole process goes ahead of the machine's."""
    if not seconds:
        yield
        return
    with time_machine.travel(now() + timedelta(seconds=seconds), tick=True):
        yield


@contextmanager
def session(mode: str, cassette: str) -> Iterator[BaseSession | None]:
    """One recording of all requests, where the environment does not ask for one of each."""
    if not mode:
        yield None
    elif mode == "record":
        with record(cassette) as recording:
            yield recording
    else:
        with replay(cassette, fail_on_miss=False) as replaying:
            yield replaying


def main(seed: str, at_once: str, mode: str = "", cassette: str = "") -> None:
    numbered = [*enumerate(REQUESTS)]
    random.Random(seed).shuffle(numbered)
    with clock_ahead(float(os.environ.get("SHIFT_S", "0"))), session(mode, cassette) as running:
        warm_up()
        with served() as port, ThreadPoolExecutor(int(at_once)) as pool:
            answers = dict(pool.map(lambda each: (each[0], ask(port, *each[1])), numbered))
    verdict = running.verdict() if isinstance(running, ReplaySession) else None
    account = (
        None if verdict is None else [verdict.ok, str(verdict), sorted({each.kind for each in verdict.bindings})]
    )
    print(json.dumps([[answers[number] for number in sorted(answers)], account]))


if __name__ == "__main__":
    main(*sys.argv[1:])
