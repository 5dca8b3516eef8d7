"""A folder of cassettes as two tables in Parquet: `requests` and `calls`."""

from __future__ import annotations

from typing import Final

from timetracer_otel.exchange import FolderFormat
from timetracer_otel_exporter_parquet._writing import write

__all__ = ["export_parquet"]

export_parquet: Final = FolderFormat(write, (".parquet",))
"""Writes ``requests.parquet``, with a row for each recording, and ``calls.parquet``, with a row for each call."""
