"""What the page shows, as values that `json.dumps` takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from timetracer_otel.constants import EventType
from timetracer_otel.match.pairing import paired
from timetracer_otel.match.variables import variables_of
from timetracer_otel.redact.forms import form_of
from timetracer_otel.report.as_json import json_value
from timetracer_otel.report.bodies import body_lines
from timetracer_otel.report.comparison import compare_recordings
from timetracer_otel.report.head import facts
from timetracer_otel.report.tree import outline, scale_of
from timetracer_otel.report.words import (
    event_marks,
    event_remarks,
    event_status,
    is_observed_only,
    request_name,
    response_size,
)
from timetracer_otel.types import header_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from timetracer_otel.types import BodySnapshot, Cassette, DependencyEvent, LogEntry, Verdict

__all__ = ["Account", "comparison_data", "recording_data"]

_MOST_ITEMS: Final = 1_000
"""So many items of an array are in the page, such as rows. ``show --event`` has all of them."""
_MOST_CHARACTERS: Final = 200_000
"""So many characters of a text are in the page, and of a body."""
_KINDS: Final = {EventType.HTTP_CLIENT: "http", EventType.DB_QUERY: "sql", EventType.REDIS: "redis"}
_SCHEMES: Final = ("ws:", "wss:")


@dataclass(frozen=True, slots=True)
class Account:
    """What a replay did with the calls of a recording."""

    hits: int = 0
    misses: tuple[str, ...] = ()
    """The texts of the errors of calls that had no answer."""
    blocked: tuple[str, ...] = ()
    """Those of connections that were refused."""
    unused: frozenset[int] = frozenset()
    """The numbers of the recorded calls that nobody made."""
    live: Mapping[str, int] = field(default_factory=dict)
    """How many calls went out, by plugin."""
    bindings: tuple[str, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict) -> Account:
        """The account that a verdict gives."""
        return cls(
            len(verdict.hits) + verdict.repeats,
            tuple(map(str, verdict.misses)),
            tuple(map(str, verdict.blocked)),
            frozenset(event.eid for event in verdict.unused),
            dict(verdict.live),
            tuple(map(str, verdict.bindings)),
        )


def recording_data(cassette: Cassette, account: Account | None = None) -> dict[str, Any]:
    """What the page shows of one recording.

    Args:
        cassette: The recording.
        account: What a replay did with it, where that is to be shown as well.
    """
    variables = variables_of(cassette)
    events: list[dict[str, Any]] = []
    logs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for line in outline(cassette):
        row: dict[str, Any] = {"depth": line.depth, "name": line.name}
        if line.event is not None:
            row["event"] = len(events)
            events.append(_event(line.event, line.name, account))
        elif line.log is not None:
            row["log"] = len(logs)
            logs.append(_log(line.log))
        rows.append(row)
    request, response = cassette.request, cassette.response
    made: dict[str, Any] = {
        "view": "recording",
        "title": request_name(cassette),
        "facts": [list(pair) for pair in facts(cassette, variables)],
        "scale_ms": scale_of(cassette),
        "took_ms": response.duration_ms or cassette.stats.total_duration_ms,
        "status": response.status or None,
        "failed": cassette.error_info is not None or response.status >= 500,
        "complete": cassette.complete,
        "rows": rows,
        "events": events,
        "logs": logs,
        "variables": [list(pair) for pair in variables.listed()],
        "pseudonyms": list(cassette.pseudonyms),
        "root": {
            "request": _message(request.headers, request.body),
            "response": _message(response.headers, response.body),
            "line": f"{request.method} {request.target or request.path}".strip(),
            "error": json_value(cassette.error_info),
        },
    }
    if account is not None:
        made["account"] = {
            "hits": account.hits,
            "misses": list(account.misses),
            "blocked": list(account.blocked),
            "unused": len(account.unused),
            "live": dict(account.live),
            "bindings": list(account.bindings),
        }
    return made


def comparison_data(before: Cassette, after: Cassette, *, slower: float = 2.0) -> dict[str, Any]:
    """What the page shows of how two recordings differ: both of them, and what became of each call.

    Args:
        before: The first recording.
        after: The second one.
        slower: See `compare_recordings`.
    """
    pairs = paired(before.events, after.events).pairs
    return {
        "view": "comparison",
        "title": request_name(after),
        "before": recording_data(before),
        "after": recording_data(after),
        "pairs": [[was.eid, now.eid] for was, now in pairs],
        "comparison": compare_recordings(before, after, slower=slower).as_json(),
    }


def _event(event: DependencyEvent, name: str, account: Account | None) -> dict[str, Any]:
    call, result, signature = event.call, event.result, event.signature
    args = call.args if call is not None else None
    args, reply = form_of(signature.lib).displayed(args, result.reply)
    kind = _KINDS.get(event.event_type, "other")
    if kind == "http" and (signature.url or "").startswith(_SCHEMES):
        kind = "other"
    failed = bool(result.error) or (kind == "http" and (result.status or 0) >= 400)
    spans = [span for span in (event.span, *event.within) if span is not None]
    made: dict[str, Any] = {
        "eid": event.eid,
        "kind": kind,
        "lib": signature.lib,
        "name": name,
        "status": event_status(event),
        "failed": failed,
        "size": response_size(result.body),
        "start_ms": event.start_offset_ms,
        "took_ms": event.duration_ms,
        "ended_ms": event.ended_ms,
        "marks": event_marks(event),
        "remarks": event_remarks(event),
        "state": _state(event, account),
        "path": list(event.path),
        "method": signature.method,
        "url": signature.url,
        "query": json_value(signature.query),
        "request": _message(call.headers, call.body) if call is not None else None,
        "response": _message(result.headers, result.body),
        "args": _bounded(json_value(args)),
        "reply": _bounded(json_value(reply)),
        "exception": _bounded(json_value(result.exception)),
        "spans": _bounded(json_value(spans)),
    }
    # What is not there is left out: most events lack most of it.
    return {key: item for key, item in made.items() if not (item is None or item is False or item in ([], {}))}


def _state(event: DependencyEvent, account: Account | None) -> str | None:
    """What a replay did with it, or would: ``hit``, ``unused``, ``observed`` (no answer was recorded), ``lost``."""
    if is_observed_only(event):
        return "observed"
    if event.not_replayable is not None:
        return "lost"
    if account is None:
        return None
    return "unused" if event.eid in account.unused else "setup" if event.sets_up else "hit"


def _log(log: LogEntry) -> dict[str, Any]:
    viewed: dict[str, Any] = json_value(log)
    return {key: item for key, item in viewed.items() if item is not None}


def _message(headers: Mapping[str, str], body: BodySnapshot | None) -> dict[str, Any] | None:
    """Headers and body of a request or a response; None where it has neither."""
    lines = _cut_lines(body_lines(body, headers)) if body is not None else []
    pairs = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in header_pairs(headers)]
    return {"headers": pairs, "body": lines} if pairs or lines else None


def _cut_lines(lines: Sequence[str]) -> list[str]:
    left, kept = _MOST_CHARACTERS, []
    for number, line in enumerate(lines):
        if left <= 0:
            kept.append(f"… {len(lines) - number} more lines")
            break
        kept.append(line if len(line) <= left else f"{line[:left]}…")
        left -= len(line) + 1
    return kept


def _bounded(value: Any) -> Any:
    """A value without what is too much for a page."""
    if isinstance(value, str):
        return value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]}…"
    if isinstance(value, dict):
        return {name: _bounded(item) for name, item in value.items()}
    if isinstance(value, list):
        more = len(value) - _MOST_ITEMS
        kept = [_bounded(item) for item in value[:_MOST_ITEMS]]
        return kept if more <= 0 else [*kept, f"… {more} more"]
    return value
