"""What a client asks the DNS for a ``mongodb+srv://`` address: the servers that stand behind a name, and options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timetracer_otel.calls.flow import Recording, Site
from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.cassette import rebuild_error
from timetracer_otel.constants import EventType
from timetracer_otel.libraries.pymongo import internals
from timetracer_otel.libraries.pymongo.call import LIB
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

__all__ = ["LookUpSite"]


class LookUpSite(Site):
    """One question to the DNS.

    Args:
        name: What is looked up.
        kind: The type of the records that are asked for, ``SRV`` or ``TXT``.
        live: Asks.
        pause: Waits as the client does.
    """

    lib = LIB
    marks_span = False
    as_called = True

    def __init__(self, name: str, kind: str, live: AppStep, pause: Callable[[float], Any]) -> None:
        self._name = name
        self._kind = kind
        self._records: list[str] = []
        self.live: Any = live
        self.pause: Any = pause

    def call(self) -> Call:
        """The question."""
        return Call(LIB, EventType.DB_QUERY, self._kind, f"mongodb+srv://{self._name}/", args={"name": self._name})

    def returned(self, value: Any, recording: Recording) -> Any:
        """The records."""
        self.live = None
        self._records = [record.to_text() for record in value]
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        """The records, as zone files have them."""
        return EventResult(reply={"records": self._records})

    def again(self) -> bool:
        """True: the question is asked."""
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """Records of the resolver's own class."""
        return internals.dns_records(self._name, self._kind, event.result.reply["records"])

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """What the resolver raised."""
        return rebuild_error(error, {LIB, "dns"})
