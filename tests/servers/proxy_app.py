"""A forwarding HTTP proxy: absolute-form requests and CONNECT tunnels, with or without a password."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import urlsplit

from tests.servers._wire import State

__all__ = ["serve_connection"]

_PASSWORD = b"Basic " + base64.b64encode(b"user:pass")


async def serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: State, private: bool = False
) -> None:
    """Forward one connection; ``private`` demands ``user:pass``."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        state.hits["proxy"] += 1
        first, *lines = head[:-4].split(b"\r\n")
        method, target, _ = first.split(b" ")
        given = [line for line in lines if line.lower().startswith(b"proxy-authorization:")]
        if private and not any(_PASSWORD in line for line in given):
            writer.write(b"HTTP/1.1 407 Who Are You\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        await _forward(method, target, lines, reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _forward(
    method: bytes, target: bytes, lines: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    url = urlsplit(b"//" + target if method == b"CONNECT" else target)
    try:
        upstream, out = await asyncio.open_connection((url.hostname or b"").decode(), url.port)
    except OSError:
        writer.write(b"HTTP/1.1 502 Cannot Reach It\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return
    if method == b"CONNECT":
        writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
    else:
        path = (url.path or b"/") + (b"?" + url.query if url.query else b"")
        kept = [line for line in lines if not line.lower().startswith((b"proxy-", b"connection:"))]
        out.write(b"\r\n".join([method + b" " + path + b" HTTP/1.1", *kept, b"Connection: close", b"", b""]))
    upload = asyncio.create_task(_pipe(reader, out))
    if method != b"CONNECT":
        answer = await upstream.readuntil(b"\r\n\r\n")
        writer.write(answer[:-2] + b"Via: 1.1 tests\r\n\r\n")
    await _pipe(upstream, writer)
    upload.cancel()
    out.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()
