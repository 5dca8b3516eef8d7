"""What is noted of a conversation while it goes on.

What went on stands in order. Each thing that the server said stands behind a number of *steps* of the app, such as
the messages that the app had sent by then. A replay gives it after as many steps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import Recording
from timetracer_otel.session.body_taps import PIECE_BYTES, BodyLimits

__all__ = ["Exchange", "Said"]

_NO_LIMITS: Final = BodyLimits()


class Said(NamedTuple):
    """One thing that a server said."""

    after: int
    """How many steps of the app stood before it."""
    at_ms: float
    """When it came, since the call began."""
    what: Any


@dataclass(slots=True)
class Exchange:
    """Notes what the two sides of a call say. Nothing of it may reach the app, so `noting` contains faults."""

    where: ClassVar[str] = "conversation"
    """A short name of the place, for the count of faults."""

    limits: BodyLimits = _NO_LIMITS
    began_s: float = field(default_factory=time.perf_counter)
    size_bytes: int = 0
    too_long: bool = False
    faulted: bool = False
    ended_s: float | None = None
    recording: Recording | None = None

    @property
    def steps(self) -> int:
        """How many steps the app has taken."""
        raise NotImplementedError

    def noting(self, note: Any, *facts: Any) -> None:
        """Note something. A fault of ours ends the noting."""
        if not self.faulted:
            try:
                note(*facts)
            except Exception as fault:
                self.faulted = True
                faults.contain(self.where, fault)

    def keeps(self, size_bytes: int) -> bool:
        """Whether there is room for a message of this size. Where there was none, there is none for any other."""
        self.size_bytes += size_bytes
        if not self.too_long:
            size = size_bytes + PIECE_BYTES
            self.too_long = self.size_bytes > self.limits.body_bytes or not self.limits.take(size)
        return not self.too_long

    def said(self, what: Any) -> Said:
        """What the server says, with its place."""
        return Said(self.steps, (time.perf_counter() - self.began_s) * 1000, what)

    def finish(self) -> None:
        """Nothing more will be said."""
        if self.ended_s is None:
            self.ended_s = time.perf_counter()
        if self.recording is not None:
            self.recording.close(self.ended_s)

    @property
    def until_ms(self) -> float:
        """When the call ended, or how long it goes on by now."""
        return ((self.ended_s or time.perf_counter()) - self.began_s) * 1000
