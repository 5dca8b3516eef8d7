"""``timetracer-otel verify``: send a service each recorded request, and compare what it answers."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, one_line
from timetracer_otel.cli.choosing import KINDS
from timetracer_otel.cli.terminal import JUDGEMENT, print_lines
from timetracer_otel.cli.trial import (
    Trial,
    add_service_options,
    checked,
    is_sendable,
    positive_options,
    require_extra,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.verify import Against, Budget, Planned, Shard

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
    parser.add_argument(
        "--shard",
        metavar="K/N",
        help="only the K-th of N shares of the recordings, which together are the whole, as in 3/10",
    )
    parser.add_argument(
        "--against",
        metavar="FOLDER",
        nargs="?",
        const="",
        help="compare the calls of each request with those of its recording in this folder (default: in the one that "
        "is replayed)",
    )
    parser.add_argument(
        "--max-calls",
        metavar="KIND=N",
        action="append",
        default=[],
        help="a request that makes more calls fails: sql=12, or sql=+0 for no more than recorded; kinds: "
        f"{', '.join(KINDS)}; none for all; may be given again",
    )
    for name, what in (("junit-xml", "JUnit XML"), ("json", "JSON"), ("markdown", "Markdown")):
        parser.add_argument(f"--{name}", metavar="FILE", type=Path, help=f"also write the results as {what}")
    parser.add_argument(
        "--fail-on-unused",
        action="store_true",
        help="a recorded call that was not made fails its request (TIMETRACER_FAIL_ON_UNUSED)",
    )
    add_service_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check everything, start the service, send the requests, and report. The exit code is 1 if one failed."""
    from timetracer_otel.cli.naming import local_folder
    from timetracer_otel.config import TraceConfig

    require_extra("verify")
    given, recorded_clock = checked(args)
    if recorded_clock and args.jobs > 1:
        raise CommandError(
            f"--jobs: {args.jobs} is not allowed with --clock recorded, for which a process has one clock."
        )
    positive_options(args, "jobs")
    for flag in ("junit_xml", "json", "markdown"):
        _check_report(f"--{flag.replace('_', '-')}", getattr(args, flag))
    shard = _shard(args.shard)
    budgets = [_budget(part) for text in args.max_calls for part in text.split(",")]
    args.folder = local_folder(args.folder, args.only)
    if Path(args.folder).is_file():
        raise CommandError(f"FOLDER: {args.folder} is no folder. Name the folder that the cassettes are in.")
    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.verify import Reports, address_of, plan, verify

    index = FolderIndex(args.folder)
    whole = _planned(index, args.only, plan(index, args.only))
    planned = whole if shard is None else shard.among(whole)
    # What CMD is, and where it listens, is the same for all shards.
    trial = Trial(args, given, index, whole, against=_against(args.against, budgets))
    address = None if trial.takes_jobs else address_of(args.url, whole)
    reports = Reports(args.junit_xml, args.json, args.markdown)
    if not any(each.is_job or is_sendable(each) for each in planned):
        print(f"verify: nothing to send in shard {shard} of {one_line(args.folder)}")
        reports.write([], 0.0, datetime.now(timezone.utc))
        return 0
    fail_on_unused = args.fail_on_unused or TraceConfig.from_env().fail_on_unused
    started = trial.service(address, fail_on_unused=fail_on_unused, recorded_clock=recorded_clock)
    with started as (runner, service, queue):
        where = f"the service at {address}" if address is not None else "given to a worker"
        number = f"{len(planned)} recordings" if shard is None else f"shard {shard}, {len(planned)} of {len(whole)}"
        print(f"verify: {number} in {one_line(args.folder)}, {where}\n", flush=True)
        if not trial.wait(service, queue):
            return 1
        return int(not verify(runner, service, planned, args.jobs, reports, _say, queue))


def _say(line: str) -> None:
    print_lines([line], JUDGEMENT)


def _check_report(flag: str, path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise CommandError(f"{flag}: {path} is a folder. Name a file.")
    if not path.parent.is_dir():
        raise CommandError(f"{flag}: cannot write {path}: there is no folder {path.parent}. Name another file.")


def _shard(text: str | None) -> Shard | None:
    from timetracer_otel.verify import Shard

    if text is None:
        return None
    try:
        return Shard.of_text(text)
    except ValueError:
        raise CommandError(f"--shard: {text!r} is not allowed. Allowed: K/N, from 1/N to N/N, as in 3/10.") from None


def _against(folder: str | None, budgets: Sequence[Budget]) -> Against | None:
    from timetracer_otel.match.folder_index import FolderIndex
    from timetracer_otel.verify import Against

    if folder is None and not budgets:
        return None
    if folder and not Path(folder).is_dir():
        raise CommandError(f"--against: {folder} is no folder. Name the folder of the recordings to compare with.")
    return Against(FolderIndex(folder) if folder else None, budgets)


def _budget(text: str) -> Budget:
    from timetracer_otel.verify import Budget

    kind, equals, number = text.strip().rpartition("=")
    digits = number.removeprefix("+")
    if (kind and kind not in KINDS) or (equals and not kind) or not (digits.isascii() and digits.isdigit()):
        raise CommandError(
            f"--max-calls: {text!r} is not allowed. Allowed: a kind ({', '.join(KINDS)}) and a number, as in sql=12, "
            "or sql=+0 for no more than recorded; 20 or +2 for calls of every kind."
        )
    return Budget(kind, KINDS[kind] if kind else None, int(digits), number.startswith("+"))


def _planned(index: FolderIndex, only: str | None, planned: list[Planned]) -> list[Planned]:
    for fault in index.broken:
        print(f"timetracer-otel: left out: {one_line(str(fault))}", file=sys.stderr)
    if not planned and only is not None:
        raise CommandError(f"--only: no recording in {index.directory} is like {only!r}.")
    if not any(each.is_job or is_sendable(each) for each in planned):
        why = "; ".join(sorted({each.left_out or each.unsendable or "" for each in planned})) or "no request in it"
        raise CommandError(f"there is nothing to send in {index.directory}: {why}. Record requests of the service.")
    return planned
