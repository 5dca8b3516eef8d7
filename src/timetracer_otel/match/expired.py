"""Times that have passed since the recording: an app finds expired in a replay what it was given in the recording.

A token that is cached with the time of its end was valid when it was used. Weeks later the app fetches another one,
and the recording has no such call.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

from timetracer_otel.match.values import pieces_of, values_in
from timetracer_otel.match.variables import answer_texts
from timetracer_otel.types import DependencyEvent

__all__ = ["Passed", "TimesInAnswers"]

_MOST_EVENTS: Final = 500
_LONGEST: Final = 64 * 1024
"""Characters of a text. It is looked through for the text of an error alone."""


class Passed(NamedTuple):
    """A time in a recorded answer."""

    eid: int
    text: str


class TimesInAnswers:
    """The times in the answers of one recording. Each answer is looked through once. Safe from any thread."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[tuple[float, str], ...]] = {}
        """By the identity of an event: the times in its answer, each with its text."""

    def passed_since(self, events: Iterable[DependencyEvent], ended_s: float, now_s: float) -> Passed | None:
        """The first time in the answers of some events that was still to come when the recording ended, and is over
        now; None where there is none.

        Args:
            events: Those that have answered. They are kept as long as this object is asked.
            ended_s: When the recording ended, in seconds since the epoch.
            now_s: The time that the app has.
        """
        for event in islice(events, _MOST_EVENTS):
            times = self._known.get(id(event))
            if times is None:
                times = self._known[id(event)] = _times_in(event)
            for at_s, text in times:
                if ended_s < at_s < now_s:
                    return Passed(event.eid, text)
        return None


def _times_in(event: DependencyEvent) -> tuple[tuple[float, str], ...]:
    texts = (text for text in answer_texts(event.result) if len(text) <= _LONGEST)
    values = (value for text in texts for value in values_in(pieces_of(text, None)))
    return tuple((value.instant.at_s, value.raw) for value in values if value.instant is not None)
