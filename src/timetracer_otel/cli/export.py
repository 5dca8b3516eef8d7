"""``timetracer-otel export``: write a cassette in another format, by an exporter that is installed separately."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetracer_otel.base.printable import for_terminal
from timetracer_otel.cli.bad_input import CommandError, one_line
from timetracer_otel.cli.output_file import write_output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from timetracer_otel.exchange import Exported
    from timetracer_otel.types import Cassette

__all__ = ["GROUP", "HELP", "USAGE", "add_arguments", "run", "said", "writer_of"]

HELP = "Write a cassette in another format."
USAGE = "--to FORMAT CASSETTE|ID [-o FILE]"

GROUP = "timetracer_otel_exporter"
"""The group of entry points for exporters. Each names a function ``export(cassette: Cassette) -> bytes``, or a
`timetracer_otel.exchange.ExportFormat`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.naming import add_cassette

    parser.add_argument("--to", metavar="FORMAT", required=True, help="name of the exporter, as 'har'")
    add_cassette(parser, "the file to export")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write; standard output where left out")


def run(args: argparse.Namespace) -> int:
    """Convert the whole cassette, and only then write, so that an error leaves nothing half-written."""
    export = _exporter(args.to)
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.naming import cassette_path

    made = said(export(read_cassette(cassette_path(args.cassette, args.cassette_dir))))
    data = made.data
    if args.output is None or args.output == "-":
        sys.stdout.flush()
        if sys.stdout.isatty():
            data = for_terminal(data.decode("utf-8", "backslashreplace")).encode("utf-8")
        sys.stdout.buffer.write(data)
    else:
        write_output(Path(args.output), data)
    for line in made.left_out:
        print(f"timetracer-otel: left out: {one_line(line)}", file=sys.stderr)
    return 0


def said(made: bytes | Exported) -> Exported:
    """What an exporter made, with the account of what it left out. A plain function gives the bytes alone."""
    from timetracer_otel.exchange import Exported

    return Exported(made) if isinstance(made, bytes) else made


def writer_of(exporter: Any) -> Callable[[Cassette], bytes | Exported]:
    """The function of an exporter that says what it leaves out, where it has one."""
    write: Callable[[Cassette], bytes | Exported] = getattr(exporter, "write", exporter)
    return write


def _exporter(name: str) -> Callable[[Cassette], bytes | Exported]:
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise CommandError(
            f"--to: no exporter called {name!r} is installed. Installed: {known}. "
            f"Try: pip install timetracer-otel-exporter-{name}"
        )
    try:
        exporter: Any = found[name].load()
    except Exception as error:  # the import of another distribution may raise anything
        raise CommandError(f"--to: the exporter {name!r} ({found[name].value}) cannot be loaded: {error}") from error
    from timetracer_otel.exchange import FolderFormat

    if isinstance(exporter, FolderFormat):
        raise CommandError(f"--to: {name} has several files. Try: timetracer-otel convert FOLDER B --to {name}")
    return writer_of(exporter)
