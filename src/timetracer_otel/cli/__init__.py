"""The command ``timetracer-otel``: one module for each command, found by the table `COMMANDS`.

A command module has ``HELP`` and ``USAGE`` (one line each), ``add_arguments(parser)`` and ``run(args) -> int``. It
imports what it works with inside ``run``: ``--help`` must load neither a client library nor OpenTelemetry.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from timetracer_otel.base.plugin_names import unknown_names
from timetracer_otel.cli.bad_input import CommandError, not_found, number, of_system, one_line, whole_number
from timetracer_otel.exceptions import CassetteNotFoundError, TimetracerError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "command_parser", "main"]

COMMANDS = (
    "record",
    "replay",
    "verify",
    "reproduce",
    "to-test",
    "list",
    "find",
    "stats",
    "show",
    "view",
    "diff",
    "check",
    "merge",
    "prune",
    "ship",
    "compact",
    "audit",
    "scrub",
    "export",
    "convert",
    "git-setup",
    "completion",
)
"""Names of the commands, in the order of the help; each is a module of this package, with ``_`` for ``-``."""

PROGRAM = "timetracer-otel"
_DESCRIPTION = "Record the HTTP, SQL and Redis calls of a service traced with OpenTelemetry, and replay them offline."
_RUNNERS = {
    "record": "record -- python app.py",
    "replay": "replay CASSETTE -- python app.py",
    "verify": "verify FOLDER -- python app.py",
    "reproduce": "reproduce ID -- python app.py",
    "to-test": "to-test ID -o tests/test_it.py -- python app.py, or: --app MODULE:APP",
}
"""The commands that run a program, which stands behind ``--``, with an example of each."""
_ALONE = {"reproduce": "--shell", "to-test": "--app"}
"""Options with which such a command needs no program."""

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
"""128 + SIGPIPE: the code that a shell reports for a program which that signal ends. Example: ``list | head``."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line in plain words.

    argparse's own prints the usage above it, and names types of Python.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("type", int, whole_number)
        self.register("type", float, number)

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message.removeprefix('argument ')}. See: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments without the program's name; by default those of the process.

    Returns:
        The exit code: 0 for success, 1 if ``verify`` found a difference or ``audit`` a secret, 2 for bad input, 130
        for Ctrl-C. Bad input is told in one line on standard error, with the cure. On POSIX systems ``record`` and
        ``replay`` do not return: the program that they run takes the place of this process.
    """
    _make_output_safe()
    try:
        return _run([*(sys.argv[1:] if argv is None else argv)])
    except CassetteNotFoundError as fault:
        return _complain(not_found(fault))
    except (CommandError, TimetracerError) as fault:
        return _complain(str(fault))
    except KeyboardInterrupt:
        _drop_output()
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return EXIT_PIPE_CLOSED
    except OSError as fault:
        return _complain(of_system(fault))
    except Exception as fault:
        # Whatever a stranger's file has in it, its reader sees one line. ``python -X dev`` shows where it happened.
        if sys.flags.dev_mode:
            raise
        return _complain(f"a fault of this program: {type(fault).__name__}: {str(fault)[:200]}. Please report it.")


def _run(argv: list[str]) -> int:
    own, program = _split(argv)
    if not own:
        raise CommandError(f"say which command: {', '.join(COMMANDS)}. See: {PROGRAM} --help")
    if not own[0].startswith("-") and own[0] not in COMMANDS:
        raise CommandError(_unknown_command(own[0]))
    alone = {"-h", "--help", _ALONE.get(own[0], "-h")}
    if own[0] in _RUNNERS and not program and not alone & {word.partition("=")[0] for word in own}:
        raise CommandError(f"say what to run behind --, as in: {PROGRAM} {_RUNNERS[own[0]]}")
    try:
        args, unknown = command_parser().parse_known_args(own)
    except SystemExit as stop:  # argparse has printed the help or the version
        sys.stdout.flush()
        return int(stop.code or 0)
    if unknown:
        raise CommandError(_unknown_argument(unknown[0], own))
    args.program = program
    code: int = args.run(args)
    sys.stdout.flush()
    return code


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the program behind ``--`` if the command runs one."""
    if argv and argv[0] in _RUNNERS and "--" in argv:
        index = argv.index("--")
        return argv[:index], argv[index + 1 :]
    return argv, []


def command_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(prog=PROGRAM, description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name in COMMANDS:
        module = _module_of(name)
        usage = f"{PROGRAM} {name} {module.USAGE}"
        command = commands.add_parser(
            name, help=module.HELP, description=module.HELP, usage=usage, allow_abbrev=False
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _module_of(command: str) -> Any:
    return import_module(f"{__name__}.{command.replace('-', '_')}")


class _ShowVersion(argparse.Action):
    """``--version``. argparse's own would look the version up for every command, which takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        parser.exit()


def _unknown_command(name: str) -> str:
    nearest = unknown_names([name], COMMANDS)[0][1]
    meant = f"; did you mean {nearest!r}?" if nearest else "."
    return f"there is no command {name!r}{meant} Commands: {', '.join(COMMANDS)}."


def _unknown_argument(argument: str, own: list[str]) -> str:
    see = f"See: {PROGRAM} {own[0]} --help"
    if not argument.startswith("-"):
        return f"{argument!r} is one argument too many. {see}"
    name = argument.partition("=")[0]
    nearest = unknown_names([name], _options_of(own[0]))[0][1]
    return f"there is no option {name!r}{f'; did you mean {nearest!r}?' if nearest else '.'} {see}"


def _options_of(command: str) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False)
    _module_of(command).add_arguments(parser)
    return [flag for action in parser._actions for flag in action.option_strings]


def _complain(text: str) -> int:
    print(f"{PROGRAM}: {one_line(text)}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _drop_output() -> None:
    """Send what is still buffered to the null device.

    The interpreter writes it when it ends, and would raise `BrokenPipeError` again, or wait for a reader.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _make_output_safe() -> None:
    """Escape characters that the terminal's encoding lacks. Without this they would end the command with an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
