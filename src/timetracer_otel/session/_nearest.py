"""When no event fits: the nearest recorded ones, and the fields in which they differ."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.session._rules import EVERYTHING, MatchRules
from timetracer_otel.session._sql import is_sql
from timetracer_otel.types import DependencyEvent, EventSignature

__all__ = [
    "Attempt",
    "Difference",
    "differences",
    "mapping_differences",
    "mismatch",
    "nearest",
    "value_differences",
]

_CANDIDATES = 3
_PARAMETERS = ("args.parameters", "args.many")
_LONGEST_VALUE = 80
_LONGEST_STATEMENT = 1000
_MOST_DIFFERENCES = 8


class Attempt(NamedTuple):
    """A call that was made in a replay, redacted as it would have been recorded."""

    signature: EventSignature
    body: bytes | None = None
    args: Any = None
    headers: Mapping[str, str] = MappingProxyType({})
    rules: MatchRules = EVERYTHING
    """What counts."""


class Difference(NamedTuple):
    """One field that differs between a recorded call and the one that was made."""

    field: str
    recorded: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.field}: recorded {_short(self.recorded)}, now {_short(self.actual)}"


def differences(event: DependencyEvent, attempt: Attempt) -> list[Difference]:
    """Every field in which the two differ, a JSON body field by field."""
    recorded, actual, rules = event.signature, attempt.signature, attempt.rules
    counts = {"lib": True, "method": rules.method, "url": rules.url}
    found = [
        Difference(name, getattr(recorded, name), getattr(actual, name))
        for name, does in counts.items()
        if does and getattr(recorded, name) != getattr(actual, name)
    ]
    found += mapping_differences("query", rules.query_of(recorded.query), rules.query_of(actual.query))
    headers = event.call.headers if event.call is not None else {}
    found += mapping_differences("headers", *(dict(rules.header_key(each)) for each in (headers, attempt.headers)))
    if recorded.body_hash != actual.body_hash and rules.body:
        found += _body_differences(event, attempt)
    return found


def nearest(events: Iterable[DependencyEvent], attempt: Attempt) -> list[DependencyEvent]:
    """The events most like the attempt, best first; none of another group of calls altogether."""
    scored = [(_distance(event, attempt), event) for event in events]
    scored = [(distance, event) for distance, event in scored if distance < 8.0]
    return [event for _, event in sorted(scored, key=lambda pair: (pair[0], pair[1].eid))[:_CANDIDATES]]


def mismatch(
    attempt: Attempt,
    waiting: list[DependencyEvent],
    taken: list[DependencyEvent],
    *,
    cassette_path: str | None,
    endpoint: str | None,
    lost: Mapping[str, int],
) -> ReplayMismatchError:
    """The error for a call that no event answers: the call, the nearest candidates, and what to do.

    ``lost`` is what the recording says it lost, by reason.
    """
    signature = attempt.signature
    called = f"{signature.lib} {describe(signature)}"
    statement = _statement(attempt.args)
    if statement is not None:
        called += f"\n  statement: {_short_text(statement)}\n  parameters: {_short(_parameters(attempt.args))}"
    used = [event for event in taken if not differences(event, attempt)]
    if used:
        message = f"No recorded answer is left for this call: {called}"
        hint = (
            f"the cassette holds {len(used)} such call{'s' if len(used) > 1 else ''} and "
            f"{'all were' if len(used) > 1 else 'it was'} answered already. "
            "The code calls more often than when it was recorded: record again."
        )
        shown: list[tuple[DependencyEvent, str]] = [(event, " (answered already)") for event in used[:_CANDIDATES]]
    else:
        message = f"No recorded call matches: {called}"
        shown = [(event, "") for event in nearest(waiting, attempt)]
        if not shown:
            shown = [(event, " (answered already)") for event in nearest(taken, attempt)]
        if shown:
            hint = "undo the change in the call, or record again. To call for real, name the library in live_plugins."
        else:
            hint = "the cassette holds nothing like it: record again, or name the library in live_plugins."
    first = differences(shown[0][0], attempt) if shown else []
    if statement is not None and first and all(difference.field.startswith(_PARAMETERS) for difference in first):
        hint += " A value that changes from run to run can be left out of the comparison: ignore_sql_params."
    if lost:
        losses = ", ".join(f"{number} {reason}" for reason, number in sorted(lost.items()))
        hint += f" The call may be among what the recording lost ({losses})."
    return ReplayMismatchError(
        message,
        cassette_path=cassette_path,
        endpoint=endpoint,
        event_index=shown[0][0].eid if shown else None,
        expected={difference.field: difference.recorded for difference in first},
        actual={difference.field: difference.actual for difference in first},
        hint=hint,
        candidates=[_candidate(event, note, attempt) for event, note in shown],
    )


def describe(signature: EventSignature) -> str:
    """A signature as a person would write the call."""
    pairs = [
        f"{name}={item}"
        for name, value in signature.query.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    query = "?" + "&".join(pairs) if pairs else ""
    return f"{signature.method} {signature.url or ''}{query}".strip()


def _candidate(event: DependencyEvent, note: str, attempt: Attempt) -> str:
    found = differences(event, attempt)
    lines = [f"#{event.eid} {describe(event.signature)}{note}"]
    lines += [f"    {difference}" for difference in found[:_MOST_DIFFERENCES]]
    if len(found) > _MOST_DIFFERENCES:
        lines.append(f"    and {len(found) - _MOST_DIFFERENCES} more fields")
    return "\n".join(lines)


def _distance(event: DependencyEvent, attempt: Attempt) -> float:
    recorded, actual = event.signature, attempt.signature
    distance = 0.0
    if recorded.lib != actual.lib:
        distance += 4.0
    if recorded.method != actual.method:
        distance += 2.0
    if recorded.url != actual.url:
        likeness = difflib.SequenceMatcher(None, recorded.url or "", actual.url or "").ratio()
        distance += 1.0 + 4.0 * (1.0 - likeness)
    if recorded.query != actual.query:
        distance += 1.0
    if recorded.body_hash != actual.body_hash:
        distance += 1.0
        statements = _statement(event.call.args if event.call is not None else None), _statement(attempt.args)
        if None not in statements and statements[0] != statements[1]:
            distance += 2.0 - difflib.SequenceMatcher(None, statements[0] or "", statements[1] or "").quick_ratio()
    return distance


def _statement(args: Any) -> str | None:
    return args["statement"] if is_sql(args) else None


def _parameters(args: Any) -> Any:
    return args.get("parameters", args.get("many"))


def _body_differences(event: DependencyEvent, attempt: Attempt) -> Iterator[Difference]:
    call, content = event.call, attempt.rules.content
    if call is not None and call.args is not None and attempt.args is not None:
        yield from value_differences("args", content(call.args), content(attempt.args))
        return
    recorded = call.body.data if call is not None and call.body is not None else None
    actual = attempt.body
    if isinstance(recorded, bytes) and actual:
        as_json = _json(recorded), _json(actual)
        if None not in as_json and as_json[0] != as_json[1]:
            yield from value_differences("body", *map(content, as_json))
            return
    yield Difference("body", recorded or event.signature.body_hash, actual or attempt.signature.body_hash)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def value_differences(name: str, recorded: Any, actual: Any) -> Iterator[Difference]:
    """Where two values differ, item by item."""
    if isinstance(recorded, dict) and isinstance(actual, dict):
        yield from mapping_differences(name, recorded, actual)
    elif isinstance(recorded, (list, tuple)) and isinstance(actual, (list, tuple)) and len(recorded) == len(actual):
        for position, (before, now) in enumerate(zip(recorded, actual, strict=True)):
            yield from value_differences(f"{name}[{position}]", before, now)
    elif recorded != actual or type(recorded) is not type(actual):
        yield Difference(name, recorded, actual)


def mapping_differences(name: str, recorded: Mapping[Any, Any], actual: Mapping[Any, Any]) -> Iterator[Difference]:
    """Where two mappings differ, entry by entry."""
    for key in dict.fromkeys([*recorded, *actual]):
        before, now = recorded.get(key, _MISSING), actual.get(key, _MISSING)
        if before is _MISSING or now is _MISSING:
            yield Difference(f"{name}.{key}", before, now)
        else:
            yield from value_differences(f"{name}.{key}", before, now)


def _short_text(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_STATEMENT else f"{text[: _LONGEST_STATEMENT - 1]}…"


class _Missing:
    def __repr__(self) -> str:
        return "(none)"


_MISSING = _Missing()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
