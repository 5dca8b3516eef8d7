"""The service of `under_load.py`: each request makes one HTTP call, one SELECT and two Redis commands.

It knows nothing of recording. Its own spans go through a batch processor, whose exporter does nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import redis.asyncio
import sqlalchemy.ext.asyncio
from fastapi import FastAPI
from opentelemetry import trace
from sqlalchemy import text
from subjects import instrument, no_export

UPSTREAM, DATABASE, REDIS = (os.environ[f"BENCHMARK_{name}"] for name in ("HTTP", "POSTGRESQL", "REDIS"))

provider: Any = trace.get_tracer_provider()
provider.add_span_processor(no_export())
# Its instrumentation declares older versions than it works with, so `opentelemetry-instrument` leaves it out. It
# wraps `create_async_engine` in its module, and twice where that was not imported before.
instrument("sqlalchemy")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    engine = sqlalchemy.ext.asyncio.create_async_engine(
        f"postgresql+psycopg://{DATABASE}", pool_size=16, max_overflow=48
    )
    async with httpx.AsyncClient(trust_env=False) as client, redis.asyncio.Redis(unix_socket_path=REDIS) as cache:
        app.state.client, app.state.engine, app.state.cache = client, engine, cache
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/orders/{number}")
async def order(number: int) -> dict[str, Any]:
    state = app.state
    response = await state.client.get(f"{UPSTREAM}/300/{number}")
    async with state.engine.connect() as connection:
        statement = text("SELECT id, name, mail FROM customers WHERE id = :id")
        found = (await connection.execute(statement, {"id": number % 100})).one()
    await state.cache.set(f"order:{number % 100}", found.name)
    cached = await state.cache.get(f"order:{number % 100}")
    return {"item": response.json(), "customer": found.mail, "cached": cached.decode()}


@app.get("/threads")
async def threads() -> dict[str, int | None]:
    """The system's number of each thread."""
    return {thread.name: thread.native_id for thread in threading.enumerate()}
