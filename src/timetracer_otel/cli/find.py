"""``timetracer-otel find``: the paths of the cassettes that the options ask for, for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timetracer_otel.cli.choosing import FILTERS

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Print the paths of the cassettes that the options ask for, one in a line."
USAGE = f"[FOLDER] {FILTERS} [--json]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from timetracer_otel.cli.choosing import add_filters
    from timetracer_otel.cli.naming import add_folder

    add_folder(parser)
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="print all that list knows of them, as JSON")
    parser.add_argument("-0", "--null", action="store_true", help="end each path with a null character, for xargs -0")


def run(args: argparse.Namespace) -> int:
    """Print the paths. The exit code is 1 where there is none, as that of ``grep``."""
    from timetracer_otel.cli.choosing import chosen
    from timetracer_otel.cli.list import print_json
    from timetracer_otel.cli.naming import catalog_of

    found = [row for row in chosen(catalog_of(args).rows, args) if row.error is None]
    if args.json:
        print_json(found)
    else:
        for row in found:
            _print_path(row.path, "\0" if args.null else "\n")
    return int(not found)


def _print_path(path: str, end: str) -> None:
    """The path as it is where a program reads it, and escaped on a terminal."""
    import os
    import sys

    from timetracer_otel.base.printable import printable

    if sys.stdout.isatty():
        print(printable(path), end=end)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + end.encode())
