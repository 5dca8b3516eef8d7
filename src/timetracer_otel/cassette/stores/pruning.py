"""Which cassettes of a folder are beyond bounds, and can go without a loss to those that stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from timetracer_otel.base.settings import KeptBounds
from timetracer_otel.cassette.stores.files import StoredCassette
from timetracer_otel.cassette.stores.parts import is_part

__all__ = ["Pruning", "pruning"]


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is to be done about a folder."""

    beyond: list[StoredCassette]
    """What is to be deleted, oldest first."""
    needed: list[StoredCassette]
    """Recordings of processes that may not go: requests that were not chosen are replayed with them."""
    kept: int
    """How many of those that were chosen are within the bounds."""


def pruning(
    rows: Iterable[StoredCassette], chosen: Iterable[StoredCassette], bounds: KeptBounds, now_s: float
) -> Pruning:
    """Which of the chosen cassettes are beyond the bounds.

    A request is replayed with what its process recorded outside any request. So that recording counts as being as
    new as the newest request that needs it: where it is beyond the bounds, these requests are, too.

    Args:
        rows: All of the folder.
        chosen: Those that may go. Files that cannot be read stay, and so do parts: a process may still write them.
        bounds: What of the chosen ones stays; nothing, where there are no bounds.
        now_s: The time, in seconds since the epoch.
    """
    recorded_s = {
        row.path: when for row in chosen if _may_go(row) and (when := _seconds(row.recorded_at)) is not None
    }
    readable = [row for row in rows if row.error is None]
    needs = _newest_needs((row, 0.0) for row in readable if row.path not in recorded_s)
    ours = [row for row in readable if row.path in recorded_s]
    needed = [row for row in ours if _is_of_process(row) and needs.keys() & set(row.process[-1:])]
    candidates = [row for row in ours if row not in needed]
    needs = _newest_needs((row, recorded_s[row.path]) for row in candidates)

    def newness(row: StoredCassette) -> tuple[float, bool, str]:
        own_s = recorded_s[row.path]
        if not _is_of_process(row):
            return own_s, False, row.path
        return max([own_s, *(needs[each] for each in row.process[-1:] if each in needs)]), True, row.path

    candidates.sort(key=newness, reverse=True)
    kept = _within([(newness(row)[0], row.size_bytes) for row in candidates], bounds, now_s)
    return Pruning(sorted(candidates[kept:], key=lambda row: row.by_age), needed, kept)


def _within(newest_first: Sequence[tuple[float, int]], bounds: KeptBounds, now_s: float) -> int:
    """How many, from the newest one on, are within the bounds, by time and size of each."""
    if not bounds:
        return 0
    left_bytes = bounds.size_bytes
    for count, (recorded_s, size_bytes) in enumerate(newest_first):
        if left_bytes is not None:
            left_bytes -= size_bytes
        if (
            (bounds.age_s is not None and recorded_s < now_s - bounds.age_s)
            or (bounds.number is not None and count >= bounds.number)
            or (left_bytes is not None and left_bytes < 0)
        ):
            return count
    return len(newest_first)


def _newest_needs(recordings: Iterable[tuple[StoredCassette, float]]) -> dict[str, float]:
    """The processes whose own recordings requests are replayed with, and the time of the newest such request."""
    found: dict[str, float] = {}
    for row, recorded_s in recordings:
        if not _is_of_process(row):
            for process in row.process:
                found[process] = max(found.get(process, 0.0), recorded_s)
    return found


def _is_of_process(row: StoredCassette) -> bool:
    """Whether it is what a process recorded outside any request."""
    return not row.method


def _may_go(row: StoredCassette) -> bool:
    return row.error is None and not is_part(Path(row.path).name)


def _seconds(recorded_at: str) -> float | None:
    try:
        when = datetime.fromisoformat(recorded_at.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)).timestamp()
