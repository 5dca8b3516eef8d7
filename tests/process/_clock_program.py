"""An app with a token that expires, a query with today's date, and a signature with the time in it; for test_clock.

``python _clock_program.py STEP UPSTREAM [CASSETTE]``: bare and record on a machine whose clock is wrong by years, and
replay on one whose clock is right. It writes what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import threading
import time
from datetime import datetime, timezone
from typing import Any

import httpx
import time_machine

from timetracer_otel import record, replay

THEN = datetime(2021, 3, 4, 23, 30, tzinfo=timezone.utc).timestamp()


def app(upstream: str) -> dict[str, Any]:
    """Nothing of it must depend on the day on which it runs."""
    seen: dict[str, Any] = {}
    ticks = time.monotonic()
    with httpx.Client() as client:
        # It is valid for five minutes, as that of a login.
        issued = client.post(f"{upstream}/login", json={"exp": 1614901200, "scope": "read"}).json()
        seen["expired"] = issued["exp"] < time.time()
        seen["left"] = 0 < issued["exp"] - time.time() < 1800
        today = datetime.now(timezone.utc)
        seen["query"] = client.get(f"{upstream}/items", params={"day": today.date().isoformat()}).json()
        stamp = today.strftime("%Y%m%dT%H")
        signed = hashlib.sha256(f"secret {stamp}".encode()).hexdigest()
        seen["signed"] = client.get(f"{upstream}/users/7", headers={"x-date": stamp, "x-of": signed}).json()

        def in_a_thread() -> None:
            seen["thread"] = client.get(f"{upstream}/users/8", params={"year": time.gmtime().tm_year}).json()

        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()

        async def in_a_task() -> None:
            await asyncio.sleep(0.01)
            seen["task"] = datetime.fromtimestamp(time.time_ns() // 10**9, timezone.utc).year

        asyncio.run(in_a_task())
    seen["monotonic"] = 0 <= time.monotonic() - ticks < 60
    return seen


def main(step: str, upstream: str, path: str) -> None:
    if step == "replay":
        with replay(path, clock="recorded", fail_on_unused=True):
            seen = app(upstream)
        seen["year after"] = datetime.now(timezone.utc).year > 2021
    else:
        with time_machine.travel(THEN):
            if step == "record":
                with record(path):
                    seen = app(upstream)
            else:
                seen = app(upstream)
        seen["year after"] = datetime.now(timezone.utc).year > 2021
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
