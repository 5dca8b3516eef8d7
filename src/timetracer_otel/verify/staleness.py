"""Which recordings have gone stale: the recorded answers of calls beside those that their servers give now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from timetracer_otel.base.ignore_rules import IgnoreRule
from timetracer_otel.constants import BodyEnd
from timetracer_otel.match.answer_names import AnswerNames
from timetracer_otel.match.sameness import PASSING_HEADERS
from timetracer_otel.match.values import SECRET
from timetracer_otel.redact.shown import without_known_forms
from timetracer_otel.report import printable
from timetracer_otel.report.difference import NO_JSON, json_of
from timetracer_otel.types import (
    Cassette,
    DependencyEvent,
    HeaderMap,
    RequestSnapshot,
    ResponseSnapshot,
    header_pairs,
)
from timetracer_otel.verify.compare import Ignored, compare
from timetracer_otel.verify.sender import Answer, NoAnswerError
from timetracer_otel.verify.upstream import GivenHeader, Question, Wanted, ask, question_of, without_given

__all__ = ["CHANGED", "LEFT_OUT", "NO_ANSWER", "SAME", "Checked", "Comparing", "check"]

SAME, CHANGED, NO_ANSWER, LEFT_OUT = "same", "changed", "no answer", "not asked"

_OF_CONTENT: Final = frozenset({"content-type", "content-encoding", "location"})
"""The headers that say what an answer is. The others change with each answer of many servers."""
_MOST_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Comparing:
    """How answers are compared.

    Args:
        ignored: What is not compared.
        shape: Whether only the types of JSON values and the names of fields count.
        headers: Whether all headers count, but for those that say nothing of the answer.
    """

    ignored: Ignored
    shape: bool = False
    headers: bool = False


@dataclass(slots=True)
class Checked:
    """One call, which may stand in several recordings, and what became of its answer."""

    question: Question
    outcome: str
    differences: list[str] = field(default_factory=list)
    """Those of the first recording whose answer has changed."""
    places: list[tuple[str, int]] = field(default_factory=list)
    """The path of each recording that has the call, and the call's number in it."""
    stale: list[str] = field(default_factory=list)
    """The paths of the recordings whose answer has changed."""


def check(
    cassettes: Mapping[str, Cassette],
    wanted: Sequence[Wanted],
    given: Sequence[GivenHeader],
    how: Comparing,
    timeout_s: float,
    tell: Callable[[Checked], None],
) -> list[Checked]:
    """Make the recorded calls again that may be made, each once, and compare the answers.

    Args:
        cassettes: The recordings, by their paths.
        wanted: Calls that are made although they do not only ask.
        given: Headers of the user's.
        how: How answers are compared.
        timeout_s: How many seconds one answer may take.
        tell: Called with each call as soon as it is judged.
    """
    found: dict[Question, list[tuple[str, Cassette, DependencyEvent]]] = {}
    for path, cassette in cassettes.items():
        for event in cassette.events:
            question = question_of(event, cassette, wanted, given)
            if question is not None:
                found.setdefault(question, []).append((path, cassette, event))
    results = []
    for question, recorded in found.items():
        results.append(_checked(question, recorded, how, given, timeout_s))
        tell(results[-1])
    return results


def _checked(
    question: Question,
    recorded: Sequence[tuple[str, Cassette, DependencyEvent]],
    how: Comparing,
    given: Sequence[GivenHeader],
    timeout_s: float,
) -> Checked:
    made = Checked(question, SAME, places=[(path, event.eid) for path, _, event in recorded])
    if question.left_out is not None:
        made.outcome, made.differences = LEFT_OUT, [question.left_out]
        return made
    try:
        answer = ask(question, timeout_s)
    except NoAnswerError as error:
        made.outcome, made.differences = NO_ANSWER, [without_given(str(error), given)]
        return made
    for path, cassette, event in recorded:
        differences = list(_differences(cassette, event, answer, how))
        if differences:
            made.outcome = CHANGED
            made.differences = made.differences or [_shown(line, given, cassette) for line in differences]
            if path not in made.stale:
                made.stale.append(path)
    return made


def _shown(line: str, given: Sequence[GivenHeader], cassette: Cassette) -> str:
    return printable(without_known_forms(without_given(line, given), cassette.pseudonyms))


