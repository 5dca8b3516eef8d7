"""A connection of psycopg: what is noted of it, and what stands in its place in a replay.

In a replay, psycopg's connection has a `StandIn` in the place of libpq's. One that was opened outside that replay
gets its own back when it is used outside again.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

from timetracer_otel.base.patching import Function
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Done, Flow, OurStep, guarded_async, guarded_generator, raising
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.boundaries import answered_or_passed, end_of_transaction
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, unrecorded
from timetracer_otel.libraries.kits.dbapi.direct import Held, connected
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import HELD, opening
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.statements import text_of, verb_of
from timetracer_otel.libraries.psycopg import internals
from timetracer_otel.libraries.psycopg.answer import Heard, NotedAnswer, StandIn, kept_notification
from timetracer_otel.libraries.psycopg.call import LIB, ServerTarget, statuses_of
from timetracer_otel.libraries.psycopg.results import RecordedResult, noted_error
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import EventResult

__all__ = [
    "Exchanges",
    "HeldConnection",
    "command",
    "connect",
    "held_of",
    "is_answered",
    "lent",
    "on_real",
    "takes_part",
    "waiting",
]

_ENDS = ("COMMIT", "ROLLBACK")


class HeldConnection(Held):
    """What is noted of one connection.

    Args:
        target: The database.
        connection: Of psycopg.
        conninfo: Opens a real one, where it stands in.
        stands_in: Whether it is a connection of a replay.
    """

    __slots__ = (
        *(
            "_conninfo",
            "_connection",
            "_heard",
            "copied",
            "end",
            "has_limit",
            "is_lent",
            "moves",
            "notes",
            "on_real",
            "own",
        ),
        *("queued", "statuses"),
    )

    def __init__(self, target: ServerTarget, connection: Any, conninfo: str | None, *, stands_in: bool) -> None:
        super().__init__(
            target, lambda: ReplayConnection(target, RealConnection(target, self._opened)), stands_in=stands_in
        )
        self._conninfo = conninfo
        self._connection = ref(connection)
        self._heard: tuple[Heard, Heard] | None = None
        self.has_limit = False
        """Whether the app waits for notifications for a time that it gave."""
        self.own: Any = None
        """Libpq's connection, while a stand-in is in its place."""
        self.copied = ""
        """The statement of the last COPY."""
        self.moves: list[bytes] | None = None
        """The tags of commands, while somebody wants to know them."""
        self.end: Any = None
        """What notes the end of a transaction in a pipeline, if that fails."""
        self.is_lent = False
        """Whether a call is being made on the real connection, in a replay."""
        self.statuses: dict[str, Any] = {}
        self.queued: deque[tuple[Any, NotedAnswer]] = deque()
        """Calls of a pipeline whose answers are not there yet."""
        self.notes: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        """By cursor: what notes, or gives, the answer that it reads."""
        self.on_real: WeakSet[Any] = WeakSet()
        """Cursors whose answer comes from the real connection, in a replay."""

    def _opened(self) -> Any:
        """The real connection behind a stand-in."""
        connection = self._connection()
        assert connection is not None
        stand_in = connection.pgconn
        pgconn = self.own
        if pgconn is None:
            assert self._conninfo is not None
            pgconn = internals.opened_connection(self._conninfo)
        made = internals.real_connection(pgconn, stand_in, autocommit=connection.autocommit)
        setattr(made, HELD, None)
        stand_in.knows(pgconn)
        self.target.connected(made)
        return made

    def listen(self, connection: Any) -> None:
        """A call begins: note what the server tells the connection besides."""
        pgconn = connection.pgconn
        if self._heard is None or pgconn.notice_handler is not self._heard[0]:
            notices = Heard(pgconn.notice_handler, noted_error)
            notified = Heard(pgconn.notify_handler, kept_notification)
            pgconn.notice_handler, pgconn.notify_handler = self._heard = notices, notified
            self.statuses = statuses_of(pgconn)
        for heard in self._heard:
            heard.listen()

    def heard(self, pgconn: Any, answer: NotedAnswer) -> None:
        """A call is over: note what the server told besides."""
        if self._heard is not None:
            notices, notified = self._heard
            answer.heard_on(pgconn, self.statuses, notices.taken(), notified.taken())


