"""Deleting the oldest cassettes of a store, until what is left is within bounds."""

from __future__ import annotations

from collections.abc import Sequence

from timetracer_otel.base.real_time import time_s
from timetracer_otel.base.settings import KeptBounds
from timetracer_otel.cassette.stores.base import Store, StoredEntry
from timetracer_otel.types import Cassette

__all__ = ["keep_within"]


def keep_within(store: Store, bounds: KeptBounds) -> list[str]:
    """Delete the oldest cassettes of a store, as far as the others are within the bounds, and give their names.

    What a process recorded outside any request stays as long as a request of that process does, beyond the bounds as
    well: such a request is replayed with it. Several processes may do so at once. A cassette that cannot be read
    counts by its age and size where the store knows them.

    Raises:
        CassetteError: The store cannot be reached, or refuses to delete.
    """
    if not bounds:
        return []
    newest_first = sorted(store.entries(sized=bounds.size_bytes is not None), key=lambda entry: -entry.recorded_s)
    kept = _within(newest_first, bounds)
    beyond = newest_first[kept:]
    needed = _needed(store, beyond, newest_first[:kept])
    deleted = [entry.name for entry in beyond if entry.name not in needed]
    for name in deleted:
        store.delete(name)
    return deleted


def _within(newest_first: Sequence[StoredEntry], bounds: KeptBounds) -> int:
    """How many, from the newest one on, are within the bounds."""
    oldest_s = time_s() - bounds.age_s if bounds.age_s is not None else None
    left_bytes = bounds.size_bytes
    for count, entry in enumerate(newest_first):
        if left_bytes is not None:
            left_bytes -= entry.size_bytes
        if (
            (oldest_s is not None and entry.recorded_s < oldest_s)
            or (bounds.number is not None and count >= bounds.number)
            or (left_bytes is not None and left_bytes < 0)
        ):
            return count
    return len(newest_first)


def _needed(store: Store, beyond: Sequence[StoredEntry], kept: Sequence[StoredEntry]) -> set[str]:
    """The names of those recordings of processes that requests which stay are replayed with.

    Heads are read of what is beyond the bounds, and of others only where a recording of a process is among that.
    """
    of_process: dict[str, list[str]] = {}
    for entry in beyond:
        head = store.head(entry.name)
        if isinstance(head, Cassette) and not head.request.method:
            for process in head.session.process[-1:]:
                of_process.setdefault(process, []).append(entry.name)
    needed: set[str] = set()
    # Oldest first: of a process that has ended, the requests that stay are old.
    for entry in reversed(kept):
        if not of_process:
            break
        head = store.head(entry.name)
        if isinstance(head, Cassette) and head.request.method:
            for process in head.session.process:
                needed.update(of_process.pop(process, ()))
    return needed
