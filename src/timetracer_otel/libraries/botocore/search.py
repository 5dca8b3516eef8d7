"""The search for credentials: what it asks servers, and that it found none."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import Recording, Site
from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.constants import EventType
from timetracer_otel.libraries.kits.http.credentials import asking_for_credentials
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call, EventResult

__all__ = ["LIB", "Search", "found_none"]

LIB: Final = "botocore"
_FOUND_NONE: Final = Call(LIB, EventType.HTTP_CLIENT, "FIND", "aws://credentials")


class Search(Site):
    """A search for credentials (a `Site`). It is an event where there are none.

    Args:
        live: Searches.
    """

    lib = LIB
    may_disown = True
    marks_span = False
    sets_up = True

    def __init__(self, live: AppStep) -> None:
        self.live = live
        self.lend = partial(asking_for_credentials.lend, True)

    def call(self) -> Call:
        """All such calls are equal."""
        return _FOUND_NONE

    def disowns(self, outcome: Any) -> bool:
        """Whether there is nothing to note: credentials were found, or the search failed."""
        return outcome is not None

    def returned(self, value: Any, recording: Recording) -> Any:
        """None were found."""
        self.live = self.lend = None
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        """Nothing more is known of it."""
        return EventResult()


class _Known:
    """What a replay knows of its recording."""

    found_none = False


def found_none(session: ReplaySession) -> bool:
    """Whether no credentials were found when a session was recorded. Then there are none in its replay."""
    known = session.state(LIB, _Known)
    if session.find(_FOUND_NONE, hooks.whereabouts(None).path()) is not None:
        known.found_none = True
    return known.found_none
