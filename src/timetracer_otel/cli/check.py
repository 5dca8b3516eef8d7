"""``timetracer-otel check``: make recorded calls again, for real, and say which answers have changed."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetracer_otel.base.printable import for_terminal, printable
from timetracer_otel.cli.bad_input import CommandError, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from timetracer_otel.types import Cassette
    from timetracer_otel.verify import Checked, GivenHeader, Wanted

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Make recorded calls again that only ask, for real, and say which answers have changed."
USAGE = "PATH|ID [--shape] [--also METHOD:PATH] [--header 'NAME: VALUE'] [--json]"

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.naming import add_cassette

    add_cassette(parser, "a recording, or a folder of them", name="path")
    parser.add_argument(
        "--shape", action="store_true", help="compare the types and fields of JSON alone, and not the values"
    )
    parser.add_argument("--headers", action="store_true", help="compare all headers of the answers")
    parser.add_argument(
        "--also",
        metavar="METHOD:PATH",
        action="append",
        default=[],
        help="also make calls that do not only ask, as in 'POST:/search' or 'POST:/v1/*'; may be given again",
    )
    parser.add_argument(
        "--header",
        metavar="'[HOST] NAME: VALUE'",
        action="append",
        default=[],
        help="a header to send in the place of a recorded one, which is redacted; may be given again",
    )
    parser.add_argument(
        "--ignore",
        metavar="RULES",
        action="append",
        default=[],
        help="what not to compare, separated by commas: header:<name>, body:<JSON path from $>; may be given again",
    )
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=30.0, help="seconds that one answer may take (default: 30)"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON, for other programs")


def run(args: argparse.Namespace) -> int:
    """Make the calls, and print what changed. The exit code is 0 for nothing, 1 for changes, 2 for trouble."""
    from timetracer_otel.cli.naming import cassette_path
    from timetracer_otel.cli.options import parsed_option
    from timetracer_otel.cli.trial import positive_options
    from timetracer_otel.verify import CHANGED, LEFT_OUT, NO_ANSWER, Comparing, Ignored, check

    positive_options(args, "timeout")
    wanted = [_wanted(text) for text in args.also]
    ignored = Ignored.of([rule for text in args.ignore for rule in parsed_option("ignore", "--ignore", text)])
    path = cassette_path(args.path, args.cassette_dir)
    cassettes = _read(path)
    given = _given(args.header, cassettes)
    how = Comparing(ignored, args.shape, args.headers)

    def tell(checked: Checked) -> None:
        if not args.json:
            for line in _lines(checked):
                print(printable(line), flush=True)

    results = check(cassettes, wanted, given, how, args.timeout, tell)
    asked = [each for each in results if each.outcome != LEFT_OUT]
    if args.json:
        _print_json(results)
    else:
        print(_summary(results, cassettes))
    if any(each.outcome == CHANGED for each in asked):
        return 1
    if not asked or any(each.outcome == NO_ANSWER for each in asked):
        return 2
    return 0


def _read(path: str) -> dict[str, Cassette]:
    from timetracer_otel.cassette import CassetteStore, read_cassette
    from timetracer_otel.exceptions import CassetteError

    if not Path(path).is_dir():
        return {path: read_cassette(path)}
    found: dict[str, Cassette] = {}
    for row in CassetteStore(path).list():
        try:
            found[row.path] = read_cassette(row.path)
        except CassetteError as fault:
            print(f"timetracer-otel: left out: {one_line(str(fault))}", file=sys.stderr)
    if not found:
        raise CommandError(f"PATH: there is no cassette in {path}. Name a folder of cassettes.")
    return found


def _wanted(text: str) -> Wanted:
    from timetracer_otel.verify import Wanted

    method, _, pattern = text.partition(":")
    if method.upper() not in _METHODS or not pattern.startswith(("/", "*")):
        raise CommandError(f"--also: {text!r} is not allowed. Allowed: METHOD:PATH, as in POST:/search.")
    return Wanted(method.upper(), pattern)


def _given(texts: Sequence[str], cassettes: Mapping[str, Cassette]) -> list[GivenHeader]:
    """The headers of ``--header``. What is secret must not go to a host that it was not given for."""
    from timetracer_otel.verify import hosts_of, parsed_header

    found = []
    for text in texts:
        header = parsed_header(text)
        if header is None:
            # Not with its text: it may hold a secret.
            raise CommandError("--header: not allowed as it is. Allowed: 'NAME: VALUE', or 'HOST NAME: VALUE'.")
        hosts = hosts_of(header.name, cassettes)
        if header.host is None and not hosts:
            raise CommandError(
                f"--header: no recorded call has the header {header.name}. To send it, say to which host: "
                f"--header 'api.example.com {header.name}: VALUE'."
            )
        if header.host is None and len(hosts) > 1:
            raise CommandError(
                f"--header: calls to several hosts have the header {header.name} ({', '.join(hosts)}). Say which of "
                f"them gets it, as in --header '{hosts[0]} {header.name}: VALUE'."
            )
        found.append(header)
    return found


def _lines(checked: Checked) -> list[str]:
    from timetracer_otel.verify import SAME

    lines = [f"{checked.outcome:<9}  {checked.question.method} {checked.question.url}"]
    lines += [f"    {line}" for line in checked.differences]
    if checked.outcome != SAME:
        lines.append(f"    in {', '.join(f'{path} #{number}' for path, number in checked.places)}")
    return lines


def _summary(results: Sequence[Checked], cassettes: Mapping[str, Cassette]) -> str:
    from timetracer_otel.verify import CHANGED, LEFT_OUT, NO_ANSWER, SAME

    if not results:
        return "no recorded call is HTTP: nothing was asked"
    counts = Counter(each.outcome for each in results)
    told = [f"{counts[outcome]} {outcome}" for outcome in (CHANGED, SAME, NO_ANSWER, LEFT_OUT) if counts[outcome]]
    stale = {path for each in results for path in each.stale}
    verb = "is" if len(stale) == 1 else "are"
    return f"\n{', '.join(told)}; {len(stale)} of {len(cassettes)} recordings {verb} stale"


def _print_json(results: Sequence[Checked]) -> None:
    import json

    document: dict[str, Any] = {
        "calls": [
            {
                "method": each.question.method,
                "url": each.question.url,
                "outcome": each.outcome,
                "differences": each.differences,
                "recordings": [{"cassette": path, "event": number} for path, number in each.places],
            }
            for each in results
        ],
        "stale": sorted({path for each in results for path in each.stale}),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    print(for_terminal(text) if sys.stdout.isatty() else text)