_MISSING: Any = object()


def held_of(connection: Any, session: BaseSession | None, cursor: Any = None) -> HeldConnection | None:
    """What is noted of a connection; None where it is another library's, or where there is nothing to do.

    One that was opened before the plugin was on is noted now. It has its own connection of libpq's, or a stand-in for
    that where the session replays.

    Args:
        connection: Of psycopg.
        session: The current one.
        cursor: Of the connection, which goes by the same of libpq's.
    """
    held: HeldConnection | None = getattr(connection, HELD, _MISSING)
    if held is _MISSING:
        if session is None or opening.get() is not None or connection.closed:
            return None
        held = _adopted(connection)
    if held is None or held.is_lent:
        return None
    if not held.stands_in:
        _exchange(held, connection, session, cursor)
    return held


def _adopted(connection: Any) -> HeldConnection:
    module = importlib.import_module(LIB)
    target = ServerTarget(module, connection.info.get_parameters())
    target.connected(connection)
    made = HeldConnection(target, connection, None, stands_in=False)
    setattr(connection, HELD, made)
    return made


def _exchange(held: HeldConnection, connection: Any, session: BaseSession | None, cursor: Any) -> None:
    if held.replays(session):
        if held.own is None:
            assert isinstance(session, ReplaySession)
            own = connection.pgconn
            facts = recorded_facts(session, held.target) or {}
            connection.pgconn = StandIn(held.target, facts, importlib.import_module("psycopg.pq"), own)
            held.own = own
            _exchanged.add(connection)
        if cursor is not None:
            held.notes.setdefault(cursor, None)
    elif held.own is not None:
        _give_back(connection, held)
    if cursor is not None and internals.libpq_of(cursor) is not connection.pgconn:
        internals.use(cursor, connection.pgconn)


def _give_back(connection: Any, held: HeldConnection) -> None:
    connection.pgconn, held.own = held.own, None
    for cursor in held.notes:
        internals.use(cursor, connection.pgconn)
    held.notes.clear()
    _exchanged.discard(connection)


_exchanged: WeakSet[Any] = WeakSet()
"""Connections of before a replay that have a stand-in of libpq's now."""


class Exchanges:
    """Gives connections their own one of libpq's back when the seams go out: nobody replays any more."""

    def apply(self) -> None:
        """Nothing: they are exchanged when they are used."""

    def undo(self) -> None:
        """Give them back."""
        for connection in list(_exchanged):
            held = getattr(connection, HELD, None)
            if held is not None and held.own is not None:
                _give_back(connection, held)


def takes_part(connection: Any) -> bool:
    """Whether this plugin sees what goes over a connection now: it answers, refuses, or counts that as live."""
    return held_of(connection, get_current_session()) is not None


def is_answered(held: HeldConnection) -> bool:
    """Whether calls on the connection are answered from a cassette, or refused."""
    return held.stands_in or held.own is not None


