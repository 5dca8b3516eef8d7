"""Recordings that stand in log records of this distribution, each part as the cassette's file had it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgpack  # type: ignore[import-untyped,unused-ignore]
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from timetracer_otel.cassette import cassette_from_bytes, cassette_to_bytes
from timetracer_otel.constants import CASSETTE_ATTRIBUTE
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import imported_cassette, utc_text
from timetracer_otel.types import Cassette
from timetracer_otel_exporter_otlp._records import CALL, EVENT, RECORD, RECORDING, SEAL
from timetracer_otel_exporter_otlp._values import from_message, packed, restored

__all__ = ["Kept"]

_FIXMAP: Final = 0x80
_MOST_KEYS: Final = 15
_OFFSET: Final = b"\xa6offset\xcf"
_CRC: Final = b"\xa5crc32\xce"


@dataclass(slots=True)
class _Parts:
    """What the records have of one recording."""

    header: dict[str, Any] | None = None
    footer: dict[str, Any] | None = None
    events: dict[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Kept:
    """The recordings of a file, by the ids of their sessions."""

    sessions: dict[str, _Parts] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[tuple[dict[str, Any], LogRecord]]) -> Kept:
        """Those that the records are of. The same record may be there twice: a Collector sends again.

        Raises:
            ValueError: A record says that it is one of ours, and is of another form.
        """
        kept = cls()
        for attributes, record in records:
            body = restored(from_message(record.body))
            if not isinstance(body, dict):
                raise ValueError(f"the record of a {attributes[RECORD]} is no map")
            parts = kept.sessions.setdefault(str(attributes.get(CASSETTE_ATTRIBUTE)), _Parts())
            if attributes[RECORD] == RECORDING:
                parts.header, parts.footer = body.get("header"), body.get("footer")
            elif attributes[RECORD] == CALL:
                eid = attributes.get(EVENT)
                if not isinstance(eid, int):
                    raise ValueError(f"the record of a call has no {EVENT}")
                parts.events[eid] = body
        return kept

    def cassettes(self) -> Iterator[tuple[Cassette, list[str]]]:
        """Each recording, and what of it the records do not hold.

        Raises:
            CassetteError: The parts make no cassette.
        """
        for session, parts in self.sessions.items():
            yield _cassette(session, parts)


def _cassette(session: str, parts: _Parts) -> tuple[Cassette, list[str]]:
    notes: list[str] = []
    events = [parts.events[eid] for eid in sorted(parts.events)]
    footer = parts.footer if isinstance(parts.footer, dict) else None
    if not isinstance(parts.header, dict) or footer is None:
        notes.append(f"the record of the recording {session} is missing: its request and its answer are not known")
        # The records of calls have all that a replay needs.
        header = cassette_to_bytes(replace(imported_cassette((), utc_text(), "OTLP"), events=[]))
        unpacker = msgpack.Unpacker(ext_hook=msgpack.ExtType)
        unpacker.feed(header)
        made = _read(packed(next(unpacker)), events, None)
        return replace(made, complete=True), notes
    number = footer.get("footer")
    if not isinstance(number, int):
        raise CassetteError(f"The record of the recording {session} has no number of calls. Write the file again.")
    if number == len(events):
        return _read(packed(parts.header), events, footer), notes
    whole = _read(packed(parts.header), [], {**footer, "footer": 0, "boundaries": 0})
    made = _read(packed(parts.header), events, None)
    notes.append(f"{number} calls were recorded in {session}, and the records of {len(events)} are here")
    return replace(whole, events=made.events), notes


def _read(header: bytes, events: Iterable[dict[str, Any]], footer: dict[str, Any] | None) -> Cassette:
    """A cassette of these parts. Its reader looks at them as at any file that a stranger has made."""
    try:
        data = b"".join([header, *map(packed, events)])
        if footer is not None:
            data += _sealed(footer, data)
    except (ValueError, TypeError, OverflowError, RecursionError) as fault:
        raise CassetteError(f"The records of a recording make no cassette: {fault}. Write the file again.") from fault
    return cassette_from_bytes(data, "imported")


def _sealed(footer: dict[str, Any], before: bytes) -> bytes:
    """The footer behind what stands before it (docs/cassette-format.md, "The footer and its seal")."""
    fields = {key: item for key, item in footer.items() if key not in SEAL}
    if len(fields) + 2 > _MOST_KEYS:
        raise ValueError(f"its footer has {len(fields)} entries")
    body = bytes([_FIXMAP | len(fields) + 2]) + b"".join(packed(part) for entry in fields.items() for part in entry)
    sealed = body + _OFFSET + struct.pack(">Q", len(before)) + _CRC
    return sealed + struct.pack(">I", zlib.crc32(before + sealed))
