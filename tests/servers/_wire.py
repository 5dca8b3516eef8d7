"""HTTP/1.1 by hand: what a server of the tests reads and writes, byte for byte.

No framework: the tests need servers that answer with odd headers, odd order, no date, and broken framing.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["Exchange", "State", "read_exchange"]

HeaderPair = tuple[bytes, bytes]

_GATE_SECONDS = 30.0
_TLS_HANDSHAKE = b"\x16"
_BOUNDARY = re.compile(rb"boundary=\"?([^\";\r\n]+)")


@dataclass
class State:
    """What the servers remember between requests; a control command resets it."""

    hits: Counter[str] = field(default_factory=Counter)
    counters: Counter[str] = field(default_factory=Counter)
    gates: defaultdict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(0))
    )

    def reset(self) -> None:
        """Forget everything."""
        self.hits.clear()
        self.counters.clear()
        self.gates.clear()

    async def gate(self, token: str) -> bool:
        """Wait until the test lets the next part through; False if it never does."""
        try:
            await asyncio.wait_for(self.gates[token].acquire(), _GATE_SECONDS)
        except asyncio.TimeoutError:
            return False
        return True


@dataclass
class Exchange:
    """One request, and the connection to answer it on."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    state: State
    method: str
    target: str
    headers: list[HeaderPair]
    keep_alive: bool = True
    _body: bytes | None = None

    @property
    def path(self) -> str:
        """The target's path, decoded."""
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        """The query; the last one counts where a name is repeated."""
        return {k: v[-1] for k, v in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()}

    def header(self, name: str) -> str:
        """A request header's (last) value, or the empty string."""
        found = [value for key, value in self.headers if key.lower() == name.encode()]
        return found[-1].decode("latin-1") if found else ""

    async def body(self) -> bytes:
        """The request's body, read to its end."""
        if self._body is None:
            if "chunked" in self.header("transfer-encoding").lower():
                self._body = await self._chunked_body()
            else:
                self._body = await self.reader.readexactly(int(self.header("content-length") or 0))
        return self._body

    @property
    def body_pending(self) -> bool:
        """True where a body was announced that nobody has read."""
        return self._body is None and bool(self.header("content-length") or self.header("transfer-encoding"))

    async def _chunked_body(self) -> bytes:
        parts = []
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            parts.append(await self.reader.readexactly(size))
            await self.reader.readline()
            if size == 0:
                return b"".join(parts)

    async def described(self) -> dict[str, object]:
        """The request as plain values, its multipart boundary (random in every client) replaced."""
        boundary = _BOUNDARY.search(self.header("content-type").encode("latin-1"))
        body = await self.body()
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers]
        if boundary:
            body = body.replace(boundary[1], b"BOUNDARY")
            headers = [[name, value.replace(boundary[1].decode(), "BOUNDARY")] for name, value in headers]
        return {"method": self.method, "target": self.target, "headers": headers, "body": body.decode("latin-1")}

    async def send(self, *parts: bytes) -> None:
        """Write bytes as they are."""
        for part in parts:
            self.writer.write(part)
        await self.writer.drain()

    async def start(
        self,
        status: int = 200,
        headers: Iterable[tuple[str | bytes, str | bytes]] = (),
        reason: str | None = None,
        version: str = "HTTP/1.1",
    ) -> None:
        """Write the status line and headers as they are: nothing is added."""
        await self.send(self._head(status, headers, reason, version))

    async def reply(
        self,
        body: bytes = b"",
        status: int = 200,
        headers: Iterable[tuple[str | bytes, str | bytes]] = (),
        reason: str | None = None,
    ) -> None:
        """Answer with a body of known length, in one write; the body is read first, and left out for HEAD."""
        await self.body()
        lines = [*headers, ("content-length", str(len(body)))] if status not in {204, 304} else list(headers)
        head = self._head(status, lines, reason, "HTTP/1.1")
        await self.send(head if self.method == "HEAD" else head + body)

    async def chunk(self, data: bytes, *, last: bool = False) -> None:
        """Write one chunk of a chunked body; with the last one its end, in one write: a client sees both at once."""
        await self.send(b"%x\r\n" % len(data) + data + b"\r\n" + (b"0\r\n\r\n" if last else b""))

    @staticmethod
    def _head(
        status: int, headers: Iterable[tuple[str | bytes, str | bytes]], reason: str | None, version: str
    ) -> bytes:
        reason = {200: "OK", 404: "Not Found"}.get(status, "Whatever") if reason is None else reason
        lines = [f"{version} {status} {reason}".encode("latin-1")]
        lines += [_bytes(name) + b": " + _bytes(value) for name, value in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n"


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


async def read_exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: State) -> Exchange | None:
    """The next request on a connection, without its body; None at the connection's end."""
    try:
        start = await reader.readexactly(1)
        if start == _TLS_HANDSHAKE:
            writer.write(b"HTTP/1.1 400 This Is A Plain Port\r\nContent-Length: 0\r\n\r\n")
            return None
        head = start + await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head[:-4].split(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    exchange = Exchange(reader, writer, state, method, target, headers)
    exchange.keep_alive = "close" not in exchange.header("connection").lower()
    state.hits[exchange.path] += 1
    return exchange
