"""``timetracer-otel view``: a recording, or how two of them differ, as a page for the browser."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetracer_otel.cli.bad_input import CommandError
from timetracer_otel.cli.output_file import write_output

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.report.page import Account

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Show a recording in the browser, or how two differ: one HTML file that needs nothing else."
USAGE = "CASSETTE|ID [AFTER] [-o FILE] [--report FILE]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.naming import add_cassette
    from timetracer_otel.cli.options import path_argument

    add_cassette(parser, "the recording to show")
    parser.add_argument(
        "after",
        metavar="AFTER",
        nargs="?",
        type=path_argument,
        help="a second recording, or the id of one: show how it differs from the first",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=path_argument, help="write the page there, and open no browser"
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=path_argument,
        help="show what a replay did with the recording: the file that TIMETRACER_REPLAY_REPORT named",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page, and open it in the browser if no file is named for it."""
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.naming import cassette_path
    from timetracer_otel.report.page import comparison_data, document, recording_data

    if args.after and args.report:
        raise CommandError("--report: it tells of a replay of one recording. Leave AFTER out.")
    named = [each for each in (args.cassette, args.after) if each]
    cassettes = [read_cassette(cassette_path(each, args.cassette_dir)) for each in named]
    if len(cassettes) == 2:
        data = comparison_data(*cassettes)
    else:
        data = recording_data(cassettes[0], _account(args.report, cassettes[0].path) if args.report else None)
    page = document(data)
    if args.output:
        write_output(Path(args.output), page.encode())
        print(f"wrote {args.output}")
        return 0
    return _open(page)


def _open(page: str) -> int:
    import webbrowser

    # The browser reads it after this command has ended: the file stays. Only its owner may read it.
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="timetracer-", suffix=".html", delete=False
    ) as file:
        file.write(page)
    opened = webbrowser.open(Path(file.name).as_uri())
    print(
        f"opened {file.name}" if opened else f"wrote {file.name}; there is no browser here that it could be opened in"
    )
    return 0


def _account(report: str, cassette: str | None) -> Account:
    """What the last replay that the report tells of did with a cassette.

    Raises:
        CommandError: It is no such report, or it tells of no replay of this cassette.
    """
    import json

    from timetracer_otel.report.page import Account

    found: dict[str, Any] | None = None
    with open(report, encoding="utf-8", errors="replace") as lines:
        for number, text in enumerate(lines, 1):
            try:
                line = json.loads(text)
                is_meant = line["state"] == "ended" and _is_same(line["cassette"], cassette)
            except (ValueError, TypeError, KeyError, AttributeError):
                raise CommandError(f"--report: line {number} of {report} is none of a replay's report.") from None
            if is_meant:
                found = line
    if found is None:
        raise CommandError(f"--report: {report} tells of no replay of {cassette} that has ended.")
    return Account(
        hits=found.get("hits", 0),
        misses=tuple(map(str, found.get("misses", ()))),
        unused=frozenset(found.get("unused", ())),
        live=dict(found.get("live", {})),
        bindings=tuple(f"{kind} {recorded} -> {present}" for kind, recorded, present in found.get("bindings", ())),
    )


def _is_same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and Path(one).resolve() == Path(other).resolve()
