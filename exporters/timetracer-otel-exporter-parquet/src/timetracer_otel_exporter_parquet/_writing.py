"""Three files of Parquet, written while the recordings are read: the memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.exchange import Recording
from timetracer_otel_exporter_parquet._rows import CALLS, CASSETTES, REQUESTS, call_row, cassette_row, request_row

__all__ = ["write"]

ROWS: Final = 50_000
"""So many rows are in one group. Engines pass over groups as a whole, and read several at once."""
BATCH: Final = 4_096
"""So many rows are kept as Python's values. Then they are packed, which takes a tenth of the memory."""
CHARACTERS: Final = 1 << 25
"""Or so many characters of text and bytes: statements may be long, and so are recordings."""


def write(recordings: Iterable[Recording], folder: Path) -> Sequence[str]:
    """Write the tables into a folder.

    Raises:
        OSError: A file cannot be written.
    """
    with (
        _Table(folder / "requests.parquet", REQUESTS) as requests,
        _Table(folder / "calls.parquet", CALLS) as calls,
        _Table(folder / "cassettes.parquet", CASSETTES) as cassettes,
    ):
        for recording in recordings:
            rows = [call_row(recording, event) for event in recording.cassette.events]
            for row in rows:
                calls.add(row)
            requests.add(request_row(recording, rows))
            cassettes.add(cassette_row(recording))
    return ()


class _Table:
    """A file with rows that are written group by group."""

    def __init__(self, path: Path, schema: Any) -> None:
        self._schema = schema
        self._texts = [each.name for each in schema if pa.types.is_string(each.type) or pa.types.is_binary(each.type)]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._packed: list[Any] = []
        self._number = self._characters = 0

    def __enter__(self) -> _Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._number += 1
        self._characters += sum(len(row[name]) for name in self._texts if row[name])
        if self._number >= ROWS or self._characters >= CHARACTERS:
            self._flush()
        elif len(self._rows) >= BATCH:
            self._pack()

    def _pack(self) -> None:
        self._packed.append(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def _flush(self) -> None:
        if self._number:
            self._pack()
            self._writer.write_table(pa.concat_tables(self._packed))
            self._packed, self._number, self._characters = [], 0, 0
