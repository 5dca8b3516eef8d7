"""One pass of shipping: the finished cassettes of a spool to packs in object storage.

The order is what makes it safe. A pack is uploaded and read back, then its index: only an index makes a pack visible.
Only then are the files of the spool removed. A shipper that is killed at any point leaves its plan in the outbox (see
`timetracer_otel.storage.spool`), and the next one does the rest: the same bytes under the same names.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from timetracer_otel.cassette.whole_files import cannot_write
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.storage.names import folder_of, named
from timetracer_otel.storage.objects import Objects
from timetracer_otel.storage.packing import PackWriter, sampled, stream_of, trained
from timetracer_otel.storage.rows import Row, row_of, write_index
from timetracer_otel.storage.spool import Finished, Plan, Spool

__all__ = ["PACK_BYTES", "Shipped", "ship"]

PACK_BYTES: Final = 64 << 20
_UNREADABLE: Final = "cannot be read"
_CHANGED: Final = "changed while it was packed"


@dataclass
class Shipped:
    """What a pass did."""

    cassettes: int = 0
    """Removed from the spool, as they are in object storage."""
    packs: int = 0
    spool_bytes: int = 0
    """What these cassettes took in the spool."""
    pack_bytes: int = 0
    """What they take in object storage, without the indexes."""
    left: Counter[str] = field(default_factory=Counter[str])
    """Cassettes that stay in the spool, by reason."""
    busy: bool = False
    """Whether somebody else ships this spool, so that nothing was done."""
    fault: str | None = None
    """Why the pass ended before its end."""
    failures: int = 0
    """Passes that ended before their end."""
    waiting: int = 0
    """Cassettes in the spool at the end of the last pass, those among them that are being written."""
    waiting_bytes: int = 0

    def add(self, other: Shipped) -> None:
        """Count another pass in."""
        self.cassettes += other.cassettes
        self.packs += other.packs
        self.spool_bytes += other.spool_bytes
        self.pack_bytes += other.pack_bytes
        self.left, self.busy, self.fault = other.left, other.busy, other.fault
        self.failures += other.failures
        if not other.busy:
            self.waiting, self.waiting_bytes = other.waiting, other.waiting_bytes

    def document(self) -> dict[str, Any]:
        """As other programs read it."""
        return {
            "cassettes": self.cassettes,
            "packs": self.packs,
            "spool_bytes": self.spool_bytes,
            "pack_bytes": self.pack_bytes,
            "left": dict(self.left),
            "waiting": self.waiting,
            "waiting_bytes": self.waiting_bytes,
            "failures": self.failures,
            "fault": self.fault,
        }


def ship(spool: Spool, objects: Objects, *, pack_bytes: int = PACK_BYTES) -> Shipped:
    """Ship all that is finished in a spool. Safe to be killed at any point, and to be called by several processes.

    Args:
        spool: The folder.
        objects: Where to.
        pack_bytes: How large a pack becomes, about.

    Returns:
        What was done. Errors are in it: what could not be shipped stays in the spool, and is counted.
    """
    shipped = Shipped()
    with spool.locked() as is_ours:
        if not is_ours:
            shipped.busy = spool.folder.is_dir()
            return shipped
        try:
            for plan in spool.plans():
                if plan.url == objects.url:
                    _finish(spool, objects, plan, shipped)
                else:
                    spool.drop(plan)  # The user names another place now. The files go there.
            groups = _groups(spool, shipped)
            for place, found in sorted(groups.items()):
                for plan in _packed(spool, objects.url, place, found, pack_bytes, shipped):
                    _finish(spool, objects, plan, shipped)
        except (CassetteError, OSError) as fault:
            shipped.fault, shipped.failures = str(fault), 1
            waiting = sum(1 for each in spool.finished() if isinstance(each, Finished))
            shipped.left["waits for the next pass"] = waiting
        shipped.waiting, shipped.waiting_bytes = spool.waiting()
    return shipped


def _finish(spool: Spool, objects: Objects, plan: Plan, shipped: Shipped) -> None:
    pack = spool.outbox / f"{plan.name}.pack"
    size_bytes = pack.stat().st_size
    pack_name, index_name = named(plan.place, plan.name)
    objects.put(pack, pack_name)
    objects.put(spool.outbox / f"{plan.name}.parquet", index_name)
    removed = spool.remove_shipped(plan)
    spool.drop(plan)
    shipped.cassettes += removed
    shipped.packs += 1
    shipped.pack_bytes += size_bytes
    shipped.spool_bytes += sum(each.size_bytes for each in plan.files)


def _groups(spool: Spool, shipped: Shipped) -> dict[str, list[Finished]]:
    groups: dict[str, list[Finished]] = defaultdict(list)
    for found in spool.finished():
        if isinstance(found, CassetteError):
            shipped.left[_UNREADABLE] += 1
            continue
        session = found.head.session
        row = row_of(found.head, 0, pack="", offset=0, length=0, size_bytes=0, dictionary=b"")
        groups[folder_of(session.service, row.recorded_at)].append(found)
    return groups


def _packed(
    spool: Spool, url: str, place: str, found: Sequence[Finished], pack_bytes: int, shipped: Shipped
) -> Iterator[Plan]:
    """Put packs into the outbox, one at a time: the next one when the one before is on its way."""
    spool.begin()
    in_order = sorted(found, key=lambda each: (each.head.session.trace_id or "", each.file.name))
    dictionary = trained(_samples(in_order))
    at = 0
    while at < len(in_order):
        temp = spool.outbox / "pack.tmp"
        rows: list[tuple[Finished, int, int, int]] = []
        try:
            with temp.open("wb") as output:
                writer = PackWriter(output, dictionary)
                while at < len(in_order) and writer.size_bytes < pack_bytes:
                    each = in_order[at]
                    at += 1
                    try:
                        stream = stream_of(each.path)
                    except FileNotFoundError:
                        continue  # The setting ``keep`` has deleted it.
                    except CassetteError:
                        shipped.left[_UNREADABLE] += 1
                        continue
                    if each.path.stat().st_mtime_ns != each.file.changed_ns:
                        shipped.left[_CHANGED] += 1
                        continue
                    offset, length = writer.add(stream)
                    rows.append((each, offset, length, len(stream)))
        except OSError as fault:
            raise cannot_write(str(temp), fault) from fault
        if not rows:
            continue
        plan = Plan(writer.name, url, place, [each.file for each, *_ in rows])
        pack = spool.outbox / f"{plan.name}.pack"
        temp.replace(pack)
        index = [_row(*each, named(place, plan.name)[0], dictionary) for each in rows]
        write_index(index, spool.outbox / f"{plan.name}.parquet")
        spool.commit(plan)
        yield plan


def _row(found: Finished, offset: int, length: int, size_bytes: int, pack: str, dictionary: bytes) -> Row:
    return row_of(
        found.head,
        found.events,
        pack=pack,
        offset=offset,
        length=length,
        size_bytes=size_bytes,
        dictionary=dictionary,
    )


def _samples(found: Sequence[Finished]) -> Iterator[bytes]:
    for path in sampled([each.path for each in found]):
        try:
            yield stream_of(path)
        except (CassetteError, OSError):
            continue  # Whoever packs it says so.
