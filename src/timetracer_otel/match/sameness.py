"""Whether a call of two recordings is the same in both, with its answer, but for values that each run makes anew.

Such values are pseudonyms of secrets, identifiers that the app made, those that a call made which does not only ask,
and times within the run. A value has one name in each of the two recordings, so that they are renamed one to one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from timetracer_otel.constants import EventType
from timetracer_otel.match.body_content import plain_body
from timetracer_otel.match.leaves import flattened
from timetracer_otel.match.values import SECRET, TIME, Literals, Value, pieces_of, skeleton, values_in, within
from timetracer_otel.match.variables import run_of
from timetracer_otel.types import BodySnapshot, Cassette, DependencyEvent, RecordedError, header_pairs

__all__ = ["PASSING_HEADERS", "Names", "compared_reply"]

PASSING_HEADERS: Final = frozenset(
    {
        *("host", "date", "server", "age", "connection", "keep-alive", "transfer-encoding", "via", "content-length"),
        *("traceparent", "tracestate", "baggage", "server-timing", "x-request-id", "x-trace-id", "user-agent"),
    }
)
"""Headers of calls that say nothing of what was asked and answered. The host stands in the address."""

_UNCOMPARED_OF_REPLY: Final = frozenset({"fetches"})
"""What a reply says of how an app fetched, and when. Times (``…_ms``) are not compared either."""
_ASKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ASKING_STATEMENTS: Final = frozenset({"select", "show", "with", "values", "explain", "pragma", "describe"})
_LONGEST: Final = 1 << 16
"""Characters of a text that is searched for values: that takes 2 us for each."""


def compared_reply(reply: Any) -> Any:
    """What a reply says, without how and when the app fetched it."""
    if not isinstance(reply, dict):
        return reply
    return {
        name: item
        for name, item in reply.items()
        if name not in _UNCOMPARED_OF_REPLY and not str(name).endswith("_ms")
    }


class Names:
    """The names that the values of one recording have in another one, as far as calls have shown. For one thread.

    Args:
        before: The first recording.
        now: The second one.
    """

    def __init__(self, before: Cassette, now: Cassette) -> None:
        self._windows = [run_of(before)], [run_of(now)]
        self._literals = Literals.of(before.pseudonyms), Literals.of(now.pseudonyms)
        self._before: dict[str, str] = {}
        """By the value of the second recording: that of the first one."""
        self._now: dict[str, str] = {}

    def bind(self, before: DependencyEvent, now: DependencyEvent) -> bool:
        """Whether two calls and their answers are the same but for such values, whose names are kept if they are."""
        if _facts(before) != _facts(now):
            return False
        found: dict[str, str] = {}
        asked = [_asked(event) for event in (before, now)]
        if not self._agree(asked[0], asked[1], found, may_be_new=True):
            return False
        answered = [_answered(event) for event in (before, now)]
        if not self._agree(answered[0], answered[1], found, may_be_new=_makes_values(now)):
            return False
        for present, recorded in found.items():
            self._before[present] = recorded
            self._now[recorded] = present
        return True

    def old_name(self, value: Value) -> str | None:
        """The name that a value of the second recording has in the first one; None where none is known."""
        return self._before.get(value.value)

    @property
    def differ(self) -> bool:
        """Whether a value has another name."""
        return any(now != before for now, before in self._before.items())

    def parsed(self, text: str) -> tuple[Any, ...]:
        """The pieces of a text of the second recording."""
        return pieces_of(text, self._literals[1])

    def left_of(self, pseudonyms: Iterable[str]) -> list[str]:
        """Those pseudonyms of the second recording that have no name in the first one."""
        return [name for name in pseudonyms if name not in self._before]

    def holds_times(self, event: DependencyEvent) -> bool:
        """Whether a call of the second recording says when it was made."""
        return any(
            value.instant is not None and within(value.instant, self._windows[1])
            for leaf in flattened(_asked(event)).leaves
            if len(leaf.text) <= _LONGEST
            for value in values_in(self.parsed(leaf.text))
        )

    def _agree(self, before: Any, now: Any, found: dict[str, str], *, may_be_new: bool) -> bool:
        left, right = flattened(before), flattened(now)
        return left.outline == right.outline and all(
            self._texts_agree(one.text, other.text, found, may_be_new)
            for one, other in zip(left.leaves, right.leaves, strict=True)
        )

    def _texts_agree(self, before: str, now: str, found: dict[str, str], may_be_new: bool) -> bool:
        if len(before) > _LONGEST or len(now) > _LONGEST:
            return before == now
        if before == now and not (found or self._before):
            return True
        sides = [pieces_of(text, own) for text, own in zip((before, now), self._literals, strict=True)]
        if before != now and skeleton(sides[0]) != skeleton(sides[1]):
            return False
        return all(
            self._may_be(*pair, found, may_be_new)
            for pair in zip(values_in(sides[0]), values_in(sides[1]), strict=False)
        )

    def _may_be(self, before: Value, now: Value, found: dict[str, str], may_be_new: bool) -> bool:
        """Whether a value of the second recording may be that of the first one. What that says is noted."""
        known = found.get(now.value, self._before.get(now.value))
        if known is not None:
            return known == before.value
        if before.value in self._now or before.value in found.values():
            return False
        if before.value == now.value:
            return True
        if all(
            each.instant is not None and within(each.instant, windows)
            for each, windows in zip((before, now), self._windows, strict=True)
        ):
            return True
        if before.kind != now.kind or now.kind == TIME or not (may_be_new or now.kind == SECRET):
            return False
        found[now.value] = before.value
        return True


def _facts(event: DependencyEvent) -> tuple[Any, ...]:
    signature, result, call = event.signature, event.result, event.call
    ends = [body.end if body is not None else None for body in (result.body, call.body if call is not None else None)]
    kept = [body.captured if body is not None else None for body in (result.body,)]
    return (
        *(event.event_type, signature.lib, signature.method, len(event.path), result.status, result.error_type),
        *(*ends, *kept, event.not_replayable is None),
    )


def _asked(event: DependencyEvent) -> Any:
    """What is compared of a call. Headers say what the client is as well, but for those that never say the same."""
    signature, call = event.signature, event.call
    headers, body, args = (call.headers, call.body, call.args) if call is not None else ({}, None, None)
    return [signature.url, signature.query, _headers(headers), _content(body, headers), args, list(event.path)]


def _answered(event: DependencyEvent) -> Any:
    result = event.result
    exception = result.exception
    return [
        *(_headers(result.headers), _content(result.body, result.headers), result.error),
        *(list(_of_error(exception)), compared_reply(result.reply)),
    ]


def _of_error(error: RecordedError | None) -> Iterator[Any]:
    while error is not None:
        yield [error.cls, error.message, list(error.args), error.attributes]
        error = error.cause


def _headers(headers: dict[str, str]) -> list[list[bytes]]:
    lines = [[name.lower(), value] for name, value in header_pairs(headers)]
    return sorted(line for line in lines if line[0].decode("latin-1") not in PASSING_HEADERS)


def _content(body: BodySnapshot | None, headers: dict[str, str]) -> Any:
    """A body without its encodings; that of JSON as what it says."""
    if body is None or not isinstance(body.data, bytes):
        return body.data if body is not None else None
    plain = plain_body(body.data, header_pairs(headers))
    try:
        return json.loads(plain)
    except (ValueError, RecursionError):
        return plain


def _makes_values(event: DependencyEvent) -> bool:
    """Whether a server may have made values of its answer for this call: what only asks gets what was there."""
    if event.event_type is EventType.HTTP_CLIENT:
        return event.signature.method not in _ASKING
    args = event.call.args if event.call is not None else None
    statement = args.get("statement") if isinstance(args, dict) else None
    if not isinstance(statement, str):
        return False
    words = statement.lstrip("( \n\t").split(None, 1)
    return bool(words) and words[0].lower() not in _ASKING_STATEMENTS
