"""Cassettes of the package timetracer (https://pypi.org/project/timetracer), which are JSON, of ours and back."""

from __future__ import annotations

from typing import Final

from timetracer_otel.exchange import ExportFormat, ImportFormat
from timetracer_otel_exporter_json._files import recognises
from timetracer_otel_exporter_json._reading import read
from timetracer_otel_exporter_json._writing import write

__all__ = ["export_json", "import_format"]

export_json: Final = ExportFormat(write, (".json",))
"""The HTTP calls by httpx, requests and aiohttp, in schema 1.0."""

import_format: Final = ImportFormat(read, recognises, (".json", ".json.gz"))
"""Schemas 0.1 and 1.0, also in gzip."""
