"""``timetracer-otel list``: a table of the cassettes in a folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.base.printable import printable
from timetracer_otel.cli.bad_input import CommandError, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from timetracer_otel.cassette import StoredCassette

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "List the cassettes of a folder, oldest first."
USAGE = "[--dir DIR]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from timetracer_otel.cli.options import add_setting

    add_setting(parser, "cassette_dir", "--dir", "DIR")


def run(args: argparse.Namespace) -> int:
    """Print the table, and below it why files cannot be read.

    It asks `CassetteStore.list` and not the heads of a `Store`, since the table shows sizes of files and the parts of
    recordings under way.
    """
    from timetracer_otel.config import TraceConfig

    config = TraceConfig.from_env()
    named = "--dir" if args.cassette_dir else "TIMETRACER_DIR"
    folder = Path(args.cassette_dir or config.cassette_dir)
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise CommandError(f"{named}: {folder} {what}. Name the folder that the cassettes are in.")
    from timetracer_otel.cassette import CassetteStore

    found = CassetteStore(folder).list()
    if not found:
        print(one_line(f"No cassettes in {folder}. Record some with: timetracer-otel record --dir {folder} -- CMD"))
        return 0
    for line in _lines(found, folder):
        print(printable(line))
    return 0


def _lines(found: Sequence[StoredCassette], folder: Path) -> list[str]:
    from timetracer_otel.base.counters import clients_without_plugin
    from timetracer_otel.report import Column, format_size, table, terminal_width

    columns = (
        Column("recorded (UTC)"),
        Column("request", elastic=True, keep="ends"),
        Column("status", right=True),
        Column("calls", right=True),
        Column("size", right=True),
        Column("state"),
        Column("file", elastic=True, keep="end"),
    )
    rows = []
    for each in found:
        request = " ".join(part for part in (each.method, each.request_path) if part)
        rows.append(
            [
                printable(each.recorded_at[:19].replace("T", " ") or "-"),
                printable(request or "-"),
                str(each.status) if each.status else "-",
                "-" if each.error else str(each.events),
                format_size(each.size_bytes),
                _state(each),
                printable(_short(each.path, folder)),
            ]
        )
    lines = table(columns, rows, terminal_width())
    remarks = [_reason(each) for each in found if each.error]
    alone = sum((Counter(each.without_plugin) for each in found), Counter[str]())
    connections: dict[str, Counter[str]] = {}
    for each in found:
        for library, addresses in each.connections.items():
            connections.setdefault(library, Counter()).update(addresses)
    calls = clients_without_plugin(alone, connections)
    if calls:
        remarks.append(f"No plugin captures {calls}: replays refuse them. The command show says which they are.")
    return [*lines, "", *map(printable, remarks)] if remarks else lines


def _state(stored: StoredCassette) -> str:
    if stored.error:
        return "unreadable"
    if stored.running:
        return "running"
    return "complete" if stored.complete else "recovered"


def _reason(stored: StoredCassette) -> str:
    reason = stored.error or ""
    return reason if stored.path in reason else f"{stored.path}: {reason}"


def _short(path: str, folder: Path) -> str:
    try:
        return str(Path(path).relative_to(folder))
    except ValueError:
        return path
