"""The same calls by each HTTP client: bare, recorded, or replayed. Prints what the app gets of them.

Arguments: ``bare``, ``record`` or ``replay``; the address of `tests.loopback`; then ``CLIENT`` or ``CLIENT=FILE``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from timetracer_otel import record, replay

CALLS = [
    ("GET", "/users/7?b=2&a=1", b""),
    ("GET", "/items", b""),
    ("POST", "/orders", b'{"sku": "tea", "n": 2}'),
    ("GET", "/users/7?b=2&a=1", b""),
    ("GET", "/nowhere", b""),
]
JSON = {"Content-Type": "application/json"}
CHANGING = {"date"}
Answer = tuple[int, list[tuple[str, str]], str]


def _answer(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
    kept = [(name.lower(), value) for name, value in headers if name.lower() not in CHANGING]
    return status, kept, body.decode()


def by_httpx(url: str) -> list[Answer]:
    import httpx

    with httpx.Client() as client:
        answers = [client.request(method, url + path, content=body, headers=JSON) for method, path, body in CALLS]
    return [_answer(each.status_code, each.headers.multi_items(), each.content) for each in answers]


def by_requests(url: str) -> list[Answer]:
    import requests

    with requests.Session() as session:
        answers = [session.request(method, url + path, data=body, headers=JSON) for method, path, body in CALLS]
    return [_answer(each.status_code, each.headers.items(), each.content) for each in answers]


def by_urllib3(url: str) -> list[Answer]:
    import urllib3

    with urllib3.PoolManager() as pool:
        answers = [pool.request(method, url + path, body=body or None, headers=JSON) for method, path, body in CALLS]
    return [_answer(each.status, each.headers.items(), each.data) for each in answers]


def by_aiohttp(url: str) -> list[Answer]:
    import aiohttp

    async def ask() -> list[Answer]:
        made = []
        async with aiohttp.ClientSession(headers=JSON) as session:
            for method, path, body in CALLS:
                async with session.request(method, url + path, data=body or None) as answer:
                    made.append(_answer(answer.status, answer.headers.items(), await answer.read()))
        return made

    return asyncio.run(ask())


CLIENTS: dict[str, Callable[[str], list[Answer]]] = {
    "httpx": by_httpx,
    "requests": by_requests,
    "urllib3": by_urllib3,
    "aiohttp": by_aiohttp,
}


def _session(mode: str, path: str) -> AbstractContextManager[Any]:
    if mode == "bare":
        return nullcontext()
    return record(path) if mode == "record" else replay(path, fail_on_unused=True)


def main(mode: str, url: str, *clients: str) -> None:
    """Print the answers of each client in JSON."""
    told: dict[str, list[Answer]] = {}
    for each in clients:
        client, _, path = each.partition("=")
        with _session(mode, path):
            told[each] = CLIENTS[client](url)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
