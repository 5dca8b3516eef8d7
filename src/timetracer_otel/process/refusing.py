"""The session of a replay that has no recording: the replay could not start, or nothing fits a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.process_recordings import empty_cassette
from timetracer_otel.match.signature import RedactedCall
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call

__all__ = ["RefusingSession"]


class RefusingSession(ReplaySession):
    """Refuses every call that a replay would have answered, and says why there is no recording.

    Args:
        reason: What is missing, as the beginning of a sentence: ``This replay could not start``.
        config: Decides which plugins stay live.
        cause: Why it is missing.
        hint: What the user can do about it.
        candidates: Gives the nearest recorded requests; called when the first call is refused.
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

    def match(self, call: Call | RedactedCall, path: tuple[str, ...] = ()) -> NoReturn:
        """Refuse the call, and count it as missed."""
        call = self.redacted(call).call
        self._refuse(f"{call.lib} {call.method} {call.url or ''}")

    def get_next_event(self, event_type: EventType, actual_signature: dict[str, Any]) -> NoReturn:
        """Refuse the call of a plugin that was written for timetracer 1.6, and count it as missed."""
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
