"""A program under ``opentelemetry-instrument``: serve many requests in one process, and tell what memory it takes.

``python -m tests.suite_memory.program REQUESTS WINDOWS``. The app is a real one (FastAPI), called as a server calls
it; each request calls a database, and some an upstream over HTTP, leave a task behind, use a thread, or fail.
What is measured is printed as JSON, one object for each window.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

import timetracer_otel
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import TraceSession

CONCURRENCY = 8
MOST_WAITING = 64
BODY = b"x" * 20_000
UPSTREAM = os.environ["UPSTREAM"]

app = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
client = httpx.AsyncClient()
in_threads = httpx.Client()
tasks: set[asyncio.Task[Any]] = set()


@app.post("/orders/{number}")
async def order(number: int, request: Request) -> StreamingResponse:
    """Call whatever a service calls."""
    body = await request.body()
    if number % 4 == 0:
        await client.get(f"{UPSTREAM}/users/{number}")
    with engine.connect() as connection:
        connection.execute(text("SELECT :number AS number"), {"number": number}).all()
    if number % 10 == 0:
        task = asyncio.create_task(_left_behind(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if number % 20 == 1:
        await asyncio.to_thread(in_threads.get, f"{UPSTREAM}/users/{number}")
    if number % 50 == 2:
        raise RuntimeError("as some requests do")

    async def pieces() -> Any:
        for start in range(0, len(body), 5000):
            yield body[start : start + 5000]

    return StreamingResponse(pieces(), media_type="text/plain")


async def _left_behind(number: int) -> None:
    await asyncio.sleep(0.01)
    await client.get(f"{UPSTREAM}/users/{number}")


async def _ask(number: int) -> None:
    messages = [{"type": "http.request", "body": BODY[:9000], "more_body": True}]
    messages.append({"type": "http.request", "body": BODY[9000:], "more_body": False})
    messages.reverse()
    over = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not messages:
            await over.wait()
            return {"type": "http.disconnect"}
        return messages.pop()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            over.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": f"/orders/{number}",
        "raw_path": f"/orders/{number}".encode(),
        "query_string": b"token=geheim",
        "root_path": "",
        "headers": [(b"host", b"shop"), (b"content-length", str(len(BODY)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    try:
        await app(scope, receive, send)
    except RuntimeError:
        # As servers do: Starlette has answered 500 and raises the error again.
        pass


def _rss_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _clear(folder: Path) -> int:
    """Remove the cassettes of requests, of which there are too many for a disk; gives their number."""
    found = list(folder.rglob("POST_*"))
    for file in found:
        file.unlink()
    return len(found)


async def main(requests: int, windows: int) -> None:
    """Ask in windows, and print after each."""
    folder = Path(os.environ["TIMETRACER_DIR"])
    number = 0
    for _ in range(windows):
        for _ in range(requests // windows // CONCURRENCY):
            await asyncio.gather(*(_ask(number + place) for place in range(CONCURRENCY)))
            number += CONCURRENCY
            # Faster than a disk can be, and what waits for it is not what is looked for here.
            while timetracer_otel.counters().sessions_open > MOST_WAITING:
                await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
        # A flush does not wait for the cassettes of those that left a task behind.
        deadline_s = time.monotonic() + 60
        while timetracer_otel.counters().sessions_open and time.monotonic() < deadline_s:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(runtime().flush)
        gc.collect()
        now = timetracer_otel.counters()
        seen = {
            "requests": number,
            "rss_kb": _rss_kb(),
            "cassettes": _clear(folder),
            "sessions": sum(isinstance(item, TraceSession) for item in gc.get_objects()),
            "live_spans": len(runtime().spans),
            "open": now.sessions_open,
            "late": now.calls_late,
            "lost": str(now) if now.lost else "",
            "threads": threading.active_count(),
        }
        print(json.dumps(seen), flush=True)
    await client.aclose()
    in_threads.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
