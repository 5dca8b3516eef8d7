"""COPY: what is read belongs to the event of its statement, and what is written is an event of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import Recording, flow, rebuilt
from timetracer_otel.calls.guarded import (
    AppStep,
    Done,
    Flow,
    guarded,
    guarded_async,
    guarded_generator,
    only,
    raising,
)
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, unrecorded
from timetracer_otel.libraries.kits.dbapi.statements import cursor_call, text_of
from timetracer_otel.libraries.psycopg import internals
from timetracer_otel.libraries.psycopg.answer import NotedAnswer, recorded_results
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.libraries.psycopg.connection import HeldConnection, held_of, is_answered, lent, on_real, waiting
from timetracer_otel.libraries.psycopg.results import RecordedResult, as_sent, kept_text
from timetracer_otel.libraries.psycopg.statements import Execution, let_go, run
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["patches"]

_OUT = 3
"""``PGRES_COPY_OUT`` of libpq."""
_ACTIVE, _FAILED = 1, 3
"""States of a transaction: ``PQTRANS_ACTIVE`` and ``PQTRANS_INERROR``."""
_LONGEST_BYTES = 64 * 1024
"""Longer data is compared by its hash."""
_DATA = "_timetracer_data"
"""The attribute of a writer with what the app wrote."""


def patches(module: ModuleType, patch: Callable[[Any, str, Any], Undoable]) -> list[Undoable]:
    """The patches about COPY.

    Args:
        module: psycopg.
        patch: Makes the patch of a method.
    """
    copy = module.copy
    found = [
        patch(module.Cursor, "_start_copy_gen", _start),
        patch(module.Copy, "_read_gen", _read),
        patch(module.Copy, "_end_copy_out_gen", _left),
    ]
    for guard, kinds in (
        (guarded, (copy.LibpqWriter, copy.QueuedLibpqWriter)),
        (guarded_async, (copy.AsyncLibpqWriter, copy.AsyncQueuedLibpqWriter)),
    ):
        found += [patch(kind, "write", partial(_write, guard)) for kind in kinds]
        found.append(patch(kinds[0], "finish", partial(_finish, guard)))
    beneath = internals.module_of(module.Copy, "set_types")
    for name in ("parse_row_text", "parse_row_binary", "format_row_text", "format_row_binary"):
        found.append(Patch(beneath, name, partial(_by_python, internals.in_python_as_well(beneath, name))))
    if internals.can_cancel_safely(module.Connection):
        found.append(patch(module.Connection, "_cancel_gen", _cancel))
    return found


def _by_python(in_python: Function, original: Function) -> Function:
    """A row is read from a piece, or written to one. psycopg has the function in Python as well."""

    def begin(_: BaseSession | None, part: Any, transformer: Any, *args: Any) -> AppStep | None:
        return AppStep(in_python, part, transformer, *args) if internals.is_row_maker(transformer) else None

    return guarded(LIB, original, begin, outside=True)


class _Start(Execution):
    """The statement of a COPY, with what is read by it."""

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note the direction; what is read is noted as the app reads it."""
        answer = self.answer
        self._stays_open = internals.results_of(self.cursor)[0].status == _OUT
        cursor = self.cursor
        value = super().returned(value, recording)
        if self.lend is not None:
            internals.copies_by_own(cursor, self._stays_open)
        if answer.rows is not None:
            answer.rows, answer.data = None, []
        return value

    reads_on = True


class _Given:
    """What a recorded COPY gave."""

    def __init__(
        self, site: Execution, event: DependencyEvent, session: ReplaySession, reply: dict[str, Any]
    ) -> None:
        self.stand_in = site.connection
        self.site = site
        self.event = event
        self.session = session
        self.reply = reply
        self.pieces = iter(reply.get("copied", ()))


