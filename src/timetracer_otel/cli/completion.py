"""``timetracer-otel completion``: what a shell needs to complete commands, options and names of files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from timetracer_otel.cli.bad_input import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HELP", "SHELLS", "USAGE", "add_arguments", "run"]

HELP = "Print a script by which bash, zsh or fish completes commands, options and file names."
SHELLS: Final = ("bash", "zsh", "fish")
USAGE = "|".join(SHELLS)

_FILES: Final = frozenset({"FILE", "CASSETTE", "PATH", "BEFORE", "AFTER"})
_FOLDERS: Final = frozenset({"FOLDER", "DIR"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the argument."""
    parser.add_argument("shell", metavar="SHELL", help=f"the shell: {', '.join(SHELLS)}")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    if args.shell not in SHELLS:
        raise CommandError(f"SHELL: {args.shell!r} is not allowed. Allowed: {', '.join(SHELLS)}.")
    try:
        import shtab
    except ImportError:
        raise CommandError('completion needs shtab. Install: pip install "timetracer-otel[cli]"') from None
    from timetracer_otel.cli import command_parser

    parser = command_parser()
    for action in _arguments(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif isinstance(action.metavar, str) and "|" in action.metavar:
            # The help names all that is allowed. What was typed is checked by the command itself, with its own error.
            action.choices = action.metavar.split("|")
        elif action.dest == "shell":
            action.choices = SHELLS
    print(shtab.complete(parser, args.shell))
    return 0


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _arguments(command)
