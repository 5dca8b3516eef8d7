"""A folder of cassettes as tables in Parquet: `requests`, `calls`, and `cassettes` for the way back."""

from __future__ import annotations

from typing import Final

from timetracer_otel.exchange import FolderFormat, ImportFormat
from timetracer_otel_exporter_parquet._reading import read, read_all, recognises
from timetracer_otel_exporter_parquet._writing import write

__all__ = ["export_parquet", "import_format"]

export_parquet: Final = FolderFormat(write, (".parquet",))
"""Writes ``requests.parquet``, with a row for each recording, ``calls.parquet``, with a row for each call, and
``cassettes.parquet``, with each recording as a whole."""

import_format: Final = ImportFormat(
    read, recognises, (".parquet",), read_all=read_all, file_in_folder="cassettes.parquet"
)
"""Reads ``cassettes.parquet``, and whatever a query wrote that has its column ``cassette``."""
