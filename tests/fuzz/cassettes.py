"""The fuzz target: bytes of a stranger are read, shown, converted, indexed for a replay, and their errors rebuilt.

Nothing but `CassetteError` (a miss, for a replay) may come out of it, nothing may be imported because an input names
it, and no input may take longer than ten seconds or a gigabyte. ``make fuzz-cassettes FUZZ_SECONDS=60`` runs it, and
``.venv-fuzz/bin/python -m tests.fuzz.cassettes FILE`` what was found.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["timetracer_otel", "timetracer_otel_exporter_har"]):
    import timetracer_otel_exporter_har
    from timetracer_otel.cassette import cassette_from_bytes, pack, rebuild_error
    from timetracer_otel.cassette.frames import seal
    from timetracer_otel.constants import EventType
    from timetracer_otel.exceptions import CassetteError, ReplayMismatchError
    from timetracer_otel.redact.content_encoding import decode_body
    from timetracer_otel.report import event_detail, exchange_detail, json_view, summary, timeline
    from timetracer_otel.session import ReplaySession
    from timetracer_otel.types import Call, Cassette, DependencyEvent, RecordedError

__all__ = ["one_input"]

_HEADER: Final = pack(
    {
        "format": "timetracer-cassette",
        "version": 1,
        "session": {"id": "1", "recorded_at": "2024-01-01T00:00:00+00:00", "service": "s", "env": "e"},
        "request": {"method": "GET", "path": "/"},
    }
)
_EVENT: Final[dict[str, Any]] = {
    "eid": 1,
    "type": "http.client",
    "start_ms": 0.0,
    "duration_ms": 1.0,
    "signature": {"lib": "httpx", "method": "GET", "url": "http://h/", "query": {}},
    "result": {"status": 200},
}
_CODINGS: Final = ("gzip", "deflate", "br", "zstd", "gzip, br")
_CALL: Final = Call("httpx", EventType.HTTP_CLIENT, "GET", url="http://h/?a=1")


def _raw(data: bytes) -> bytes:
    return data


def _events(data: bytes) -> bytes:
    return _HEADER + data


def _sealed(data: bytes) -> bytes:
    stream = _HEADER + data
    footer = {"footer": max(1, data[:1][0] % 8) if data else 0, "stats": {}, "response": {"status": 200}}
    return stream + seal(footer, len(stream), zlib.crc32(stream))


def _placed(*path: str) -> Callable[[bytes], bytes]:
    """The data as a packed value at a place of an event."""

    def made(data: bytes) -> bytes:
        event: dict[str, Any] = {**_EVENT, "result": dict(_EVENT["result"]), "signature": dict(_EVENT["signature"])}
        inner = event
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner.pop(path[-1], None)
        # The place comes last of all, so that the value can stand behind everything else.
        top = event.pop(path[0]) if len(path) > 1 else None
        head = pack({**event, **({path[0]: 0} if top is not None else {path[-1]: 0})})[:-1]
        if top is not None:
            head += pack({**top, path[-1]: 0})[:-1] if len(path) == 2 else b"\x81" + pack(path[1]) + b"\x81"
            head += pack(path[-1]) if len(path) > 2 else b""
        return _HEADER + head + data

    return made


def _body(data: bytes) -> bytes:
    coding = _CODINGS[data[0] % len(_CODINGS)] if data else ""
    headers = {"content-encoding": coding, "content-type": "application/json; charset=" + data[1:9].decode("latin-1")}
    event = {**_EVENT, "result": {"headers": headers, "body": {"captured": True, "data": data[9:]}}}
    return _HEADER + pack(event)


_SHAPES: Final[tuple[Callable[[bytes], bytes], ...]] = (
    _raw,
    _events,
    _sealed,
    _placed("call", "args"),
    _placed("result", "reply"),
    _placed("result", "exception"),
    _placed("span", "attributes"),
    _placed("signature", "query"),
    _body,
)


def one_input(data: bytes) -> None:
    """Take one input: its first byte says what its others stand for."""
    shape = _SHAPES[data[0] % len(_SHAPES)] if data else _raw
    try:
        cassette = cassette_from_bytes(shape(data[1:]), "fuzz")
    except CassetteError as fault:
        str(fault)
        return
    _show(cassette)
    _convert(cassette)
    _replay(cassette)


def _show(cassette: Cassette) -> None:
    lines = [*summary(cassette), *timeline(cassette), *exchange_detail(cassette)]
    for event in cassette.events:
        lines += event_detail(event)
    "\n".join(lines).encode("utf-8", "backslashreplace")


def _convert(cassette: Cassette) -> None:
    json.dumps(json_view(cassette), ensure_ascii=False).encode("utf-8", "backslashreplace")
    with suppress(CassetteError):
        json.loads(timetracer_otel_exporter_har.export(cassette))


def _replay(cassette: Cassette) -> None:
    session = ReplaySession(cassette, "fuzz")
    with suppress(CassetteError, ReplayMismatchError):
        session.match(_CALL)
    session.verdict()
    for event in cassette.events:
        _rebuild(event)
        body = event.result.body
        if body is not None and isinstance(body.data, bytes):
            decode_body(body.data, event.result.headers.get("content-encoding", ""), damaged_too=True)


def _rebuild(event: DependencyEvent) -> None:
    error: RecordedError | None = event.result.exception
    if error is not None:
        before = len(sys.modules)
        with suppress(CassetteError):
            rebuild_error(error, {"httpx", "h2.exceptions"})
        allowed = 400  # what the modules that are permitted by name may bring along, once
        assert len(sys.modules) - before < allowed, f"{error.cls} brought modules along"


def main() -> None:
    """Fuzz until the time is over, or run the files that are named."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
