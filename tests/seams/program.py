"""A program that calls one library bare, recorded and replayed, after something of the library was taken away.

It brings its own servers, and counts what comes in at them. ``LIBRARY CASSETTE [rename NAME | delete NAME]``: what is
renamed is renamed in the library's source, everywhere, as a release of it would do; what is deleted is deleted after
the import. Where the cassette is not there yet it is recorded. The last line of the output is JSON.
"""

from __future__ import annotations

import asyncio
import http.server
import importlib
import importlib.machinery
import json
import logging
import os
import re
import socketserver
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timetracer_otel
from timetracer_otel.base import faults
from timetracer_otel.cassette import read_cassette

arrived: list[str] = []
"""What came in at a server."""


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        arrived.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None: ...


class _Redis(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            words = [self._word() for _ in range(int(line[1:]))]
            arrived.append(words[0].decode())
            self.wfile.write(b"$5\r\nhello\r\n" if words[0] == b"GET" else b"+OK\r\n")

    def _word(self) -> bytes:
        return self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2]


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, handler: Any) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server_address[1]}"


def _httpx(address: str) -> Any:
    import httpx

    async def later() -> str:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            return (await client.get(f"http://{address}/async")).text

    with httpx.Client(trust_env=False, verify=False) as client:
        return _each(lambda: client.get(f"http://{address}/sync").text, lambda: asyncio.run(later()))


def _requests(address: str) -> Any:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return _each(lambda: session.get(f"http://{address}/sync").text)


def _aiohttp(address: str) -> Any:
    import aiohttp

    async def call() -> str:
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/async") as response:
            return await response.text()

    return _each(lambda: asyncio.run(call()))


def _redis(address: str) -> Any:
    import redis
    import redis.asyncio

    host, port = address.split(":")

    async def later() -> Any:
        async with redis.asyncio.Redis(host=host, port=int(port), protocol=2) as client:
            return await client.get("async")

    with redis.Redis(host=host, port=int(port), protocol=2) as client:
        return _each(
            lambda: client.get("sync"),
            lambda: asyncio.run(later()),
            lambda: client.pipeline(transaction=False).get("p").execute(),
        )


def _sqlalchemy(file: str) -> Any:
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"sqlite:///{file}")

    def ask() -> Any:
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text("SELECT 40 + 2")).scalar()

    try:
        return _each(ask)
    finally:
        engine.dispose()
        if Path(file).exists():
            arrived.append(file)
            Path(file).unlink()


CALLS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "httpx": (Http, _httpx),
    "requests": (Http, _requests),
    "aiohttp": (Http, _aiohttp),
    "redis": (_Redis, _redis),
    "sqlalchemy": (None, _sqlalchemy),
}


def _each(*calls: Callable[[], Any]) -> list[list[str]]:
    outcomes = []
    for call in calls:
        try:
            outcomes.append(["value", repr(call())])
        except Exception as error:
            outcomes.append([type(error).__name__, str(error)])
    return outcomes


def _rename(package: str, name: str) -> None:
    # Not the module `_content` of httpx, which has the name of an attribute.
    pattern, loader = re.compile(rf"(?<!from \.)\b{name}\b"), importlib.machinery.SourceFileLoader
    read: Any = loader.get_code

    def get_code(self: Any, fullname: str) -> Any:
        if fullname.partition(".")[0] != package:
            return read(self, fullname)
        path = self.get_filename(fullname)
        source, count = pattern.subn(f"{name}_moved", self.get_data(path).decode("utf-8"))
        return compile(source, path, "exec", dont_inherit=True) if count else read(self, fullname)

    loader.get_code = get_code  # type: ignore[method-assign]


def _delete(name: str) -> None:
    module, _, path = name.partition(":")
    *owners, attribute = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    delattr(owner, attribute)


def main(library: str, cassette: str, change: str = "", name: str = "") -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    faults.logger.addHandler(handler)
    server, call = CALLS[library]
    target = Server(server).address if server is not None else f"{cassette}.{os.getpid()}.db"
    if change == "rename":
        _rename(name.partition(":")[0].partition(".")[0], name.rpartition(".")[2].rpartition(":")[2])
    importlib.import_module(library)
    if change == "delete":
        _delete(name)

    def outcome() -> dict[str, Any]:
        before = len(arrived)
        calls = call(target)
        return {"calls": calls, "arrived": len(arrived) - before}

    result: dict[str, Any] = {"bare": outcome()}
    written = cassette if not Path(cassette).exists() else f"{cassette}.{os.getpid()}"
    with timetracer_otel.record(written):
        result["record"] = outcome()
    recorded = read_cassette(written)
    # What SQLAlchemy cannot see, the plugin of its driver does; and of requests, that of urllib3.
    events = sum(event.signature.lib == library for event in recorded.events)
    result["record"] |= {"dropped": dict(recorded.stats.dropped), "events": events}
    with timetracer_otel.replay(cassette, fail_on_miss=False) as replay:
        result["replay"] = outcome()
    verdict = replay.verdict()
    result["replay"]["ok"], result["replay"]["verdict"] = verdict.ok, str(verdict)
    with timetracer_otel.replay(cassette, fail_on_miss=False, live_plugins=[library, "sqlite3", "urllib3"]) as replay:
        result["live"] = outcome()
    result["live"]["verdict"] = str(replay.verdict())
    result["said"], result["faults"] = said, faults.fault_counts()
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
