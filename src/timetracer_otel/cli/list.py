"""``timetracer-otel list``: a table of the cassettes in a folder."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from timetracer_otel.base.printable import printable
from timetracer_otel.cli.bad_input import one_line
from timetracer_otel.cli.choosing import FILTERS
from timetracer_otel.cli.terminal import print_lines, print_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from timetracer_otel.cassette import StoredCassette
    from timetracer_otel.match.catalog import Catalog
    from timetracer_otel.report import Column
    from timetracer_otel.storage.finding import RemoteCatalog

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "List the cassettes of a folder, oldest first."
USAGE = f"[FOLDER] {FILTERS} [--json]"

_SHORT_ID = 8
"""So many characters of a session's id tell it from those of any folder, and stand at the end of the file's name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from timetracer_otel.cli.choosing import add_filters
    from timetracer_otel.cli.naming import add_folder

    add_folder(parser)
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, for other programs")


def run(args: argparse.Namespace) -> int:
    """Print the table, and below it why files cannot be read."""
    from timetracer_otel.cli.choosing import chosen
    from timetracer_otel.cli.naming import catalog_of

    catalog = catalog_of(args)
    found = chosen(catalog.rows, args)
    if args.json:
        print_json(found)
        return 0
    if not found:
        print_lines([nothing_found(catalog)])
        return 0
    _print_table(found)
    remarks = _remarks(found)
    if remarks:
        print_lines(["", *remarks])
    return 0


def nothing_found(catalog: Catalog | RemoteCatalog) -> str:
    """Why there is nothing to show, and what to do about it."""
    folder = catalog.directory
    if not catalog.rows:
        return one_line(f"No cassettes in {folder}. Record some with: timetracer-otel record --dir {folder} -- CMD")
    return one_line(f"None of the {len(catalog.rows)} cassettes in {folder} is one that the options ask for.")


def print_json(rows: Sequence[StoredCassette]) -> None:
    """Print rows as an array of JSON objects."""
    import json
    from dataclasses import asdict

    from timetracer_otel.base.printable import for_terminal

    document = json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)
    print(for_terminal(document) if sys.stdout.isatty() else document)


def _print_table(found: Sequence[StoredCassette]) -> None:
    from timetracer_otel.report import fitted, terminal_width

    width = terminal_width()
    # A file is named by its id. So its path stands there only where there is room for all of it.
    print_table(*fitted(*_table(found), width, _LEAST_OF_REQUEST, ["file"]), width)


_LEAST_OF_REQUEST = 40
"""So many cells of a request are shown before there is a column for files."""


def _table(found: Sequence[StoredCassette]) -> tuple[list[Column], list[list[str]]]:
    from timetracer_otel.report import Column, format_duration, format_size

    columns = [
        Column("recorded (UTC)"),
        Column("request", elastic=True, keep="ends"),
        Column("status", right=True, tone="status"),
        Column("took", right=True),
        Column("calls", right=True),
        Column("size", right=True),
        Column("state", tone="trouble"),
        Column("id", tone="name"),
        Column("file", tone="aside"),
    ]
    rows = []
    for each in found:
        request = " ".join(part for part in (each.method, each.request_path) if part)
        rows.append(
            [
                printable(each.recorded_at[:19].replace("T", " ") or "-"),
                printable(request or "-"),
                str(each.status) if each.status else "error" if each.failed else "-",
                format_duration(each.duration_ms) if each.duration_ms else "-",
                "-" if each.error else str(each.events),
                format_size(each.size_bytes),
                _state(each),
                printable(each.session_id[:_SHORT_ID] or "-"),
                printable(each.path),
            ]
        )
    if all(each.error is None and each.complete for each in found):
        # What is true of all need not be said of each.
        columns = [column for column in columns if column.heading != "state"]
        rows = [[*row[:6], *row[7:]] for row in rows]
    return columns, rows


def _remarks(found: Sequence[StoredCassette]) -> list[str]:
    from timetracer_otel.base.counters import clients_without_plugin

    remarks = [_reason(each) for each in found if each.error]
    alone: Counter[str] = Counter()
    connections: dict[str, Counter[str]] = {}
    for each in found:
        if each.without_plugin:
            alone.update(each.without_plugin)
        for library, addresses in each.connections.items():
            connections.setdefault(library, Counter()).update(addresses)
    calls = clients_without_plugin(alone, connections)
    if calls:
        remarks.append(f"No plugin captures {calls}: replays refuse them. The command show says which they are.")
    return remarks


def _state(stored: StoredCassette) -> str:
    if stored.error:
        return "unreadable"
    if stored.running:
        return "running"
    return "complete" if stored.complete else "recovered"


def _reason(stored: StoredCassette) -> str:
    reason = stored.error or ""
    return reason if stored.path in reason else f"{stored.path}: {reason}"