def connect(module: Any, guard: Any, of: Any, original: Function) -> Function:
    """An app opens a connection.

    Args:
        module: psycopg.
        guard: Of a function that blocks, or of a coroutine function.
        of: The class of connections where the function is bound to it; None where it gets that as an argument.
        original: The function.
    """
    if isinstance(original, MethodType):
        # OpenTelemetry puts a bound method back in the place of a class's own.
        of = original.__self__
    # By the class's attribute, the call would pass OpenTelemetry's wrapper a second time.
    unbound = original if of is None else original.__func__  # type: ignore[attr-defined]

    def begin(session: BaseSession | None, *args: Any, **kwargs: Any) -> Flow | None:
        cls, *rest = (of, *args) if of is not None else args
        if internals.is_stand_in_class(cls):
            return None
        live = AppStep(original, *args, **kwargs)
        if opening.get() is not None:
            return _of_another(live)
        # Some of the arguments are psycopg's own; the others are libpq's.
        named = {name: value for name, value in kwargs.items() if name not in internals.OWN_ARGUMENTS}
        conninfo = rest[0] if rest else named.pop("conninfo", "")
        try:
            parameters = module.conninfo.conninfo_to_dict(conninfo, **named)
            text = module.conninfo.make_conninfo(conninfo, **named)
        except module.Error:
            # psycopg says what is wrong with them.
            return None
        target = ServerTarget(module, parameters)

        def stand_in() -> AppStep:
            assert isinstance(session, ReplaySession)
            facts = recorded_facts(session, target) or {}
            made = internals.stand_in_class(cls, StandIn(target, facts, module.pq, conninfo=text))
            return AppStep(unbound, made, *rest, **kwargs)

        given = _Awaited if guard is guarded_async else _itself
        hold = partial(_hold, target, text)
        return connected(target, session, live, stand_in, hold, given=given, drop=_drop)

    return guard(LIB, original, begin, outside=True)  # type: ignore[no-any-return]


class _Awaited:
    """Gives a value to whoever awaits it, at once."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self._value


def _drop(connection: Any) -> None:
    connection.pgconn.finish()


def _itself(value: Any) -> Any:
    return value


def _of_another(live: AppStep) -> Flow:
    """Another library opens the connection, and has it."""
    connection = yield live
    setattr(connection, HELD, None)
    return connection


def _hold(target: ServerTarget, conninfo: str, connection: Any, stands_in: bool) -> Held:
    if not stands_in:
        target.connected(connection)
    made = HeldConnection(target, connection, conninfo, stands_in=stands_in)
    setattr(connection, HELD, made)
    if stands_in:
        connection.pgconn.on_finish = partial(_close_real, ref(made.twin))
    return made


def _close_real(of: Callable[[], Any]) -> None:
    twin = of()
    if twin is not None:
        twin.real.end("close")


def lent(held: HeldConnection, connection: Any, cursor: Any) -> Callable[[], Any]:
    """In a replay: let a call go to the real connection behind the app's, which is opened if it is not there.

    Returns:
        What ends that.
    """
    stand_in, real = connection.pgconn, held.twin.real.opened()
    pgconn = real.pgconn
    internals.use(cursor, pgconn)
    connection.pgconn, held.is_lent = pgconn, True
    within = ExitStack()
    within.enter_context(internals.without_pipeline(connection))

    def back() -> None:
        within.close()
        connection.pgconn, held.is_lent = stand_in, False
        internals.use(cursor, stand_in)
        stand_in.like(pgconn)

    return back


def waiting(held: HeldConnection, live: AppStep) -> AppStep:
    """The step of a call that is a generator of psycopg's, on the real connection behind the app's."""

    def wait() -> Any:
        return internals.waited(live, held.twin.real.opened().pgconn)

    return AppStep(wait)


def on_real(held: HeldConnection, cursor: Any, live: AppStep) -> Flow:
    """The steps of a call on the real connection behind the app's, which is there."""
    back = lent(held, internals.connection_of(cursor), cursor)
    try:
        with hooks.let_out():
            return (yield live)
    finally:
        back()


class _PipelinedEnd(PlainSite):
    """The end of a transaction in a pipeline: whether it failed is known later."""

    failing: dict[str, Any] | None = None
    """The result of libpq that says so."""

    def again(self) -> bool:
        """False: transactions with new calls end outside of pipelines."""
        return False

    def result(self, recording: Any) -> EventResult:
        """What the server said."""
        made = super().result(recording)
        return EventResult(reply={**made.reply, "failing": self.failing}) if self.failing is not None else made

    def rebuild(self, event: Any, session: ReplaySession) -> Any:
        """Let psycopg fetch the failing when it asks for answers."""
        reply = event.result.reply if event is not None and isinstance(event.result.reply, dict) else {}
        return reply.get("failing")


