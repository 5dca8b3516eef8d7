"""What is noted of a WebSocket connection: its opening handshake, and the frames of both sides in their order.

It is told of bytes, and of what the app does besides: that it has left, or has given up waiting for a message. Its
notes are above compression and masking. Pings of the client, and the server's pongs to them, are the business of the
two libraries and their clocks: they are not noted. In a replay, each ping is answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from timetracer_otel.libraries.kits.conversation import exchange as conversation
from timetracer_otel.libraries.kits.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameParser,
    TooLongError,
    forgets,
)

__all__ = [
    "APP",
    "END",
    "GAVE_UP",
    "KINDS",
    "LOST",
    "OPENED",
    "SERVER",
    "Head",
    "SocketExchange",
    "content_of",
    "head_of",
]

APP: Final = "app"
SERVER: Final = "server"
KINDS: Final = {
    CONTINUATION: "continuation",
    TEXT: "text",
    BINARY: "binary",
    CLOSE: "close",
    PING: "ping",
    PONG: "pong",
}
END: Final = "end"
"""That a side has ended what it sends, with or without a close frame."""
LOST: Final = "lost"
"""That the connection was lost, with the error."""
GAVE_UP: Final = "gave up"
"""That the app waited for a message, and waits no more: a timeout has passed, or its task was cancelled."""
OPENED: Final = 101
"""The status of a handshake after which there are frames (RFC 9110 section 15.2.2)."""
_EMPTY_LINE: Final = b"\r\n\r\n"
_LONGEST_HEAD: Final = 1 << 17
_CODE_BYTES: Final = 2


@dataclass(slots=True)
class Head:
    """The head of a request or a response."""

    first: bytes
    """The first line."""
    headers: list[tuple[bytes, bytes]]

    def values(self, name: bytes) -> list[bytes]:
        """The values of a header, by its name in lower case."""
        return [value for each, value in self.headers if each.lower() == name]

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.first.split(b" ", 2)[1])


def head_of(data: bytes) -> Head:
    """A head, without the empty line at its end."""
    first, *lines = data.split(b"\r\n")
    parted = [line.partition(b":") for line in lines]
    return Head(first, [(name, value.strip(b" \t")) for name, _, value in parted])


def content_of(frame: Frame) -> Any:
    """The content of a frame as it is kept: a text where it is one, so that secrets are found in it. Of a close
    frame, its code and its reason; None where it has none.
    """
    if frame.opcode == CLOSE:
        if len(frame.data) < _CODE_BYTES:
            return None
        return [int.from_bytes(frame.data[:_CODE_BYTES], "big"), _text(frame.data[_CODE_BYTES:])]
    return frame.data if frame.opcode == BINARY or frame.is_control else _text(frame.data)


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


@dataclass(slots=True)
class SocketExchange(conversation.Exchange):
    """Notes what goes over one connection. Safe from any thread."""

    where: ClassVar[str] = "websocket.exchange"

    opened: bool = False
    """Whether there are frames: the handshake is done."""
    damaged: bool = False
    """Whether what came is no frame."""
    request: Head | None = None
    head: Head | None = None
    """Of the answer to the handshake."""
    body: bytes = b""
    """Of an answer that refuses the handshake, as it came."""
    head_s: float | None = None
    entries: list[list[Any]] = field(default_factory=list)
    """What was said: whose it is, nanoseconds since the call began, its kind, whether it ends its message, its
    content.
    """
    on_head: Callable[[int], object] | None = None
    """Told of the status of the answer."""
    _steps: int = 0
    _sent_head: bytearray = field(default_factory=bytearray)
    _came_head: bytearray = field(default_factory=bytearray)
    _sent: FrameParser | None = None
    _came: FrameParser | None = None
    _pings: list[bytes] = field(default_factory=list)
    """What the pings of the client hold that no pong has answered."""
    _lock: Any = field(default_factory=threading.Lock)

    @property
    def steps(self) -> int:
        """How many steps the app has taken."""
        return self._steps

    def opens(self, head: Head) -> None:
        """The server has agreed to frames."""
        self.opened = True
        extensions = head.values(b"sec-websocket-extensions")
        most_bytes = self.limits.body_bytes
        self._sent = FrameParser(forgets=forgets(extensions, b"client"), most_bytes=most_bytes)
        self._came = FrameParser(forgets=forgets(extensions, b"server"), most_bytes=most_bytes)

    def sends(self, data: bytes) -> None:
        """The client sends bytes."""
        with self._lock:
            if self._sent is None:
                if self.request is None:
                    self._sent_head += data
                    made, _ = _taken(self._sent_head)
                    self.request = made
                return
            for frame in self._feed(self._sent, data):
                if frame.opcode == PING:
                    self._pings.append(frame.data)
                elif frame.opcode != PONG:
                    self._steps += 1
                    self._note(APP, KINDS.get(frame.opcode, "unknown"), frame)

    def receives(self, data: bytes) -> None:
        """Bytes have come from the server."""
        with self._lock:
            if self._came is None and self.head is None:
                self._came_head += data
                self.head, data = _taken(self._came_head)
                if self.head is None:
                    return
                self.head_s = time.perf_counter()
                status = self.head.status
                if self.on_head is not None:
                    self.on_head(status)
                if status == OPENED:
                    self.opens(self.head)
            if self._came is None:
                if self.keeps(len(data)):
                    self.body += data
                return
            for frame in self._feed(self._came, data):
                if frame.opcode == PONG and frame.data in self._pings:
                    # It answers all pings up to this one.
                    del self._pings[: self._pings.index(frame.data) + 1]
                else:
                    self._note(SERVER, KINDS.get(frame.opcode, "unknown"), frame)

    def ends(self) -> None:
        """The server has ended its side."""
        with self._lock:
            self._note(SERVER, END)
        self.finish()

    def loses(self, error: BaseException) -> None:
        """The connection was lost."""
        with self._lock:
            self._note(SERVER, LOST, content=[type(error).__name__, str(error)])
        self.finish()

    def leaves(self) -> None:
        """The client closes its side."""
        with self._lock:
            self._note(APP, END)

    def gives_up(self) -> None:
        """The app waits no more for a message."""
        with self._lock:
            self._note(APP, GAVE_UP)

    def _feed(self, parser: FrameParser, data: bytes) -> list[Frame]:
        if self.too_long or self.damaged or self.ended_s is not None:
            return []
        try:
            return parser.feed(data)
        except TooLongError:
            self.keeps(self.limits.body_bytes + 1)
            return []
        except ValueError:
            # The library says so, too. A replay would need the same bytes.
            self.damaged = True
            return []

    def _note(self, whose: str, kind: str, frame: Frame | None = None, content: Any = None) -> None:
        if self.ended_s is not None:
            return
        at_ns = int((time.perf_counter() - self.began_s) * 1e9)
        if frame is not None:
            content = content_of(frame)
        if self.keeps(len(frame.data) if frame is not None else 0):
            self.entries.append([whose, at_ns, kind, frame is None or frame.final, content])


def _taken(data: bytearray) -> tuple[Head | None, bytes]:
    """The head at the beginning of some bytes, and what stands behind it; None where it is not whole."""
    place = data.find(_EMPTY_LINE)
    if place < 0:
        if len(data) > _LONGEST_HEAD:
            raise ValueError(f"a head has more than {_LONGEST_HEAD} bytes")
        return None, b""
    rest = bytes(data[place + len(_EMPTY_LINE) :])
    head = head_of(bytes(data[:place]))
    data.clear()
    return head, rest
