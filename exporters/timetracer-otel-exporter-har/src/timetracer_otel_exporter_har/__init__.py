"""Cassettes as HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/): their HTTP calls, in order of start."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from timetracer_otel.constants import EventType
from timetracer_otel_exporter_har._entries import entry, started_at

if TYPE_CHECKING:
    from timetracer_otel.types import Cassette

__all__ = ["export"]

_NAME = "timetracer-otel-exporter-har"
_PAGE = "request"


def export(cassette: Cassette) -> bytes:
    """The cassette's HTTP calls as a HAR file: JSON in UTF-8. Calls of other kinds are left out."""
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
    return json.dumps({"log": log}, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


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
