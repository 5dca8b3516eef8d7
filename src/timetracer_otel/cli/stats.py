"""``timetracer-otel stats``: numbers of the recordings of a folder, by route and by upstream."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from timetracer_otel.base.printable import for_terminal
from timetracer_otel.cli.bad_input import one_line
from timetracer_otel.cli.choosing import FILTERS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from timetracer_otel.cassette import StoredCassette
    from timetracer_otel.report import Column, Statistics

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Show numbers of the cassettes of a folder by route and by upstream: counts, failures, times, sizes."
USAGE = f"[FOLDER] {FILTERS} [--json]"

_LEAST_OF_NAME = 28
"""So many cells of a route or an upstream are shown before a column is left out."""
_LEFT_OUT_FIRST = ("p95", "size", "received")
"""The columns that a narrow terminal has no room for, in this order."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from timetracer_otel.cli.choosing import add_filters
    from timetracer_otel.cli.naming import add_folder

    add_folder(parser)
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON, for other programs")


def run(args: argparse.Namespace) -> int:
    """Print a line of sums and two tables."""
    from timetracer_otel.cli.choosing import chosen
    from timetracer_otel.cli.list import nothing_found
    from timetracer_otel.cli.naming import catalog_of
    from timetracer_otel.cli.remote import local_paths
    from timetracer_otel.cli.terminal import print_lines

    catalog = catalog_of(args)
    found = [row for row in chosen(catalog.rows, args) if row.error is None]
    if not found and not args.json:
        print_lines([nothing_found(catalog)])
        return 0
    numbers = _numbers(found, local_paths(catalog, found))
    if args.json:
        import json

        document = json.dumps(numbers.as_json(), indent=2, ensure_ascii=False)
        print(for_terminal(document) if sys.stdout.isatty() else document)
        return 0
    print_lines([*numbers.summary(), ""])
    _print(*numbers.route_table())
    columns, rows = numbers.upstream_table()
    if rows:
        print()
        _print(columns, rows)
    return 0


def _numbers(rows: Sequence[StoredCassette], paths: dict[str, str]) -> Statistics:
    """The numbers of these recordings. One that cannot be read is told on stderr, and left out."""
    from timetracer_otel.cassette import open_cassette
    from timetracer_otel.cli.progress import progress
    from timetracer_otel.exceptions import CassetteError
    from timetracer_otel.report import Statistics

    numbers = Statistics()
    unreadable = []
    with progress("reading the calls of the cassettes") as read:
        for done, row in enumerate(rows, 1):
            try:
                numbers.add(row, open_cassette(paths[row.path]).events)
            except CassetteError as fault:
                unreadable.append(str(fault))
            if read is not None:
                read(done, len(rows))
    for reason in unreadable:
        print(f"timetracer-otel: left out: {one_line(reason)}", file=sys.stderr)
    return numbers


def _print(columns: list[Column], rows: list[list[str]]) -> None:
    from timetracer_otel.cli.terminal import print_table
    from timetracer_otel.report import fitted, terminal_width

    width = terminal_width()
    print_table(*fitted(columns, rows, width, _LEAST_OF_NAME, _LEFT_OUT_FIRST), width)
