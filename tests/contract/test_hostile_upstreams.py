"""What a server sends costs no more than a bound, and what cannot be looked into within it is never stored."""

from __future__ import annotations

import asyncio
import gzip
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import aiohttp
import brotli
import httpx
import pytest
import requests
import zstandard

import timetracer_otel
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ReplayMismatchError

_SECRET: Final = b'{"password":"hidden-in-a-bomb"}'
_MIB: Final = 1 << 20


def _bombs() -> dict[str, bytes]:
    plain = _SECRET + bytes(96 * _MIB)
    return {
        "br": brotli.compress(plain, quality=1),
        "gzip": gzip.compress(plain, mtime=0),
        "zstd": zstandard.ZstdCompressor().compress(plain),
    }


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """A server whose answers are small and stand for 96 MiB each."""
    bombs = _bombs()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            coding = self.path.strip("/")
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-encoding", coding)
            self.send_header("content-length", str(len(bombs[coding])))
            self.end_headers()
            self.wfile.write(bombs[coding])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _by_httpx(url: str) -> bytes:
    with httpx.stream("GET", url) as answer:
        return b"".join(answer.iter_raw())


def _by_requests(url: str) -> bytes:
    with requests.get(url, stream=True, timeout=60) as answer:
        return bytes(answer.raw.read(decode_content=False))


async def _by_aiohttp(url: str) -> bytes:
    async with aiohttp.ClientSession(auto_decompress=False) as session, session.get(url) as answer:
        return await answer.read()


CLIENTS: Final[dict[str, Callable[[str], bytes]]] = {
    "httpx": _by_httpx,
    "requests": _by_requests,
    "aiohttp": lambda url: asyncio.run(_by_aiohttp(url)),
}


@pytest.mark.parametrize("coding", ["br", "gzip", "zstd"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_bomb_costs_a_bound_and_is_kept_only_as_a_hash(
    upstream: str, tmp_path: Path, client: str, coding: str
) -> None:
    path = tmp_path / "x.msgpack"
    tracemalloc.start()
    try:
        with timetracer_otel.record(path):
            read = CLIENTS[client](f"{upstream}/{coding}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * _MIB + 200 * len(read)
    (event,) = read_cassette(path).events
    body = event.result.body
    assert body is not None
    assert (body.captured, body.data, body.size_bytes) == (False, None, len(read))
    assert body.hash is not None
    assert "when decoded" in str(event.not_replayable)
    assert read not in path.read_bytes()
    with timetracer_otel.replay(path, fail_on_miss=False), pytest.raises(ReplayMismatchError, match="when decoded"):
        CLIENTS[client](f"{upstream}/{coding}")


def test_without_redaction_everything_is_kept(upstream: str, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with timetracer_otel.record(path, redact="off"):
        read = _by_httpx(f"{upstream}/br")
    with timetracer_otel.replay(path):
        assert _by_httpx(f"{upstream}/br") == read
