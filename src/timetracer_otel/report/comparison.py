"""How two recordings differ: calls that came, went, changed, moved, were repeated or took longer, and the answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from timetracer_otel.match.differences import value_differences
from timetracer_otel.match.leaves import flattened
from timetracer_otel.match.pairing import counted, paired, place_of, retried, shape
from timetracer_otel.match.sameness import PASSING_HEADERS, compared_reply
from timetracer_otel.match.values import Literals, pieces_of, skeleton
from timetracer_otel.redact.forms import form_of
from timetracer_otel.report.difference import NO_JSON, body_difference, header_difference, json_of
from timetracer_otel.report.tables import printable
from timetracer_otel.report.words import event_name, event_status, format_duration, request_name
from timetracer_otel.types import HeaderMap, header_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from timetracer_otel.types import BodySnapshot, Cassette, DependencyEvent

__all__ = ["CallChange", "Comparison", "compare_recordings"]

_MOST_LINES = 12
"""So many differences of one call are shown."""
_LONGEST = 1 << 16
"""Characters of a value that is searched for pseudonyms."""
_REPEATED = 3
"""A statement that is made so many times as often as before, or more, is told as repeated."""


@dataclass(frozen=True, slots=True)
class CallChange:
    """What became of one call."""

    kind: str
    """``added``, ``gone``, ``changed``, ``moved``, ``slower`` or ``faster``."""
    name: str
    before: int | None = None
    """Its number in the first recording; None where that lacks it."""
    after: int | None = None
    """Its number in the second recording; None where that lacks it."""
    differences: tuple[str, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether the recordings differ by it. Times differ from run to run."""
        return self.kind not in ("slower", "faster")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two recordings differ. Immutable."""

    before: str
    """The first recording's request, and its path."""
    after: str
    answer: tuple[str, ...] = ()
    """How the answers to the recorded requests differ."""
    calls: tuple[CallChange, ...] = ()
    counts: tuple[tuple[str, int, int], ...] = ()
    """Statements and calls whose number differs: the name, how many there were, and how many there are."""
    totals: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The numbers of calls by kind, where they differ."""
    retries: dict[str, int] = field(default_factory=dict)
    """How many of the added calls are retries, by their names in `counts`."""
    anew: int = 0
    """How many values differ that each run makes anew. They are no differences."""

    @property
    def differs(self) -> bool:
        """Whether there is a difference, but for times."""
        return bool(self.answer) or any(change.counts for change in self.calls)

    def as_json(self) -> dict[str, Any]:
        """All of it as values that `json.dumps` takes."""
        return {
            "before": self.before,
            "after": self.after,
            "differs": self.differs,
            "answer": list(self.answer),
            "calls": [
                {
                    "kind": change.kind,
                    "name": change.name,
                    "before": change.before,
                    "after": change.after,
                    "differences": list(change.differences),
                }
                for change in self.calls
            ],
            "counts": [{"name": name, "before": before, "after": after} for name, before, after in self.counts],
            "totals": {kind: {"before": before, "after": after} for kind, (before, after) in self.totals.items()},
            "anew": self.anew,
        }

    def lines(self) -> list[str]:
        """For people, in a terminal."""
        lines = [f"--- {self.before}", f"+++ {self.after}"]
        if not self.differs and not self.calls:
            return [*lines, "", *self._footer("no difference")]
        if self.answer:
            lines += ["", "answer", *(f"  {line}" for line in self.answer)]
        for kind in dict.fromkeys(change.kind for change in self.calls):
            lines += ["", kind]
            for change, numbers in _grouped(change for change in self.calls if change.kind == kind):
                lines.append(f"  {numbers} {change.name}")
                lines += [f"      {each}" for each in change.differences]
        lines += self._counted()
        return [*lines, "", *self._footer(", ".join(self._summary()) or "only times differ")]

    def markdown(self) -> str:
        """For the comment of a pull request."""
        summary = ", ".join(self._summary()) or ("only times differ" if self.calls else "no difference")
        lines = [f"**{_escaped(self.after)}**: {summary}", ""]
        if self.answer:
            lines += ["| answer |", "|---|", *(f"| {_code(line)} |" for line in self.answer), ""]
        if self.calls:
            lines += ["| call | | what differs |", "|---|---|---|"]
            lines += [
                f"| {_code(change.name)} | {change.kind} | {'<br>'.join(map(_code, change.differences))} |"
                for change in self.calls
            ]
            lines.append("")
        if self.counts:
            lines += ["| calls | before | after |", "|---|--:|--:|"]
            lines += [f"| {_code(name)} | {before} | {after} |" for name, before, after in self.counts]
            lines.append("")
        return "\n".join(lines)

    def _counted(self) -> list[str]:
        if not self.counts:
            return []
        lines = ["", "numbers of calls"]
        for name, before, after in self.counts:
            retries = self.retries.get(name, 0)
            repeated = after - retries >= max(_REPEATED, _REPEATED * before)
            notes = [f"{retries} retried"] if retries else []
            notes += ["repeated: one call for each of several rows?"] if repeated else []
            told = f"  ({', '.join(notes)})" if notes else ""
            lines.append(f"  {name}: {before} -> {after}{told}")
        return lines

    def _summary(self) -> list[str]:
        kinds = Counter(change.kind for change in self.calls if change.counts)
        told = ["another answer"] if self.answer else []
        return told + [f"{number} {kind}" for kind, number in kinds.items()]

    def _footer(self, summary: str) -> list[str]:
        totals = [f"{kind} {before} -> {after}" for kind, (before, after) in self.totals.items()]
        anew = [f"{self.anew} value{'s' * (self.anew != 1)} made anew in each run"] if self.anew else []
        return ["; ".join([summary, *totals, *anew])]


def compare_recordings(
    before: Cassette, after: Cassette, *, slower: float = 2.0, least_ms: float = 20.0, answers: bool = True
) -> Comparison:
    """Compare two recordings, call by call.

    Args:
        before: The first recording.
        after: The second one.
        slower: A call is told as slower or faster where it took so many times as long, or as short.
        least_ms: The least difference in milliseconds that is told.
        answers: Whether what was answered is compared too, and how long that took.
    """
    pairing = paired(before.events, after.events)
    moved = pairing.moved()
    anew = _Anew(before, after)
    calls = [CallChange("gone", event_name(event), before=event.eid) for event in pairing.gone]
    failed = {id(again): first for first, again in retried(after.events)} if answers else {}
    for event in pairing.added:
        why = _retry_of(failed.get(id(event)))
        calls.append(CallChange("added", _with_status(event), after=event.eid, differences=why))
    for was, now in pairing.pairs:
        differences = list(anew.left_of(_call_differences(was, now, answers)))
        more = len(differences) - _MOST_LINES
        shown = [*differences[:_MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
        if differences:
            calls.append(CallChange("changed", event_name(now), was.eid, now.eid, tuple(shown)))
        elif id(now) in moved:
            calls.append(CallChange("moved", event_name(now), was.eid, now.eid))
        took = _time_change(was.duration_ms, now.duration_ms, slower, least_ms) if answers else ""
        if took:
            text = f"{format_duration(was.duration_ms)} -> {format_duration(now.duration_ms)}"
            calls.append(CallChange(took, event_name(now), was.eid, now.eid, (text,)))
    order = ("added", "gone", "changed", "moved", "slower", "faster")
    calls.sort(key=lambda change: order.index(change.kind))
    return Comparison(
        before=_named(before),
        after=_named(after),
        answer=tuple(anew.left_of(_answer_differences(before, after))) if answers else (),
        calls=tuple(calls),
        counts=tuple(_counts(before, after)),
        totals=_totals(before, after),
        retries=Counter(event_name(event, with_place=False) for event in pairing.added if id(event) in failed),
        anew=anew.number,
    )


class _Anew:
    """Leaves out differences of values that each run makes anew, and counts them.

    Args:
        before: The first recording.
        after: The second one. It has other pseudonyms for the same secrets.
    """

    def __init__(self, before: Cassette, after: Cassette) -> None:
        self.number = 0
        self._pseudonyms = [Literals.of(each.pseudonyms) for each in (before, after)]

    def left_of(self, found: Iterator[str | tuple[str, Any, Any]]) -> Iterator[str]:
        """The texts of the differences that are left; each is a text, or a name with two values."""
        for each in found:
            if isinstance(each, str):
                yield each
                continue
            name, before, after = each
            if type(before) is type(after) and (shape(before) == shape(after) or self._have_secrets(before, after)):
                self.number += 1
                continue
            yield printable(f"{name}: {_short(before)} -> {_short(after)}")

    def _have_secrets(self, before: Any, after: Any) -> bool:
        """Whether two values are the same but for secrets and for what each run makes anew."""
        if not any(self._pseudonyms):
            return False
        sides = [flattened(before), flattened(after)]
        texts = [
            [skeleton(pieces_of(leaf.text, secrets)) for leaf in side.leaves]
            for side, secrets in zip(sides, self._pseudonyms, strict=True)
            if sum(len(leaf.text) for leaf in side.leaves) <= _LONGEST
        ]
        return len(texts) == len(sides) and sides[0].outline == sides[1].outline and texts[0] == texts[1]


def _call_differences(
    was: DependencyEvent, now: DependencyEvent, answers: bool
) -> Iterator[str | tuple[str, Any, Any]]:
    if place_of(was.signature.url) != place_of(now.signature.url):
        yield "url", was.signature.url, now.signature.url
    for difference in value_differences("query", was.signature.query, now.signature.query):
        yield difference.field, difference.recorded, difference.actual
    args = [event.call.args if event.call is not None else None for event in (was, now)]
    sides = [
        form_of(event.signature.lib).displayed(arg, event.result.reply)
        for event, arg in zip((was, now), args, strict=True)
    ]
    for difference in value_differences("args", sides[0][0], sides[1][0]):
        yield difference.field, difference.recorded, difference.actual
    bodies = [event.call.body if event.call is not None else None for event in (was, now)]
    headers = [event.call.headers if event.call is not None else {} for event in (was, now)]
    yield from _headers("request ", headers)
    yield from _bodies("request ", bodies, headers)
    if not answers:
        return
    before, after = event_status(was), event_status(now)
    if before != after:
        yield "status", before, after
    if was.result.error != now.result.error:
        yield "error", was.result.error, now.result.error
    for difference in value_differences("reply", compared_reply(sides[0][1]), compared_reply(sides[1][1])):
        yield difference.field, difference.recorded, difference.actual
    headers = [was.result.headers, now.result.headers]
    yield from _headers("", headers)
    yield from _bodies("", [was.result.body, now.result.body], headers)


def _headers(name: str, headers: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Differences of headers by their names, which count in any case; in the order of the first recording."""
    before, after = (HeaderMap(header_pairs(each)) for each in headers)
    for header in dict.fromkeys([*before, *after]):
        if header not in PASSING_HEADERS and before.get(header) != after.get(header):
            yield f"{name}header {header}", before.get(header, "(none)"), after.get(header, "(none)")


