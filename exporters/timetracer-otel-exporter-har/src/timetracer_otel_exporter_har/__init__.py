"""HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/) of the HTTP calls of a cassette, and cassettes of HAR."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from timetracer_otel.constants import EventType
from timetracer_otel.exchange import Exported, ExportFormat, ImportFormat, calls_left_out
from timetracer_otel_exporter_har._entries import entry, started_at
from timetracer_otel_exporter_har._reading import read, recognises

if TYPE_CHECKING:
    from timetracer_otel.types import Cassette

__all__ = ["export", "import_format"]

_NAME = "timetracer-otel-exporter-har"
_PAGE = "request"


def _write(cassette: Cassette) -> Exported:
    """The cassette's HTTP calls as a HAR file: JSON in UTF-8. Calls of other kinds are left out, which is said."""
    pages = _pages(cassette)
    events = sorted(cassette.events, key=lambda event: (event.start_offset_ms, event.eid))
    log = {
        "version": "1.2",
        "creator": {"name": _NAME, "version": _version()},
        "pages": pages,
        "entries": [
            entry(event, cassette.session.recorded_at, _PAGE if pages else None)
            for event in events
            if event.event_type is EventType.HTTP_CLIENT
        ],
        "comment": f"service {cassette.session.service}, env {cassette.session.env}",
    }
    # A lone surrogate in a text becomes its own JSON escape.
    data = json.dumps({"log": log}, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    return Exported(data, tuple(_left_out(cassette)))


def _left_out(cassette: Cassette) -> list[str]:
    lines = calls_left_out(cassette, "HAR")
    if cassette.request.path:
        lines.append("headers, body and answer of the recorded request: HAR has a page, which is a title")
    return lines


export: Final = ExportFormat(_write, (".har",))
"""Calling it gives the cassette's HTTP calls as a HAR file: JSON in UTF-8."""

import_format: Final = ImportFormat(read, recognises, (".har",))


@lru_cache(maxsize=1)
def _version() -> str:
    """That of this distribution, which takes longer to find than a small cassette to convert."""
    return version(_NAME)


def _pages(cassette: Cassette) -> list[dict[str, Any]]:
    """The recorded request, as the one page that the calls were made for."""
    request = cassette.request
    if not request.path:
        return []
    return [
        {
            "startedDateTime": started_at(cassette.session.recorded_at, 0.0),
            "id": _PAGE,
            "title": f"{request.method} {request.path}".strip(),
            "pageTimings": {"onLoad": cassette.response.duration_ms or -1},
        }
    ]
