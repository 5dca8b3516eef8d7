"""What ``timetracer-otel convert`` does: one recording to one file, and folders of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetracer_otel.cli.bad_input import CommandError
from timetracer_otel.cli.export import said, writer_of
from timetracer_otel.cli.formats import CASSETTE, data_of, file_of, importer_of, is_cassette, is_folder, target_of
from timetracer_otel.cli.output_file import write_folder, write_output, write_pieces

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.exchange import FolderFormat, Imported, Recording
    from timetracer_otel.types import Cassette

__all__ = ["Done", "converted"]


@dataclass(frozen=True, slots=True)
class Done:
    """What was written."""

    said: str
    left_out: tuple[str, ...] = ()
    """What B does not hold of the recordings, one line each."""
    notes: tuple[str, ...] = ()
    """What the recordings do not hold of A, one line each."""


def converted(args: argparse.Namespace) -> Done:
    """Write B. The arguments are those of the command; A is a path.

    Raises:
        CommandError: A is none of what the format of B takes, or a file cannot be read or written.
        CassetteError: A is damaged.
    """
    from timetracer_otel.exchange import FolderFormat

    target = target_of(args.target, args.target_format)
    args.source = file_of(args.source)
    if target is None and is_folder(args.target):
        return _to_cassettes(args)
    if isinstance(target, FolderFormat):
        return _to_files(args, target)
    return _joined(args, target) if Path(args.source).is_dir() else _one(args, target)


def _one(args: argparse.Namespace, target: Any) -> Done:
    """One recording to one file."""
    ((cassette, notes),) = _read(args, each=False)
    left_out: tuple[str, ...] = ()
    if target is None:
        _save(cassette, args.target)
    else:
        made = said(writer_of(target)(cassette))
        write_output(Path(args.target), made.data, "B")
        left_out = made.left_out
    calls = _calls(cassette, is_ours=target is None)
    return Done(f"{args.target}: {calls.said()} of {args.source}{calls.lost_of()}", left_out, notes)


def _to_cassettes(args: argparse.Namespace) -> Done:
    """Each recording of a file to a cassette in a folder."""
    from timetracer_otel.cassette import CassetteStore

    if Path(args.source).is_dir():
        raise CommandError(f"A: {args.source} is a folder, and so is B. Name a file as one of them.")
    store, calls, notes, number = CassetteStore(args.target), _Calls(), Counter[str](), 0
    for cassette, of_it in _read(args, each=True):
        store.put(cassette)
        calls += _calls(cassette, is_ours=True)
        notes.update(of_it)
        number += 1
    told = f"{args.target}: {_counted(number, 'cassette')} of {args.source}, with {calls.said()}{calls.lost_of()}"
    return Done(told, notes=_summed(notes))


def _joined(args: argparse.Namespace, target: Any) -> Done:
    """A folder of cassettes to one file."""
    if not getattr(target, "joinable", False):
        what = "a cassette is one recording" if target is None else "the format of B holds one recording"
        raise CommandError(f"A: {args.source} is a folder, and {what}. Name one, or its id, as A.")
    write, left_out, notes, number = writer_of(target), Counter[str](), Counter[str](), 0

    def pieces() -> Iterator[bytes]:
        nonlocal number
        for recording in _of_folder(args.source, notes):
            made = said(write(recording.cassette))
            left_out.update(made.left_out)
            number += 1
            yield made.data

    write_pieces(Path(args.target), pieces(), "B")
    return Done(f"{args.target}: {_counted(number, 'recording')} of {args.source}", _summed(left_out), _summed(notes))


def _to_files(args: argparse.Namespace, target: FolderFormat) -> Done:
    """A folder of cassettes, or the recordings of one file, to a folder of files."""
    notes, number = Counter[str](), 0

    def recordings() -> Iterator[Recording]:
        nonlocal number
        source = Path(args.source)
        for each in _of_folder(args.source, notes) if source.is_dir() else _of_file(args, notes):
            number += 1
            yield each

    left_out = write_folder(Path(args.target), lambda folder: target.write(recordings(), folder), "B")
    told = f"{args.target}: {_counted(number, 'recording')} of {args.source}"
    return Done(told, tuple(left_out), _summed(notes))


def _of_folder(folder: str, notes: Counter[str]) -> Iterator[Recording]:
    """The recordings of a folder, oldest first, read one by one. Those that cannot be read are noted."""
    from timetracer_otel.cassette import open_cassette
    from timetracer_otel.cli.progress import progress
    from timetracer_otel.exceptions import CassetteError
    from timetracer_otel.exchange import Recording
    from timetracer_otel.match.catalog import Catalog

    with progress("looking at the cassettes") as looked:
        rows = Catalog(folder, looked).rows
    with progress("reading the calls of the cassettes") as read:
        for done, row in enumerate(rows, 1):
            if row.error is not None:
                notes[row.error] += 1
            else:
                try:
                    cassette = open_cassette(row.path)
                except CassetteError as fault:
                    notes[str(fault)] += 1
                else:
                    yield Recording(row, cassette)
            if read is not None:
                read(done, len(rows))


def _of_file(args: argparse.Namespace, notes: Counter[str]) -> Iterator[Recording]:
    from timetracer_otel.cassette.stores.files import stored_cassette
    from timetracer_otel.exchange import Recording

    size_bytes = Path(args.source).stat().st_size if Path(args.source).exists() else 0
    for cassette, of_it in _read(args, each=True):
        notes.update(of_it)
        yield Recording(stored_cassette(cassette, len(cassette.events), args.source, size_bytes), cassette)


def _read(args: argparse.Namespace, *, each: bool) -> Iterator[tuple[Cassette, tuple[str, ...]]]:
    """The recordings of a file, and what of the file is not in each. One alone, unless each was asked for."""
    from timetracer_otel.audit import redacted
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.audit import todays_rules

    path = Path(args.source)
    data = data_of(path)
    if args.source_format == CASSETTE or (args.source_format is None and is_cassette(data)):
        yield read_cassette(path), ()
        return
    found = importer_of(path, data, args.source_format)
    rules = todays_rules(args)
    imported: Imported
    for imported in found.read_all(data) if each and found.read_all is not None else [found.read(data)]:
        # What was recorded by another tool was redacted by its rules, if by any.
        yield redacted(imported.cassette, rules), imported.notes


def _save(cassette: Cassette, target: str) -> None:
    from timetracer_otel.cassette import save_cassette
    from timetracer_otel.cassette.stores.places import SUFFIXES
    from timetracer_otel.constants import CompressionType

    # Each suffix but the first has the first within it.
    fitting = [compression for compression, suffix in SUFFIXES.items() if target.endswith(suffix)]
    save_cassette(cassette, target, fitting[0] if fitting else CompressionType.NONE)


@dataclass(frozen=True, slots=True)
class _Calls:
    number: int = 0
    lost: int = 0

    def __add__(self, other: _Calls) -> _Calls:
        return _Calls(self.number + other.number, self.lost + other.lost)

    def said(self) -> str:
        return _counted(self.number, "call")

    def lost_of(self) -> str:
        return f", of which {self.lost} cannot be replayed" if self.lost else ""


def _calls(cassette: Cassette, *, is_ours: bool) -> _Calls:
    """Those of a cassette, and how many cannot be replayed where a cassette was written."""
    lost = sum(event.not_replayable is not None for event in cassette.events) if is_ours else 0
    return _Calls(len(cassette.events), lost)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _summed(lines: Counter[str]) -> tuple[str, ...]:
    """Each line once, with the number of recordings that it is of."""
    return tuple(line if number == 1 else f"{line} ({number} recordings)" for line, number in lines.items())