def _start(original: Function) -> Function:
    def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
        connection = internals.connection_of(cursor)
        held = held_of(connection, session, cursor)
        if held is None:
            return None
        let_go(cursor)
        call = cursor_call(args, kwargs)
        if call is None or cursor.closed or connection.pgconn.status != 0 or internals.in_pipeline(connection):
            return None
        site = _Start(held, cursor, call, AppStep(original, cursor, *args, **kwargs), _give)
        held.copied = text_of(call.statement)
        return run(held, session, site)

    return guarded_generator(LIB, original, begin, outside=True)


def _give(site: Execution, event: DependencyEvent, session: ReplaySession, reply: dict[str, Any]) -> None:
    cursor, stand_in = site.cursor, site.connection
    internals.set_results(cursor, recorded_results(reply), None)
    internals.copies_by_own(cursor, reply["status"] == _OUT)
    site.held.notes[cursor] = _Given(site, event, session, reply)
    stand_in.state = _ACTIVE


def _read(original: Function) -> Function:
    """The app reads the next piece."""

    def begin(session: BaseSession | None, copy: Any) -> Flow | None:
        cursor = copy.cursor
        held = held_of(internals.connection_of(cursor), session, cursor)
        if held is None or internals.is_read(copy):
            return None
        source = held.notes.get(cursor)
        if isinstance(source, NotedAnswer):
            return noted(held, source, copy)
        if isinstance(source, _Given):
            return given(held, source, copy)
        return only(raising(unrecorded(held.target, "cursor.copy"))) if is_answered(held) else None

    def noted(held: HeldConnection, answer: NotedAnswer, copy: Any) -> Flow:
        cursor = copy.cursor
        live = AppStep(original, copy)
        try:
            data = yield from _on_real(held, copy, waiting(held, live)) if cursor in held.on_real else only(live)
        except BaseException as error:
            held.notes.pop(cursor, None)
            held.heard(internals.libpq_of(cursor), answer)
            answer.failed(error)
            raise
        if not data:
            held.notes.pop(cursor, None)
            held.heard(internals.libpq_of(cursor), answer)
            answer.rowcount = internals.of_results(cursor)[0]
            answer.all_copied = True
            answer.ended()
        elif answer.data is not None and answer.take(len(data)):
            answer.data.append(kept_text(data))
        return data

    def given(held: HeldConnection, source: _Given, copy: Any) -> Flow:
        piece = next(source.pieces, None)
        if piece is not None:
            return memoryview(as_sent(piece) or b"")
        error = source.reply.get("fetch_error")
        if error is None and not source.reply.get("all_copied"):
            yield raising(source.session.refuse(source.event, "reading on, where the recorded app stopped"))
        held.notes.pop(copy.cursor, None)
        source.stand_in.told({**source.reply, "state": None} if error is not None else source.reply)
        if error is not None:
            source.stand_in.state = _FAILED
            yield raising(rebuilt(source.site, source.event, source.session, error))
        internals.set_ended_copy(copy, source.reply["rowcount"])
        return memoryview(b"")

    return guarded_generator(LIB, original, begin, outside=True)


def _on_real(held: HeldConnection, part: Any, live: AppStep) -> Flow:
    """The steps of a part of a COPY that goes to the real connection, in a replay."""
    internals.use(part, held.twin.real.opened().pgconn)
    return on_real(held, part.cursor, live)


def _left(original: Function) -> Function:
    """The app leaves a COPY before its end."""

    def begin(session: BaseSession | None, copy: Any, *args: Any) -> Flow | None:
        connection = internals.connection_of(copy.cursor)
        stand_in = connection.pgconn
        if not getattr(stand_in, "is_stand_in", False):
            return None
        # psycopg 3.1 calls it in any case, and says what the app met.
        if stand_in.transaction_status == _ACTIVE and (not args or args[0] is not None):
            held = held_of(connection, session)
            source = held.notes.pop(copy.cursor, None) if held is not None else None
            if isinstance(source, _Given) and source.reply.get("all_copied"):
                # Psycopg read on, and the server had sent all already.
                stand_in.told(source.reply)
            else:
                stand_in.state = _FAILED
        return Done(None)

    return guarded_generator(LIB, original, begin, outside=True)