def _bodies(name: str, bodies: list[BodySnapshot | None], headers: list[Any]) -> Iterator[str | tuple[str, Any, Any]]:
    data = [body.data if body is not None and isinstance(body.data, bytes) else b"" for body in bodies]
    maps = [HeaderMap(header_pairs(each)) for each in headers]
    texts = [each.decode("latin-1") for each in data]
    if data[0] == data[1]:
        return
    if shape(texts[0]) == shape(texts[1]):
        yield f"{name}body", texts[0], texts[1]
        return
    values = [json_of(*each) for each in zip(data, maps, strict=True)]
    if NO_JSON not in values:
        for difference in value_differences(f"{name}body $", *values):
            yield difference.field, difference.recorded, difference.actual
        return
    for line in body_difference(data[0], maps[0], data[1], maps[1]):
        yield f"{name}{line}"


def _answer_differences(before: Cassette, after: Cassette) -> Iterator[str | tuple[str, Any, Any]]:
    was, now = before.response, after.response
    if was.status != now.status:
        yield "status", was.status, now.status
    raised = [(each.error_info or {}).get("type") for each in (before, after)]
    if raised[0] != raised[1]:
        yield "exception", raised[0], raised[1]
    maps = [HeaderMap(header_pairs(each.headers)) for each in (was, now)]
    yield from header_difference(maps[0], maps[1], PASSING_HEADERS)
    yield from _bodies("", [was.body, now.body], [was.headers, now.headers])


