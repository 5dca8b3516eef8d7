"""``timetracer-otel diff``: how two recordings differ, call by call."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from timetracer_otel.base.printable import for_terminal, printable
from timetracer_otel.cli.bad_input import CommandError
from timetracer_otel.cli.terminal import DIFFERENCE, print_lines

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Show how two recordings differ: calls added, gone, changed, moved, repeated or slower, and the answer."
USAGE = "BEFORE AFTER [--json | --markdown]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.options import add_setting, path_argument

    for name in ("before", "after"):
        meaning = f"the {'first' if name == 'before' else 'second'} recording, or the id of one"
        parser.add_argument(name, metavar=name.upper(), type=path_argument, help=meaning)
    add_setting(parser, "cassette_dir", "--dir", "DIR")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print the differences as JSON, for other programs")
    group.add_argument("--markdown", action="store_true", help="print them for the comment of a pull request")
    parser.add_argument(
        "--slower",
        metavar="TIMES",
        type=float,
        default=2.0,
        help="tell calls that took so many times as long (default: 2)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the differences. The exit code is that of a diff tool: 0 for none, 1 for some, 2 for trouble."""
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.naming import cassette_path
    from timetracer_otel.report import compare_recordings

    if not args.slower >= 1:
        raise CommandError(f"--slower: {args.slower:g} is not allowed. Allowed: 1 and more.")
    before, after = (read_cassette(cassette_path(each, args.cassette_dir)) for each in (args.before, args.after))
    found = compare_recordings(before, after, slower=args.slower)
    if args.json:
        import json

        document = json.dumps(found.as_json(), indent=2, ensure_ascii=False)
        print(for_terminal(document) if sys.stdout.isatty() else document)
    elif args.markdown:
        print("\n".join(map(printable, found.markdown().split("\n"))))
    else:
        print_lines(found.lines(), DIFFERENCE)
    return int(found.differs)