def _cancel(original: Function) -> Function:
    """A call is to be cancelled. In a replay nothing runs."""

    def begin(_: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
        return Done(None) if getattr(connection.pgconn, "is_stand_in", False) else None

    return guarded_generator(LIB, original, begin, outside=True)


def _write(guard: Any, original: Function) -> Function:
    """The app writes a piece."""

    def begin(session: BaseSession | None, writer: Any, data: Any) -> Flow | None:
        cursor = writer.cursor
        held = held_of(internals.connection_of(cursor), session, cursor)
        if held is None or session is None:
            return None
        kept = vars(writer).setdefault(_DATA, bytearray())
        kept += data
        if not is_answered(held):
            return None
        if cursor in held.on_real:
            return _on_real(held, writer, AppStep(original, writer, data))
        return Done(None)

    return guard(LIB, original, begin, outside=True)  # type: ignore[no-any-return]


class _End(PlainSite):
    """The end of a COPY, with all that was written."""

    def __init__(self, held: HeldConnection, cursor: Any, data: bytes, live: Any) -> None:
        connection = internals.connection_of(cursor)
        super().__init__(
            held.target,
            "COPY",
            live,
            connection.pgconn if is_answered(held) else connection,
            given={"statement": held.copied, "options": {"part": "data"}, "parameters": _as_matched(data)},
        )
        self._held = held
        self._cursor = cursor
        self._answer = NotedAnswer()

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note what the server says of it."""
        cursor, answer = self._cursor, self._answer
        answer.keep(internals.results_of(cursor))
        self._held.heard(internals.libpq_of(cursor), answer)
        self._cursor = None
        super().returned(None, recording)
        return value

    def result(self, recording: Recording) -> EventResult:
        """What the server said of it."""
        made = super().result(recording)
        return EventResult(reply={**self._answer.reply(), **made.reply})

    def again(self) -> bool:
        """False: its statement was answered from the cassette."""
        return False

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> None:
        """Give the cursor the recorded result."""
        assert event is not None
        reply: Any = event.result.reply
        self.connection.told(reply)
        internals.set_copied(self._cursor, RecordedResult(reply))


def _as_matched(data: bytes) -> dict[str, Any]:
    if len(data) <= _LONGEST_BYTES:
        return {"data": kept_text(data)}
    return {"bytes": len(data), "sha256": sha256(data).hexdigest()}


def _finish(guard: Any, original: Function) -> Function:
    """The app has written all."""

    def begin(session: BaseSession | None, writer: Any, error: BaseException | None = None) -> Flow | None:
        cursor = writer.cursor
        connection = internals.connection_of(cursor)
        held = held_of(connection, session, cursor)
        if held is None or session is None:
            return None
        live = AppStep(original, writer, error)
        data = bytes(vars(writer).pop(_DATA, b""))
        if not is_answered(held):
            return flow(_End(held, cursor, data, live), session) if error is None else None
        if cursor in held.on_real:
            held.on_real.discard(cursor)
            if error is not None:
                return _on_real(held, writer, live)
            return added(held, session, writer, data, live)
        if error is not None:
            connection.pgconn.state = 0 if connection.autocommit else _FAILED
            return Done(None)
        return flow(_End(held, cursor, data, live), session)

    def added(held: HeldConnection, session: Any, writer: Any, data: bytes, live: AppStep) -> Flow:
        cursor = writer.cursor
        internals.use(writer, held.twin.real.opened().pgconn)
        site = _End(held, cursor, data, live)
        connection = internals.connection_of(cursor)

        def lend() -> Callable[[], Any]:
            back = lent(held, connection, cursor)
            site.connection = connection
            return back

        site.lend = lend
        return (yield from flow(site, session.recorder))

    return guard(LIB, original, begin, outside=True)  # type: ignore[no-any-return]
