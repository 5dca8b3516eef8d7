"""File names: ``<folder>/<YYYY-MM-DD>/<METHOD>_<route>_<HHMMSS>_<session>.msgpack[.gz|.zst]``.

Names are ASCII, hold no character that Windows forbids, and have a bounded length.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from timetracer_otel.constants import CompressionType
from timetracer_otel.types import Cassette

__all__ = ["SUFFIXES", "cassette_name", "free_path"]

SUFFIXES: Final = {
    CompressionType.NONE: ".msgpack",
    CompressionType.GZIP: ".msgpack.gz",
    CompressionType.ZSTD: ".msgpack.zst",
}
"""Suffix by compression; for eyes and globs only, readers do not look at it."""

_MAX_ROUTE: Final = 80
_MAX_WORD: Final = 40
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]+")
_DOTS: Final = re.compile(r"\.{2,}")


def cassette_name(
    cassette: Cassette, compression: CompressionType = CompressionType.NONE, *, pid: int | None = None
) -> str:
    """The name of a cassette below its folder, date included, with ``/`` between the parts.

    A cassette without a root request (no method) is named after its service and process:
    ``process_<service>_<pid>_<HHMMSS>_<session>``. Times are UTC.

    Args:
        cassette: Its session and request are looked at.
        compression: Decides the suffix.
        pid: Process that made the recording; this one by default.
    """
    session, request = cassette.session, cassette.request
    when = _recorded_at(session.recorded_at)
    if request.method:
        route = _safe(request.route_template or request.path, _MAX_ROUTE) or "root"
        stem = f"{_safe(request.method, _MAX_WORD).upper() or 'REQUEST'}_{route}"
    else:
        stem = f"process_{_safe(session.service, _MAX_WORD) or 'service'}_{os.getpid() if pid is None else pid}"
    number = _safe(session.id[:8], 8) or "session"
    return f"{when:%Y-%m-%d}/{stem}_{when:%H%M%S}_{number}{SUFFIXES[compression]}"


def free_path(directory: str, name: str) -> str:
    """The path of a name below a folder; with a number before the suffix where a file of that name is there."""
    path = str(Path(directory, name))
    stem, dot, suffix = path.rpartition(".msgpack")
    number = 1
    while os.path.lexists(path):
        number += 1
        path = f"{stem}-{number}{dot}{suffix}"
    return path


def _safe(text: str, length: int) -> str:
    return _DOTS.sub(".", _UNSAFE.sub("_", text)).strip("_.-")[:length].rstrip("_.-")


def _recorded_at(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        when = datetime.now(timezone.utc)
    return when.astimezone(timezone.utc) if when.tzinfo is not None else when
