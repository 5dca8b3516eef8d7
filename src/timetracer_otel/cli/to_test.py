"""``timetracer-otel to-test``: write a pytest test that sends a recorded request again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.types import Cassette

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Write a pytest test that sends a recorded request again, and compares the answers."
USAGE = "CASSETTE|ID -o FILE (--app MODULE:APP [options] | [options] -- CMD [ARG ...])"

_LEAST_STATUS, _MOST_STATUS = 100, 599
_COLUMNS = 79
"""Width of the lines that ``to-test`` prints of pytest."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.naming import add_cassette

    add_cassette(parser, "the recording of a request or job")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="the test file to write")
    parser.add_argument(
        "--app",
        metavar="MODULE:APP",
        help="the ASGI or WSGI app, which the test calls in its own process; else the test starts CMD",
    )
    parser.add_argument(
        "--expect",
        metavar="STATUS",
        type=int,
        help="let the test ask for this status in the place of the recorded answer: it fails until the app is mended",
    )
    parser.add_argument("--name", metavar="NAME", help="of the test function (default: made of the request)")
    parser.add_argument(
        "--ignore",
        metavar="RULES",
        action="append",
        default=[],
        help="what not to compare, separated by commas: header:<name>, body:<JSON path from $>; may be given again",
    )
    parser.add_argument("--url", metavar="URL", help="where CMD listens (default: where the recorded request went)")
    parser.add_argument("--force", action="store_true", help="replace FILE where it exists")
    parser.add_argument("--no-run", action="store_true", help="do not run the test that was written")


def run(args: argparse.Namespace) -> int:
    """Write the test and run it once. The exit code is 1 where it does not do what it says."""
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.cli.naming import cassette_path
    from timetracer_otel.verify import file_of_test, kept

    _check(args)
    path = cassette_path(args.cassette, args.cassette_dir)
    if Path(path).is_dir():
        raise CommandError(f"CASSETTE: {path} is a folder. Name one recording of it; list shows their ids.")
    cassette = read_cassette(path)
    _check_recording(args, cassette, path)
    rules = _rules(args.ignore)
    output: Path = args.output
    made = file_of_test(
        cassette,
        output,
        app=args.app,
        command=args.program,
        expect=args.expect,
        name=args.name,
        ignore=rules,
        url=args.url,
    )
    if made.folder.exists() and not args.force:
        raise CommandError(
            f"{made.folder} exists: another test may use it. Name this one with --name, or use --force."
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        told = fault.strerror or fault
        raise CommandError(f"-o: cannot make the folder {output.parent}: {told}. Name another file.") from fault
    kept(cassette, made.recording)
    output.write_text(made.text, "utf-8")
    print(f"wrote      {output}")
    print(f"recording  {made.recording}")
    if args.no_run:
        return 0
    return _try(output, fails=args.expect is not None and args.expect != cassette.response.status)


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot become a test file.

    Raises:
        CommandError: It cannot.
    """
    output: Path = args.output
    stem = output.stem
    if output.suffix != ".py" or not (stem.startswith("test_") or stem.endswith("_test")) or not stem.isidentifier():
        raise CommandError(f"-o: {output} is no name of a test file. Name it like tests/test_orders.py.")
    if output.exists() and not args.force:
        raise CommandError(f"-o: {output} exists. Name another file, or replace it with --force.")
    if args.app is not None and args.program:
        raise CommandError("--app: the test calls the app itself, or starts CMD. Leave one of the two out.")
    if args.app is None and not args.program:
        raise CommandError("name the app with --app MODULE:APP, or what to run behind --, as in: -- python app.py")
    if args.app is not None and args.url is not None:
        raise CommandError("--url: an app that is called with --app listens nowhere. Leave it out.")
    if args.expect is not None:
        if args.app is None:
            raise CommandError("--expect: needs --app; a service that runs as CMD is compared with its recording.")
        if not _LEAST_STATUS <= args.expect <= _MOST_STATUS:
            raise CommandError(f"--expect: {args.expect} is not allowed. Allowed: a status, as in --expect 200.")
    if args.name is not None and not (args.name.isidentifier() and args.name.startswith("test")):
        raise CommandError(f"--name: {args.name!r} is not allowed. Allowed: the name of a test, as in test_orders.")


def _check_recording(args: argparse.Namespace, cassette: Cassette, path: str) -> None:
    from timetracer_otel.constants import GIVEN_TO_WORKERS
    from timetracer_otel.verify import why_not_sent

    if cassette.request.method in GIVEN_TO_WORKERS:
        if args.app is not None:
            raise CommandError(f"{path}: is of a job. Name its worker behind --, in the place of --app.")
        return
    reason = why_not_sent(cassette)
    if reason is not None:
        raise CommandError(f"{path}: cannot be sent again: {reason}")


def _rules(texts: list[str]) -> list[str]:
    from timetracer_otel.cli.options import parsed_option
    from timetracer_otel.verify import Ignored

    rules = [rule for text in texts for rule in parsed_option("ignore", "--ignore", text)]
    Ignored.of(rules)
    return rules


def _try(output: Path, *, fails: bool) -> int:
    """Run the test in a process of its own, and say what came of it."""
    from importlib.util import find_spec

    if find_spec("pytest") is None:
        print("not run    pytest is not installed here")
        return 0
    sys.stdout.flush()
    options = ["-q", "--no-header", "--color=no", "-p", "no:cacheprovider", "-p", "timetracer_otel", "-o", "addopts="]
    done = subprocess.run(  # noqa: S603 - pytest, with the file that was just written
        [sys.executable, "-m", "pytest", *options, str(output)],
        capture_output=True,
        text=True,
        check=False,
        env={**_environment(), "COLUMNS": str(_COLUMNS)},
    )
    if fails and done.returncode == 1:
        said = [line[1:].strip() for line in done.stdout.splitlines() if line.startswith("E ")]
        print(f"ran        it fails, until the app is mended: {said[0] if said else 'see pytest'}")
        return 0
    if not fails and done.returncode == 0:
        print("ran        it passes")
        return 0
    print("ran        it passes already" if done.returncode == 0 else "ran        it does not pass as it stands:\n")
    if done.returncode:
        print(done.stdout or done.stderr)
    return 1


def _environment() -> dict[str, str]:
    from timetracer_otel.config import child_environment

    return child_environment({})
