"""The other end of a WebSocket connection in a replay: it takes what the client sends, and gives what the recorded
server said, each thing behind as many steps of the app as then.

It waits for nothing, and runs in whoever calls it. The client's connection (`streams` and `sockets` beside this)
delivers what it gives, and looks again when it is asked to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from timetracer_otel.base import faults
from timetracer_otel.calls.guarded import refusal
from timetracer_otel.constants import CONVERSATION
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.conversation.exchange import Said
from timetracer_otel.libraries.kits.conversation.pace import POLL_S, Pace
from timetracer_otel.libraries.kits.http1.arriving import head_bytes
from timetracer_otel.libraries.kits.websocket.exchange import (
    APP,
    END,
    GAVE_UP,
    KINDS,
    LOST,
    OPENED,
    Head,
    content_of,
    head_of,
)
from timetracer_otel.libraries.kits.websocket.frames import (
    CLOSE,
    PING,
    PONG,
    Frame,
    FrameParser,
    forgets,
    frame_bytes,
)
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import DependencyEvent, header_pairs

__all__ = ["FarEnd", "Lost"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""
_OPCODES: Final = {name: opcode for opcode, name in KINDS.items()}
_PATIENCE_S: Final = 5.0
"""How much longer than in the recording an app may do nothing at all while it waits for a message."""
_LOOK_S: Final = 0.25


class Lost(NamedTuple):
    """That the connection is lost."""

    error: OSError


class _Later(NamedTuple):
    """Something that the server said, with its place."""

    after: int
    """How many frames of the app stood before it."""
    given_up: int
    """How often the app had given up waiting before it."""
    at_ms: float
    kind: str
    final: bool
    content: Any


class _Script(NamedTuple):
    """What a recorded connection tells: what was said, by whom, and when."""

    event: DependencyEvent
    sent: list[tuple[str, bool, Any]]
    """What the app sent: the kind of the frame, whether it ends its message, its content."""
    to_come: list[_Later]
    steps_ms: list[float]
    """When the app did something: it opened the connection, sent a frame, or gave up waiting."""
    until_ms: float

    @classmethod
    def of(cls, event: DependencyEvent) -> _Script:
        """What an event tells.

        Raises:
            KeyError: It is none of a WebSocket.
        """
        recorded: dict[str, Any] = event.result.reply[CONVERSATION]
        made = cls(event, [], [], [0.0], recorded["until_ns"] / 1e6)
        given_up = 0
        for whose, at_ns, kind, final, content in recorded["frames"]:
            at_ms = at_ns / 1e6
            if whose != APP:
                made.to_come.append(_Later(len(made.sent), given_up, at_ms, kind, final, content))
            elif kind == GAVE_UP:
                given_up += 1
                made.steps_ms.append(at_ms)
            elif kind != END:
                made.sent.append((kind, final, content))
                made.steps_ms.append(at_ms)
        return made

    def begins_as(self, other: _Script, count: int) -> bool:
        """Whether the server began with the same so many things."""
        ours, theirs = self.to_come[:count], other.to_come[:count]
        return [(each.kind, each.content) for each in ours] == [(each.kind, each.content) for each in theirs]


_settled: WeakKeyDictionary[ReplaySession, set[int]] = WeakKeyDictionary()
"""By replay: the numbers of the recorded connections of which it is known which one of this run they are."""
_settling = threading.RLock()


class FarEnd:
    """The other end of one connection. Safe from any thread.

    Args:
        event: The recorded connection.
        session: The replay.
        shakes_hands: Whether it answers the opening handshake. Without that, nothing is heard before `opens`.
    """

    def __init__(self, event: DependencyEvent, session: ReplaySession, *, shakes_hands: bool = True) -> None:
        reply = event.result.reply
        self.session = session
        self.lib: str = event.signature.lib
        self.miss: ReplayMismatchError | None = None
        """Why there is no answer any more; None where there is one."""
        self.on_head: Callable[[int], object] | None = None
        self._status: int | None = event.result.status
        self._headers = [(name, value) for name, value in header_pairs(event.result.headers)]
        self._version: bytes = reply.get("http_version", b"HTTP/1.1")
        self._reason: bytes = reply.get("reason_phrase", b"")
        self._body: bytes = reply[CONVERSATION].get("body", b"")
        self._script = _Script.of(event)
        self._given = 0
        self._steps = 0
        self._given_up = 0
        self._request = bytearray()
        self._shakes_hands = shakes_hands
        self._parser: FrameParser | None = None
        self._pace = Pace(session)
        self._pace.stands_behind_calls_beside(event)
        self._is_settled = False
        self._deliver: Callable[[bytes | Lost | None], None] = lambda _: None
        self._look_later: Callable[[float], None] = lambda _: None
        self._paused = False
        self._over = False
        self._waiting = 0
        """How many calls of the app wait for a message."""
        self._quiet_since_s = time.perf_counter()
        self._calls_taken = session.current_cursor
        self._looks = False
        self._lock = threading.RLock()

    def joins(self, deliver: Callable[[bytes | Lost | None], None], look_later: Callable[[float], None]) -> None:
        """The client's connection is there.

        Args:
            deliver: Gives the client what comes: bytes, None for the end, or that the connection is lost.
            look_later: Calls `look` after so many seconds.
        """
        self._deliver, self._look_later = deliver, look_later

    def opens(self) -> None:
        """The handshake was done by others."""
        with self._lock:
            try:
                self._begin_frames()
                self._go_on()
            except Exception as error:
                self._met(error)

    def accepted(self, key: bytes) -> list[tuple[bytes, bytes]]:
        """The header lines of the answer, for the key that the client has made this time."""
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        return [(name, accept if name.lower() == b"sec-websocket-accept" else value) for name, value in self._headers]

    # What the client does.

    def takes(self, data: bytes) -> None:
        """The client sends bytes."""
        with self._lock:
            if self._over or (self._parser is None and not self._shakes_hands):
                return
            try:
                if self._parser is None:
                    self._take_request(data)
                else:
                    for frame in self._parser.feed(data):
                        self._take(frame)
                self._go_on()
            except Exception as error:
                self._met(error)

    def leaves(self) -> None:
        """The client closes its side."""
        with self._lock:
            self._over = True

    def waits(self) -> None:
        """The app begins to wait for a message."""
        with self._lock:
            self._waiting += 1
            self._quiet_since_s = time.perf_counter()
            if not self._looks and not self._over:
                self._looks = True
                self._look_later(_LOOK_S)

    def waited(self, *, gave_up: bool) -> None:
        """The app waits no more."""
        with self._lock:
            self._waiting -= 1
            if gave_up:
                self._given_up += 1
                self._go_on()

    def pauses(self, paused: bool) -> None:
        """Whether the client takes nothing for now."""
        with self._lock:
            self._paused = paused
            if not paused:
                self._go_on()

    def look(self) -> None:
        """Look again: something may be due by now, or may never come."""
        with self._lock:
            self._looks = False
            try:
                self._go_on()
                if self._waiting and not self._over:
                    self._refuse_to_wait_for_ever()
                    if not self._looks:
                        self._looks = True
                        self._look_later(_LOOK_S)
            except Exception as error:
                self._met(error)

    def _met(self, error: Exception) -> None:
        """There is no answer for what the client does, or a fault of ours."""
        if isinstance(error, ReplayMismatchError):
            self.fails(error)
        else:
            self.fails(refusal(self.lib, self.session, error))
            faults.contain(f"{self.lib}.replay", error)

    def fails(self, miss: ReplayMismatchError) -> None:
        """There is no answer any more. The library sees a lost connection, and the app gets the miss."""
        with self._lock:
            self.miss = self.miss or miss
            if not self._over:
                self._over = True
                self._deliver(Lost(ConnectionResetError(str(miss))))

    # What it makes of it.

    def _take_request(self, data: bytes) -> None:
        self._request += data
        head, mark, rest = bytes(self._request).partition(b"\r\n\r\n")
        if not mark or self._status is None:
            return
        request: Head = head_of(head)
        key = b"".join(request.values(b"sec-websocket-key"))
        version = [int(number) for number in self._version.removeprefix(b"HTTP/").split(b".")]
        reason = self._reason.decode("utf-8", "surrogateescape")
        if self.on_head is not None:
            self.on_head(self._status)
        made = head_bytes((version[0], version[-1]), self._status, reason, self.accepted(key))
        self._deliver(made + self._body)
        if self._status == OPENED:
            self._begin_frames()
            for frame in self._parser.feed(rest) if self._parser is not None else ():
                self._take(frame)
        else:
            self._parser = FrameParser()

    def _begin_frames(self) -> None:
        extensions = [value for name, value in self._headers if name.lower() == b"sec-websocket-extensions"]
        self._parser = FrameParser(forgets=forgets(extensions, b"client"))

    def _take(self, frame: Frame) -> None:
        if frame.opcode == PING:
            self._deliver(frame_bytes(Frame(PONG, True, frame.data)))
        elif frame.opcode != PONG:
            if not self._is_settled:
                self._settle(frame)
            self._compare(frame)
            self._steps += 1
            self._quiet_since_s = time.perf_counter()

    def _settle(self, frame: Frame) -> None:
        """Find out which recorded connection this one is, by the first thing that the app says over it.

        Several connections to one URL may be opened in any order, by several tasks or threads.
        """
        self._is_settled = True
        ours, signature = self._script, self._script.event.signature
        with _settling:
            settled = _settled.setdefault(self.session, set())
            if ours.event.eid in settled or not self._is_first_of(ours, frame):
                for event in self.session.events:
                    if (
                        event.eid not in settled
                        and event.eid != ours.event.eid
                        and event.signature == signature
                        and event.not_replayable is None
                    ):
                        other = _Script.of(event)
                        if other.begins_as(ours, self._given) and self._is_first_of(other, frame):
                            self._script = other
                            self._pace.stands_behind_calls_beside(event)
                            break
            settled.add(self._script.event.eid)

    def _is_first_of(self, script: _Script, frame: Frame) -> bool:
        if not script.sent:
            return False
        kind, final, content = script.sent[0]
        recorded, present = _as_json(content, content_of(frame))
        return (kind, final) == (KINDS.get(frame.opcode), frame.final) and self.session.says_the_same(
            script.event, {"said": recorded}, {"said": present}
        )

    def _compare(self, frame: Frame) -> None:
        number, kind = self._steps, KINDS.get(frame.opcode, "unknown")
        if number >= len(self._script.sent):
            if not self._is_ended:
                raise self._refused(f"the app sent no frame {number + 1} when it was recorded: {kind}")
            return
        recorded_kind, final, content = self._script.sent[number]
        now = content_of(frame)
        if frame.opcode == CLOSE and recorded_kind == kind and (self._has_closed or content == now):
            return
        if recorded_kind != kind or final != frame.final:
            raise self._refused(f"frame {number + 1} of the app is {kind}, and was {recorded_kind}")
        recorded, present = _as_json(content, now)
        if not self.session.says_the_same(self._script.event, {"said": recorded}, {"said": present}):
            raise self._refused(f"frame {number + 1} of the app is another one")

    @property
    def _is_ended(self) -> bool:
        """Whether the server had ended the conversation before the app said anything more."""
        last = self._script.to_come[-1] if self._script.to_come else None
        return last is not None and last.kind in (KINDS[CLOSE], END, LOST) and last.after <= self._steps

    @property
    def _has_closed(self) -> bool:
        """Whether the server has sent a close frame by now: the client's is its answer."""
        return any(each.kind == KINDS[CLOSE] for each in self._script.to_come[: self._given])

    def _go_on(self) -> None:
        while not self._paused and not self._over and self._given < len(self._script.to_come):
            later = self._script.to_come[self._given]
            wait_s = self._wait_s(later)
            if wait_s is None:
                return
            if wait_s:
                if not self._looks:
                    self._looks = True
                    self._look_later(wait_s)
                return
            self._given += 1
            self._pace.taken(later.at_ms)
            self._quiet_since_s = time.perf_counter()
            self._give(later)

    def _wait_s(self, later: _Later) -> float | None:
        """How soon something is due: 0 where it is; None where it stands behind what the app has still to send."""
        if self._parser is None or self._steps < later.after:
            return None
        if self._pace.to_wait_s(later.at_ms):
            return self._pace.to_wait_s(later.at_ms)
        if self._pace.is_held(Said(later.after, later.at_ms, None)):
            return POLL_S
        if self._given_up < later.given_up:
            # The app waited then, and had enough. In this run it may wait less often, as its clock runs otherwise.
            left_s = self._step_ms_before(later) / 1000 + 1.0 - (time.perf_counter() - self._quiet_since_s)
            return max(left_s, POLL_S) if left_s > 0 else 0.0
        return 0.0

    def _step_ms_before(self, later: _Later) -> float:
        """How long the app had done nothing when something came."""
        return later.at_ms - max((each for each in self._script.steps_ms if each <= later.at_ms), default=0.0)

    def _give(self, later: _Later) -> None:
        if later.kind == END:
            self._over = True
            self._deliver(None)
        elif later.kind == LOST:
            self._over = True
            _, text = later.content
            self._deliver(Lost(ConnectionResetError(text)))
        else:
            content = self.session.as_now(later.content)
            self._deliver(frame_bytes(Frame(_OPCODES[later.kind], later.final, _bytes_of(content))))

    def _refuse_to_wait_for_ever(self) -> None:
        taken = self.session.current_cursor
        if taken != self._calls_taken:
            self._calls_taken, self._quiet_since_s = taken, time.perf_counter()
        last_ms = self._script.steps_ms[min(self._steps + self._given_up, len(self._script.steps_ms) - 1)]
        if time.perf_counter() - self._quiet_since_s < max(self._script.until_ms - last_ms, 0.0) / 1000 + _PATIENCE_S:
            return
        if self._given < len(self._script.to_come):
            later = self._script.to_come[self._given]
            raise self._refused(
                f"the server went on after {later.after} frames of the app, which sent {self._steps} and waits"
            )
        raise self._refused("nothing more had come when the app left or the recording ended, and the app waits")

    def _refused(self, why: str) -> ReplayMismatchError:
        return self.session.refuse(self._script.event, why)


def _bytes_of(content: Any) -> bytes:
    if content is None:
        return b""
    if isinstance(content, (list, tuple)):
        code, reason = content
        return int(code).to_bytes(2, "big") + _bytes_of(reason)
    return content.encode() if isinstance(content, str) else bytes(content)


def _as_json(recorded: Any, present: Any) -> Sequence[Any]:
    """Both as JSON, where both are: the order of names, and spaces, mean nothing."""
    if isinstance(recorded, str) and isinstance(present, str):
        try:
            return json.loads(recorded), json.loads(present)
        except (ValueError, RecursionError):
            pass
    return recorded, present
