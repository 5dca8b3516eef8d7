"""A service that touches its database before the first request, and draws from sources of chance that it has seeded.

``UPSTREAM`` is a server's URL, ``SQLITE`` the path of a file.
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from typing import Any
from unittest.mock import patch

import flask
import httpx
import sqlalchemy as sa

from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "")
LINES = Lines()
META = sa.MetaData()
ORDERS = sa.Table("orders", META, sa.Column("id", sa.Integer, primary_key=True), sa.Column("item", sa.String))
ENGINE = sa.create_engine(f"sqlite:///{os.environ.get('SQLITE', '')}", pool_pre_ping=True)
APP = flask.Flask(__name__)
CONFIGURED: list[Any] = []


def before() -> None:
    """What the service does when it starts."""
    META.create_all(ENGINE)
    with ENGINE.begin() as connection:
        connection.execute(ORDERS.insert(), [{"item": "tea"}, {"item": "cake"}])
    CONFIGURED.append(httpx.get(f"{UPSTREAM}/users/1").json())


class Worker(threading.Thread):
    found: Any = None

    def run(self) -> None:
        self.found = httpx.get(f"{UPSTREAM}/users/{random.randrange(100)}").json()


@APP.get("/orders")
def orders() -> Any:
    worker = Worker()
    worker.start()
    worker.join()
    with ENGINE.connect() as connection:
        items = connection.scalars(sa.select(ORDERS.c.item).order_by(ORDERS.c.id)).all()
    return {"items": items, "of": worker.found, "drawn": random.random(), "key": str(uuid.uuid4())}


@LINES.add
def requests_of_an_app_that_is_seeded() -> Any:
    random.seed(7)
    drawn = random.Random(8)
    with patch.object(uuid, "uuid4", lambda: uuid.UUID(int=drawn.getrandbits(128))):
        client = APP.test_client()
        return [CONFIGURED, *([client.get("/orders").json, random.random()] for _ in range(4))]
