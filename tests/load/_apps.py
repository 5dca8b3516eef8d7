"""A service for each kind of server: each request makes HTTP, SQL and Redis calls that carry its own number.

Where to is in the environment: ``UPSTREAM``, ``DATABASE`` (a URL of SQLAlchemy's without driver) and ``REDIS``. With
``INSTRUMENT`` set the module switches the recording on itself, for servers whose workers are begun anew.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import redis
import redis.asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from timetracer_otel.cassette import CassetteStore

if "INSTRUMENT" in os.environ:
    from timetracer_otel.otel.instrumentor import TimetracerInstrumentor

    TimetracerInstrumentor().instrument()

__all__ = ["CALLS", "fastapi_app", "flask_app"]

CALLS = {"HTTP": 2, "SQL": 1, "SET": 1, "GET": 1}
"""What each request makes, once more or less to connect."""
_SELECT = sa.text("SELECT CAST(:number AS INTEGER) AS number")
_POOL = 3
_PATIENCE_S = 120
"""As long as the client waits. On a busy machine, a hundred requests wait for these connections longer than 30 s."""


@functools.cache
def _client() -> httpx.Client:
    return httpx.Client(verify=False, timeout=_PATIENCE_S)


@functools.cache
def _async_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=False, timeout=_PATIENCE_S)


@functools.cache
def _engine() -> sa.Engine:
    url = sa.make_url(os.environ["DATABASE"]).set(drivername="postgresql+psycopg")
    return sa.create_engine(url, pool_size=_POOL, max_overflow=0, pool_timeout=_PATIENCE_S)


@functools.cache
def _async_engine() -> AsyncEngine:
    url = sa.make_url(os.environ["DATABASE"]).set(drivername="postgresql+asyncpg")
    return create_async_engine(url, pool_size=_POOL, max_overflow=0, pool_timeout=_PATIENCE_S)


@functools.cache
def _redis() -> redis.Redis:
    # Others raise where all connections are in use.
    pool = redis.BlockingConnectionPool.from_url(os.environ["REDIS"], max_connections=20, timeout=_PATIENCE_S)
    return redis.Redis(connection_pool=pool)


@functools.cache
def _async_redis() -> redis.asyncio.Redis:
    pool = redis.asyncio.BlockingConnectionPool.from_url(os.environ["REDIS"], max_connections=20, timeout=_PATIENCE_S)
    return redis.asyncio.Redis(connection_pool=pool)


@functools.cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8)


def _asked(number: int) -> int:
    found: int = _client().get(f"{os.environ['UPSTREAM']}/users/{number}").json()["id"]
    return found


def _selected(number: int) -> int:
    with _engine().connect() as connection:
        found: int = connection.execute(_SELECT, {"number": number}).scalar_one()
    return found


def _kept(number: int) -> int:
    _redis().set(f"number:{number}", number)
    return int(_redis().get(f"number:{number}") or 0)  # type: ignore[arg-type]


async def _asked_async(number: int) -> int:
    found: int = (await _async_client().get(f"{os.environ['UPSTREAM']}/users/{number}")).json()["id"]
    return found


async def _selected_async(number: int) -> int:
    async with _async_engine().connect() as connection:
        found: int = (await connection.execute(_SELECT, {"number": number})).scalar_one()
    return found


async def _kept_async(number: int) -> int:
    await _async_redis().set(f"number:{number}", number)
    return int(await _async_redis().get(f"number:{number}") or 0)


def fastapi_app() -> Any:
    """Tasks, and a thread beside them."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/work/{number}")
    async def work(number: int) -> list[int]:
        return list(
            await asyncio.gather(
                _asked_async(number), _selected_async(number), _kept_async(number), asyncio.to_thread(_asked, number)
            )
        )

    return app


def flask_app() -> Any:
    """Threads that hand work to threads."""
    import flask

    app = flask.Flask("service")

    @app.get("/work/<int:number>")
    def work(number: int) -> list[int]:
        elsewhere = [_executor().submit(contextvars.copy_context().run, step, number) for step in (_asked, _selected)]
        return [_kept(number), _asked(number), *(future.result() for future in elsewhere)]

    @app.get("/killed/<int:number>")
    def killed(number: int) -> list[int]:
        _asked(number)
        # The journal is kept ten times a second, where the machine has time for it.
        until = time.monotonic() + _PATIENCE_S
        while (
            not any(each.events for each in CassetteStore(os.environ["TIMETRACER_DIR"]).list())
            and time.monotonic() < until
        ):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    return app
