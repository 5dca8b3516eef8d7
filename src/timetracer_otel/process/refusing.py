"""A replay that has no recording to answer from: it could not start, or nothing was recorded for a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.folder_index import empty_cassette
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call

__all__ = ["RefusingSession"]


class RefusingSession(ReplaySession):
    """Refuses every call that a replay would have answered, and says why there is none.

    Args:
        reason: What is missing, as the beginning of a sentence: ``This replay could not start``.
        config: Decides which plugins stay live.
        cause: What came of it, or came before it.
        hint: What to do about it.
        candidates: Gives the nearest recorded requests, when the first call is refused.
    """

    def __init__(
        self,
        reason: str,
        config: TraceConfig,
        *,
        cause: str,
        hint: str,
        candidates: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        super().__init__(empty_cassette(), config.cassette_path or "", config=config)
        self._reason = reason
        self._cause = cause
        self._hint = hint
        self._candidates = candidates
        self._found: Sequence[str] | None = None

    def match(self, call: Call, path: tuple[str, ...] = ()) -> NoReturn:
        self._refuse(f"{call.lib} {call.method} {call.url or ''}")

    def get_next_event(self, event_type: EventType, actual_signature: dict[str, Any]) -> NoReturn:
        self._refuse(event_type.value)

    def _refuse(self, called: str) -> NoReturn:
        if self._found is None:
            self._found = self._candidates()
        raise self._count_miss(
            ReplayMismatchError(
                f"{self._reason}, so {called.strip()} is not answered: {self._cause}",
                hint=self._hint,
                candidates=self._found,
                candidates_are="requests",
            )
        )