class _Command(PlainSite):
    """A command of a connection's own whose failing counts."""

    def returned(self, value: Any, recording: Any) -> Any:
        """The command was made; psycopg gets its result."""
        super().returned(None, recording)
        return value


def _nothing() -> None:
    return None


def command(original: Function) -> Function:
    """A connection sends a command of its own: most begin or end a transaction."""
    pq = importlib.import_module("psycopg.pq")
    status = pq.TransactionStatus
    done = RecordedResult({"status": int(pq.ExecStatus.COMMAND_OK), "tag": ""})

    def begin(session: BaseSession | None, connection: Any, given: Any, *args: Any, **kwargs: Any) -> Flow | None:
        text = text_of(given)
        was_answered = getattr(getattr(connection, HELD, None), "own", None) is not None
        verb = verb_of(text)
        noted = getattr(connection, HELD, None)
        if noted is not None and noted.moves is not None and verb == "MOVE":
            return tagged(noted.moves, AppStep(original, connection, given, *args, **kwargs))
        held = held_of(connection, session)
        if held is None:
            return None
        upper = text.upper()
        of_two_phases = verb == "PREPARE" or " PREPARED" in upper
        is_end = verb in _ENDS and " TO " not in upper and not of_two_phases
        if is_answered(held):
            return replayed(held, session, connection, verb, text, is_end, of_two_phases)
        if was_answered and is_end:
            # The transaction of a replay: there is none on the real connection.
            return Done(done)
        transaction = held.transactions.ended() if is_end or of_two_phases else None
        if session is None or connection.closed:
            return None
        live = AppStep(original, connection, given, *args, **kwargs)
        if is_end and internals.in_pipeline(connection) is not None:
            held.end = site = _PipelinedEnd(held.target, verb, live, connection)
            return flow(site, session)
        if is_end:
            return flow(PlainSite(held.target, verb, live, connection, transaction=transaction), session)
        if of_two_phases or connection.pgconn.transaction_status == status.INERROR:
            return flow(_Command(held.target, verb, live, connection, given={"command": text}), session)
        return None

    def tagged(tags: list[bytes], live: AppStep) -> Flow:
        result = yield live
        tags.append(result.command_status)
        return result

    def replayed(
        held: HeldConnection,
        session: BaseSession | None,
        connection: Any,
        verb: str,
        text: str,
        is_end: bool,
        of_two_phases: bool,
    ) -> Flow:
        told = connection.pgconn

        def for_real() -> None:
            pgconn = held.twin.real.opened().pgconn
            internals.sent(pgconn, text)

        if told.status == pq.ConnStatus.BAD:
            # psycopg says that it is closed.
            yield AppStep(internals.checks_open(connection))
        if not isinstance(session, ReplaySession):
            if verb != "ROLLBACK":
                yield raising(unrecorded(held.target, text))
        elif is_end and internals.in_pipeline(connection) is not None and not session.adds_new_calls:
            failing = yield from answered_or_passed(_PipelinedEnd(held.target, verb, _nothing, told), session)
            if failing is not None:
                internals.queue(internals.in_pipeline(connection), None)
                told.pending.append(([RecordedResult(failing)], None))
        elif is_end:
            try:
                yield from end_of_transaction(held.target, verb, held.twin, session)
            finally:
                told.transaction_status = status.IDLE
        elif of_two_phases or told.transaction_status == status.INERROR:
            yield from flow(_Command(held.target, verb, for_real, told, given={"command": text}), session)
            held.twin.real.ended(committed=verb != "ROLLBACK")
        elif session.adds_new_calls and verb != "BEGIN":
            yield OurStep(held.twin.real.execute, text, text, None)
        if is_end or of_two_phases:
            told.transaction_status = status.IDLE
        elif verb in ("BEGIN", "ROLLBACK"):
            told.transaction_status = status.INTRANS
        return None if internals.in_pipeline(connection) else done

    return guarded_generator(LIB, original, begin, outside=True)
