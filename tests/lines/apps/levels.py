"""Lines about calls that OpenTelemetry traces at several levels.

``UPSTREAM`` is a server's URL, ``POSTGRES`` a database's for SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg2  # type: ignore[import-untyped]
import requests
import sqlalchemy as sa
import urllib3
from opentelemetry import trace
from sqlalchemy.ext.asyncio import create_async_engine

from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "")
POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
LINES = Lines()
TRACER = trace.get_tracer("shop")
ONE = sa.text("SELECT 41 + 1")


@LINES.add
def statements_above_psycopg2() -> Any:
    engine = sa.create_engine(POSTGRES.set(drivername="postgresql+psycopg2"))
    with TRACER.start_as_current_span("step 1"), engine.connect() as connection:
        found = connection.scalar(ONE)
    engine.dispose()
    return [found, psycopg2.apilevel]


@LINES.add
def statements_above_asyncpg() -> Any:
    async def ask() -> Any:
        engine = create_async_engine(POSTGRES.set(drivername="postgresql+asyncpg"))
        async with engine.connect() as connection:
            found = await connection.scalar(ONE)
        await engine.dispose()
        return found

    with TRACER.start_as_current_span("step 2"):
        return [asyncio.run(ask()), asyncpg.Connection.__name__]


@LINES.add
def requests_above_urllib3() -> Any:
    """OpenTelemetry's requests keeps its urllib3 silent; another tracer of urllib3 does not keep silent."""
    pool = urllib3.connectionpool.HTTPConnectionPool
    urlopen = pool.urlopen

    def traced(*args: Any, **options: Any) -> Any:
        with trace.get_tracer("wire").start_as_current_span("urllib3 GET", kind=trace.SpanKind.CLIENT):
            return urlopen(*args, **options)

    with TRACER.start_as_current_span("step 3"):
        found = [requests.get(f"{UPSTREAM}/users/1", timeout=60).json()]
        pool.urlopen = traced  # type: ignore[method-assign]
        try:
            return [*found, requests.get(f"{UPSTREAM}/users/2", timeout=60).json()]
        finally:
            pool.urlopen = urlopen  # type: ignore[method-assign]


if importlib.util.find_spec("openai") is not None:
    # Its instrumentation is for no OpenTelemetry before 1.43.
    import openai

    @LINES.add
    def models_above_their_requests() -> Any:
        with TRACER.start_as_current_span("step 4"), openai.OpenAI(base_url=f"{UPSTREAM}/v1", api_key="x") as client:
            asked: Any = {"model": "m-1", "messages": [{"role": "user", "content": "Who are you?"}]}
            found = [client.chat.completions.create(**asked).choices[0].message.content]
            with client.chat.completions.create(**asked, stream=True) as stream:
                found += [chunk.choices[0].delta.content for chunk in stream]
        return found
