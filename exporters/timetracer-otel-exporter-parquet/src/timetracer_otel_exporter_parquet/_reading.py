"""The recordings of ``cassettes.parquet``, or of any Parquet file that has its column ``cassette``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette import cassette_from_bytes
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import Imported
from timetracer_otel_exporter_parquet._rows import CASSETTE

__all__ = ["read", "read_all", "recognises"]

_MAGIC = b"PAR1"
"""At the beginning and at the end (https://parquet.apache.org/docs/file-format/)."""
_AT_ONCE = 16
"""So many recordings of a file are in memory at once."""


def recognises(data: bytes) -> bool:
    """Whether a file is Parquet."""
    return data[:4] == data[-4:] == _MAGIC


def read(data: bytes) -> Imported:
    """The recording of a file that has one.

    Raises:
        CassetteError: The file has none, or several, or is no Parquet file with a column of cassettes.
    """
    found = [each for _, each in zip(range(2), read_all(data), strict=False)]
    if len(found) != 1:
        raise CassetteError(
            f"The file has {'several recordings' if found else 'no recording'}, and one is asked for. "
            "Name a folder as B: each recording becomes a cassette in it."
        )
    return found[0]


def read_all(data: bytes) -> Iterator[Imported]:
    """Each recording of a file, in the order of its rows. Rows whose cassette is null are left out.

    Raises:
        CassetteError: It is no Parquet file with a column of cassettes, or what stands in a row is no cassette.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if CASSETTE not in file.schema_arrow.names:
            raise CassetteError(
                f"The table has no column {CASSETTE!r}, so it holds no recordings. Read cassettes.parquet, which the "
                "exporter writes beside requests.parquet and calls.parquet."
            )
        number = 0
        for batch in file.iter_batches(_AT_ONCE, columns=[CASSETTE]):
            for value in batch.column(0).to_pylist():
                number += 1
                if value is None:
                    continue
                if not isinstance(value, bytes):
                    raise CassetteError(f"row {number}: the column {CASSETTE!r} holds no bytes, but {value!r:.80}")
                yield Imported(replace(cassette_from_bytes(value, f"row {number}"), path=None))
    except (pa.ArrowException, OSError) as fault:
        raise CassetteError(f"The file is damaged, or no Parquet file: {fault}. Export it again.") from fault
