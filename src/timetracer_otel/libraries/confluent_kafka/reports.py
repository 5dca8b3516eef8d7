"""What a producer of a replay tells of messages when the app polls: each report after as many polls as it had before
it in the recording, in the order of the recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Due", "Pending", "Producers"]


@dataclass(slots=True)
class Due:
    """The report of one message."""

    at_poll: int
    """The number of the poll that gives it."""
    nth: int
    give: Callable[[], Any] | None
    """Calls the function of the app; None where nobody was told."""


@dataclass(slots=True)
class Pending:
    """What one producer has not told yet."""

    producer: Any
    """Kept: another one could be made in its place in memory."""
    polls: int = 0
    waiting: list[Due] = field(default_factory=list)

    def takes(self, *, all_of_them: bool = False) -> Due | None:
        """The next report that is given by now; None where none is."""
        due = [each for each in self.waiting if all_of_them or each.at_poll <= self.polls]
        if not due:
            return None
        first = min(due, key=lambda each: each.nth)
        self.waiting.remove(first)
        return first


class Producers:
    """The producers of one replay."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[int, Pending] = {}

    def of(self, producer: Any) -> Pending:
        """What a producer has not told yet."""
        found = self._pending.get(id(producer))
        if found is None:
            found = self._pending[id(producer)] = Pending(producer)
        return found
