"""``timetracer-otel verify``: send a service each recorded request, and compare what it answers."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.base.printable import lines_of
from timetracer_otel.cli.bad_input import CommandError, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.verify import Planned

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Replay a service, send it each recorded request, and compare what it answers."
USAGE = "FOLDER [options] -- CMD [ARG ...]"

_FLAGS = {
    "mock_plugins": "--mock",
    "live_plugins": "--live",
    "live_hosts": "--live-hosts",
    "uncaptured": "--uncaptured",
    "variables": "--variables",
    "clock": "--clock",
}
_MOST = 1_000_000
"""The largest number of seconds (eleven days) and of requests at once. A socket takes no infinite time limit."""
_NEEDED = ("tqdm", "junitparser")
"""The packages that the extra ``verify`` installs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.options import add_setting, path_argument

    parser.add_argument("folder", metavar="FOLDER", type=path_argument, help="the folder with the cassettes")
    parser.add_argument("--url", metavar="URL", help="where CMD listens (default: where the recorded requests went)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="requests to send at once (default: 1)")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=30.0, help="seconds that one answer may take (default: 30)"
    )
    parser.add_argument(
        "--start-timeout",
        metavar="S",
        type=float,
        default=60.0,
        help="seconds until CMD must accept connections (default: 60)",
    )
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header to send in the place of the recorded one, which may be redacted; may be given again",
    )
    parser.add_argument(
        "--ignore",
        metavar="RULES",
        action="append",
        default=[],
        help="what not to compare, separated by commas: header:<name>, body:<JSON path from $>; may be given again",
    )
    parser.add_argument(
        "--only", metavar="PATTERN", help="only requests like 'GET /users/*' or paths like '/users/*'"
    )
    parser.add_argument("--junit-xml", metavar="FILE", type=Path, help="also write the results as JUnit XML")
    parser.add_argument("--service-log", metavar="FILE", type=Path, help="keep what CMD prints")
    add_setting(parser, "mock_plugins", "--mock", "NAMES")
    add_setting(parser, "live_plugins", "--live", "NAMES")
    add_setting(parser, "live_hosts", "--live-hosts", "HOSTS")
    add_setting(parser, "uncaptured", "--uncaptured", "")
    add_setting(parser, "variables", "--variables", "KINDS")
    add_setting(parser, "clock", "--clock", "")
    parser.add_argument(
        "--fail-on-unused",
        action="store_true",
        help="a recorded call that was not made fails its request (TIMETRACER_FAIL_ON_UNUSED)",
    )


