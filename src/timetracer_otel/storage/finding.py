"""Finding cassettes in object storage, and reading one: DuckDB over the indexes, then one ranged read.

An index never changes once it has its name. So those that were downloaded are kept in a folder of the user's, and the
next question downloads the new ones only.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import duckdb

from timetracer_otel.base.private_files import make_private_folder
from timetracer_otel.cassette import StoredCassette, cassette_from_bytes, cassette_name
from timetracer_otel.cassette.stores.places import free_path
from timetracer_otel.cassette.whole_files import appearing, write_new
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError
from timetracer_otel.storage.names import index_of, service_folder
from timetracer_otel.storage.objects import Objects, StoredObject
from timetracer_otel.storage.packing import expanded
from timetracer_otel.storage.rows import COLUMNS, Row

__all__ = ["Question", "RemoteCatalog", "download", "indexes", "one", "rows_of", "split"]

_PLACE: Final = re.compile(r"(service=[^/]*)/date=(\d{4}-\d\d-\d\d)/hour=(\d\d)/[^/]+\.parquet")
_NAMED: Final = re.compile(r"(?P<base>.+?)/(?P<pack>service=[^#]+\.pack)#(?P<id>[^@]+)(?:@(?P<offset>\d+))?")
_QUERY: Final = """
    SELECT {columns} FROM read_parquet(?, union_by_name = false, hive_partitioning = false)
    WHERE {condition} ORDER BY recorded_at, session_id, pack