def _time_change(before_ms: float, after_ms: float, times: float, least_ms: float) -> str:
    if abs(after_ms - before_ms) < least_ms:
        return ""
    if after_ms > before_ms * times:
        return "slower"
    return "faster" if before_ms > after_ms * times else ""


def _counts(before: Cassette, after: Cassette) -> Iterator[tuple[str, int, int]]:
    was, now = (counted(each.events, lambda event: event_name(event, with_place=False)) for each in (before, after))
    for key in dict.fromkeys([*now, *was]):
        names = now.get(key) or was[key]
        numbers = len(was.get(key, ())), len(now.get(key, ()))
        if numbers[0] != numbers[1] and max(numbers) > 1:
            yield (names[0], *numbers)


def _totals(before: Cassette, after: Cassette) -> dict[str, tuple[int, int]]:
    was, now = (Counter(event.event_type.value for event in each.events) for each in (before, after))
    return {kind: (was[kind], now[kind]) for kind in sorted(was | now) if was[kind] != now[kind]}


def _named(cassette: Cassette) -> str:
    return f"{request_name(cassette)} ({printable(cassette.path or cassette.session.id)})"


def _with_status(event: DependencyEvent) -> str:
    status = event_status(event)
    return event_name(event) + ("" if status == "-" else f" -> {status}")


def _retry_of(failed: DependencyEvent | None) -> tuple[str, ...]:
    return (f"a retry of #{failed.eid}, which failed: {event_status(failed)}",) if failed is not None else ()


def _numbers(change: CallChange) -> str:
    numbers = [f"#{number}" for number in (change.before, change.after) if number is not None]
    return numbers[0] if len(set(numbers)) == 1 else " -> ".join(numbers)


def _grouped(changes: Iterable[CallChange]) -> Iterator[tuple[CallChange, str]]:
    """Changes with the texts of their numbers. Several of one name, about which nothing else is said, are one."""
    for _, found in groupby(changes, key=lambda each: each if each.differences else each.name):
        several = list(found)
        first, last = several[0], several[-1]
        if len(several) > 1:
            yield first, f"{_numbers(first)} to {_numbers(last)} ({len(several)} calls)"
        else:
            yield first, _numbers(first)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39)).replace('|', chr(92) + '|')}`" if text else ""


def _escaped(text: str) -> str:
    return text.replace("*", "\\*").replace("_", "\\_")
