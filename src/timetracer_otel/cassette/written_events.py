"""`WrittenEvents`: the events that stand in the part of a recording. Its cassette takes their bytes from there.

To pack an event costs as much as to make it, and a long request has each of its events in its part already.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, NamedTuple

from timetracer_otel.base import faults
from timetracer_otel.cassette.codec import pack
from timetracer_otel.cassette.costs import OwnCosts, at_most
from timetracer_otel.types import DependencyEvent, NotedEvent

__all__ = ["WrittenEvents"]

_EID_KEY: Final = b"\xa3eid"
"""What stands behind the first byte of an event. The position follows."""
_EID_AT: Final = 1 + len(_EID_KEY)
_LENGTHS_OF_NUMBERS: Final = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}
"""How long a whole number is by its first byte. Smaller ones are one byte."""


class _Written(NamedTuple):
    notes: Any
    """What the event was written from. No other object has its identity while it is here."""
    pseudonyms: tuple[str, ...]
    times: tuple[float, float, float | None]
    at: int
    size_bytes: int
    costs: int


class WrittenEvents:
    """What one part has of events that were written from notes. Serves one thread at a time.

    An event that was made whole since, or is written of other notes, is packed anew: a secret was found in it, or its
    span has come.
    """

    __slots__ = ("_by_notes", "_file", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._by_notes: dict[int, _Written] = {}
        self._file: io.BufferedReader | None = None

    def add(self, event: DependencyEvent, at: int, size_bytes: int, own: OwnCosts) -> None:
        """Remember where an event stands.

        Args:
            event: It has just been packed.
            at: Where it begins in the file.
            size_bytes: How long it is.
            own: What it costs to read.
        """
        noted = event.notes() if type(event) is NotedEvent else None
        if noted is not None and own.known and not event.transaction:
            self._by_notes[id(noted[1])] = _Written(
                noted[1], event.pseudonyms, _times(event), at, size_bytes, own.spent
            )

    @contextmanager
    def opened(self) -> Generator[None, None, None]:
        """Let `packed` read the file, until the block ends. Where that cannot be opened, `packed` gives nothing."""
        with ExitStack() as stack:
            with suppress(OSError):
                self._file = stack.enter_context(open(self._path, "rb"))
            try:
                yield
            finally:
                self._file = None

    def packed(self, event: DependencyEvent, own: OwnCosts) -> bytes | None:
        """The bytes of an event, and what it costs to read; None where it must be packed."""
        try:
            return self._packed(event, own)
        except Exception as error:
            # The event is packed, as if there were no part.
            faults.contain("event", error)
            return None

    def _packed(self, event: DependencyEvent, own: OwnCosts) -> bytes | None:
        noted = event.notes() if type(event) is NotedEvent else None
        if noted is None or self._file is None:
            return None
        written = self._by_notes.get(id(noted[1]))
        if written is None or event.transaction or event.pseudonyms != written.pseudonyms:
            return None
        if _times(event) != written.times:
            return None
        try:
            self._file.seek(written.at)
            data = self._file.read(written.size_bytes)
        except OSError:
            return None
        if len(data) != written.size_bytes or data[1:_EID_AT] != _EID_KEY:
            return None  # Somebody has changed the file.
        behind = _EID_AT + _LENGTHS_OF_NUMBERS.get(data[_EID_AT], 1)
        made = b"".join([data[:_EID_AT], pack(event.eid), data[behind:]])
        own.clear()
        own.spent, own.known = written.costs + at_most(0, 0, 0, len(made) - len(data)), True
        return made


def _times(event: DependencyEvent) -> tuple[float, float, float | None]:
    return event.start_offset_ms, event.duration_ms, event.ended_ms
