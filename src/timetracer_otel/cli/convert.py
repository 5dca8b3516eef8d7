"""``timetracer-otel convert``: from another tool's file to a cassette, back, or from one such format to another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import one_line

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Make a cassette of another tool's file, or such a file of a cassette."
USAGE = "A B [--from FORMAT] [--to FORMAT] [options]"

EXIT_LEFT_OUT = 1
"""The exit code where B was written, and does not hold all that A does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.audit import add_rules
    from timetracer_otel.cli.options import add_setting, path_argument

    parser.add_argument(
        "source", metavar="A", type=path_argument, help="the file or folder to read, or the id of a cassette"
    )
    parser.add_argument("target", metavar="B", type=path_argument, help="the file or folder to write")
    parser.add_argument("--from", dest="source_format", metavar="FORMAT", help="format of A; else its content tells")
    parser.add_argument("--to", dest="target_format", metavar="FORMAT", help="format of B; else its name tells")
    add_setting(parser, "cassette_dir", "--dir", "DIR")
    add_rules(parser)


def run(args: argparse.Namespace) -> int:
    """Read A, write B whole, and say on standard error what B does not hold. The exit code is 1 then."""
    from timetracer_otel.cli.conversions import converted
    from timetracer_otel.cli.naming import cassette_path

    args.source = cassette_path(args.source, args.cassette_dir)
    done = converted(args)
    for line in done.left_out:
        print(f"timetracer-otel: {args.target}: left out: {one_line(line)}", file=sys.stderr)
    for note in done.notes:
        print(f"timetracer-otel: {args.source}: {one_line(note)}", file=sys.stderr)
    print(one_line(done.said))
    return EXIT_LEFT_OUT if done.notes or done.left_out else 0