def run(args: argparse.Namespace) -> int:
    """Check everything, start the service, send the requests, and report. The exit code is 1 if one failed."""
    from timetracer_otel.base.settings import variable_kinds
    from timetracer_otel.cli.launch import instrumented
    from timetracer_otel.cli.options import check_clock, check_plugin_names, known_plugins, overrides, parsed_option
    from timetracer_otel.config import JOB_SOURCE, TraceConfig

    _require_extra()
    given = overrides(args, _FLAGS)
    recorded_clock = check_clock(given, _FLAGS["clock"])
    if recorded_clock and args.jobs > 1:
        raise CommandError(
            f"--jobs: {args.jobs} is not allowed with --clock recorded, for which a process has one clock."
        )
    check_plugin_names(given, _FLAGS, known_plugins())
    headers = dict(_header(text) for text in args.header)
    for flag, value in (("--jobs", args.jobs), ("--timeout", args.timeout), ("--start-timeout", args.start_timeout)):
        if not value > 0:
            raise CommandError(f"{flag}: {value:g} is not allowed. Allowed: more than 0.")
        if value > _MOST:
            raise CommandError(f"{flag}: {value:g} is not allowed. Allowed: at most {_MOST:g}.")
    if args.junit_xml is not None and args.junit_xml.is_dir():
        raise CommandError(f"--junit-xml: {args.junit_xml} is a folder. Name a file.")
    if args.junit_xml is not None and not args.junit_xml.parent.is_dir():
        raise CommandError(
            f"--junit-xml: cannot write {args.junit_xml}: there is no folder {args.junit_xml.parent}. "
            "Name another file."
        )
    if Path(args.folder).is_file():
        raise CommandError(f"FOLDER: {args.folder} is no folder. Name the folder that the cassettes are in.")
    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.verify import (
        NOWHERE,
        Ignored,
        JobQueue,
        Runner,
        Service,
        ServiceError,
        VerdictFile,
        address_of,
        ended_by_signals,
        plan,
        verify,
    )

    ignored = Ignored.of(_ignore_rules(args.ignore))
    index = FolderIndex(args.folder)
    planned = _planned(index, args.only, plan(index, args.only))
    # CMD is the worker where there are jobs alone; of a folder with requests, it is the service.
    takes_jobs = any(each.is_job for each in planned) and not any(_is_sendable(each) for each in planned)
    address = None if takes_jobs else address_of(args.url, planned)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="timetracer-otel-verify-")))
        verdicts = VerdictFile(scratch / "verdicts.jsonl")
        settings = {"mode": "replay", "cassette_path": index.directory, "replay_report": str(verdicts.path)}
        command, environment = instrumented(args.program, {**given, **settings})
        config = TraceConfig.from_env()
        fail_on_unused = args.fail_on_unused or config.fail_on_unused
        kinds = variable_kinds(
            parsed_option("variables", _FLAGS["variables"], given["variables"])
            if "variables" in given
            else config.variables
        )
        queue = stack.enter_context(JobQueue()) if takes_jobs else None
        if queue is not None:
            environment = {**environment, JOB_SOURCE: queue.address}
        runner = Runner(
            index,
            address or NOWHERE,
            verdicts,
            ignored,
            headers,
            args.timeout,
            fail_on_unused,
            kinds,
            recorded_clock,
        )
        stack.enter_context(ended_by_signals())
        output = args.service_log or scratch / "output.log"
        service = stack.enter_context(Service(command, environment, address, output))
        where = f"the service at {address}" if address is not None else "given to a worker"
        print(f"verify: {len(planned)} recordings in {one_line(args.folder)}, {where}\n", flush=True)
        try:
            if queue is not None:
                queue.wait_for_worker(service, args.start_timeout)
            else:
                service.wait_until_listening(args.start_timeout)
        except ServiceError as error:
            # With what the service printed, in lines of its own.
            print(f"timetracer-otel: {lines_of(str(error))}", file=sys.stderr)
            return 1
        return int(not verify(runner, service, planned, args.jobs, args.junit_xml, print, queue))


def _is_sendable(planned: Planned) -> bool:
    return planned.left_out is None and planned.unsendable is None


def _require_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise CommandError(f'verify needs {" and ".join(missing)}. Install: pip install "timetracer-otel[verify]"')


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not (name + value).isprintable() or not text.isascii():
        raise CommandError(f"--header: {text!r} is not allowed. Allowed: 'NAME: VALUE'.")
    return name.strip().lower(), value.strip()


def _ignore_rules(texts: Sequence[str]) -> list[str]:
    from timetracer_otel.cli.options import parsed_option

    return [rule for text in texts for rule in parsed_option("ignore", "--ignore", text)]


def _planned(index: FolderIndex, only: str | None, planned: list[Planned]) -> list[Planned]:
    for fault in index.broken:
        print(f"timetracer-otel: left out: {one_line(str(fault))}", file=sys.stderr)
    if not planned and only is not None:
        raise CommandError(f"--only: no recording in {index.directory} is like {only!r}.")
    if not any(each.is_job or _is_sendable(each) for each in planned):
        why = "; ".join(sorted({each.left_out or each.unsendable or "" for each in planned})) or "no request in it"
        raise CommandError(f"there is nothing to send in {index.directory}: {why}. Record requests of the service.")
    return planned
