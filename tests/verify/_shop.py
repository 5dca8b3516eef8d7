"""A service whose HTTP clients, engines and Redis pools are shared by all requests, sync and async.

``python -m tests.verify._shop PORT UPSTREAM DATABASE REDIS``. Each request's calls carry its own number, and its
answer holds what each of them gave.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import redis
import redis.asyncio
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI, Request
from sqlalchemy.ext.asyncio import create_async_engine

PORT, UPSTREAM, DATABASE, REDIS = int(sys.argv[1]), *sys.argv[2:5]
CHANGE = os.environ.get("CHANGE", "")

engine = sa.create_engine(f"sqlite:///{DATABASE}", pool_size=3, max_overflow=2)
# Older releases pool no connections to SQLite files of their own accord.
async_engine = create_async_engine(
    f"sqlite+aiosqlite:///{DATABASE}", poolclass=sa.AsyncAdaptedQueuePool, pool_size=3, max_overflow=2
)
http = httpx.Client(base_url=UPSTREAM)
cache = redis.Redis.from_url(REDIS, max_connections=100)

SELECT = sa.text("SELECT name FROM person WHERE id = :id")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with engine.connect() as connection:
        app.state.people = connection.scalar(sa.text("SELECT count(*) FROM person"))
    async with (
        httpx.AsyncClient(base_url=UPSTREAM) as client,
        redis.asyncio.Redis.from_url(REDIS, max_connections=100) as pool,
    ):
        app.state.http, app.state.redis = client, pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/sync/{number}")
def in_thread(number: int) -> dict[str, Any]:
    with engine.begin() as connection:
        name = connection.scalar(SELECT, {"id": number})
    user = http.get(f"/users/{number + (CHANGE == 'call')}").json()
    total = cache.incrby(f"sync:{number}", number)
    return {"name": name, "user": user, "total": total, "people": app.state.people}


@app.get("/async/{number}")
async def in_task(number: int) -> dict[str, Any]:
    async def name() -> Any:
        async with async_engine.connect() as connection:
            return await connection.scalar(SELECT, {"id": number})

    answer, found, total = await asyncio.gather(
        app.state.http.get(f"/users/{number}"), name(), app.state.redis.incrby(f"async:{number}", number)
    )
    return {"name": found, "user": answer.json(), "total": total, "people": app.state.people}


@app.post("/search")
async def search(request: Request) -> dict[str, Any]:
    asked = await request.json()
    answer = await app.state.http.get("/items", params={"of": asked["of"]})
    found = answer.json()["items"]
    return {"of": asked["of"], "found": found[::-1] if CHANGE == "answer" else found}


@app.get("/until/{number}")
def until(number: int) -> dict[str, Any]:
    """What was valid for an hour from a time on, which nobody has told the service again since."""
    expired = time.time() > int(os.environ["EXPIRES"])
    user = http.get(f"/users/{number + 100 * expired}").json()
    return {"expired": expired, "year": time.gmtime().tm_year, "user": user}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
