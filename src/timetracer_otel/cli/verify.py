"""``timetracer-otel verify``: send a service each recorded request, and compare what it answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, one_line
from timetracer_otel.cli.trial import (
    FLAGS,
    Trial,
    add_service_options,
    header_options,
    is_sendable,
    positive_options,
    require_extra,
)

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.verify import Planned

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Replay a service, send it each recorded request, and compare what it answers."
USAGE = "FOLDER [options] -- CMD [ARG ...]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.options import path_argument

    parser.add_argument("folder", metavar="FOLDER", type=path_argument, help="the folder with the cassettes")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="requests to send at once (default: 1)")
    parser.add_argument(
        "--only", metavar="PATTERN", help="only requests like 'GET /users/*' or paths like '/users/*'"
    )
    parser.add_argument("--junit-xml", metavar="FILE", type=Path, help="also write the results as JUnit XML")
    parser.add_argument(
        "--fail-on-unused",
        action="store_true",
        help="a recorded call that was not made fails its request (TIMETRACER_FAIL_ON_UNUSED)",
    )
    add_service_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check everything, start the service, send the requests, and report. The exit code is 1 if one failed."""
    from timetracer_otel.cli.options import check_clock, check_plugin_names, known_plugins, overrides
    from timetracer_otel.config import TraceConfig

    require_extra("verify")
    given = overrides(args, FLAGS)
    recorded_clock = check_clock(given, FLAGS["clock"])
    if recorded_clock and args.jobs > 1:
        raise CommandError(
            f"--jobs: {args.jobs} is not allowed with --clock recorded, for which a process has one clock."
        )
    check_plugin_names(given, FLAGS, known_plugins())
    header_options(args)
    positive_options(args, "jobs", "timeout", "start_timeout")
    _check_junit(args.junit_xml)
    if Path(args.folder).is_file():
        raise CommandError(f"FOLDER: {args.folder} is no folder. Name the folder that the cassettes are in.")
    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.verify import address_of, plan, verify

    index = FolderIndex(args.folder)
    planned = _planned(index, args.only, plan(index, args.only))
    trial = Trial(args, given, index, planned)
    address = None if trial.takes_jobs else address_of(args.url, planned)
    fail_on_unused = args.fail_on_unused or TraceConfig.from_env().fail_on_unused
    started = trial.service(address, fail_on_unused=fail_on_unused, recorded_clock=recorded_clock)
    with started as (runner, service, queue):
        where = f"the service at {address}" if address is not None else "given to a worker"
        print(f"verify: {len(planned)} recordings in {one_line(args.folder)}, {where}\n", flush=True)
        if not trial.wait(service, queue):
            return 1
        return int(not verify(runner, service, planned, args.jobs, args.junit_xml, print, queue))


def _check_junit(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise CommandError(f"--junit-xml: {path} is a folder. Name a file.")
    if not path.parent.is_dir():
        raise CommandError(f"--junit-xml: cannot write {path}: there is no folder {path.parent}. Name another file.")


def _planned(index: FolderIndex, only: str | None, planned: list[Planned]) -> list[Planned]:
    for fault in index.broken:
        print(f"timetracer-otel: left out: {one_line(str(fault))}", file=sys.stderr)
    if not planned and only is not None:
        raise CommandError(f"--only: no recording in {index.directory} is like {only!r}.")
    if not any(each.is_job or is_sendable(each) for each in planned):
        why = "; ".join(sorted({each.left_out or each.unsendable or "" for each in planned})) or "no request in it"
        raise CommandError(f"there is nothing to send in {index.directory}: {why}. Record requests of the service.")
    return planned
