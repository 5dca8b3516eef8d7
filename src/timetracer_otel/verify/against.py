"""Compares the calls that a service makes with the recorded ones, and counts them: ``--against``, ``--max-calls``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from timetracer_otel.cassette import read_cassette
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.report import Comparison, compare_recordings
from timetracer_otel.types import Cassette

__all__ = ["Against", "Budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How many calls of a kind one request may make."""

    name: str
    """As the user names the kind."""
    event_type: EventType | None
    """None for calls of every kind."""
    number: int
    is_more: bool
    """Whether the number comes on top of that of the recording."""

    def exceeded(self, before: Cassette, now: Cassette) -> str | None:
        """What to say where there are too many calls; None where there are not."""
        was, number = self._count(before), self._count(now)
        most = was + self.number if self.is_more else self.number
        if number <= most:
            return None
        kind = f"{self.name} calls" if self.name else "calls"
        allowed = f"+{self.number}" if self.is_more else str(self.number)
        return f"too many {kind}: recorded {was}, now {number}, allowed {allowed}"

    def _count(self, cassette: Cassette) -> int:
        counts = Counter(event.event_type for event in cassette.events)
        return counts.total() if self.event_type is None else counts[self.event_type]


@dataclass(frozen=True, slots=True)
class Against:
    """What the calls of each request are compared with.

    Args:
        index: The recordings to compare with; None for those that are replayed.
        budgets: How many calls each request may make.
    """

    index: FolderIndex | None
    budgets: Sequence[Budget]

    def compare(self, cassette: Cassette, made: str | None) -> tuple[Comparison | None, list[str]]:
        """How the calls of a request differ from the recorded ones, and which budgets they exceed.

        Args:
            cassette: The recording that was replayed.
            made: The file with the calls that were made.
        """
        before = self._recording_of(cassette)
        if before is None:
            return None, [f"not compared: no recording of {self._directory} is of this request"]
        if made is None:
            return None, ["not compared: the service did not say which calls it made"]
        try:
            now = read_cassette(made)
        except CassetteError as fault:
            return None, [f"not compared: {fault}"]
        Path(made).unlink(missing_ok=True)
        sides = [_without_set_up(each) for each in (before, now)]
        found = compare_recordings(sides[0], sides[1], answers=False)
        return found, [text for budget in self.budgets if (text := budget.exceeded(*sides)) is not None]

    @property
    def _directory(self) -> str:
        return self.index.directory if self.index is not None else ""

    def _recording_of(self, cassette: Cassette) -> Cassette | None:
        if self.index is None:
            return cassette
        entry = self.index.choose(cassette.request)
        return self.index.read(entry) if entry is not None else None


def _without_set_up(cassette: Cassette) -> Cassette:
    """A recording without what sets a connection up: it may be open already."""
    events = [event for event in cassette.events if not event.sets_up]
    return replace(cassette, events=events)
