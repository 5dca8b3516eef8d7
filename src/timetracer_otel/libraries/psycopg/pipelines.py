"""Pipelines: psycopg's own runs in a replay, over answers that are there already."""

from __future__ import annotations

from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded_generator
from timetracer_otel.calls.noting import noting
from timetracer_otel.libraries.kits.dbapi.owners import HELD
from timetracer_otel.libraries.psycopg import internals
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.libraries.psycopg.connection import HeldConnection, held_of
from timetracer_otel.libraries.psycopg.results import noted_result
from timetracer_otel.session import BaseSession

_FATAL = 7
"""``PGRES_FATAL_ERROR`` of libpq."""
__all__ = ["communicate", "enter", "fetch_many", "processed", "send"]


def enter(original: Function) -> Function:
    """A pipeline begins."""

    def begin(session: BaseSession | None, pipeline: Any) -> AppStep | None:
        connection = internals.behind(pipeline)
        if held_of(connection, session) is None:
            return None
        pipeline.pgconn = connection.pgconn
        return AppStep(original, pipeline)

    return guarded_generator(LIB, original, begin, outside=True)


def processed(original: Function) -> Function:
    """Psycopg takes an answer of a pipeline."""

    def look(pipeline: Any, queued: Any, results: Any) -> None:
        held = getattr(internals.behind(pipeline), HELD, None)
        if not isinstance(held, HeldConnection):
            return
        if queued is None:
            # A command of psycopg's own: a statement is prepared, or a transaction ends.
            if results[0].status == _FATAL and held.queued:
                held.queued[0][1].prepared = noted_result(results[0])
            elif results[0].status == _FATAL and held.end is not None:
                held.end.failing = noted_result(results[0])
            return
        if not held.queued:
            return
        waiting, answer = held.queued[0]
        if waiting() is not queued[0]:
            return
        answer.keep(results)
        answer.left -= 1
        if not answer.left:
            held.queued.popleft()
            held.heard(pipeline.pgconn, answer)
            answer.ended()

    return noting(f"{LIB}.pipeline", original, before=look)


def _of_stand_in(name: str, original: Function, value: Any) -> Function:
    def begin(_: BaseSession | None, pgconn: Any, *args: Any) -> Flow | None:
        return Done(value(pgconn, *args)) if getattr(pgconn, "is_stand_in", False) else None

    begin.__name__ = name
    return guarded_generator(LIB, original, begin, outside=True)


def communicate(original: Function) -> Function:
    """Calls of a pipeline are sent. In a replay they are answered already, and what is left only asks for that."""

    def sent(_: Any, commands: Any) -> list[Any]:
        while commands:
            commands.popleft()()
        return []

    return _of_stand_in("communicate", original, sent)


def fetch_many(original: Function) -> Function:
    """The next answer of a pipeline is waited for."""
    return _of_stand_in("fetch_many", original, lambda pgconn: pgconn.fetch_many())


def send(original: Function) -> Function:
    """What is not sent yet is sent."""
    return _of_stand_in("send", original, lambda _: None)
