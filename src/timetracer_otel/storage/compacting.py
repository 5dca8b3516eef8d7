"""Small packs to larger ones, and retention. Safe beside readers and shippers, and to be killed at any point.

Frames go from the old packs to the new one as they are, so nothing is compressed anew. The new index says which ones
it replaces. Where both are there, since a compaction was killed, readers of ours take each cassette once, and the
next compaction removes what is replaced.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from timetracer_otel.base.real_time import time_s
from timetracer_otel.base.settings import KeptBounds
from timetracer_otel.storage.names import index_of, named, pack_of
from timetracer_otel.storage.objects import Objects, StoredObject
from timetracer_otel.storage.packing import PackWriter
from timetracer_otel.storage.rows import Row, read_index, replaced_by, write_index
from timetracer_otel.storage.shipping import PACK_BYTES

__all__ = ["Compacted", "compact"]

_ORPHAN_S: Final = 86_400.0
"""No shipper takes so long between a pack and its index. An older pack without one was left by a shipper that died,
and its cassettes are in its spool, or in another pack."""
_FULL: Final = 0.5
"""A pack of so much of the wanted size is left as it is."""


@dataclass
class Compacted:
    """What a compaction did."""

    merged: int = 0
    """Packs that are now part of larger ones."""
    made: int = 0
    removed: int = 0
    """Packs beyond the bounds."""
    removed_cassettes: int = 0
    removed_bytes: int = 0
    orphans: int = 0
    """Packs without an index."""
    left_packs: int = 0
    left_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Pack:
    index: StoredObject
    pack: StoredObject
    newest: datetime
    cassettes: int
    file: Path

    @property
    def place(self) -> str:
        return self.index.name.rpartition("/")[0]


def compact(
    objects: Objects, bounds: KeptBounds, *, pack_bytes: int = PACK_BYTES, settled_s: float = 3600.0
) -> Compacted:
    """Remove what is beyond the bounds, and merge the small packs of each hour.

    Args:
        objects: Where.
        bounds: What stays: the newest packs up to an age, a number of cassettes and a size. Without a bound nothing
            is removed. A pack goes as a whole, when its newest cassette may go.
        pack_bytes: How large a pack becomes, about.
        settled_s: Packs that were written since are not merged: their shipper may not be done with them.

    Raises:
        CassetteError: The storage cannot be reached. What was done until then is whole.
    """
    done = Compacted()
    with tempfile.TemporaryDirectory(prefix="timetracer-otel-compact-") as scratch:
        packs = _looked_at(objects, Path(scratch), done)
        packs = _retained(objects, packs, bounds, done)
        by_place: dict[str, list[_Pack]] = defaultdict(list)
        before_s = time_s() - settled_s
        for each in packs:
            if each.pack.size_bytes < pack_bytes * _FULL and (each.index.changed_s or 0.0) <= before_s:
                by_place[each.place].append(each)
        done.left_packs, done.left_bytes = len(packs), sum(each.pack.size_bytes for each in packs)
        for place, small in sorted(by_place.items()):
            for together in _batches(small, pack_bytes):
                _merge(objects, place, together, Path(scratch), done)
    return done


def _looked_at(objects: Objects, scratch: Path, done: Compacted) -> list[_Pack]:
    """All packs that are visible. What a killed compaction has left is removed."""
    found = {each.name: each for each in objects.list()}
    packs: dict[str, _Pack] = {}
    replaced: set[str] = set()
    for number, (name, index) in enumerate(sorted(found.items())):
        if not name.endswith(".parquet"):
            continue
        file = scratch / f"{number}.parquet"
        objects.get(name, file)
        replaced.update(replaced_by(file))
        pack = found.get(pack_of(name))
        if pack is None:
            # A shipper may have written both while the objects were listed. Otherwise somebody else has removed it.
            if not objects.has(pack_of(name)):
                objects.remove(name)
            continue
        rows = read_index(file)
        packs[name] = _Pack(index, pack, max(row.recorded_at for row in rows), len(rows), file)
    for name in replaced & packs.keys():
        _remove(objects, packs.pop(name))
    for name, each in found.items():
        is_old = each.changed_s is not None and each.changed_s < time_s() - _ORPHAN_S
        if name.endswith((".pack", ".part")) and index_of(name) not in found and is_old:
            objects.remove(name)
            done.orphans += 1
    return list(packs.values())


def _retained(objects: Objects, packs: list[_Pack], bounds: KeptBounds, done: Compacted) -> list[_Pack]:
    kept: list[_Pack] = []
    cassettes = size_bytes = 0
    oldest = (
        datetime.fromtimestamp(time_s(), timezone.utc) - timedelta(seconds=bounds.age_s)
        if bounds.age_s is not None
        else None
    )
    is_full = False
    for each in sorted(packs, key=lambda each: each.newest, reverse=True):
        cassettes += each.cassettes
        size_bytes += each.pack.size_bytes + each.index.size_bytes
        is_full = is_full or (
            (oldest is not None and each.newest < oldest)
            or (bounds.number is not None and cassettes > bounds.number)
            or (bounds.size_bytes is not None and size_bytes > bounds.size_bytes)
        )
        if not is_full:
            kept.append(each)
            continue
        _remove(objects, each)
        done.removed += 1
        done.removed_cassettes += each.cassettes
        done.removed_bytes += each.pack.size_bytes
    return kept


def _batches(small: Sequence[_Pack], pack_bytes: int) -> list[list[_Pack]]:
    batches: list[list[_Pack]] = [[]]
    size_bytes = 0
    for each in sorted(small, key=lambda each: each.index.name):
        if size_bytes + each.pack.size_bytes > pack_bytes and batches[-1]:
            batches.append([])
            size_bytes = 0
        batches[-1].append(each)
        size_bytes += each.pack.size_bytes
    return [batch for batch in batches if len(batch) > 1]


def _merge(objects: Objects, place: str, together: Sequence[_Pack], scratch: Path, done: Compacted) -> None:
    """Make one pack of several. The new index is written before the first old one is removed."""
    temp = scratch / "merged.pack"
    rows: dict[tuple[str, datetime], Row] = {}
    kept: list[tuple[Row, int, int]] = []
    with temp.open("wb") as output:
        writer = PackWriter(output, b"")
        for each in together:
            data = scratch / "source.pack"
            objects.get(each.pack.name, data)
            with data.open("rb") as source:
                for row in sorted(read_index(each.file), key=lambda row: row.offset):
                    if row.identity in rows:
                        continue  # A shipper was killed, and did it twice.
                    rows[row.identity] = row
                    source.seek(row.offset)
                    kept.append((row, *writer.add_frame(source.read(row.length))))
    pack, index = named(place, writer.name)
    if any(each.index.name == index for each in together):
        return
    temp_index = scratch / "merged.parquet"
    write_index(
        [_moved(row, pack, offset, length) for row, offset, length in kept],
        temp_index,
        [each.index.name for each in together],
    )
    objects.put(temp, pack)
    objects.put(temp_index, index)
    for each in together:
        _remove(objects, each)
    done.merged += len(together)
    done.made += 1
    done.left_packs -= len(together) - 1


def _moved(row: Row, pack: str, offset: int, length: int) -> Row:
    return replace(row, pack=pack, offset=offset, length=length)


def _remove(objects: Objects, each: _Pack) -> None:
    """The index first: what is visible is whole."""
    objects.remove(each.index.name)
    objects.remove(each.pack.name)
