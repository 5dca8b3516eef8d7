"""Numbers over many recordings: of each route, and of each upstream that they called."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from timetracer_otel.report.tables import Column, format_size, printable
from timetracer_otel.report.words import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timetracer_otel.cassette import StoredCassette
    from timetracer_otel.types import DependencyEvent

__all__ = ["RouteNumbers", "Statistics", "Times", "UpstreamNumbers", "call_failed", "upstream_address"]

OUTSIDE: Final = "(outside any request)"
_WITH_PATHS: Final = frozenset({"http", "https", "ws", "wss"})
"""Schemes whose path is not of the upstream, but of what it is asked for."""


@dataclass(slots=True)
class Times:
    """How long things took, in milliseconds."""

    all_ms: list[float] = field(default_factory=list)

    @property
    def total_ms(self) -> float:
        """The sum."""
        return sum(self.all_ms)

    def quantile_ms(self, share: float) -> float:
        """The least time that at least this share of them did not exceed (nearest rank); 0 where there are none."""
        ordered = sorted(self.all_ms)
        return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0

    def as_json(self) -> dict[str, float]:
        """For other programs."""
        return {
            "median_ms": self.quantile_ms(0.5),
            "p95_ms": self.quantile_ms(0.95),
            "slowest_ms": self.quantile_ms(1.0),
            "total_ms": self.total_ms,
        }

    def cells(self) -> list[str]:
        """Median, 95th percentile, slowest."""
        if not self.all_ms:
            return ["-", "-", "-"]
        return [format_duration(self.quantile_ms(share)) for share in (0.5, 0.95, 1.0)]


@dataclass(slots=True)
class RouteNumbers:
    """Of one route, or path where no route is known; or of what was recorded outside any request."""

    method: str
    route: str
    recordings: int = 0
    failed: int = 0
    """Of how many the app raised, or answered with a status of 500 or more."""
    calls: int = 0
    size_bytes: int = 0
    times: Times = field(default_factory=Times)
    """How long the answers took."""

    @property
    def name(self) -> str:
        """``GET /users/{id}``."""
        return printable(" ".join(part for part in (self.method, self.route) if part) or OUTSIDE)


@dataclass(slots=True)
class UpstreamNumbers:
    """Of the calls that one library made to one address."""

    library: str
    address: str
    calls: int = 0
    failed: int = 0
    """How many raised, or were answered with a status of 500 or more."""
    received_bytes: int = 0
    """The bytes of the bodies of answers, as far as their sizes are known: those of databases are not."""
    times: Times = field(default_factory=Times)

    @property
    def name(self) -> str:
        """``httpx http://127.0.0.1:8001``."""
        return printable(f"{self.library} {self.address}".rstrip())


class Statistics:
    """Takes recordings, one after the other. For one thread."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], RouteNumbers] = {}
        self._upstreams: dict[tuple[str, str], UpstreamNumbers] = {}
        self._first = self._last = ""

    def add(self, row: StoredCassette, events: Sequence[DependencyEvent]) -> None:
        """Take in a recording and its calls."""
        key = row.method, row.request_path
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = RouteNumbers(*key)
        route.recordings += 1
        route.failed += row.failed
        route.calls += len(events)
        route.size_bytes += row.size_bytes
        if row.duration_ms:
            route.times.all_ms.append(row.duration_ms)
        if row.recorded_at:
            self._first = min(self._first or row.recorded_at, row.recorded_at)
            self._last = max(self._last, row.recorded_at)
        for event in events:
            self._add_call(event)

    def _add_call(self, event: DependencyEvent) -> None:
        key = event.signature.lib, upstream_address(event.signature.url or "")
        upstream = self._upstreams.get(key)
        if upstream is None:
            upstream = self._upstreams[key] = UpstreamNumbers(*key)
        result = event.result
        upstream.calls += 1
        upstream.failed += call_failed(event)
        upstream.received_bytes += (result.body.size_bytes or 0) if result.body is not None else 0
        upstream.times.all_ms.append(event.duration_ms)

    @property
    def routes(self) -> list[RouteNumbers]:
        """Those with the most recordings first."""
        return sorted(self._routes.values(), key=lambda each: (-each.recordings, each.route, each.method))

    @property
    def upstreams(self) -> list[UpstreamNumbers]:
        """Those that were waited for the longest first."""
        return sorted(self._upstreams.values(), key=lambda each: (-each.times.total_ms, each.name))

    def summary(self) -> list[str]:
        """In a line or two."""
        routes, upstreams = self.routes, self.upstreams
        recordings, calls = sum(each.recordings for each in routes), sum(each.calls for each in upstreams)
        failed, failed_calls = sum(each.failed for each in routes), sum(each.failed for each in upstreams)
        sums = (
            f"{_counted(recordings, 'recording')} ({failed} failed) with {_counted(calls, 'call')} "
            f"({failed_calls} failed)"
        )
        return [sums, *([f"{_second(self._first)} to {_second(self._last)} (UTC)"] if self._first else [])]

    def as_json(self) -> dict[str, Any]:
        """For other programs; times are in milliseconds."""
        return {
            "from": self._first,
            "to": self._last,
            "routes": [
                {
                    "method": each.method,
                    "route": each.route,
                    "recordings": each.recordings,
                    "failed": each.failed,
                    "calls": each.calls,
                    "size_bytes": each.size_bytes,
                    **each.times.as_json(),
                }
                for each in self.routes
            ],
            "upstreams": [
                {
                    "library": each.library,
                    "address": each.address,
                    "calls": each.calls,
                    "failed": each.failed,
                    "received_bytes": each.received_bytes,
                    **each.times.as_json(),
                }
                for each in self.upstreams
            ],
        }

    def route_table(self) -> tuple[list[Column], list[list[str]]]:
        """Columns and rows."""
        columns = [
            Column("route", elastic=True, keep="ends", tone="name"),
            *(Column(heading, right=True) for heading in ("recordings", "failed", "median", "p95", "slowest")),
            Column("calls", right=True),
            Column("size", right=True),
        ]
        rows = [
            [
                each.name,
                str(each.recordings),
                str(each.failed),
                *each.times.cells(),
                str(each.calls),
                format_size(each.size_bytes),
            ]
            for each in self.routes
        ]
        return columns, rows

    def upstream_table(self) -> tuple[list[Column], list[list[str]]]:
        """Columns and rows."""
        columns = [
            Column("upstream", elastic=True, keep="ends", tone="name"),
            *(Column(heading, right=True) for heading in ("calls", "failed", "median", "p95", "slowest")),
            Column("in all", right=True),
            Column("received", right=True),
        ]
        rows = [
            [
                each.name,
                str(each.calls),
                str(each.failed),
                *each.times.cells(),
                format_duration(each.times.total_ms),
                format_size(each.received_bytes) if each.received_bytes else "-",
            ]
            for each in self.upstreams
        ]
        return columns, rows


def call_failed(event: DependencyEvent) -> bool:
    """Whether a call raised, or was answered with a status of 500 or more."""
    return event.result.error_type is not None or (event.result.status or 0) >= 500


def upstream_address(url: str) -> str:
    """Whom a call went to: a server, or a database of one."""
    try:
        parts = urlsplit(url)
    except ValueError:  # A file that a stranger has made may have any text there.
        return url
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in _WITH_PATHS else url


def _second(recorded_at: str) -> str:
    return printable(recorded_at[:19].replace("T", " "))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
