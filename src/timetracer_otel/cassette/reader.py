"""`read_cassette`: a file to a `Cassette`, or an error that says what is wrong with the file, and where.

Files are untrusted. Whatever a file holds, reading it raises nothing but `CassetteError`, imports nothing and runs
nothing. It takes memory in proportion to the file: see `timetracer_otel.cassette.costs`.
"""

from __future__ import annotations

import os
import stat
import zlib
from typing import Any

from timetracer_otel.cassette.codec import DECODE_ERRORS, describe
from timetracer_otel.cassette.compression import MAX_STREAM_BYTES, expand
from timetracer_otel.cassette.frames import (
    FOOTER_KEY,
    FOOTER_MARK,
    MAGIC,
    BreakError,
    footer_start,
    objects,
    sealed_crc,
    was_sealed,
)
from timetracer_otel.cassette.later_events import events_for_later
from timetracer_otel.cassette.model import event_from, from_maps, header_parts
from timetracer_otel.cassette.sources import RECORD_AGAIN, Layout, Source, refuse
from timetracer_otel.constants import FORMAT_VERSION
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError, CassetteSchemaError
from timetracer_otel.types import Cassette, DependencyEvent

__all__ = [
    "DECODED_AT_ONCE",
    "cassette_from_bytes",
    "check_start",
    "lay_out",
    "load",
    "open_cassette",
    "read_cassette",
]

_VERSION_MARK = b"\xa7version"


def read_cassette(path: str | os.PathLike[str]) -> Cassette:
    """Read a cassette. Whether it is compressed is seen from its first bytes, not from its name.

    If the recorder died before the end, every whole event is read, and ``complete`` is False. Events come in order
    of their ``eid``.

    Raises:
        CassetteNotFoundError: There is no such file.
        CassetteSchemaError: The format of the file is newer than this release.
        CassetteError: The file is no cassette, cannot be read, or is damaged. The text has path, offset and cure.
    """
    return _cassette_of(load(path))


def open_cassette(path: str | os.PathLike[str]) -> Cassette:
    """`read_cassette` for who needs a few of the events, such as a replay.

    Each event is decoded when what it holds is first asked for. What it is found by (its signature, times and path of
    spans) is there at once. A file without a footer is read as a whole, and so is one whose events are unusual.

    Raises:
        CassetteNotFoundError: As for `read_cassette`.
        CassetteSchemaError: As for `read_cassette`.
        CassetteError: As for `read_cassette`. Of a finished file whose checksum fits, an event that is not as the
            format says may be an error only when it is asked for; the text names it.
    """
    return _cassette_of(load(path), for_later=True)


def cassette_from_bytes(data: bytes, name: str) -> Cassette:
    """`read_cassette` for the bytes of a file that lie elsewhere, such as in a database.

    Args:
        data: The bytes, compressed or not.
        name: Becomes the ``path`` of the cassette, and stands in the texts of errors.

    Raises:
        CassetteSchemaError: The format is newer than this release.
        CassetteError: These are no bytes of a cassette, or they are damaged.
    """
    return _cassette_of(_opened(name, data))


DECODED_AT_ONCE: int = 1000
"""So many events are decoded when a cassette is opened for a replay. A replay of few events nearly always needs them
all, and a call must not wait for its answer to be decoded. With more events, the first call would wait for all."""


def _cassette_of(source: Source, *, for_later: bool = False) -> Cassette:
    layout = lay_out(source)
    try:
        header = header_parts(source.object_at(*layout.header))
    except DECODE_ERRORS as fault:
        refuse(source.name, 0, describe(fault))
    events = None
    if for_later and layout.footer is not None and len(layout.events) > DECODED_AT_ONCE:
        events = events_for_later(source, layout)
    if events is None:
        events = _decoded(source, layout)
    try:
        return from_maps(header, events, layout.footer, source.name)
    except DECODE_ERRORS as fault:
        refuse(source.name, layout.footer_at, describe(fault))


def _decoded(source: Source, layout: Layout) -> list[DependencyEvent]:
    events: list[DependencyEvent] = []
    for start, end in layout.events:
        found = source.object_at(start, end)
        try:
            events.append(event_from(found))
        except DECODE_ERRORS as fault:
            refuse(source.name, start, describe(fault))
    return events


def load(path: str | os.PathLike[str]) -> Source:
    """The expanded stream of a file, which was checked to begin as a cassette does."""
    name = os.fsdecode(path)
    try:
        facts = os.stat(name)  # Before it is opened: opening a pipe would wait for its writer.
        if stat.S_ISDIR(facts.st_mode):
            raise CassetteError(
                f"Cannot read cassette {name}: it is a folder. Name one of the files in it.", path=name
            )
        if not stat.S_ISREG(facts.st_mode):
            raise CassetteError(f"Cannot read cassette {name}: it is no regular file. Name a file.", path=name)
        if facts.st_size > MAX_STREAM_BYTES:
            raise CassetteError(
                f"Cannot read cassette {name}: {facts.st_size} bytes are more than the {MAX_STREAM_BYTES} that "
                "a cassette may have. Split the recording.",
                path=name,
            )
        with open(name, "rb") as file:
            raw = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise CassetteNotFoundError(name) from None
    except PermissionError as fault:
        raise CassetteError(
            f"Cannot read cassette {name}: {fault.strerror}. Give this user permission to read it.", path=name
        ) from fault
    except (OSError, ValueError) as fault:
        raise CassetteError(f"Cannot read cassette {name}: {fault}. Name a readable file.", path=name) from fault
    return _opened(name, raw)


