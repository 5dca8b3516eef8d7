"""Cassettes of VCR.py (https://vcrpy.readthedocs.io), in YAML and in JSON, of ours and back."""

from __future__ import annotations

from typing import Final

from timetracer_otel.exchange import ExportFormat, ImportFormat
from timetracer_otel_exporter_vcr._reading import read, recognises
from timetracer_otel_exporter_vcr._writing import write_json, write_yaml

__all__ = ["export_json", "export_yaml", "import_format"]

export_yaml: Final = ExportFormat(write_yaml, (".yaml", ".yml"))
"""The HTTP calls as VCR.py's own default, the serializer ``yaml``."""

export_json: Final = ExportFormat(write_json, (".json",))
"""The same by the serializer ``json``, which holds text alone."""

import_format: Final = ImportFormat(read, recognises, (".yaml", ".yml", ".json"))
