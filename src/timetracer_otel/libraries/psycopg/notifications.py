"""Notifications: those that a waiting app was given are an event."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording, flow
from timetracer_otel.calls.guarded import AppStep, Flow, OurStep, guarded, guarded_generator, raising
from timetracer_otel.libraries.kits.dbapi.call import PlainSite
from timetracer_otel.libraries.psycopg import internals
from timetracer_otel.libraries.psycopg.answer import recorded_notification
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.libraries.psycopg.connection import HeldConnection, held_of, is_answered
from timetracer_otel.libraries.psycopg.results import kept_text
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["notifies", "waits"]

_INTERVAL_S = 0.05


class _Waiting(PlainSite):
    """The app waits for notifications."""

    may_disown = True

    def __init__(self, held: HeldConnection, live: Any, connection: Any) -> None:
        super().__init__(held.target, "NOTIFY", live, connection)
        self._came: list[list[Any]] = []

    def disowns(self, outcome: Any) -> bool:
        """Whether nothing came before the app stopped waiting. That psycopg looks often is no call of the app's."""
        return isinstance(outcome, GeneratorExit) or outcome == []

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note what came."""
        self._came = [[kept_text(each.relname), each.be_pid, kept_text(each.extra)] for each in value]
        super().returned(None, recording)
        return value

    def result(self, recording: Recording) -> EventResult:
        """What came."""
        return EventResult(reply={**super().result(recording).reply, "came": self._came})

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        """The notifications, as libpq gives them."""
        assert event is not None
        reply: Any = event.result.reply
        return list(map(recorded_notification, reply["came"]))


def waits(original: Function) -> Function:
    """An app begins to wait for notifications."""

    def begin(session: BaseSession | None, connection: Any, timeout: float | None = None, **_: Any) -> None:
        held = held_of(connection, session)
        if held is not None:
            held.has_limit = timeout is not None

    return guarded(LIB, original, begin)


def notifies(original: Function) -> Function:
    """A connection waits for notifications."""

    def begin(session: BaseSession | None, pgconn: Any) -> Flow | None:
        connection = internals.connection_behind(pgconn)
        if connection is None or connection.closed or session is None:
            return None
        held = held_of(connection, session)
        if held is None:
            return None
        if not is_answered(held):
            return flow(_Waiting(held, AppStep(original, pgconn), connection), session)
        return given(held, session, connection)

    def given(held: HeldConnection, session: BaseSession, connection: Any) -> Flow:
        assert isinstance(session, ReplaySession)

        def for_real() -> Any:
            pgconn = held.twin.real.opened().pgconn
            return internals.waited(partial(original, pgconn), pgconn)

        site = _Waiting(held, for_real, connection.pgconn)
        if held.has_limit and session.upcoming(site.redacted(session)) is None:
            over = internals.timed_out()
            if over is not None:
                yield raising(over)
            # This psycopg looks again until the time is over.
            yield OurStep(time.sleep, _INTERVAL_S)
            return []
        came = yield from flow(site, session)
        if internals.shows_notifications(connection):
            for each in came:
                yield AppStep(connection.pgconn.notify_handler, each)
        return came

    return guarded_generator(LIB, original, begin, outside=True)
