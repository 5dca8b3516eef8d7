"""``timetracer-otel reproduce``: send a service one recorded request again, offline, and look at what it does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, one_line
from timetracer_otel.cli.terminal import JUDGEMENT, print_lines
from timetracer_otel.cli.trial import (
    Trial,
    add_service_options,
    checked,
    is_sendable,
    require_extra,
)

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.types import Cassette
    from timetracer_otel.verify import Planned

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Start a service in the replay of one recording, send it the recorded request, and compare the answers."
USAGE = "CASSETTE|ID [options] -- CMD [ARG ...]"

_WHILE_DEBUGGED_S = 1_000_000.0
"""Nobody should lose a debugger to a time limit: eleven days."""

_SHELL = """\
import readline, rlcompleter
from timetracer_otel.context import require_session
session = require_session()
cassette = session.cassette
print(f"Calls are answered from the {len(cassette.events)} of {cassette.path}, and no other call goes out.")
print("session and cassette are there. session.verdict() says which calls were made.")
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.naming import add_cassette

    add_cassette(parser, "the recording")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--debug", action="store_true", help="enter pdb at the line where the request fails")
    group.add_argument(
        "--attach",
        metavar="PORT",
        type=int,
        help="let the service wait until an editor's debugger attaches to this port (needs the extra debug)",
    )
    group.add_argument(
        "--shell", action="store_true", help="give a Python prompt inside the replay, in the place of CMD"
    )
    add_service_options(parser)


def run(args: argparse.Namespace) -> int:
    """Reproduce one request, or give a prompt. The exit code is 1 where something differs from the recording."""
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.naming import cassette_path

    given, recorded_clock = checked(args)
    path = cassette_path(args.cassette, args.cassette_dir)
    if Path(path).is_dir():
        raise CommandError(f"CASSETTE: {path} is a folder. Name one recording of it; list shows their ids.")
    cassette = read_cassette(path)
    if args.shell:
        return _shell(args, given, path)
    if not args.program:
        raise CommandError("say what to run behind --, as in: timetracer-otel reproduce ID -- python app.py")
    require_extra("reproduce")
    if args.attach is not None:
        _require_debugpy(args.attach)
    if args.debug or args.attach is not None:
        args.timeout = args.start_timeout = _WHILE_DEBUGGED_S
    return _reproduce(args, given, path, cassette, recorded_clock=recorded_clock)


def _shell(args: argparse.Namespace, given: dict[str, str], path: str) -> int:
    from timetracer_otel.cli.launch import launch

    if args.program:
        raise CommandError("--shell: gives a prompt in the place of CMD. Leave one of the two out.")
    settings = {**given, "mode": "replay", "cassette_path": str(Path(path).absolute())}
    return launch(["python", "-q", "-i", "-c", _SHELL], settings)


def _require_debugpy(port: int) -> None:
    from importlib.util import find_spec

    if find_spec("debugpy") is None:
        raise CommandError('--attach needs debugpy. Install: pip install "timetracer-otel[debug]"')
    if not 0 < port < 1 << 16:
        raise CommandError(f"--attach: {port} is not allowed. Allowed: the number of a port, as in --attach 5678.")


def _reproduce(
    args: argparse.Namespace, given: dict[str, str], path: str, cassette: Cassette, *, recorded_clock: bool
) -> int:
    from timetracer_otel.config import ATTACH, DEBUGGER, PDB
    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.report import request_name
    from timetracer_otel.verify import address_of, plan, reproduction, staged

    debugger = PDB if args.debug else f"{ATTACH}{args.attach}" if args.attach is not None else ""
    with tempfile.TemporaryDirectory(prefix="timetracer-otel-reproduce-") as scratch:
        staged(cassette, Path(scratch))
        index = FolderIndex(scratch)
        planned = [each for each in plan(index) if each.entry is not None]
        each = planned[0] if planned else None
        if each is None or not (each.is_job or is_sendable(each)):
            raise CommandError(f"{path}: cannot be sent again: {_why_not(each)}")
        trial = Trial(
            args,
            given,
            index,
            planned,
            terminal=bool(debugger),
            variables={DEBUGGER: debugger} if debugger else {},
        )
        address = None if trial.takes_jobs else address_of(args.url, planned)
        with trial.service(address, fail_on_unused=False, recorded_clock=recorded_clock) as (runner, service, queue):
            where = f"the service at {address}" if address is not None else "given to a worker"
            print(f"reproduce: {one_line(request_name(cassette))} of {one_line(path)}, {where}\n", flush=True)
            if not trial.wait(service, queue):
                return 1
            result = runner.judge(each) if queue is None else runner.judge_job(each, queue)
            runner.verdicts.close()
            if queue is not None:
                queue.close()
            print_lines(reproduction(cassette, result, service), JUDGEMENT)
            return int(bool(result.problems))


def _why_not(planned: Planned | None) -> str:
    reason = (planned.left_out or planned.unsendable) if planned is not None else None
    return reason or "it is about no request. Name the recording of one, or use replay."
