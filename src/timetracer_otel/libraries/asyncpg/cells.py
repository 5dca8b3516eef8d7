"""Rows as a server sent them, as values that a person can read and a rule can redact; and back, byte for byte.

Columns of the frequent types are decoded here, the others by asyncpg's own codecs, which also encode. A column whose
bytes do not come back from its values, or whose type is not known, is kept as text or as bytes: then that is the type
under which it stands in the cassette.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from timetracer_otel.cassette import Unencodable, pack
from timetracer_otel.cassette.sent_rows import decoded
from timetracer_otel.libraries.asyncpg.internals import Codecs
from timetracer_otel.libraries.asyncpg.wire import Cells
from timetracer_otel.libraries.kits.dbapi.values import PLAIN, plain, restored_rows

__all__ = ["KnownTypes"]

_TEXT, _BYTES = 25, 17
"""The types text and bytea."""
_FIRST_OF_APP = 16_384
"""Types below are PostgreSQL's own."""
_NOTHING: Mapping[str, Any] = {}


class KnownTypes:
    """What asyncpg learned of a database's types, and the codecs that follow from it. Safe from any thread."""

    def __init__(self) -> None:
        self.by_oid: dict[str, dict[str, Any]] = {}
        """By number: what was learned of a type first."""
        self.by_name: dict[str, list[Any]] = {}
        self._since: dict[str, dict[str, Any]] = {}
        """What was learned of types that have changed since."""
        self._named = 0
        self._lock = threading.Lock()
        self._codecs: tuple[int, Codecs] | None = None

    def learned(self, types: Sequence[Mapping[str, Any]]) -> None:
        """Asyncpg looked types up by their numbers."""
        for kind in types:
            oid, known = str(kind["oid"]), {name: plain(value) for name, value in kind.items()}
            if self.by_oid.setdefault(oid, known) != known:
                self._since[oid] = known
            else:
                self._since.pop(oid, None)

    def named(self, name: str, kind: list[Any]) -> None:
        """Asyncpg looked a type up by its name: oid, oid of its elements, kind."""
        if self.by_name.get(name) != kind:
            self.by_name[name] = kind
            self._named += 1

    @property
    def how_many(self) -> int:
        """How much was learned. A name that is of another type by now counts anew."""
        return len(self.by_oid) + self._named

    def changed(self, oids: Collection[int]) -> list[dict[str, Any]]:
        """What is known by now of some types, where that is not what was learned first."""
        if not self._since:
            return []
        found = self.found(oids, self._since)
        return found if any(str(kind["oid"]) in self._since for kind in found) else []

    def found(self, oids: Collection[int], since: Mapping[str, dict[str, Any]] = _NOTHING) -> list[dict[str, Any]]:
        """What is known of some types, and before each of them, of those that it is made of.

        Args:
            oids: Of the types.
            since: What is known of those that have changed.
        """
        made: dict[int, dict[str, Any]] = {}

        def add(oid: Any) -> None:
            kind = since.get(str(oid)) or self.by_oid.get(str(oid))
            if kind is None or oid in made:
                return
            for part in (kind.get("elemtype"), kind.get("basetype"), kind.get("range_subtype")):
                add(part)
            for part in kind.get("attrtypoids") or ():
                add(part)
            made[oid] = kind

        for oid in oids:
            add(oid)
        return list(made.values())

    def _with_codecs(self, types: Sequence[Mapping[str, Any]]) -> Codecs:
        if types:
            return Codecs(types)
        if self._codecs is None or self._codecs[0] != len(self.by_oid):
            self._codecs = len(self.by_oid), Codecs(self.found([int(oid) for oid in self.by_oid]))
        return self._codecs[1]

    def _try(self, types: Sequence[Mapping[str, Any]], ask: Any) -> Any:
        """What the codecs give; None where they cannot."""
        try:
            return ask(self._with_codecs(types))
        except Exception:
            # A protocol that met an error is of no use any more.
            self._codecs = None
            return None

    def as_values(
        self,
        oids: Sequence[int],
        rows: Sequence[Cells],
        in_text: Collection[int] = (),
        types: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[list[int], list[list[Any]]]:
        """Rows as plain values, and under which type each column is kept.

        Args:
            oids: The columns' types.
            rows: As they were sent.
            in_text: Types that the app's own codecs get as text.
            types: The types, where they have changed since they were learned first.
        """
        if not oids:
            return [], [[] for _ in rows]
        with self._lock:
            columns = list(zip(*rows, strict=True))
            kept = list(oids)
            made: list[Any] = [None] * len(kept)
            for at, cells in enumerate(columns):
                if oids[at] not in in_text:
                    made[at] = decoded(oids[at], cells)
            left = [at for at, oid in enumerate(kept) if made[at] is None and oid not in in_text]
            if left:
                values = self._exact([kept[at] for at in left], [[row[at] for at in left] for row in rows], types)
                if values is not None:
                    for at, column in zip(left, values, strict=True):
                        made[at] = column
            for at, cells in enumerate(columns):
                if made[at] is None and oids[at] not in in_text:
                    alone = self._exact([oids[at]], [[cell] for cell in cells], types)
                    made[at] = alone[0] if alone is not None else None
                if made[at] is None:
                    kept[at], made[at] = _as_they_are(cells)
            return kept, list(map(list, zip(*made, strict=True)))

    def _exact(
        self, oids: Sequence[int], rows: Sequence[Cells], types: Sequence[Mapping[str, Any]]
    ) -> list[list[Any]] | None:
        """The columns of values; None where one does not give its bytes back, or has no form in a cassette."""
        found = self._try(types, lambda codecs: codecs.values(oids, rows))
        if found is None:
            return None
        values = [list(map(_plain, row)) for row in found]
        if any(oid >= _FIRST_OF_APP or not PLAIN.issuperset(map(type, row)) for row in values for oid in oids):
            try:
                pack(values)
            except Unencodable:
                return None
        again = self._try(types, lambda codecs: codecs.cells(oids, restored_rows(values)))
        if again is None or any(list(row) != cells for row, cells in zip(rows, again, strict=True)):
            return None
        return list(map(list, zip(*values, strict=True)))

    def as_cells(
        self, oids: Sequence[int], rows: Sequence[Sequence[Any]], types: Sequence[Mapping[str, Any]] = ()
    ) -> list[list[bytes | None]]:
        """Rows of plain values as a server sends them."""
        if not oids:
            return [[] for _ in rows]
        with self._lock:
            return self._with_codecs(types).cells(oids, restored_rows(rows))


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, uuid.UUID):
        return uuid.UUID(int=value.int)
    if kind is list:
        return list(map(_plain, value))
    if hasattr(value, "keys") and kind is not dict:
        # A value of a composite type: asyncpg's own record.
        return tuple(map(_plain, value.values()))
    return plain(value)


def _as_they_are(cells: Cells) -> tuple[int, list[Any]]:
    """A column as text, or as bytes where it is none."""
    try:
        made = [None if cell is None else cell.decode() for cell in cells]
    except UnicodeDecodeError:
        return _BYTES, list(cells)
    # No text of PostgreSQL holds a zero.
    return (_BYTES, list(cells)) if any(text and "\0" in text for text in made) else (_TEXT, made)
