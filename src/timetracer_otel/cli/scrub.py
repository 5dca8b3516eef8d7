"""``timetracer-otel scrub``: apply today's rules to cassettes that were recorded by older ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.base.urls import is_url
from timetracer_otel.cli.bad_input import CommandError

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Replace what is a secret by today's rules in a cassette, or in those of a folder."
USAGE = "PATH|ID [--output PATH] [options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.audit import add_rules
    from timetracer_otel.cli.naming import add_cassette
    from timetracer_otel.cli.options import path_argument

    add_cassette(parser, "the cassette or folder to scrub", name="path")
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        type=path_argument,
        help="where to write the scrubbed file or folder; in the place of the old one where left out",
    )
    add_rules(parser)


def run(args: argparse.Namespace) -> int:
    """Scrub one file after the other, and say what was done. The exit code is 2 where one could not be scrubbed."""
    from timetracer_otel.audit import files_of, is_cassette, scrub
    from timetracer_otel.cli.audit import todays_rules
    from timetracer_otel.cli.bad_input import not_written, one_line
    from timetracer_otel.cli.naming import cassette_path, folder_path
    from timetracer_otel.exceptions import CassetteError
    from timetracer_otel.report import printable

    config = todays_rules(args)
    where = args.path if Path(args.path).exists() or is_url(args.path) else folder_path(args.cassette_dir)
    if args.output is None and is_url(where):
        raise CommandError("--output: what is in object storage is never changed. Name a file or folder to write to.")
    root = Path(cassette_path(args.path, args.cassette_dir))
    output = Path(args.output) if args.output is not None else None
    if output is not None and root.is_dir() and output.exists() and not output.is_dir():
        raise CommandError(f"--output: {output} is no folder. Name a folder for the cassettes of {root}.")
    if output is not None and root.is_file() and output.is_dir():
        raise CommandError(f"--output: {output} is a folder. Name a file.")
    files = list(files_of(str(root)))
    failed = False
    for file in files if root.is_file() else filter(is_cassette, files):
        target = None if output is None else str(output / file.relative_to(root) if root.is_dir() else output)
        try:
            done = scrub(str(file), config, target)
        except CassetteError as fault:
            # Where it was read, what cannot be written is the output.
            told = str(fault) if fault.path == str(file) or target is None else not_written("--output", target, fault)
            print(f"timetracer-otel: {one_line(told)}", file=sys.stderr)
            failed = True
            continue
        what = _what(done.replaced, done.secrets)
        where = f" (now {done.path})" if done.path != str(file) else ""
        print(printable(f"{file}: {what}{where}"))
    return 2 if failed else 0


def _what(replaced: int, secrets: int) -> str:
    if not replaced:
        return "nothing to replace"
    return f"{replaced} value{'s' * (replaced != 1)} replaced, {secrets} secret{'s' * (secrets != 1)}"
