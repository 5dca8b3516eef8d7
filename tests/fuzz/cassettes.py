"""The fuzz targets: bytes of a stranger are read, shown, converted, indexed for a replay, and their errors rebuilt.

The first byte of an input names the target and what the other bytes stand for, so that one process tries all. Each
input goes to one target: to read takes a tenth of the time of all others together, and most inputs end there.

Nothing but `CassetteError` (a miss, for a replay) may come out of it, nothing may be imported because an input names
it, and no input may take a gigabyte, or more than a hundred seconds by the clock of a busy machine.
``make fuzz-cassettes FUZZ_SECONDS=60`` runs it, and ``.venv-fuzz/bin/python -m tests.fuzz.cassettes FILE`` what was
found.
"""

from __future__ import annotations

import gc
import json
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

# Counting the cells of a text and checking settings have branches for each character and setting. They say nothing
# new about an input, and would take a third of the time.
_UNWATCHED: Final = ["timetracer_otel.report.tables", "timetracer_otel.config"]

with atheris.instrument_imports(["timetracer_otel", "timetracer_otel_exporter_har"], _UNWATCHED):
    import timetracer_otel_exporter_har
    from timetracer_otel.cassette import cassette_from_bytes, pack, reader, rebuild_error
    from timetracer_otel.cassette.frames import seal
    from timetracer_otel.config import TraceConfig
    from timetracer_otel.constants import EventType
    from timetracer_otel.exceptions import CassetteError, ReplayMismatchError
    from timetracer_otel.redact.content_encoding import decode_body
    from timetracer_otel.report import event_detail, exchange_detail, json_view, summary, timeline
    from timetracer_otel.session import ReplaySession
    from timetracer_otel.types import Call, Cassette, DependencyEvent, RecordedError

__all__ = ["one_input"]

reader.DECODED_AT_ONCE = 0

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
_CONFIG: Final = TraceConfig()
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
    event: dict[str, Any] = {**_EVENT, "result": dict(_EVENT["result"]), "signature": dict(_EVENT["signature"])}
    inner = event
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    inner.pop(path[-1], None)
    # The place comes last of all, so that the value can stand behind everything else.
    top = event.pop(path[0])
    head = _HEADER + pack({**event, path[0]: 0})[:-1] + pack({**top, path[-1]: 0})[:-1]
    return lambda data: head + data


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
    """Take one input: its first byte says what its others stand for, and which target they go to."""
    target, shape = divmod(data[0] if data else 0, len(_SHAPES))
    stream, use = _SHAPES[shape](data[1:]), _TARGETS[target % len(_TARGETS)]
    try:
        cassette = _opened(stream) if use is _give_back_later else cassette_from_bytes(stream, "fuzz")
    except CassetteError as fault:
        str(fault)
        return
    use(cassette)


def _opened(stream: bytes) -> Cassette:
    """The cassette as a replay opens a long one: its events are decoded when they are asked for."""
    if b"footer" not in stream:
        stream += seal({"footer": 1, "stats": {}, "response": {"status": 200}}, len(stream), zlib.crc32(stream))
    return reader._cassette_of(reader._opened("fuzz", stream), for_later=True)


def _read(cassette: Cassette) -> None:
    """It was read, which is all."""


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
    session = ReplaySession(cassette, "fuzz", config=_CONFIG)
    with suppress(CassetteError, ReplayMismatchError):
        session.match(_CALL)
    session.verdict()


def _give_back(cassette: Cassette) -> None:
    for event in cassette.events:
        _rebuild(event)
        body = event.result.body
        if body is not None and isinstance(body.data, bytes):
            decode_body(body.data, event.result.headers.get("content-encoding", ""), damaged_too=True)


def _give_back_later(cassette: Cassette) -> None:
    _replay(cassette)
    for event in cassette.events:
        with suppress(CassetteError):
            str(event.call)
        with suppress(CassetteError):
            _rebuild(event)


_TARGETS: Final[tuple[Callable[[Cassette], None], ...]] = (
    _read,
    _show,
    _convert,
    _replay,
    _give_back,
    # So nearly half of all first bytes ask for nothing but reading.
    *(_read,) * 4,
    _give_back_later,
)


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
    # What was imported lives as long as the process: collecting garbage need not look at it each time.
    gc.collect()
    gc.freeze()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
