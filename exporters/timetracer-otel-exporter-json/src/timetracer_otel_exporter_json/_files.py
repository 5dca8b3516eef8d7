"""Files of the package timetracer as plain data: JSON, also in gzip."""

from __future__ import annotations

import json
from typing import Any, Final

from timetracer_otel.report import decode_body

__all__ = ["SCHEMA", "SCHEMAS", "loaded", "recognises"]

SCHEMA: Final = "1.0"
"""The schema that timetracer 1.6 writes."""
SCHEMAS: Final = ("0.1", SCHEMA)
"""Those that it reads. They have the same fields."""
_GZIP_MAGIC: Final = b"\x1f\x8b"


def recognises(data: bytes) -> bool:
    """Whether a file has the outline of a cassette of timetracer, of whatever schema."""
    try:
        loaded(data)
    except ValueError:
        return False
    return True


def loaded(data: bytes) -> dict[str, Any]:
    """The content of a file.

    Raises:
        ValueError: It is none of timetracer.
    """
    if data.startswith(_GZIP_MAGIC):
        expanded = decode_body(data, {"content-encoding": "gzip"})
        if expanded.problem is not None:
            raise ValueError(f"it {expanded.problem}")
        data = expanded.data
    try:
        content: Any = json.loads(data)
    except RecursionError as fault:
        raise ValueError("it is nested too deeply") from fault
    if not isinstance(content, dict):
        raise ValueError("it is no object of JSON")
    for name, kind in (("schema_version", str), ("session", dict), ("events", list)):
        if not isinstance(content.get(name), kind):
            raise ValueError(f"it has no {name}")
    return content
