"""Deleting the oldest cassettes of a store, until what is left is within bounds."""

from __future__ import annotations

from timetracer_otel.base.real_time import time_s
from timetracer_otel.base.settings import KeptBounds
from timetracer_otel.cassette.stores.base import Store

__all__ = ["keep_within"]


def keep_within(store: Store, bounds: KeptBounds) -> list[str]:
    """Delete the oldest cassettes of a store, as far as the others are within the bounds, and give their names.

    Several processes may do so at once. A cassette that cannot be read counts by its age and size where the store
    knows them.

    Raises:
        CassetteError: The store cannot be reached, or refuses to delete.
    """
    if not bounds:
        return []
    newest_first = sorted(store.entries(sized=bounds.size_bytes is not None), key=lambda entry: -entry.recorded_s)
    oldest_s = time_s() - bounds.age_s if bounds.age_s is not None else None
    left_bytes = bounds.size_bytes
    deleted = []
    for count, entry in enumerate(newest_first, 1):
        if left_bytes is not None:
            left_bytes -= entry.size_bytes
        if (
            (oldest_s is not None and entry.recorded_s < oldest_s)
            or (bounds.number is not None and count > bounds.number)
            or (left_bytes is not None and left_bytes < 0)
        ):
            store.delete(entry.name)
            deleted.append(entry.name)
    return deleted