def _opened(name: str, raw: bytes) -> Source:
    data = expand(raw, name)
    check_start(data, name, empty=not raw)
    return Source(name, data, len(raw))


def check_start(data: bytes, path: str, *, empty: bool = False) -> None:
    """Check that a stream begins as a cassette of a version that we read.

    Raises:
        CassetteSchemaError: The format is another version.
        CassetteError: The stream is empty, cut within its header, or no cassette.
    """
    if empty:
        raise CassetteError(
            f"Cannot read cassette {path}: it is empty; its recorder died before it wrote anything. {RECORD_AGAIN}",
            path=path,
            offset=0,
        )
    if data[:1] and not 0x80 <= data[0] <= 0x8F:
        raise _stranger(data, path)
    start = data[1 : 1 + len(MAGIC)]
    if start != MAGIC:
        if MAGIC.startswith(start):
            raise _cut_header(path, len(data))
        raise _stranger(data, path)
    at = 1 + len(MAGIC)
    mark = data[at : at + len(_VERSION_MARK)]
    if len(data) <= at + len(_VERSION_MARK) and _VERSION_MARK.startswith(mark):
        raise _cut_header(path, len(data))
    end = at + len(_VERSION_MARK)
    version = data[end] if end < len(data) else 0
    if mark != _VERSION_MARK or version != FORMAT_VERSION:
        known = mark == _VERSION_MARK and version < 0x80
        raise CassetteSchemaError(path, str(FORMAT_VERSION), str(version) if known else None)


def lay_out(source: Source) -> Layout:
    """Find the objects of a stream, and check its seal.

    Raises:
        CassetteError: The stream is damaged, or cut within its header.
    """
    data, path = source.data, source.name
    found: list[tuple[int, int]] = []
    footer: tuple[int, int] | None = None
    try:
        for start, end in objects(data):
            if footer is not None:
                refuse(path, start, f"{len(data) - start} bytes stand behind the footer")
            if found and _is_footer(data, start):
                footer = start, end
            else:
                found.append((start, end))
    except BreakError as fault:
        if footer is not None:
            refuse(path, footer[1], f"{len(data) - footer[1]} bytes stand behind the footer")
        if not fault.ran_out or was_sealed(data):
            refuse(path, fault.offset, fault.reason)
        if not found:
            raise _cut_header(path, fault.offset) from None
    else:
        if footer is None and found and was_sealed(data):
            refuse(path, found[-1][0], "what stands there holds the footer: its length was changed")
    if footer is None:
        return Layout(found[0], found[1:])
    return Layout(found[0], found[1:], _sealed_footer(source, footer[0], len(found) - 1), footer[0])


def _is_footer(data: bytes, start: int) -> bool:
    # Only the first key is looked at, since unpacking every event twice would cost too much.
    return 0x80 <= data[start] <= 0x8F and data.startswith(FOOTER_MARK, start + 1)


def _sealed_footer(source: Source, start: int, events: int) -> dict[str, Any]:
    data, path = source.data, source.name
    at = len(data) - 4
    if footer_start(data) != start:
        refuse(path, at, "the footer has no seal that fits")
    if zlib.crc32(memoryview(data)[:at]) != sealed_crc(data):
        refuse(path, at, "the checksum does not fit: a byte before it was changed")
    footer: dict[str, Any] = source.object_at(start, len(data))
    count = footer.get(FOOTER_KEY)
    if type(count) is not int or count != events:
        counted = count if type(count) is int else f"a {type(count).__name__} as its"
        refuse(path, start, f"the footer counts {counted} events where {events} stand")
    return footer


def _cut_header(path: str, length: int) -> CassetteError:
    return CassetteError(
        f"Cassette {path} was cut within its header, after {length} bytes: there is nothing to recover. "
        f"{RECORD_AGAIN}",
        path=path,
        offset=length,
    )


def _stranger(data: bytes, path: str) -> CassetteError:
    text = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        looks = "it looks like JSON"
    elif text.startswith((b"---", b"interactions:", b"version:", b"- ")):
        looks = "it looks like YAML"
    elif text[:1].isalpha() and text.isascii():
        looks = "it looks like text"
    else:
        looks = "it is no msgpack stream of ours"
    return CassetteError(
        f"{path} is not a cassette of timetracer-otel: {looks}. Cassettes of other tools cannot be read: "
        "record anew.",
        path=path,
        offset=0,
    )
