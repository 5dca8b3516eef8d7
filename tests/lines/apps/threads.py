"""Lines about threads: each call is made in one that was started in another way. ``UPSTREAM`` is a server's URL."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.lines._line import Lines
from tests.process._thread_ways import in_every_way

LINES = Lines()


def _ask(user: int) -> Any:
    return httpx.get(f"{os.environ['UPSTREAM']}/users/{user}").json()


@LINES.add
def threads_started_in_every_way() -> Any:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        return in_every_way(_ask, pool)
