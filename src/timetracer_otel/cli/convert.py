"""``timetracer-otel convert``: from another tool's file to a cassette, back, or from one such format to another."""

from __future__ import annotations

import sys
import zlib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetracer_otel.cli.bad_input import CommandError, one_line
from timetracer_otel.cli.export import GROUP as EXPORTERS
from timetracer_otel.cli.export import said, writer_of
from timetracer_otel.cli.output_file import write_output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from timetracer_otel.exchange import Exported, Imported, ImportFormat
    from timetracer_otel.types import Cassette

__all__ = ["GROUP", "HELP", "USAGE", "add_arguments", "run"]

HELP = "Make a cassette of another tool's file, or such a file of a cassette."
USAGE = "A B [--from FORMAT] [--to FORMAT] [options]"

GROUP = "timetracer_otel_importer"
"""The group of entry points for importers. Each names a `timetracer_otel.exchange.ImportFormat`."""

CASSETTE = "cassette"
"""The name of our own format, in ``--from`` and ``--to``."""

_HEAD_BYTES = 64
"""The first bytes of a cassette, in which its format is named."""

EXIT_LEFT_OUT = 1
"""The exit code where B was written, and does not hold all that A does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.audit import add_rules
    from timetracer_otel.cli.options import add_setting, path_argument

    parser.add_argument("source", metavar="A", type=path_argument, help="the file to read, or the id of a cassette")
    parser.add_argument("target", metavar="B", type=path_argument, help="the file to write")
    parser.add_argument("--from", dest="source_format", metavar="FORMAT", help="format of A; else its content tells")
    parser.add_argument("--to", dest="target_format", metavar="FORMAT", help="format of B; else its name tells")
    add_setting(parser, "cassette_dir", "--dir", "DIR")
    add_rules(parser)


def run(args: argparse.Namespace) -> int:
    """Read A, write B whole, and say on standard error what B does not hold. The exit code is 1 then."""
    from timetracer_otel.cli.naming import cassette_path

    write = _target(args.target, args.target_format)
    args.source = cassette_path(args.source, args.cassette_dir)
    cassette, notes = _read(args)
    if write is None:
        _save(cassette, args.target)
        left_out = False
    else:
        made = said(write(cassette))
        write_output(Path(args.target), made.data, "B")
        for line in made.left_out:
            print(f"timetracer-otel: {args.target}: left out: {one_line(line)}", file=sys.stderr)
        left_out = bool(made.left_out)
    for note in notes:
        print(f"timetracer-otel: {args.source}: {one_line(note)}", file=sys.stderr)
    lost = sum(event.not_replayable is not None for event in cassette.events)
    number = len(cassette.events)
    cannot = f", of which {lost} cannot be replayed" if lost and write is None else ""
    print(one_line(f"{args.target}: {number} call{'s' * (number != 1)} of {args.source}{cannot}"))
    return EXIT_LEFT_OUT if notes or left_out else 0


def _read(args: argparse.Namespace) -> tuple[Cassette, tuple[str, ...]]:
    """The recording, and what of its file is not in it."""
    from timetracer_otel.audit import redacted
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.audit import todays_rules

    path = Path(args.source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"A: cannot read {path}: {error.strerror or error}. Name another file.") from error
    if args.source_format == CASSETTE or (args.source_format is None and _is_cassette(data)):
        return read_cassette(path), ()
    found = _importer(path, data, args.source_format)
    imported: Imported = found.read(data)
    # What was recorded by another tool was redacted by its rules, if by any.
    return redacted(imported.cassette, todays_rules(args)), imported.notes


def _importer(path: Path, data: bytes, name: str | None) -> ImportFormat:
    entries = _entries(GROUP)
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


def _target(target: str, name: str | None) -> Callable[[Cassette], bytes | Exported] | None:
    """What writes B; None where it is a cassette."""
    from timetracer_otel.cassette.stores.places import SUFFIXES

    if name == CASSETTE or (name is None and target.endswith(tuple(SUFFIXES.values()))):
        return None
    entries = _entries(EXPORTERS)
    if name is not None:
        if name not in entries:
            raise CommandError(_unknown("--to", "exporter", name, entries))
        return writer_of(_loaded(entries[name]))
    lowered = target.lower()
    fitting: dict[str, Any] = {}
    for one, entry in sorted(entries.items()):
        format_ = _loaded(entry)
        if lowered.endswith(getattr(format_, "suffixes", (f".{one}",))):
            fitting[one] = format_
    if len(fitting) == 1:
        return writer_of(*fitting.values())
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


def _save(cassette: Cassette, target: str) -> None:
    from timetracer_otel.cassette import save_cassette
    from timetracer_otel.cassette.stores.places import SUFFIXES
    from timetracer_otel.constants import CompressionType

    # Each suffix but the first has the first within it.
    fitting = [compression for compression, suffix in SUFFIXES.items() if target.endswith(suffix)]
    save_cassette(cassette, target, fitting[0] if fitting else CompressionType.NONE)


def _is_cassette(data: bytes) -> bool:
    """Whether a file is of our own format. Of files in zstd, no other format is known."""
    from timetracer_otel.cassette.compression import compression_of
    from timetracer_otel.constants import FORMAT_NAME, CompressionType

    compression = compression_of(data[:8])
    if compression is CompressionType.GZIP:
        try:
            return FORMAT_NAME.encode() in zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data, _HEAD_BYTES)
        except zlib.error:
            return True  # It is damaged, and the reader of cassettes says where.
    return compression is CompressionType.ZSTD or FORMAT_NAME.encode() in data[:_HEAD_BYTES]
