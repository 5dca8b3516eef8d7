"""``timetracer-otel show``: print what a cassette holds."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from timetracer_otel.base.printable import for_terminal
from timetracer_otel.cli.bad_input import CommandError
from timetracer_otel.cli.terminal import CALLS, HEAD, print_lines

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.types import Cassette, DependencyEvent

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Show a cassette: its head and its calls as a tree with times."
USAGE = "CASSETTE|ID [--event N] [--bodies] [--json | --stable]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.naming import add_cassette

    add_cassette(parser, "the file to show")
    parser.add_argument("--event", metavar="N", type=int, help="show one call whole: headers, bodies, span")
    parser.add_argument("--bodies", action="store_true", help="show request, response and every call whole")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print everything as JSON, for other programs")
    group.add_argument(
        "--stable", action="store_true", help="print text that is the same for recordings of the same, to compare it"
    )
    group.add_argument(
        "--textconv", action="store_true", help="the same as git wants it: it also says why a file cannot be read"
    )


def run(args: argparse.Namespace) -> int:
    """Print the head and the tree of calls, one call, everything, or JSON, as the options say."""
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.naming import cassette_path
    from timetracer_otel.match.variables import variables_of
    from timetracer_otel.report import (
        event_detail,
        exchange_detail,
        json_view,
        log_detail,
        summary,
        terminal_width,
        timeline,
    )

    if args.stable or args.textconv:
        return _show_stable(args)
    cassette = read_cassette(cassette_path(args.cassette, args.cassette_dir))
    event = None if args.event is None else _event(cassette, args.event)
    if args.json:
        import json

        document = json.dumps(json_view(event or cassette), indent=2, ensure_ascii=False)
        print(for_terminal(document) if sys.stdout.isatty() else document)
        return 0
    variables = variables_of(cassette)
    if event is not None:
        lines = event_detail(event, variables=variables.listed(event))
    else:
        print_lines([*summary(cassette, variables), ""], HEAD)
        lines = timeline(cassette, terminal_width(), _ascii_only())
        if args.bodies:
            exchanged = exchange_detail(cassette)
            lines += ["", *exchanged] if exchanged else []
            logged = log_detail(cassette)
            lines += ["", *logged] if logged else []
            for each in cassette.events:
                lines += ["", *event_detail(each, variables=variables.listed(each))]
    print_lines(lines, CALLS)
    return 0


def _show_stable(args: argparse.Namespace) -> int:
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.naming import cassette_path
    from timetracer_otel.exceptions import CassetteError
    from timetracer_otel.report import stable_lines

    if args.event is not None or args.bodies:
        raise CommandError("--stable: shows the whole cassette. Leave --event and --bodies out.")
    try:
        lines = stable_lines(read_cassette(cassette_path(args.cassette, args.cassette_dir)))
    except CassetteError as fault:
        if not args.textconv:
            raise
        # git would show nothing at all, not even of the other files.
        lines = [f"(no cassette that can be read: {str(fault).replace(args.cassette, 'the file')})"]
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        # The text is the same whatever the language of this system is.
        sys.stdout.reconfigure(encoding="utf-8")
    for line in lines:
        print(line)
    return 0


def _event(cassette: Cassette, number: int) -> DependencyEvent:
    for event in cassette.events:
        if event.eid == number:
            return event
    count = len(cassette.events)
    range_ = f"its calls are 1 to {count}" if count else "it has none"
    raise CommandError(f"--event: there is no call {number} in {cassette.path}; {range_}.")


def _ascii_only() -> bool:
    try:
        "├│█▏…".encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return True
    return False
