"""A cassette as JSON, for other programs (``timetracer-otel show --json``).

Nothing reads this JSON back. The format that loses nothing is the cassette's own, in msgpack.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from math import isfinite
from typing import Any

from timetracer_otel.types import Cassette, DependencyEvent, HeaderMap

__all__ = ["json_value", "json_view"]


def json_view(value: Cassette | DependencyEvent) -> dict[str, Any]:
    """A cassette or an event as values that `json.dumps` takes, with nothing left out.

    Headers that were recorded with their order and duplicates are ``[name, value]`` pairs. Bytes are ``{"text": …}``
    where they are UTF-8 and ``{"base64": …}`` otherwise; other values that JSON lacks are
    ``{"type": …, "value": text}``.
    """
    viewed: dict[str, Any] = json_value(value)
    return viewed


def json_value(value: Any) -> Any:
    """Any value of a cassette as one that `json.dumps` takes; see `json_view`."""
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and isfinite(value)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, HeaderMap):
        return [[name.decode("latin-1"), text.decode("latin-1")] for name, text in value.pairs]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: json_value(item) for key, item in value.items()}
        pairs = [[json_value(key), json_value(item)] for key, item in value.items()]
        return {"type": type(value).__name__, "value": pairs}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if is_dataclass(value):
        return {entry.name: json_value(getattr(value, entry.name)) for entry in fields(value)}
    return {"type": type(value).__name__, "value": str(value)}


def _bytes(value: bytes) -> dict[str, str]:
    try:
        return {"text": value.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}