"""
_AT_ONCE: Final = 16
_GAP_SHARE: Final = 0.5
"""Ranges of one pack are read as one where at least so much of what lies between the first and the last is wanted."""


@dataclass(frozen=True, slots=True)
class Question:
    """What indexes are asked for. What is empty or None is not asked about."""

    service: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    trace: str = ""
    """The beginning of a trace id."""
    session: str = ""
    """A session id."""
    id: str = ""
    """The beginning of a trace's or a session's id."""
    slower_ms: float | None = None

    def may_be_in(self, index: str) -> bool:
        """Whether an index may have such rows, by the name of its folder."""
        found = _PLACE.fullmatch(index)
        if found is None:
            return True
        begins = datetime.fromisoformat(f"{found[2]}T{found[3]}:00:00+00:00")
        return not (
            (self.service is not None and found[1] != service_folder(self.service))
            or (self.since is not None and begins + timedelta(hours=1) <= self.since)
            or (self.until is not None and begins > self.until)
        )

    def condition(self) -> tuple[str, list[Any]]:
        """The condition of the query, and its parameters."""
        parts: list[str] = []
        values: list[Any] = []

        def ask(part: str, *given: Any) -> None:
            parts.append(part)
            values.extend(given)

        if self.service is not None:
            ask("service = ?", self.service)
        if self.since is not None:
            ask("recorded_at >= ?", self.since)
        if self.until is not None:
            ask("recorded_at <= ?", self.until)
        if self.trace:
            ask(*_begins("trace_id", self.trace.lower(), 32))
        if self.session:
            ask("session_id = ?", self.session)
        if self.id:
            plain = self.id.lower().replace("-", "")
            of_trace, *ids = _begins("trace_id", plain, 32)
            of_session, *sessions = _begins("session_id", _dashed(plain), 36)
            ask(f"({of_trace} OR {of_session})", *ids, *sessions)
        if self.slower_ms is not None:
            ask("duration_ms > ?", self.slower_ms)
        return " AND ".join(parts) or "true", values


def indexes(objects: Objects, question: Question) -> list[StoredObject]:
    """The indexes that may have rows for a question."""
    below = service_folder(question.service) if question.service is not None else ""
    found = (each for each in objects.list(below) if each.name.endswith(".parquet"))
    return sorted((each for each in found if question.may_be_in(each.name)), key=attrgetter("name"))


def rows_of(objects: Objects, question: Question, *, whole: bool = False) -> list[Row]:
    """The rows that a question asks for, oldest first. A cassette of which there are two rows is there once.

    Args:
        objects: Where.
        question: What.
        whole: Whether rows have their dictionaries, with which cassettes are read.

    Raises:
        CassetteError: The storage cannot be reached, or what is there is no index.
    """
    for _ in range(3):
        try:
            files = _local(objects, indexes(objects, question))
            break
        except CassetteError as fault:
            # Somebody has compacted since the indexes were listed.
            if not isinstance(fault.__cause__, FileNotFoundError):
                raise
    else:
        raise CassetteError(f"{objects.url}: its indexes change faster than they can be read. Try again.")
    return _asked(files, question, whole=whole, where=objects.url)


def _asked(files: Sequence[Path], question: Question, *, whole: bool, where: str) -> list[Row]:
    if not files:
        return []
    condition, values = question.condition()
    columns = [f'"{name}"' if whole or name != "dictionary" else "''::BLOB AS dictionary" for name in COLUMNS.names]
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            # Columns and conditions are ours; values are parameters.
            _QUERY.format(columns=", ".join(columns), condition=condition),
            [[str(file) for file in files], *values],
        ).fetchall()
    except duckdb.Error as fault:
        raise CassetteError(f"{where}: what is there is no index of ours: {fault}", path=where) from fault
    finally:
        connection.close()
    rows: dict[tuple[str, datetime], Row] = {}
    for values_of in found:
        row = Row(*values_of)
        rows.setdefault(row.identity, row)
    return list(rows.values())


def split(url: str) -> tuple[str, str, str, int | None]:
    """A URL in its parts: of all recordings, the pack, the id, and where in the pack. Empty where there is none."""
    found = _NAMED.fullmatch(url)
    if found is not None:
        return found["base"], found["pack"], found["id"], int(found["offset"]) if found["offset"] else None
    base, _, named = url.partition("#")
    return base.rstrip("/"), "", named, None


class RemoteCatalog:
    """The rows below a URL, as `timetracer_otel.match.catalog.Catalog` has those of a folder.

    Args:
        url: Of object storage.
        question: Which rows.

    Raises:
        CassetteError: The storage cannot be reached.

    Attributes:
        directory: The URL.
        rows: Oldest first.
    """

    def __init__(self, url: str, question: Question) -> None:
        self.directory: str = url.rstrip("/")
        self._question = question
        self._objects = Objects(self.directory)
        found = rows_of(self._objects, question)
        self.rows: list[StoredCassette] = [row.stored(self.directory) for row in found]

    def copied(self, rows: Iterable[StoredCassette], folder: Path) -> dict[str, Path]:
        """Copies of the cassettes of some of the rows, by the path of the row.

        Raises:
            CassetteError: As for `download`.
        """
        wanted = {row.path for row in rows}
        found = rows_of(self._objects, self._question, whole=True)
        found = [row for row in found if row.stored(self.directory).path in wanted]
        return {row.stored(self.directory).path: path for row, path in download(self.directory, found, folder)}


def download(url: str, rows: Sequence[Row], folder: Path) -> list[tuple[Row, Path]]:
    """Read cassettes into a folder, and give each with its file. Those of one pack are read as one if that is less.

    Args:
        url: Of object storage.
        rows: With their dictionaries.
        folder: Where to.

    Raises:
        CassetteNotFoundError: A pack is not there (any more).
        CassetteError: One cannot be read, or is damaged.
    """
    objects = Objects(url)
    ranges = _ranges(rows)
    with ThreadPoolExecutor(min(_AT_ONCE, len(ranges) or 1)) as pool:
        found = pool.map(lambda each: _read(objects, each), ranges)
        return [(row, _write(data, row, objects.url, folder)) for pieces in found for row, data in pieces]


def one(url: str) -> tuple[str, list[Row]]:
    """The base of a URL, and the rows that it names, with their dictionaries.

    A cassette that was moved to a larger pack since is found by its id.

    Raises:
        CassetteError: The storage cannot be reached.
    """
    base, pack, named, offset = split(url)
    objects = Objects(base)
    if pack:
        try:
            files = _local(objects, [StoredObject(index_of(pack), -1, None)])
        except CassetteError as fault:
            if not isinstance(fault.__cause__, FileNotFoundError):
                raise
            files = []
        rows = _asked(files, Question(session=named), whole=True, where=base)
        rows = rows or rows_of(objects, Question(session=named), whole=True)
    else:
        rows = rows_of(objects, Question(id=named), whole=True)
    return base, [row for row in rows if offset is None or row.offset == offset] or rows


def _ranges(rows: Sequence[Row]) -> list[list[Row]]:
    found: list[list[Row]] = []
    for _, each in groupby(sorted(rows, key=attrgetter("pack", "offset")), attrgetter("pack")):
        of_pack = list(each)
        span = of_pack[-1].offset + of_pack[-1].length - of_pack[0].offset
        if sum(row.length for row in of_pack) >= span * _GAP_SHARE:
            found.append(of_pack)
        else:
            found += [[row] for row in of_pack]
    return found


def _read(objects: Objects, rows: list[Row]) -> list[tuple[Row, bytes]]:
    first, last = rows[0], rows[-1]
    try:
        data = objects.read(first.pack, first.offset, last.offset + last.length - first.offset)
    except CassetteError as fault:
        if isinstance(fault.__cause__, FileNotFoundError):
            raise CassetteNotFoundError(f"{objects.url}/{first.pack}") from fault
        raise
    return [(row, data[row.offset - first.offset :][: row.length]) for row in rows]


def _write(data: bytes, row: Row, url: str, folder: Path) -> Path:
    stream = expanded(data, row, url)
    name = cassette_name(cassette_from_bytes(stream, f"{url}/{row.pack}"))
    path = free_path(str(folder), name)
    with appearing(path) as temp:
        write_new(temp, iter([stream]))
    return Path(path)


def _local(objects: Objects, wanted: Sequence[StoredObject]) -> list[Path]:
    """The indexes as files of this machine."""
    first = objects.local_path(wanted[0].name) if wanted else None
    if first is not None:
        return [file for each in wanted if (file := objects.local_path(each.name)) is not None and file.is_file()]
    folder = _cache() / hashlib.sha256(objects.url.encode()).hexdigest()[:16]
    make_private_folder(folder)
    names = {each.name: folder / hashlib.sha256(each.name.encode()).hexdigest() for each in wanted}

    def fetch(each: StoredObject) -> Path:
        file = names[each.name]
        if not file.is_file() or (each.size_bytes >= 0 and file.stat().st_size != each.size_bytes):
            with appearing(str(file)) as temp:
                objects.get(each.name, Path(temp), each.size_bytes)
        return file

    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted) or 1)) as pool:
        return list(pool.map(fetch, wanted))


@lru_cache(maxsize=1)
def _cache() -> Path:
    try:
        folder = Path.home() / ".cache" / "timetracer-otel" / "indexes"
        make_private_folder(folder)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="timetracer-otel-indexes-"))


def _begins(column: str, text: str, whole: int) -> tuple[Any, ...]:
    """The condition that a column begins with a text, in a form that statistics and filters answer."""
    if len(text) >= whole:
        return f"{column} = ?", text
    return f"({column} >= ? AND {column} < ?)", text, text[:-1] + chr(ord(text[-1]) + 1)


def _dashed(plain: str) -> str:
    """The beginning of a UUID with its dashes."""
    parts, at = [], 0
    for length in (8, 4, 4, 4, 12):
        parts.append(plain[at : at + length])
        at += length
    return "-".join(part for part in parts if part)
