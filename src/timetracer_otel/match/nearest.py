"""The error for a call that no event answers: the nearest recorded events, and the fields in which they differ."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, NamedTuple

from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.advice import Wording, rules_for
from timetracer_otel.match.body_content import body_value, is_form, plain_body
from timetracer_otel.match.differences import MISSING, Difference, mapping_differences, shortened, value_differences
from timetracer_otel.match.expired import Passed
from timetracer_otel.match.rules import EVERYTHING, Ignored, MatchRules
from timetracer_otel.redact.forms import form_of
from timetracer_otel.redact.urls import same_target
from timetracer_otel.types import CallSnapshot, DependencyEvent, EventSignature, header_pairs

__all__ = [
    "Attempt",
    "describe",
    "differences",
    "mismatch",
    "nearest",
]

_IN_PYTHON = Wording()
_CANDIDATES = 3
_TOO_FAR = 8.0
_LONGEST_TEXT = 1000
_MOST_DIFFERENCES = 8
_OF_THE_SAME_PATH = 0.98
"""How alike two URLs are at least that have the same path, and not the same host."""
_BEHIND_THE_HOST = re.compile(r"[^:/]+://[^/]*(/[^/].*)")
_MOST_COMPARED = 200
"""How many other recorded calls are compared, to see whether a value tells them apart."""


class Attempt(NamedTuple):
    """A call that was made in a replay and has no answer, redacted as it would be in a recording."""

    signature: EventSignature
    body: bytes | None = None
    args: Any = None
    headers: Mapping[str, str] = MappingProxyType({})
    rules: MatchRules = EVERYTHING
    """The rules by which it is matched."""
    given: Collection[str] = frozenset(EventSignature.__dataclass_fields__)
    """The fields of the signature that the call has; a hand-written plugin may name a few."""
    unknown: Mapping[str, Any] = MappingProxyType({})
    """Fields that a hand-written plugin named and that no signature has."""
    refused_by: Callable[[DependencyEvent], str | None] = lambda _: None
    """The name of the custom matcher that refuses an event; None where all accept it."""


def differences(event: DependencyEvent, attempt: Attempt) -> list[Difference]:
    """Every field in which an event differs from the call; a JSON body is compared field by field."""
    recorded, actual, rules, given = event.signature, attempt.signature, attempt.rules, attempt.given
    counts = {"lib": True, "method": rules.method, "url": rules.url}
    found = [
        Difference(name, getattr(recorded, name), getattr(actual, name))
        for name, does in counts.items()
        if does and name in given and not _is_same(name, recorded, actual)
    ]
    found += [Difference(name, MISSING, value) for name, value in attempt.unknown.items()]
    call = event.call if event.call is not None else CallSnapshot()
    before = rules.ignored_in(recorded.lib, recorded.method, recorded.url, call.args)
    now = rules.ignored_in(actual.lib, actual.method, actual.url, attempt.args)
    if "query" in given:
        found += mapping_differences(
            "query", rules.query_of(recorded.query, before), rules.query_of(actual.query, now)
        )
    found += mapping_differences(
        "headers", _compared_headers(call.headers, rules, before), _compared_headers(attempt.headers, rules, now)
    )
    if recorded.body_hash != actual.body_hash and rules.body and "body_hash" in given:
        found += _body_differences(event, attempt, before, now)
    return found


def _compared_headers(headers: Mapping[str, str], rules: MatchRules, ignored: Ignored) -> dict[str, str | None]:
    return {**dict(rules.asked(headers, ignored)), **dict(rules.header_key(headers, ignored))}


def nearest(events: Iterable[DependencyEvent], attempt: Attempt) -> list[DependencyEvent]:
    """The events most like the attempt, best first. Events that have hardly anything in common with it are left
    out.
    """
    # How alike two texts are is not asked of events that are too far away whatever it is.
    least = sorted(((_distance(event, attempt, in_full=False), event) for event in events), key=_by_distance)
    scored: list[tuple[float, DependencyEvent]] = []
    for bound, event in least:
        if bound >= _TOO_FAR or (len(scored) == _CANDIDATES and bound > scored[-1][0]):
            break
        distance = _distance(event, attempt)
        if distance < _TOO_FAR:
            scored = sorted([*scored, (distance, event)], key=_by_distance)[:_CANDIDATES]
    return [event for _, event in scored]


def _by_distance(scored: tuple[float, DependencyEvent]) -> tuple[float, int]:
    return scored[0], scored[1].eid


def mismatch(
    attempt: Attempt,
    waiting: list[DependencyEvent],
    taken: list[DependencyEvent],
    ambiguous: Sequence[DependencyEvent] = (),
    *,
    answered: int = 0,
    cassette_path: str | None,
    endpoint: str | None,
    lost: Mapping[str, int],
    wording: Wording = _IN_PYTHON,
    passed: Passed | None = None,
) -> ReplayMismatchError:
    """The error for a call that no event answers: the call, the nearest candidates, and what to do.

    ``waiting`` are the recorded calls that no call has taken, and ``taken`` the others: those that may be near to the
    call, at least. ``answered`` is how many of all recorded calls with its signature were taken.
    ``ambiguous`` are the recorded calls that are equal to it but for variables, where these would be bound
    differently. ``lost`` is what the recording says it lost, by reason. ``passed`` is a time in an answer that has
    passed since the recording.
    """
    signature = attempt.signature
    called = f"{signature.lib} {describe(signature)}"
    for position, (name, value) in enumerate(form_of(signature.lib).shown(attempt.args)):
        called += f"\n  {name}: {shortened(value) if position else _short_text(value)}"
    used = [event for event in taken if not differences(event, attempt) and attempt.refused_by(event) is None]
    if ambiguous:
        message = f"Several recorded calls match, each with other values that change from run to run: {called}"
        hint = (
            "nothing says which of them this call is. Let the calls differ in something else, make an earlier call "
            "that tells them apart, or leave the values out of the comparison."
        )
        shown: list[tuple[DependencyEvent, str]] = [(event, "") for event in ambiguous[:_CANDIDATES]]
    elif used:
        message = f"No recorded answer is left for this call: {called}"
        times = max(len(used), answered)
        hint = (
            f"the cassette holds {times} such call{'s' if times > 1 else ''} and "
            f"{'all were' if times > 1 else 'it was'} answered already. "
            f"The code calls more often than when it was recorded: record again, or let it have the last answer "
            f"again: {wording.repeating}."
        )
        shown = [(event, " (answered already)") for event in used[:_CANDIDATES]]
    else:
        message = f"No recorded call matches: {called}"
        shown = [(event, "") for event in nearest(waiting, attempt)]
        if not shown:
            shown = [(event, " (answered already)") for event in nearest(taken, attempt)]
        if shown:
            hint = "undo the change in the call, or record again. "
            hint += f"To call for real, name the library in {wording.live}."
        else:
            hint = f"the cassette holds nothing like it: record again, or name the library in {wording.live}."
    first = differences(shown[0][0], attempt) if shown else []
    rules = _rules_without(first, shown[0][0], attempt, waiting, taken) if first and not used else ()
    if lost:
        losses = ", ".join(f"{number} {reason}" for reason, number in sorted(lost.items()))
        hint += f" The call may be among what the recording lost ({losses})."
    if passed is not None:
        hint += (
            f" The time {shortened(passed.text)} in the answer of #{passed.eid} has passed since the recording, so "
            "that the app may have found expired what was valid then. "
            f"{wording.clock} gives it the time of the recording."
        )
    return ReplayMismatchError(
        message,
        cassette_path=cassette_path,
        endpoint=endpoint,
        event_index=shown[0][0].eid if shown else None,
        expected={each.field: each.recorded for each in first if each.recorded is not MISSING},
        actual={each.field: each.actual for each in first if each.actual is not MISSING},
        hint=hint,
        candidates=[_candidate(event, note, attempt) for event, note in shown],
        rules=rules,
        advice=wording.ignoring(rules) if rules else "",
    )


def _rules_without(
    found: list[Difference],
    event: DependencyEvent,
    attempt: Attempt,
    waiting: Iterable[DependencyEvent],
    taken: Iterable[DependencyEvent],
) -> tuple[str, ...]:
    """The ``ignore`` rules that would leave out all differences from an event; empty where none is to be advised."""
    signature = attempt.signature

    def others() -> Iterator[tuple[DependencyEvent, list[str]]]:
        call = event.call if event.call is not None else CallSnapshot()
        body = call.body.data if call.body is not None and isinstance(call.body.data, bytes) else None
        recorded = Attempt(event.signature, body, call.args, call.headers, attempt.rules, attempt.given)
        alike = (
            other
            for other in chain(waiting, taken)
            if other is not event
            and (other.signature.lib, other.signature.method) == (signature.lib, signature.method)
        )
        for other in islice(alike, _MOST_COMPARED):
            yield other, [each.field for each in differences(other, recorded)]

    is_a_form = is_form(header_pairs(attempt.headers))
    return rules_for(found, signature, attempt.args, is_a_form, others)


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
    refused_by = None if found else attempt.refused_by(event)
    if refused_by is not None:
        lines.append(f"    the matcher {refused_by} says that this is another call")
    if event.not_replayable is not None:
        lines.append(f"    no replay can answer from it: {event.not_replayable}")
    return "\n".join(lines)


def _distance(event: DependencyEvent, attempt: Attempt, *, in_full: bool = True) -> float:
    """How far an event is from the attempt; at least that far, with ``in_full=False``."""
    recorded, actual, given = event.signature, attempt.signature, attempt.given
    distance = 0.0
    if "lib" in given and recorded.lib != actual.lib:
        distance += 4.0
    if "method" in given and recorded.method != actual.method:
        distance += 2.0
    if "url" in given and not _is_same("url", recorded, actual):
        distance += 1.0 + 4.0 * (1.0 - _likeness_of_urls(recorded.url or "", actual.url or "", in_full=in_full))
    if "query" in given and recorded.query != actual.query:
        distance += 1.0
    if "body_hash" in given and recorded.body_hash != actual.body_hash:
        distance += 1.0
        before = form_of(recorded.lib).likeness(event.call.args) if event.call is not None else None
        now = form_of(actual.lib).likeness(attempt.args)
        if before is not None and now is not None and before != now:
            likeness = difflib.SequenceMatcher(None, before, now)
            distance += 2.0 - (likeness.quick_ratio() if in_full else likeness.real_quick_ratio())
    return distance


def _likeness_of_urls(before: str, now: str, *, in_full: bool) -> float:
    compared = difflib.SequenceMatcher(None, before, now)
    likeness = compared.ratio() if in_full else compared.quick_ratio()
    if _path_of(before) == _path_of(now) is not None:
        # The same server, at another port or by another name. Digits of ports that are alike by chance say less.
        return max(likeness, _OF_THE_SAME_PATH)
    return likeness


def _path_of(url: str) -> str | None:
    """What stands behind the host; None where that is nothing."""
    found = _BEHIND_THE_HOST.match(url)
    return found[1] if found is not None else None


def _is_same(field: str, recorded: EventSignature, actual: EventSignature) -> bool:
    before, now = getattr(recorded, field), getattr(actual, field)
    return before == now or (field == "url" and None not in (before, now) and same_target(before) == same_target(now))


def _body_differences(
    event: DependencyEvent, attempt: Attempt, ignored: Ignored, ignored_now: Ignored
) -> Iterator[Difference]:
    call = event.call
    if call is not None and call.args is not None and attempt.args is not None:
        yield from value_differences("args", ignored.content(call.args), ignored_now.content(attempt.args))
        return
    recorded = call.body.data if call is not None and call.body is not None else None
    if call is None or not isinstance(recorded, bytes) or not attempt.body:
        yield Difference("body", recorded or event.signature.body_hash, attempt.body or attempt.signature.body_hash)
        return
    sides = [(recorded, header_pairs(call.headers)), (attempt.body, header_pairs(attempt.headers))]
    plain = [plain_body(data, headers) for data, headers in sides]
    before, now = (body_value(data, headers) for data, (_, headers) in zip(plain, sides, strict=True))
    found = list(value_differences("body", ignored.content(before), ignored_now.content(now)))
    # No differences, although the bytes differ: the same JSON, written in another way.
    yield from found or [Difference("body", *plain)]


def _short_text(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
