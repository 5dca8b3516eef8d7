"""Lines of an app that was recorded before 0.1.0; what it was recorded as lies in `tests/golden`.

``UPSTREAM`` is a server's URL, ``REDIS_PORT`` a port on this machine, ``POSTGRES`` a database's URL for SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import Any

import aiohttp
import httpx
import redis
import requests
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "")
POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
LINES = Lines()


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    number: Mapped[int]
    note: Mapped[str | None]


@LINES.add
def mappings_whose_order_is_that_of_a_set() -> Any:
    """SQLAlchemy puts the parameters of an INSERT of several rows together in that order."""
    found: list[Any] = []
    for driver in ("psycopg", "psycopg2"):
        engine = sa.create_engine(POSTGRES.set(drivername=f"postgresql+{driver}"))
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add_all([Order(item=f"n{n}", number=n, note="even" if n % 2 == 0 else None) for n in range(6)])
            session.commit()
            rows = session.execute(sa.select(Order).order_by(Order.id)).scalars()
            found.append([(row.id, row.item, row.number, row.note) for row in rows])
        with engine.connect() as connection:
            # Whatever the order of this process, it is not that of the recording in most of these.
            for number in range(4):
                names = {f"{letter}{number}" for letter in "abcdef"}
                chosen = sa.text(
                    " || ".join(f"CAST(:{name} AS text)" for name in sorted(names)).join(("SELECT ", ""))
                )
                found.append(connection.execute(chosen, {name: name for name in names}).scalar())
        engine.dispose()
    return found


@LINES.add
def calls_of_http() -> Any:
    async def by_aiohttp() -> Any:
        async with aiohttp.ClientSession() as client, client.get(f"{UPSTREAM}/users/3") as response:
            return response.status, await response.json()

    trace = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
    return [
        httpx.get(f"{UPSTREAM}/users/1", headers={"traceparent": trace}, params={"page": "2"}).json(),
        requests.post(f"{UPSTREAM}/orders", json={"item": "tea", "number": 2}, timeout=60).json(),
        asyncio.run(by_aiohttp()),
        httpx.get(f"{UPSTREAM}/items").json(),
    ]


@LINES.add
def commands_of_redis() -> Any:
    with redis.Redis(port=int(os.environ.get("REDIS_PORT", "1")), decode_responses=True) as client:
        client.delete("order", "names")
        return [
            client.hset("order", mapping={"item": "tea", "number": 2}),
            client.sadd("names", "ada"),
            client.hgetall("order"),
            client.smembers("names"),
            client.get("nothing"),
        ]
