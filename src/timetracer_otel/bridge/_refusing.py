"""A replay that could not start."""

from __future__ import annotations

from typing import Any, NoReturn

from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import FORMAT_VERSION, EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call, Cassette, RequestSnapshot, ResponseSnapshot, SessionMeta

__all__ = ["RefusingSession"]


class RefusingSession(ReplaySession):
    """Refuses every call that the replay would have answered, and says why there is no replay.

    Args:
        reason: What kept the replay from starting.
        config: Decides which plugins stay live.
    """

    def __init__(self, reason: str, config: TraceConfig) -> None:
        nothing = Cassette(
            schema_version=str(FORMAT_VERSION),
            session=SessionMeta(id="", recorded_at="", service=config.service_name, env=config.env),
            request=RequestSnapshot(method="", path=""),
            response=ResponseSnapshot(status=0),
        )
        super().__init__(nothing, config.cassette_path or "", config=config)
        self.reason = reason

    def match(self, call: Call, path: tuple[str, ...] = ()) -> NoReturn:
        self._refuse(f"{call.lib} {call.method} {call.url or ''}")

    def get_next_event(self, event_type: EventType, actual_signature: dict[str, Any]) -> NoReturn:
        self._refuse(event_type.value)

    def _refuse(self, called: str) -> NoReturn:
        error = ReplayMismatchError(
            f"This replay could not start, so {called.strip()} is not answered: {self.reason}",
            hint="mend the setting, or unset TIMETRACER_MODE to make real calls.",
        )
        self._misses.append(error)
        raise error
