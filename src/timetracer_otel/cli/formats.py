"""The formats that cassettes become and are made of: our own, and those of installed distributions."""

from __future__ import annotations

import os
import zlib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetracer_otel.cli.bad_input import CommandError
from timetracer_otel.cli.export import GROUP as EXPORTERS

if TYPE_CHECKING:
    from timetracer_otel.exchange import ImportFormat

__all__ = ["CASSETTE", "IMPORTERS", "data_of", "file_of", "importer_of", "is_cassette", "is_folder", "target_of"]

IMPORTERS = "timetracer_otel_importer"
"""The group of entry points for importers. Each names a `timetracer_otel.exchange.ImportFormat`."""

CASSETTE = "cassette"
"""The name of our own format, in ``--from`` and ``--to``."""

_HEAD_BYTES = 64
"""The first bytes of a cassette, in which its format is named."""

_MAPS = {bytes([first]) for first in (*range(0x80, 0x90), 0xDE, 0xDF)}
"""The first byte of a map in msgpack, with which a cassette begins: a table may have cassettes within it."""


def data_of(path: Path) -> bytes:
    """The content of A.

    Raises:
        CommandError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"A: cannot read {path}: {error.strerror or error}. Name another file.") from error


def file_of(source: str) -> str:
    """The file that holds the recordings, where A is a folder of a format that has several files; else A."""
    if not Path(source).is_dir():
        return source
    names = (_loaded(entry).file_in_folder for _, entry in sorted(_entries(IMPORTERS).items()))
    return next((str(file) for name in names if name and (file := Path(source, name)).is_file()), source)


def is_folder(target: str) -> bool:
    """Whether B is a folder, or is to become one."""
    return Path(target).is_dir() or target.endswith(("/", os.sep))


def importer_of(path: Path, data: bytes, name: str | None) -> ImportFormat:
    """What reads A.

    Args:
        path: A.
        data: Its content, which tells the format.
        name: The format, where it was named.

    Raises:
        CommandError: There is none, or several fit.
    """
    entries = _entries(IMPORTERS)
    if name is not None:
        if name not in entries:
            raise CommandError(_unknown("--from", "importer", name, entries))
        format_: ImportFormat = _loaded(entries[name])
        return format_
    formats: dict[str, ImportFormat] = {one: _loaded(entry) for one, entry in sorted(entries.items())}
    fitting = {one: each for one, each in formats.items() if each.recognises(data)}
    named = {one: each for one, each in fitting.items() if path.name.lower().endswith(each.suffixes)}
    fitting = named or fitting
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    known = ", ".join([CASSETTE, *formats])
    if not fitting:
        raise CommandError(
            f"A: {path} is of no format that is known here ({known}). Is an importer to be installed? "
            "Try: pip install timetracer-otel-exporter-har"
        )
    raise CommandError(f"A: {path} may be of several formats: {', '.join(fitting)}. Say which by --from.")


def target_of(target: str, name: str | None) -> Any:
    """The exporter that writes B; None where it is a cassette.

    Args:
        target: B, whose name tells the format.
        name: The format, where it was named.

    Raises:
        CommandError: There is none, or several fit.
    """
    from timetracer_otel.cassette.stores.places import SUFFIXES

    if name == CASSETTE or (name is None and target.endswith(tuple(SUFFIXES.values()))):
        return None
    entries = _entries(EXPORTERS)
    if name is not None:
        if name not in entries:
            raise CommandError(_unknown("--to", "exporter", name, entries))
        return _loaded(entries[name])
    lowered = target.rstrip("/\\").lower()
    fitting: dict[str, Any] = {}
    longest = 0
    for one, entry in sorted(entries.items()):
        format_ = _loaded(entry)
        suffixes = getattr(format_, "suffixes", (f".{one}",))
        length = max((len(suffix) for suffix in suffixes if lowered.endswith(suffix)), default=0)
        # ``.otlp.json`` says more than ``.json``.
        if length > longest:
            fitting, longest = {}, length
        if length and length == longest:
            fitting[one] = format_
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if not fitting and is_folder(target):
        return None
    if fitting:
        raise CommandError(f"B: {target} may be of several formats: {', '.join(fitting)}. Say which by --to.")
    known = ", ".join([CASSETTE, *sorted(entries)])
    raise CommandError(
        f"B: the name of {target} says no format that is known here ({known}). End it with .msgpack, or say --to."
    )


def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # the import of another distribution may raise anything
        raise CommandError(f"the format {entry.name!r} ({entry.value}) cannot be loaded: {error}") from error


def _unknown(option: str, kind: str, name: str, entries: dict[str, EntryPoint]) -> str:
    known = ", ".join([CASSETTE, *sorted(entries)])
    return (
        f"{option}: no {kind} called {name!r} is installed. Installed: {known}. "
        f"Try: pip install timetracer-otel-exporter-{name}"
    )


def is_cassette(data: bytes) -> bool:
    """Whether a file is of our own format. Of files in zstd, no other format is known."""
    from timetracer_otel.cassette.compression import compression_of
    from timetracer_otel.constants import FORMAT_NAME, CompressionType

    compression = compression_of(data[:8])
    if compression is CompressionType.GZIP:
        try:
            return FORMAT_NAME.encode() in zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data, _HEAD_BYTES)
        except zlib.error:
            return True  # It is damaged, and the reader of cassettes says where.
    is_map = data[:1] in _MAPS
    return compression is CompressionType.ZSTD or (is_map and FORMAT_NAME.encode() in data[:_HEAD_BYTES])