def _differences(cassette: Cassette, event: DependencyEvent, answer: Answer, how: Comparing) -> Iterator[str]:
    result = event.result
    if result.status is None:
        yield f"status: recorded {result.error_type or 'none'}, now {answer.status}"
        return
    if how.shape:
        yield from _shape_differences(event, answer)
        return
    request = RequestSnapshot(event.signature.method, event.signature.url or "", headers={"host": ""})
    recorded = ResponseSnapshot(result.status, _chosen(result.headers, how.headers), result.body)
    whole = result.body is None or (result.body.captured and result.body.end is BodyEnd.COMPLETE)
    judged = replace(cassette, request=request, response=recorded)
    now = replace(answer, headers=_chosen(answer.headers, how.headers))
    # How a body is packed says nothing of what it holds.
    ignored = Ignored((*how.ignored.rules, IgnoreRule("", "header", "content-encoding")))
    names = AnswerNames(cassette, (), {SECRET}, answer.took_s)
    found = compare(judged, now, ignored, names)
    differences = [line for line in found.differences if whole or not line.startswith("body ")]
    yield from differences[:_MOST_LINES]
    if len(differences) > _MOST_LINES:
        yield f"and {len(differences) - _MOST_LINES} more"


def _chosen(headers: Mapping[str, str], all_of_them: bool) -> HeaderMap:
    pairs = header_pairs(dict(headers) if not isinstance(headers, HeaderMap) else headers)
    if all_of_them:
        return HeaderMap(pair for pair in pairs if pair[0].decode("latin-1").lower() not in PASSING_HEADERS)
    return HeaderMap(pair for pair in pairs if pair[0].decode("latin-1").lower() in _OF_CONTENT)


def _shape_differences(event: DependencyEvent, answer: Answer) -> Iterator[str]:
    result = event.result
    if result.status != answer.status:
        yield f"status: recorded {result.status}, now {answer.status}"
        return
    before = HeaderMap(header_pairs(result.headers))
    kinds = [each.get("content-type", "").partition(";")[0].strip().lower() for each in (before, answer.headers)]
    if kinds[0] != kinds[1]:
        yield f"content-type: recorded {kinds[0] or 'none'}, now {kinds[1] or 'none'}"
        return
    data = result.body.data if result.body is not None else None
    if not isinstance(data, bytes):
        return
    values = [json_of(data, before), json_of(answer.body, answer.headers)]
    if NO_JSON in values:
        return
    lines = list(_shapes_apart("body $", _shape([values[0]]), _shape([values[1]])))
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f"and {len(lines) - _MOST_LINES} more"


@dataclass(frozen=True, slots=True)
class _Shape:
    """What several values at one place have: their types, their fields, and their items."""

    types: frozenset[str]
    fields: Mapping[str, _Shape]
    always: frozenset[str]
    """The fields that each object has."""
    items: _Shape | None


_TYPES: Final = {bool: "boolean", int: "number", float: "number", str: "text", type(None): "null"}


def _shape(values: Sequence[Any]) -> _Shape:
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    types = {"object" if isinstance(each, dict) else _TYPES.get(type(each), "list") for each in values}
    names = dict.fromkeys(name for each in objects for name in each)
    always = frozenset(name for name in names if all(name in each for each in objects))
    fields = {name: _shape([each[name] for each in objects if name in each]) for name in names}
    items = [item for each in lists for item in each]
    return _Shape(frozenset(types), fields, always, _shape(items) if items else None)


def _shapes_apart(place: str, before: _Shape, now: _Shape) -> Iterator[str]:
    if before.types != now.types:
        yield f"{place}: recorded {_named(before.types)}, now {_named(now.types)}"
    for name in dict.fromkeys([*before.fields, *now.fields]):
        there, here = before.fields.get(name), now.fields.get(name)
        if there is None or here is None:
            if "object" in before.types & now.types:
                yield f"{place}.{name}: recorded {_named_if_there(there)}, now {_named_if_there(here)}"
            continue
        if (name in before.always) != (name in now.always):
            yield f"{place}.{name}: recorded {_often(before, name)}, now {_often(now, name)}"
        yield from _shapes_apart(f"{place}.{name}", there, here)
    if before.items is not None and now.items is not None:
        yield from _shapes_apart(f"{place}[*]", before.items, now.items)


def _often(shape: _Shape, name: str) -> str:
    return "in each object" if name in shape.always else "in some objects"


def _named_if_there(shape: _Shape | None) -> str:
    return "(missing)" if shape is None else _named(shape.types)


def _named(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))
