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

__all__ = ["Passed", "passed_since"]

_MOST_EVENTS: Final = 500
_LONGEST: Final = 64 * 1024
"""Characters of a text. It is looked through for the text of an error alone."""


class Passed(NamedTuple):
    """A time in a recorded answer."""

    eid: int
    text: str


def passed_since(events: Iterable[DependencyEvent], ended_s: float, now_s: float) -> Passed | None:
    """The first time in the answers of some events that was still to come when the recording ended, and is over now;
    None where there is none.

    Args:
        events: Those that have answered.
        ended_s: When the recording ended, in seconds since the epoch.
        now_s: The time that the app has.
    """
    for event in islice(events, _MOST_EVENTS):
        for text in answer_texts(event.result):
            if len(text) > _LONGEST:
                continue
            for value in values_in(pieces_of(text, None)):
                if value.instant is not None and ended_s < value.instant.at_s < now_s:
                    return Passed(event.eid, value.raw)
    return None
