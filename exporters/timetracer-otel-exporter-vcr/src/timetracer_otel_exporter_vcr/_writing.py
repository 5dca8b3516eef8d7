"""One of our cassettes as one of VCR.py's, in the forms in which its own clients' stubs read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from timetracer_otel.constants import ANY_HTTP_CLIENT, BodyEnd, EventType
from timetracer_otel.exchange import Exported, HttpCall, calls_left_out, encoded_again
from timetracer_otel.report import decode_body, event_name
from timetracer_otel.types import Cassette, DependencyEvent, HeaderMap, HeaderPairs
from timetracer_otel_exporter_vcr._files import dumped

__all__ = ["write_json", "write_yaml"]

_NAME: Final = "VCR.py"
_VERSION: Final = 1
"""Of the format: that of all VCR.py since 1.0."""
_KEPT_ENCODED: Final = frozenset({"httpx", "urllib"})
"""The clients for which VCR.py keeps bodies as they came. For those on urllib3 and for aiohttp it keeps them decoded,
below headers that name the encoding (seen in vcrpy 9.4)."""


def write_yaml(cassette: Cassette) -> Exported:
    """As the serializer ``yaml`` reads it: bytes that are no UTF-8 are ``!!binary``."""
    return _written(cassette, dumped, lambda body: None)


def write_json(cassette: Cassette) -> Exported:
    """As the serializer ``json`` reads it. Calls with bodies that are no text are left out."""
    return _written(cassette, _json, _no_text)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=4).encode() + b"\n"


def _no_text(body: str | bytes) -> str | None:
    return "JSON holds no bytes; VCR.py's YAML does" if isinstance(body, bytes) else None


def _written(
    cassette: Cassette, dump: Callable[[Any], bytes], refused: Callable[[str | bytes], str | None]
) -> Exported:
    left_out = calls_left_out(cassette, _NAME)
    interactions = []
    for event in sorted(cassette.events, key=lambda each: (each.start_offset_ms, each.eid)):
        if event.event_type is not EventType.HTTP_CLIENT or event.result.status is None:
            continue  # Named among those that no format for HTTP holds.
        made = _interaction(event)
        why = _why_not(event)
        if why is None:
            why = refused(made["request"]["body"] or "") or refused(made["response"]["body"]["string"])
        if why is not None:
            left_out.append(f"#{event.eid} {event_name(event)}: {why}")
        else:
            interactions.append(made)
    return Exported(dump({"interactions": interactions, "version": _VERSION}), tuple(left_out))


def _why_not(event: DependencyEvent) -> str | None:
    """Why a call cannot stand in the file."""
    if event.not_replayable is not None:
        return event.not_replayable
    body = event.result.body
    if body is not None and body.end is not BodyEnd.COMPLETE:
        return f"its body is {body.end.value}, and VCR.py holds whole bodies alone"
    return None


def _interaction(event: DependencyEvent) -> dict[str, Any]:
    call = HttpCall.of(event)
    body, headers = call.body, call.headers
    if event.signature.lib not in _KEPT_ENCODED:
        decoded = decode_body(body, HeaderMap(headers))
        body = decoded.data
        if event.signature.lib == ANY_HTTP_CLIENT and decoded.encodings:
            # Nobody knows which client will ask. This form is right for each.
            headers = [pair for pair in headers if pair[0].lower() != b"content-encoding"]
            headers, _, _ = encoded_again(body, headers)
    return {
        "request": {
            "method": call.method,
            "uri": call.url,
            "body": _text(call.request_body) if call.request_body else None,
            "headers": _by_name(call.request_headers),
        },
        "response": {
            "status": {"code": call.status, "message": call.reason},
            "headers": _by_name(headers),
            "body": {"string": _text(body)},
        },
    }


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _by_name(lines: HeaderPairs) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for name, value in lines:
        named.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return named
