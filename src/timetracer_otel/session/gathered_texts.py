"""`GatheredTexts`: all that stands in several events, in one text, which is searched at once.

What a search costs is mostly its beginning: a text of a thousand bytes is looked through in a fraction of the time
that the steps before it take. So the texts of many events are gathered first. Events of one recording have most of
their texts in common, such as the names of clients, statements and URLs: each of these is searched once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final

from timetracer_otel.redact.texts import APART, collect, joined
from timetracer_otel.types import DependencyEvent, HeaderMap, SpanFacts

__all__ = ["MOST_BYTES", "GatheredTexts", "text_of_event"]

_FEW: Final = 16
"""More texts of one value are rows, few of which are the same."""
_parts_of: Final[Callable[[DependencyEvent], Any]] = attrgetter(
    "signature", "result", "call", "path", "not_replayable", "span", "within"
)
"""All at once: an event may have to decode a part first, which makes it slow to ask for each."""
_second: Final = itemgetter(1)
MOST_BYTES: Final = 32 * 1024
"""What is gathered is held twice for a moment, and is searched faster while a processor's cache holds it."""


class GatheredTexts:
    """Texts that are to be searched. Not safe from several threads at once.

    Attributes:
        bodies: The bodies that were taken.
        size: Bytes, roughly. There should not be many more than `MOST_BYTES`.
    """

    __slots__ = ("_last", "_lines", "_raw", "_rows", "_texts", "bodies", "size")

    def __init__(self) -> None:
        # What stands in several events is searched once. It is left out at the end, all at once.
        self._texts: list[str] = []
        self._last: list[str] = []
        """Those that stand behind the others. A function of the user is given what stands in a value as the last."""
        self._lines: list[tuple[bytes, bytes]] = []
        self._rows: list[str] = []
        self._raw: list[bytes] = []
        self.bodies: list[bytes] = []
        self.size = 0

    def take(self, found: Sequence[Any], bodies: Sequence[bytes] = ()) -> None:
        """Take what was found in values.

        Args:
            found: A value, the texts in it, the bytes in it, then those of the next value.
            bodies: They are taken as well.
        """
        rest = iter(found)
        for _, texts, raw in zip(rest, rest, rest, strict=True):
            self._take(texts, raw, self._last)
        if bodies:
            self.bodies += bodies
            self.size += sum(map(len, bodies))

    def add(self, events: Iterable[DependencyEvent], *, with_values: bool = True) -> None:
        """Take all that stands in events but their bodies.

        Args:
            events: They are taken one right after the other: what a processor has loaded for the first of them, it
                has for all.
            with_values: Whether to take what stands in their arguments and replies.
        """
        texts, lines = self._texts, self._lines
        for signature, result, call, path, not_replayable, span, within in map(_parts_of, events):
            texts += path
            if signature.url:
                texts.append(signature.url)
            for value in signature.query.values():
                if type(value) is str:
                    texts.append(value)
                else:
                    self.add_value(value)
            headers = result.headers
            if type(headers) is HeaderMap:
                lines += headers.pairs
            elif headers:
                self.add_value(headers)
            if call is not None:
                headers = call.headers
                if type(headers) is HeaderMap:
                    lines += headers.pairs
                elif headers:
                    self.add_value(headers)
                if with_values and call.args is not None:
                    self.add_value(call.args)
            if with_values and result.reply is not None:
                self.add_value(result.reply)
            if result.exception is not None or result.error:
                self.add_value((result.exception, result.error))
            if not_replayable:
                texts.append(not_replayable)
            if span is not None:
                self._take_span(span)
            for inner in within:
                self._take_span(inner)

    def add_value(self, value: Any) -> None:
        """Take all that stands in a value."""
        texts: list[str] = []
        raw: list[bytes] = []
        collect(value, texts, raw)
        self._take(texts, raw, self._texts)

    def _take_span(self, span: SpanFacts) -> None:
        self.add_value((span.name, span.status_description, span.attributes))

    def _take(self, texts: list[str], raw: list[bytes], few: list[str]) -> None:
        if texts:
            self.size += sum(map(len, texts))
            if len(texts) <= _FEW:
                few += texts
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
        # Dictionaries, since these keep an order, and the pseudonyms of a recording are listed as they are found.
        values = dict.fromkeys(map(_second, self._lines))
        left_out = list(searched.intersection(values)) if searched else []
        for value in left_out:
            del values[value]
        data = joined([*dict.fromkeys(self._texts + self._last), *self._rows], [*values, *self._raw])
        return APART.join([data, *self.bodies]) if self.bodies else data, left_out


def text_of_event(event: DependencyEvent) -> bytes:
    """All that stands in an event but its bodies, in one text."""
    gathered = GatheredTexts()
    gathered.add((event,))
    return gathered.joined()[0]
