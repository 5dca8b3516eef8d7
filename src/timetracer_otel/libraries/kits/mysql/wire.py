"""What stands in a replay for the socket of a driver in Python: it answers as a server does that has nothing to tell.

The driver's own code greets it, and tells it of settings: the character set, autocommit, the database, the beginning
of a transaction. Statements of the app never get here; their answers are recorded. See
https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html for the packets.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from timetracer_otel.calls.guarded import Flow
from timetracer_otel.calls.guarded_objects import ReplayObject, in_steps
from timetracer_otel.calls.whose_error import raise_for_app

__all__ = ["AUTOCOMMIT", "COM_QUERY", "IN_TRANSACTION", "MORE_RESULTS", "Wire"]

IN_TRANSACTION: Final = 1
AUTOCOMMIT: Final = 2
MORE_RESULTS: Final = 8
"""Flags of the server's status."""
COM_QUERY: Final = 3
_COM_QUIT: Final = 1
_SETS_AUTOCOMMIT: Final = re.compile(r"SET (?:@@SESSION\.)?AUTOCOMMIT = (\w+)")
_CLIENT_SSL: Final = 1 << 11
_HEADER_BYTES: Final = 4
_SALT: Final = b"\x01" * 20
_PLUGIN: Final = b"mysql_native_password"


class Wire(ReplayObject):
    """Stands for a socket, for the two ends of a stream, and for a transport of asyncio, as drivers have them.

    Args:
        lib: The plugin.
        facts: What the recorded connection knew of its server.
    """

    def __init__(self, lib: str, facts: Mapping[str, Any]) -> None:
        self._lib = lib
        self._came = bytearray()
        self._greeted = self._is_closed = False
        self._out = bytearray()
        self.status: int = facts.get("status", AUTOCOMMIT)
        """The server's status, of which each answer tells."""
        self.feed: Callable[[bytes], object] | None = None
        """Takes what the server sends, where the driver does not read."""
        self.drop: Callable[[], object] | None = None
        """Lets the driver forget what it was fed."""
        self.lost: Callable[[None], object] | None = None
        """Called when the driver closes it, where the driver waits for that."""
        capabilities = facts.get("capabilities", 0) & ~_CLIENT_SSL
        self._greeting = b"".join(
            (
                b"\x0a" + str(facts.get("server_version", "")).encode("latin-1") + b"\0",
                struct.pack("<I", facts.get("thread_id", 0)) + _SALT[:8] + b"\0",
                struct.pack("<H", capabilities & 0xFFFF),
                struct.pack("<BHHB", facts.get("language", 0), self.status, capabilities >> 16, len(_SALT) + 1),
                b"\0" * 10 + _SALT[8:] + b"\0" + _PLUGIN + b"\0",
            )
        )

    def greet(self) -> None:
        """Begin, as a server does."""
        self._send(0, self._greeting)

    def forget(self) -> None:
        """Take back the answer to a statement, which comes from the cassette."""
        self._out.clear()
        if self.drop is not None:
            self.drop()

    def _take(self, data: Any) -> None:
        self._came += data
        while len(self._came) >= _HEADER_BYTES:
            length, number = int.from_bytes(self._came[:3], "little"), self._came[3]
            end = _HEADER_BYTES + length
            if len(self._came) < end:
                return
            packet = bytes(self._came[_HEADER_BYTES:end])
            del self._came[:end]
            if number == 0:
                self._command(packet[0], packet[1:])
            elif not self._greeted:
                self._greeted = True
                self._ok(number + 1)

    def _command(self, command: int, text: bytes) -> None:
        if command == _COM_QUIT:
            return
        if command == COM_QUERY:
            # Attributes of a statement may stand before it.
            said = text.decode("utf-8", "replace").upper().lstrip("\0\1 ")
            sets = _SETS_AUTOCOMMIT.fullmatch(said)
            if sets is not None:
                is_on = sets[1] in ("1", "TRUE", "ON")
                self.status = self.status | AUTOCOMMIT if is_on else self.status & ~AUTOCOMMIT
            elif said == "BEGIN":
                self.status |= IN_TRANSACTION
            elif said in ("COMMIT", "ROLLBACK"):
                self.status &= ~IN_TRANSACTION
        self._ok(1)

    def _ok(self, number: int) -> None:
        self._send(number, b"\0\0\0" + struct.pack("<HH", self.status & ~MORE_RESULTS, 0))

    def _send(self, number: int, payload: bytes) -> None:
        data = len(payload).to_bytes(3, "little") + bytes([number]) + payload
        if self.feed is not None:
            self.feed(data)
        else:
            self._out += data

    # A socket.

    def makefile(self, *_: Any) -> Wire:
        """The end that is read."""
        return self

    def settimeout(self, *_: Any) -> None:
        """Nothing: there is nothing to wait for."""

    def setsockopt(self, *_: Any) -> None:
        """Nothing: there is no network."""

    def sendall(self, data: Any) -> None:
        """The driver tells something."""
        if self._is_closed:
            raise_for_app(OSError(errno.EBADF, os.strerror(errno.EBADF)))
        self._take(data)

    def recv_into(self, buffer: Any, count: int = 0) -> int:
        """The driver reads. Where there is nothing, it gets a packet that says nothing: its answer is recorded."""
        if not self._out:
            self._ok(1)
        data = self.read(count or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def recv(self, count: int) -> bytes:
        """The same."""
        if not self._out:
            self._ok(1)
        return self.read(count)

    def read(self, count: int) -> bytes:
        """The driver reads."""
        made = bytes(self._out[:count])
        del self._out[:count]
        return made

    def close(self) -> None:
        """The driver closes it."""
        self._is_closed = True
        if self.lost is not None:
            self.lost(None)

    # A stream of asyncio, and its transport.

    @property
    def transport(self) -> Wire:
        """Itself."""
        return self

    def write(self, data: Any) -> None:
        """The driver tells something."""
        self._take(data)

    @in_steps
    def readexactly(self, count: int) -> Flow:
        """The driver reads."""
        yield from ()
        return self.read(count)

    @in_steps
    def drain(self) -> Flow:
        """Nothing: nothing is waited for."""
        yield from ()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Itself, as its socket."""
        return self if name == "socket" else default

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""

    def is_closing(self) -> bool:
        """Whether the driver has closed it."""
        return self._is_closed

    def at_eof(self) -> bool:
        """Whether the server has gone."""
        return False

    def exception(self) -> None:
        """None: nothing went wrong."""

    @property
    def eof_received(self) -> bool:
        """Whether the server has gone."""
        return False
