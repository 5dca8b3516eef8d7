"""`OpenCalls`: tells, of many calls at once, which have no secret but in their header lines.

In most calls nothing is secret. To find that out call by call costs more than the search itself. So what stands in
many calls is searched in one text before their events are made, and the events of those in which nothing was found
are made without a further look. The search finds whatever the redactor would replace, and more: a call is only said
to be open where the redactor would change nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeAlias

from timetracer_otel.base import faults
from timetracer_otel.constants import BodyEnd
from timetracer_otel.redact.forms import is_open
from timetracer_otel.redact.splice import squeezed_json
from timetracer_otel.redact.texts import APART, collect, may_be_documents
from timetracer_otel.session.base import PendingCall
from timetracer_otel.session.gathered_texts import MOST_BYTES
from timetracer_otel.session.secret_book import SecretBook
from timetracer_otel.types import Call, EventResult, HeaderMap, HeaderPairs, SentRows, SpanFacts

__all__ = ["NotedCall", "OpenCall", "OpenCalls", "all_open"]

_MOST_CALLS: Final = 64
_FEWER: Final = 8
"""How many calls are searched together where something was found among more of them."""
_MOST_PASSED: Final = 32
_LONGEST_BODY: Final = 16 * 1024
"""Bytes. To search a longer one by itself costs hardly more, and its event has it searched only once."""
_MOST_TEXTS: Final = 16
"""More texts of one call are rows, few of which are the same."""
_Redacted: TypeAlias = tuple[Sequence[HeaderPairs], Sequence[tuple[str, ...]], list[tuple[bytes, bytes]]]
"""The header lines of each request or response, the pseudonyms in them, and all of these lines, once at least."""
_first: Final = itemgetter(0)
_texts: Final = attrgetter("texts")


# These are plain tuples, since each recorded call has one of each. To make a named one takes three times as long.
NotedCall: TypeAlias = tuple[PendingCall, SpanFacts | None, Call | None, EventResult | None]
"""A call whose event is to be made, the facts of its span where that has ended, the call as it was made, and its
result. Nothing is redacted. The last two are None where the call is under way, or cannot be asked."""
OpenCall: TypeAlias = tuple[HeaderPairs, tuple[str, ...], HeaderPairs | None, dict[str, Any] | None]
"""Of a call in which nothing is secret but in header lines: the lines of its request, redacted, and the pseudonyms in
them; the lines of its response, redacted, or None where nothing in them was replaced; the attributes of its span,
redacted, or None where it has no span."""
_Attributes: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
_Opened: TypeAlias = tuple[Sequence[OpenCall | None], int | None]


def all_open(
    calls: Iterable[tuple[PendingCall, SpanFacts | None]], attributes: _Attributes
) -> Iterator[tuple[Sequence[NotedCall], Sequence[OpenCall | None], int | None]]:
    """What `OpenCalls.batches` gives, for a recording in which nothing is secret."""
    batch: list[NotedCall] = []
    opened: list[OpenCall | None] = []
    for pending, facts in calls:
        noted = _noted(pending, facts)
        call, result = noted[2:]
        batch.append(noted)
        opened.append(
            None
            if call is None or result is None or result.exception is not None
            else (call.headers, (), None, attributes(facts.attributes) if facts is not None else None)
        )
    yield batch, opened, None


def _noted(pending: PendingCall, facts: SpanFacts | None) -> NotedCall:
    if pending.ended_s is None:
        return pending, facts, None, None
    try:
        return pending, facts, pending.call(), pending.result()
    except Exception:
        # To make its event meets the same fault, which is contained there.
        return pending, facts, None, None


class OpenCalls:
    """Finds the open calls of one recording. Safe from any thread.

    Args:
        book: The secrets of the recording.

    Attributes:
        book: The secrets of the recording.
    """

    def __init__(self, book: SecretBook) -> None:
        self.book: SecretBook = book
        self._passed = self._to_pass = 0
        """The batches that were not searched, and how many shall be: something was found in the last ones."""

    def batches(
        self, calls: Iterable[tuple[PendingCall, SpanFacts | None]], attributes: _Attributes
    ) -> Iterator[tuple[Sequence[NotedCall], Sequence[OpenCall | None], int | None]]:
        """The calls in parts that are searched at once.

        With each part: for each of its calls what it is where it is open, and None otherwise; and the version of the
        known secrets, of which none stands in its open calls. None where it has no open calls.

        Args:
            calls: Each with the facts of its span, where that has ended.
            attributes: Redacts the attributes of a span.
        """
        batch: list[NotedCall] = []
        size = 0
        for pending, facts in calls:
            noted = _noted(pending, facts)
            batch.append(noted)
            call, result = noted[2:]
            if call is None or result is None:
                continue
            body = result.body
            if body is not None and body.data:
                size += len(body.data)
            if call.body:
                size += len(call.body)
            reply = result.reply
            if type(reply) is dict and type(rows := reply.get("rows")) is SentRows:
                size += len(rows.data)
            if size > MOST_BYTES or len(batch) >= _MOST_CALLS:
                yield batch, *self._opened(batch, attributes)
                batch, size = [], 0
        if batch:
            yield batch, *self._opened(batch, attributes)

    def _opened(self, calls: Sequence[NotedCall], attributes: _Attributes) -> _Opened:
        if self._passed < self._to_pass:
            self._passed += 1
            return [None] * len(calls), None
        self._passed = 0
        try:
            found, version = _Search(self.book, attributes).opened(calls)
            if version is not None:
                self._to_pass = 0
                return found, version
            parts = [calls[start : start + _FEWER] for start in range(0, len(calls), _FEWER)]
            if len(parts) == 1:
                parts = []
            opened = [_Search(self.book, attributes).opened(part) for part in parts]
        except Exception as error:
            faults.contain("search", error)
            return [None] * len(calls), None
        versions = [version for _, version in opened if version is not None]
        if 2 * len(versions) <= len(opened):
            # What stands in most calls of a recording stands in the next ones as well.
            self._to_pass = min(2 * self._to_pass + 1, _MOST_PASSED)
        if not versions:
            return found, None
        return [one for part, _ in opened for one in part], min(versions)


class _Search:
    """What stands in the calls of one batch, as far as they can be told to be open."""

    def __init__(self, book: SecretBook, attributes: _Attributes) -> None:
        self._book = book
        self._redactor = book.redactor
        self._redact = attributes
        self._texts: list[str] = []
        self._rows: list[str] = []
        self._raw: list[bytes] = []
        self._bodies: list[bytes] = []
        self._urls: dict[str, Any] = {}
        self._paths: set[tuple[str, ...]] = set()
        self._sent: list[HeaderPairs] = []
        self._received: list[HeaderPairs] = []
        self._attributes: list[dict[str, Any] | None] = []
        self._reply: Any = None
        """That of the last call without arguments, without its time."""
        self._span: Any = None
        """Of the last span: its name, its attributes, and their types, since 1 equals True."""
        self._span_attributes: dict[str, Any] | None = None
        """The attributes of the last span, redacted; None where calls cannot share their values."""

    def opened(self, calls: Sequence[NotedCall]) -> _Opened:
        """For each call what it is where it is open, and the version of the known secrets, of which none stands in
        the open calls. None instead of the version where something was found that may be in any of them.
        """
        taken = [self._takes(*noted) for noted in calls]
        opened, version = self._searched() if True in taken else ([], None)
        if version is None:
            return [None] * len(calls), None
        if False not in taken:
            return opened, version
        rest = iter(opened)
        return [next(rest) if is_taken else None for is_taken in taken], version

    def _takes(
        self, pending: PendingCall, facts: SpanFacts | None, call: Call | None, result: EventResult | None
    ) -> bool:
        """Take what stands in a call; False where the call cannot be told to be open."""
        if call is None or result is None or result.exception is not None or result.error:
            return False
        if call.body_end is not BodyEnd.COMPLETE or (facts is not None and facts.status_description):
            return False
        headers, url, body, sent = result.headers, call.url, result.body, call.body
        if url is not None and url not in self._urls:
            target = self._book.open_target(url)
            if target is None:
                return False
            self._urls[url] = target
        if type(headers) is not HeaderMap:
            if headers:
                return False
            headers = _NO_HEADERS
        data = None
        if body is not None:
            data = body.data
            if body.error:
                return False
            if data and not self._reads(data, headers):
                return False
        if sent and not self._reads(sent, HeaderMap(call.headers)):
            return False
        args, reply, texts, raw, names = call.args, result.reply, self._texts, self._raw, self._redactor.open_fields
        before, raw_before = len(texts), len(raw)
        facts_of_reply = None
        if args is None and type(reply) is dict:
            # Most calls of HTTP have the same facts, such as its version, and another time, which is no text. They
            # were taken with the call before.
            facts_of_reply = {**reply, "head_ms": None} if type(reply.get("head_ms")) is float else reply
            if facts_of_reply == self._reply:
                reply = None
        if (reply is not None and not collect(reply, texts, raw, names)) or (
            args is not None
            and not (collect(args, texts, raw, names) and is_open(call.lib, args, result, self._redactor))
        ):
            del texts[before:], raw[raw_before:]
            return False
        if facts_of_reply is not None:
            self._reply = facts_of_reply
        if len(texts) > before + _MOST_TEXTS:
            self._rows += texts[before:]
            del texts[before:]
        if facts is None:
            self._attributes.append(None)
        elif not self._takes_span(facts):
            return False
        if data:
            self._bodies.append(data)
        if sent:
            self._bodies.append(sent)
        if pending.not_replayable:
            texts.append(pending.not_replayable)
        self._paths.add(pending.path)
        self._sent.append(call.headers)
        self._received.append(headers.pairs)
        return True

    def _reads(self, data: Any, headers: HeaderMap) -> bool:
        """Whether a body is JSON that is searched with the others."""
        content_type = headers.get("content-type", "")
        return (
            type(data) is bytes
            and len(data) <= _LONGEST_BODY
            and "content-encoding" not in headers
            # Of several lines the last one counts, and the map has all of them in one.
            and "," not in content_type
            and self._redactor.reads_as_json(data, content_type)
        )

    def _takes_span(self, facts: SpanFacts) -> bool:
        given = facts.attributes
        span = facts.name, [*given.items()], [*map(type, given.values())]
        if self._span_attributes is not None and span == self._span:
            # An app repeats its calls.
            self._attributes.append(self._span_attributes.copy())
            return True
        self._book.begin()
        attributes = self._redact(given)
        if self._book.has_noted():
            return False
        collect([facts.name, attributes], self._texts, self._raw)
        self._span = span
        self._span_attributes = attributes if _SHARED.issuperset(map(type, attributes.values())) else None
        self._attributes.append(attributes)
        return True

    def _searched(self) -> _Opened:
        """The calls that were taken, as far as nothing was found in them."""
        for values in (self._texts, self._rows, self._raw):
            if values and may_be_documents(values):
                return [], None
        bodies = squeezed = b""
        if self._bodies:
            bodies = APART.join(self._bodies)
            squeezed = squeezed_json(bodies)
            if self._redactor.may_change_json(bodies, squeezed):
                return [], None
        sent, names, lines = self._redacted(self._sent)
        received, _, others = self._redacted(self._received)
        texts = chain(self._texts, *self._paths, *map(_texts, self._urls.values()))
        version = self._book.version_without(
            [*dict.fromkeys(texts), *self._rows], [*lines, *others], self._raw, bodies, squeezed
        )
        changed: list[HeaderPairs | None] = [None] * len(sent)
        if received is not self._received:
            changed = [now if now != before else None for now, before in zip(received, self._received, strict=True)]
        return list(zip(sent, names, changed, self._attributes, strict=True)), version

    def _redacted(self, given: Sequence[HeaderPairs]) -> _Redacted:
        redactor = self._redactor
        lines = list(chain.from_iterable(given))
        if redactor.are_open_headers(map(_first, lines)):
            return given, [()] * len(given), lines
        made: list[HeaderPairs] = []
        names: list[tuple[str, ...]] = []
        lines = []
        before: HeaderPairs = ()
        now: HeaderPairs = ()
        pseudonyms: tuple[str, ...] = ()
        for pairs in given:
            # Calls of one client have most headers in common.
            if pairs != before:
                now, pseudonyms = redactor.header_lines(pairs)
                before = pairs
                lines += now
            made.append(now)
            names.append(pseudonyms)
        return made, names, lines


_NO_HEADERS: Final = HeaderMap()
_SHARED: Final = frozenset({str, bool, int, float})
"""Types of attributes that nobody can change."""
