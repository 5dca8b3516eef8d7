"""The options by which ``list``, ``find`` and their like choose cassettes and put them in order."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from timetracer_otel.cli.bad_input import CommandError
from timetracer_otel.constants import EventType

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.cassette import StoredCassette

__all__ = ["FILTERS", "add_filters", "chooses", "chosen"]

FILTERS: Final = "[--status S] [--since T] [--route P] [--slower T] [--calls C] [--trace ID] …"
"""For the line of usage."""

Test: TypeAlias = "Callable[[StoredCassette], bool]"

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|m|h|d|w)")
_COUNT: Final = re.compile(r"([a-z]*)\s*(>=|<=|!=|==|=|>|<)\s*(\d{1,9})")
_COMPARE: Final[dict[str, Callable[[int, int], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
KINDS: Final = {
    "http": EventType.HTTP_CLIENT,
    "sql": EventType.DB_QUERY,
    "db": EventType.DB_QUERY,
    "redis": EventType.REDIS,
    "other": EventType.CUSTOM,
}
"""Names of the kinds of calls in ``--calls``; no name means calls of every kind."""

_ORDERS: Final[dict[str, Callable[[StoredCassette], Any]]] = {
    "recorded": lambda row: row.recorded_at,
    "duration": lambda row: row.duration_ms,
    "status": lambda row: row.status,
    "calls": lambda row: row.events,
    "size": lambda row: row.size_bytes,
    "request": lambda row: (row.request_path, row.method),
}


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("which cassettes")
    group.add_argument(
        "--status", metavar="S", help="of an answer like 5xx, 404, 400-422 or error, separated by commas"
    )
    group.add_argument("--since", metavar="T", help="recorded since then: 30m, 2h, 3d, or an ISO 8601 time (UTC)")
    group.add_argument("--until", metavar="T", help="recorded until then, written in the same way")
    group.add_argument("--route", metavar="P", help="of requests like 'GET /users/*', or of paths like '/users/*'")
    group.add_argument("--slower", metavar="T", help="whose answer took longer, as in 200ms or 1.5s")
    group.add_argument(
        "--calls",
        metavar="C",
        action="append",
        default=[],
        help=f"with so many calls, as in 'sql>10' or '>100'; kinds: {', '.join(KINDS)}; may be given again",
    )
    group.add_argument("--trace", metavar="ID", help="of a trace, by its id or the beginning of it")
    group.add_argument("--service", metavar="NAME", help="of a service")
    group = parser.add_argument_group("order")
    group.add_argument("--sort", metavar="|".join(_ORDERS), default="recorded", help="by what (default: recorded)")
    group.add_argument("--reverse", action="store_true", help="the other way round")
    group.add_argument("--limit", metavar="N", type=int, help="only so many, the last ones of the order")


def chooses(args: argparse.Namespace) -> bool:
    """Whether an option says which cassettes are meant.

    Raises:
        CommandError: An option has a value that is not allowed.
    """
    return bool(_tests(args)) or args.limit is not None


def chosen(rows: Sequence[StoredCassette], args: argparse.Namespace) -> list[StoredCassette]:
    """The rows that every given option asks for, in the order that the options say.

    Rows of files that cannot be read stay at the end. They are left out where an option chooses, since nothing is
    known of them.

    Raises:
        CommandError: An option has a value that is not allowed.
    """
    tests = _tests(args)
    order = _ORDERS.get(args.sort)
    if order is None:
        raise CommandError(f"--sort: {args.sort!r} is not allowed. Allowed: {', '.join(_ORDERS)}.")
    if args.limit is not None and args.limit < 1:
        raise CommandError(f"--limit: {args.limit} is not allowed. Allowed: 1 and more.")
    readable = [row for row in rows if row.error is None and all(test(row) for test in tests)]
    readable.sort(key=order, reverse=args.reverse)
    if args.limit is not None:
        readable = readable[-args.limit :]
    return readable if tests else [*readable, *(row for row in rows if row.error is not None)]


def _tests(args: argparse.Namespace) -> list[Test]:
    tests: list[Test] = []
    if args.status is not None:
        tests.append(_status(args.status))
    for flag, value, compare in (("--since", args.since, operator.ge), ("--until", args.until, operator.le)):
        if value is not None:
            tests.append(_when(flag, value, compare))
    if args.route is not None:
        tests.append(_route(args.route))
    if args.slower is not None:
        least_ms = seconds("--slower", args.slower) * 1000
        tests.append(lambda row: row.duration_ms > least_ms)
    tests += map(_calls, args.calls)
    if args.trace is not None:
        sought = args.trace.lower()
        tests.append(lambda row: row.trace_id.startswith(sought))
    if args.service is not None:
        service = args.service
        tests.append(lambda row: row.service == service)
    return tests


def _status(text: str) -> Test:
    parts = [part.strip().lower() for part in text.split(",") if part.strip()]
    ranges: list[tuple[int, int]] = []
    for part in parts:
        if re.fullmatch(r"[1-9]xx", part):
            ranges.append((int(part[0]) * 100, int(part[0]) * 100 + 99))
        elif found := re.fullmatch(r"(\d{3})(?:-(\d{3}))?", part):
            ranges.append((int(found[1]), int(found[2] or found[1])))
        elif part != "error":
            parts = []
            break
    if not parts:
        raise CommandError(f"--status: {text!r} is not allowed. Allowed: 5xx, 404, 400-422, error, or a list.")
    with_errors = "error" in parts
    return lambda row: (with_errors and row.failed) or any(low <= row.status <= high for low, high in ranges)


def moment(flag: str, text: str) -> datetime:
    """The time that the value of ``--since`` or ``--until`` means.

    Raises:
        CommandError: The value is not allowed.
    """
    if _SPAN.fullmatch(text):
        return datetime.now(timezone.utc) - timedelta(seconds=seconds(flag, text))
    try:
        limit = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise CommandError(
            f"{flag}: {text!r} is not allowed. Allowed: 30m, 2h, 3d and the like, 2026-03-01, 2026-03-01T12:00."
        ) from None
    return limit if limit.tzinfo is not None else limit.replace(tzinfo=timezone.utc)


def _when(flag: str, text: str, compare: Callable[[Any, Any], bool]) -> Test:
    limit = moment(flag, text)

    def test(row: StoredCassette) -> bool:
        try:
            when = datetime.fromisoformat(row.recorded_at.replace("Z", "+00:00"))
        except ValueError:
            return False
        return compare(when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc), limit)

    return test


def seconds(flag: str, text: str) -> float:
    """The seconds in a text like ``200ms`` or ``1.5s``, the value of an option.

    Raises:
        CommandError: The value is not allowed.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise CommandError(f"{flag}: {text!r} is not allowed. Allowed: a number with a unit, as in 200ms, 1.5s, 2h.")
    return float(found[1]) * _UNITS[found[2]]


def _route(pattern: str) -> Test:
    def test(row: StoredCassette) -> bool:
        return fnmatch(f"{row.method} {row.request_path}", pattern) or fnmatch(row.request_path, pattern)

    return test


def _calls(text: str) -> Test:
    found = _COUNT.fullmatch(text.strip().lower())
    if found is None or (found[1] and found[1] not in KINDS):
        raise CommandError(
            f"--calls: {text!r} is not allowed. Allowed: a kind ({', '.join(KINDS)}; none for all), one of "
            "> >= < <= = !=, and a number, as in 'sql>10'."
        )
    kind, compare, number = found[1], _COMPARE[found[2]], int(found[3])
    if not kind:
        return lambda row: compare(row.events, number)
    name = KINDS[kind].value
    return lambda row: compare(row.kinds.get(name, 0), number)
