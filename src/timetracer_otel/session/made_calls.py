"""`MadeCalls`: the calls that an app makes in a replay, to be compared with those of the recording."""

# pyright: strict

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from timetracer_otel.constants import EventType
from timetracer_otel.match.nearest import Attempt
from timetracer_otel.types import BodySnapshot, CallSnapshot, DependencyEvent, EventResult

__all__ = ["MadeCalls"]

_MISSED: Final = "missed"
"""Stands in the place of an error's class: it is what the tools show as the status of the call."""
_MOST: Final = 10_000


class MadeCalls:
    """Notes the calls of one replay that no event answered: those without an answer, and those that were made for
    real. Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: list[tuple[int, DependencyEvent]] = []

    def missed(self, answered: int, attempt: Attempt, event_type: EventType) -> None:
        """Note a call that has no answer.

        Args:
            answered: How many calls were answered before it.
            attempt: The call, as it may be shown.
            event_type: Its type.
        """
        result = EventResult(error_type=_MISSED, error="it has no recorded answer")
        self._note(answered, attempt, event_type, result)

    def went_out(self, answered: int, attempt: Attempt, event_type: EventType) -> None:
        """Note a call that is made for real. Likewise."""
        self._note(answered, attempt, event_type, EventResult())

    def in_order(self, answered: Sequence[DependencyEvent]) -> list[DependencyEvent]:
        """All calls up to now, in their order and numbered.

        Args:
            answered: The events that answered, in the order of the calls.
        """
        with self._lock:
            noted = list(self._noted)
        made = [*answered]
        for place, event in reversed(noted):
            made.insert(min(place, len(made)), event)
        return [replace(event, eid=eid, transaction=()) for eid, event in enumerate(made, 1)]

    def _note(self, answered: int, attempt: Attempt, event_type: EventType, result: EventResult) -> None:
        data = attempt.body
        body = BodySnapshot(True, "bytes", data, size_bytes=len(data)) if data is not None else None
        call = CallSnapshot(dict(attempt.headers), body, attempt.args)
        event = DependencyEvent(0, event_type, 0.0, 0.0, attempt.signature, result, call)
        with self._lock:
            if len(self._noted) < _MOST:
                self._noted.append((answered, event))
