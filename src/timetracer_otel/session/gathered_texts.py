"""`GatheredTexts`: all that stands in several events, in one text, which is searched at once.

What a search costs is mostly its beginning: a text of a thousand bytes is looked through in a fraction of the time
that the steps before it take. So the texts of many events are gathered first. Events of one recording have most of
their texts in common, such as the names of clients, statements and URLs: each of these is searched once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from timetracer_otel.redact.texts import APART, collect, joined
from timetracer_otel.types import DependencyEvent, HeaderMap, SpanFacts

__all__ = ["MOST_BYTES", "Found", "GatheredTexts", "text_of_event"]

Found: TypeAlias = tuple[Any, list[str], list[bytes]]
"""A value, with the texts and the bytes that were found in it."""

_FEW: Final = 16
"""More texts of one value are rows, few of which are the same."""
MOST_BYTES: Final = 32 * 1024
"""What is gathered is held twice for a moment, and is searched faster while a processor's cache holds it."""


class GatheredTexts:
    """Texts that are to be searched. Not safe from several threads at once.

    Attributes:
        size: Bytes, roughly. There should not be many more than `MOST_BYTES`.
    """

    __slots__ = ("_bodies", "_lines", "_raw", "_rows", "_texts", "size")

    def __init__(self) -> None:
        # Dictionaries, since these keep an order, and the pseudonyms of a recording are listed as they are found.
        self._texts: dict[str, None] = {}
        self._lines: dict[tuple[bytes, bytes], None] = {}
        self._rows: list[str] = []
        self._raw: list[bytes] = []
        self._bodies: list[bytes] = []
        self.size = 0

    def add(self, event: DependencyEvent, found: Sequence[Found] = (), bodies: Sequence[bytes] = ()) -> None:
        """Take all that stands in an event.

        Args:
            event: Its bodies are not looked at.
            found: What was found before in its arguments and its reply.
            bodies: Those of its bodies that are taken as well.
        """
        signature, result, call = event.signature, event.result, event.call
        texts = self._texts
        for text in event.path:
            texts[text] = None
        url = signature.url
        if url:
            texts[url] = None
            self.size += len(url)
        if signature.query:
            for value in signature.query.values():
                if type(value) is str:
                    texts[value] = None
                else:
                    self.add_value(value)
        headers: dict[str, str]
        for headers in (result.headers, call.headers) if call is not None else (result.headers,):
            if headers:
                if type(headers) is HeaderMap:
                    self._lines.update(dict.fromkeys(headers.pairs))
                else:
                    self.add_value(headers)
        if result.exception is not None or result.error:
            self.add_value((result.exception, result.error))
        reply, args = result.reply, call.args if call is not None else None
        for known, its_texts, its_raw in found:
            if known is not None and (known is reply or known is args):
                self._take(its_texts, its_raw)
                if known is reply:
                    reply = None
                else:
                    args = None
        if reply is not None:
            self.add_value(reply)
        if args is not None:
            self.add_value(args)
        if event.not_replayable:
            texts[event.not_replayable] = None
        if event.span is not None:
            self._take_span(event.span)
        for span in event.within:
            self._take_span(span)
        for body in bodies:
            self._bodies.append(body)
            self.size += len(body)

    def add_value(self, value: Any) -> None:
        """Take all that stands in a value."""
        texts: list[str] = []
        raw: list[bytes] = []
        collect(value, texts, raw)
        self._take(texts, raw)

    def _take_span(self, span: SpanFacts) -> None:
        self.add_value((span.name, span.status_description, span.attributes))

    def _take(self, texts: list[str], raw: list[bytes]) -> None:
        if texts:
            self.size += sum(map(len, texts))
            if len(texts) <= _FEW:
                for text in texts:
                    self._texts[text] = None
            else:
                self._rows += texts
        if raw:
            self.size += sum(map(len, raw))
            self._raw += raw

    def joined(self, searched: frozenset[bytes] | set[bytes] = frozenset()) -> tuple[bytes, list[bytes]]:
        """All texts in one.

        Args:
            searched: Values of headers that need not be in it.

        Returns:
            That text, and those of these values that stand in the events.
        """
        values = [value for _, value in self._lines]
        left_out: list[bytes] = []
        if searched:
            left_out = [value for value in values if value in searched]
            values = [value for value in values if value not in searched]
        data = joined([*self._texts, *self._rows], [*values, *self._raw])
        return APART.join([data, *self._bodies]) if self._bodies else data, left_out


def text_of_event(event: DependencyEvent) -> bytes:
    """All that stands in an event but its bodies, in one text."""
    gathered = GatheredTexts()
    gathered.add(event)
    return gathered.joined()[0]
