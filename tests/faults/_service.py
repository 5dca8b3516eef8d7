"""A service that asks itself all the time, and writes down what it has done, for as long as nobody kills it."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import starlette.applications
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from timetracer_otel.cassette import CassetteStore, WrittenEvents
from timetracer_otel.process.journal import Journal
from timetracer_otel.types import Cassette

__all__ = ["CALLS", "serve"]

CALLS = 100
"""No request makes so many calls: call ``n`` of request ``i`` asks for user ``i * CALLS + n``."""


class Diary:
    """What the service did, in a file that lies on the disk after each line."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, request: int, call: int = 0) -> None:
        os.write(self._file, f"{what} {request} {call} {time.monotonic()}\n".encode())

    def note_of_recorder(self) -> None:
        """Also note what the recorder has done: each cassette that it wrote, and each time it saw to all parts."""
        put, tick = CassetteStore.put, Journal.tick

        def noted_put(store: CassetteStore, cassette: Cassette, written: WrittenEvents | None = None) -> str:
            path = put(store, cassette, written)
            self.note("wrote", int(cassette.request.path.split("/")[2]))
            return path

        def noted_tick(journal: Journal, *, is_busy: bool = False) -> None:
            began_s, due_s = time.monotonic(), journal._due_s
            tick(journal, is_busy=is_busy)
            if journal._due_s != due_s:
                self.note("looked", int(began_s * 1e6))

        CassetteStore.put, Journal.tick = noted_put, noted_tick  # type: ignore[method-assign,assignment]


def _app(upstream: str, diary: Diary) -> Any:
    # Without certificates: to read them takes longer than some services live.
    client, blocking_client = httpx.AsyncClient(verify=False), httpx.Client(verify=False)

    async def in_tasks(request: Request) -> Response:
        number, calls = request.path_params["number"], request.path_params["calls"]
        for call in range(calls):
            await client.get(f"{upstream}/users/{number * CALLS + call}")
            diary.note("called", number, call)
            await asyncio.sleep(random.random() * 0.05)
        return JSONResponse({"number": number})

    def in_a_thread(request: Request) -> Response:
        number, calls = request.path_params["number"], request.path_params["calls"]
        for call in range(calls):
            blocking_client.get(f"{upstream}/users/{number * CALLS + call}")
            diary.note("called", number, call)
            time.sleep(random.random() * 0.05)
        return JSONResponse({"number": number})

    # Looked up here: OpenTelemetry's instrumentor has put its own class there.
    return starlette.applications.Starlette(
        routes=[
            Route("/tasks/{number:int}/{calls:int}", in_tasks),
            Route("/thread/{number:int}/{calls:int}", in_a_thread),
        ]
    )


async def _ask_for_ever(app: Any, diary: Diary, numbers: itertools.count[int]) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as client:
        while True:
            number = next(numbers)
            where = "tasks" if number % 3 else "thread"
            diary.note("asked", number)
            await client.get(f"/{where}/{number}/{random.randint(1, 12)}")
            diary.note("answered", number)


async def _main(upstream: str, diary: Diary, begins: Callable[[], object]) -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = 8
    app = _app(upstream, diary)
    numbers = itertools.count(1)
    begins()
    await asyncio.gather(*(_ask_for_ever(app, diary, numbers) for _ in range(6)))


def serve(upstream: str, diary: Path, begins: Callable[[], object]) -> None:
    """Never returns; ``begins`` is called before the first request."""
    notes = Diary(diary)
    notes.note_of_recorder()
    asyncio.run(_main(upstream, notes, begins))
