"""The index of a pack: a row for each cassette, as a Parquet file that any engine reads.

`COLUMNS` is the specification, from which the page in ``docs/`` tells. Rows are sorted by trace id. Statistics of the
row groups and Bloom filters let a query for one trace or session look at few of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from timetracer_otel.cassette import StoredCassette
from timetracer_otel.constants import EventType
from timetracer_otel.types import Cassette

__all__ = ["COLUMNS", "Row", "columns_of", "read_index", "replaced_by", "row_of", "write_index", "write_table"]


@dataclass(frozen=True, slots=True)
class Row:
    """One cassette in a pack. The names are those of the columns."""

    trace_id: str
    session_id: str
    recorded_at: datetime
    service: str
    env: str
    version: str
    """Of the service; empty where the recording does not say."""
    git_sha: str
    method: str
    """Empty for what a process recorded outside any request."""
    route: str
    """The path where no route is known."""
    status: int
    error: str
    """The class of the exception that the app raised; empty where there is none."""
    failed: bool
    duration_ms: float
    calls: int
    http_calls: int
    db_calls: int
    redis_calls: int
    other_calls: int
    complete: bool
    process: str
    """The identifiers of the process and of those it was forked from, with spaces between."""
    details: str
    """As JSON: calls that no plugin captured, and connections."""
    pack: str
    """The name of the pack below the URL."""
    offset: int
    length: int
    """In the pack, which is what one ranged read asks for."""
    size_bytes: int
    """Expanded."""
    dictionary: bytes
    """What the range is expanded with, by Zstandard; empty where it needs none."""

    @property
    def identity(self) -> tuple[str, datetime]:
        """Tells whether two rows are of one cassette: the files of one process share its session."""
        return self.session_id, self.recorded_at

    def stored(self, url: str) -> StoredCassette:
        """The row as lists of local cassettes have it. Its path is the URL by which commands find it."""
        details = json.loads(self.details or "{}")
        kinds = {
            kind.value: number
            for kind, number in zip(
                (EventType.HTTP_CLIENT, EventType.DB_QUERY, EventType.REDIS, EventType.CUSTOM),
                (self.http_calls, self.db_calls, self.redis_calls, self.other_calls),
                strict=True,
            )
            if number
        }
        return StoredCassette(
            path=f"{url}/{self.pack}#{self.session_id}{'' if self.method else f'@{self.offset}'}",
            size_bytes=self.length,
            recorded_at=self.recorded_at.astimezone(timezone.utc).isoformat(),
            session_id=self.session_id,
            trace_id=self.trace_id,
            service=self.service,
            env=self.env,
            method=self.method,
            request_path=self.route,
            status=self.status,
            failed=self.failed,
            events=self.calls,
            kinds=kinds,
            without_plugin=details.get("without_plugin", {}),
            connections=details.get("connections", {}),
            duration_ms=self.duration_ms,
            complete=self.complete,
            process=tuple(self.process.split()),
        )


COLUMNS: Final = pa.schema(
    [
        pa.field("trace_id", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC")),
        pa.field("service", pa.string()),
        pa.field("env", pa.string()),
        pa.field("version", pa.string()),
        pa.field("git_sha", pa.string()),
        pa.field("method", pa.string()),
        pa.field("route", pa.string()),
        pa.field("status", pa.int32()),
        pa.field("error", pa.string()),
        pa.field("failed", pa.bool_()),
        pa.field("duration_ms", pa.float64()),
        pa.field("calls", pa.int32()),
        pa.field("http_calls", pa.int32()),
        pa.field("db_calls", pa.int32()),
        pa.field("redis_calls", pa.int32()),
        pa.field("other_calls", pa.int32()),
        pa.field("complete", pa.bool_()),
        pa.field("process", pa.string()),
        pa.field("details", pa.string()),
        pa.field("pack", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("length", pa.int64()),
        pa.field("size_bytes", pa.int64()),
        pa.field("dictionary", pa.dictionary(pa.int32(), pa.binary())),
    ]
)
assert [each.name for each in fields(Row)] == COLUMNS.names

_REPEATED: Final = [
    *("service", "env", "version", "git_sha", "method", "route", "error", "process", "details", "pack", "dictionary")
]
_GROUP_ROWS: Final = 16_384
_REPLACES: Final = b"timetracer.replaces"
"""In the metadata of an index that was made of others: the names of these, as JSON."""


def row_of(
    cassette: Cassette, events: int, *, pack: str, offset: int, length: int, size_bytes: int, dictionary: bytes
) -> Row:
    """The row of a cassette, which need not have its events."""
    session, request, stats = cassette.session, cassette.request, cassette.stats
    kinds = stats.event_counts
    known = {kind: int(kinds.get(kind.value, 0)) for kind in EventType}
    details = {
        name: found
        for name, found in (("without_plugin", stats.without_plugin), ("connections", stats.connections))
        if found
    }
    return Row(
        trace_id=session.trace_id or "",
        session_id=session.id,
        recorded_at=_moment(session.recorded_at),
        service=session.service,
        env=session.env,
        version=session.service_version or session.versions.get(session.service, ""),
        git_sha=session.git_sha or "",
        method=request.method,
        route=request.route_template or request.path,
        status=cassette.response.status,
        error=str((cassette.error_info or {}).get("type", "")),
        failed=cassette.error_info is not None or cassette.response.status >= 500,
        duration_ms=float(cassette.response.duration_ms),
        calls=events,
        http_calls=known[EventType.HTTP_CLIENT],
        db_calls=known[EventType.DB_QUERY],
        redis_calls=known[EventType.REDIS],
        other_calls=known[EventType.CUSTOM],
        complete=cassette.complete,
        process=" ".join(session.process),
        details=json.dumps(details, separators=(",", ":")) if details else "",
        pack=pack,
        offset=offset,
        length=length,
        size_bytes=size_bytes,
        dictionary=dictionary,
    )


def columns_of(rows: Sequence[Row]) -> Any:
    """Rows as a table, sorted by trace id."""
    in_order = sorted(rows, key=lambda row: (row.trace_id, row.session_id, row.recorded_at))
    arrays: list[Any] = []
    for column in COLUMNS:
        values = [getattr(row, column.name) for row in in_order]
        if column.name == "dictionary":
            # A copy for each row would be gigabytes before they are found to be the same.
            known = {value: at for at, value in enumerate(dict.fromkeys(values))}
            indices = pa.array([known[value] for value in values], pa.int32())
            arrays.append(pa.DictionaryArray.from_arrays(indices, pa.array(list(known), pa.binary())))
        else:
            arrays.append(pa.array(values, column.type))
    return pa.Table.from_arrays(arrays, schema=COLUMNS)


def write_index(rows: Sequence[Row], file: Path, replaces: Sequence[str] = ()) -> None:
    """Write an index. ``replaces`` names the indexes that it was made of."""
    write_table(columns_of(rows), file, replaces)


def write_table(table: Any, file: Path, replaces: Sequence[str] = ()) -> None:
    """Write a table as `columns_of` makes one, as `write_index` does."""
    if replaces:
        table = table.replace_schema_metadata({_REPLACES: json.dumps(sorted(replaces)).encode()})
    write: Any = pq.write_table
    write(
        table,
        file,
        compression="zstd",
        row_group_size=_GROUP_ROWS,
        use_dictionary=_REPEATED,
        dictionary_pagesize_limit=16 << 20,
        sorting_columns=[pq.SortingColumn(0)],
        write_page_index=True,
        **_bloom_filters(),
    )


def _bloom_filters() -> dict[str, Any]:
    """The option for them; pyarrow has it from release 24 on. An index without them is only slower."""
    import inspect

    if "bloom_filter_options" not in inspect.signature(pq.write_table).parameters:
        return {}
    return {"bloom_filter_options": {"trace_id": True, "session_id": True}}


def read_index(file: Path) -> list[Row]:
    """All rows of an index."""
    return [Row(**values) for values in pq.read_table(file, schema=None).select(COLUMNS.names).to_pylist()]


def replaced_by(file: Path) -> list[str]:
    """The names of the indexes that an index was made of; empty for one that was shipped."""
    metadata = pq.read_schema(file).metadata or {}
    found: list[str] = json.loads(metadata.get(_REPLACES, b"[]"))
    return found


def _moment(recorded_at: str) -> datetime:
    try:
        when = datetime.fromisoformat(recorded_at.replace("Z", "+00:00"))
    except ValueError:
        return datetime.fromtimestamp(0, timezone.utc)
    return when.astimezone(timezone.utc) if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)
