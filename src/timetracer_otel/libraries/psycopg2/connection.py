"""The class of an app's connections: derived of psycopg2's own, or of the class that the app asks for."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any, Final, cast
from weakref import ref

from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import Recording, flow, pass_or_refuse
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded, only, raising
from timetracer_otel.libraries.kits.dbapi.boundaries import answered_by
from timetracer_otel.libraries.kits.dbapi.call import PlainSite
from timetracer_otel.libraries.kits.dbapi.connection_setup import claimed
from timetracer_otel.libraries.kits.dbapi.derived import DerivedClass, Surface
from timetracer_otel.libraries.kits.dbapi.direct import Held, begin_end, connected, held_by, refused
from timetracer_otel.libraries.kits.dbapi.drivers.server_types import belongs_to
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.recording_cursor import recording_cursor
from timetracer_otel.libraries.psycopg2.answer import Twin
from timetracer_otel.libraries.psycopg2.call import LIB, ServerTarget
from timetracer_otel.libraries.psycopg2.cursor import class_of
from timetracer_otel.libraries.psycopg2.peer import Peer
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["CONNECTIONS"]

extensions: Any = importlib.import_module("psycopg2.extensions")
_Connection: Final[Any] = extensions.connection
_POLL: Final = "POLL"
_HEARD: Final = 2
"""Where notices and notifications stand in `ServerTarget.state_of`."""
_CURSOR_NAMES: Final = ("name", "cursor_factory", "withhold", "scrollable")
"""The arguments of ``cursor`` by position."""


class ConnectionInfo(extensions.ConnectionInfo):  # type: ignore[misc]
    """What a connection of a replay tells of its server: as the recorded one did."""

    def __init__(self, connection: Any, facts: Any) -> None:
        super().__init__(connection)
        self._facts = facts

    host = property(lambda self: self._facts.get("host"))
    port = property(lambda self: self._facts.get("port"))
    dsn_parameters = property(lambda self: dict(self._facts.get("parameters", {})))


def _peer_of(connection: Any) -> Peer | None:
    held = held_by(connection)
    target: Any = held.target if held is not None and held.stands_in else None
    return target.peer if target is not None else None


def _info(_: BaseSession | None, connection: Any) -> Flow | None:
    peer = _peer_of(connection)
    return Done(ConnectionInfo(connection, peer.facts)) if peer is not None else None


def _dsn(_: BaseSession | None, connection: Any) -> Flow | None:
    peer = _peer_of(connection)
    return Done(peer.shown_dsn) if peer is not None else None


class _Shown(extensions.connection):  # type: ignore[misc]
    """psycopg2's connection, whose own end of the socket is shown in a replay as the recorded one."""

    __slots__ = ()

    info = property(guarded(LIB, _Connection.info.__get__, _info, outside=True))
    dsn = property(guarded(LIB, _Connection.dsn.__get__, _dsn, outside=True))


def _open(session: BaseSession | None, connection: Any, /, *args: Any, **kwargs: Any) -> Flow | None:
    """A connection is made, of the class that the app has asked for: this is beneath the app's own ``__init__``."""
    if kwargs or len(args) != 1:
        return None
    module = importlib.import_module(LIB)
    try:
        parameters = extensions.parse_dsn(args[0])
    except (module.Error, TypeError):
        # psycopg2 says what is wrong.
        return None
    target = ServerTarget(module, parameters)

    def stand_in() -> AppStep:
        assert isinstance(session, ReplaySession)
        target.peer = Peer(recorded_facts(session, target) or {})
        return AppStep(_Connection.__init__, connection, target.peer.dsn(args[0]))

    def hold(_: None, stands_in: bool) -> Held:
        if stands_in:
            target.shown = ref(connection)
        else:
            target.connected(connection)
            belongs_to(connection, target)
        return CONNECTIONS.hold(target, partial(_Connection, args[0]), connection, stands_in)

    return connected(target, session, AppStep(_Connection.__init__, connection, *args), stand_in, hold)


def _cursor(session: BaseSession | None, connection: Any, /, *args: Any, **kwargs: Any) -> Flow | AppStep | None:
    if held_by(connection) is None or len(args) > len(_CURSOR_NAMES):
        return None
    given = {**dict(zip(_CURSOR_NAMES, args, strict=False)), **kwargs}
    asked = given.get("cursor_factory") or connection.cursor_factory or extensions.cursor
    kind = class_of(asked) if isinstance(asked, type) and issubclass(asked, extensions.cursor) else None
    if kind is None:
        refusal = pass_or_refuse(
            LIB,
            "a cursor is made by a factory of which no class can be derived, so its statements cannot be seen",
            "give a class without __slots__ as cursor_factory.",
            session,
        )
        return only(raising(refusal)) if refusal is not None else None
    return AppStep(_Connection.cursor, connection, **{**given, "cursor_factory": kind})


def _commit(session: BaseSession | None, connection: Any) -> Flow | None:
    """Where it fails, the error tells of the connection."""
    live = AppStep(_Connection.commit, connection)
    return begin_end("COMMIT", partial(PlainSite, connection=connection), live, session, connection)


def _two_phases(name: str, session: BaseSession | None, connection: Any, *args: Any) -> Flow | None:
    """A method of the two-phase commit, matched by the name of its transaction."""
    held = held_by(connection)
    if held is None or session is None:
        return refused(f"connection.{name}", session, connection)
    live, given = AppStep(getattr(_Connection, name), connection, *args), {"xid": [str(xid) for xid in args]}
    if not held.replays(session):
        return flow(PlainSite(held.target, name.upper(), live, given=given), session)
    twin = held.twin
    behind = AppStep(getattr(twin, name), *args)
    answered = flow(PlainSite(held.target, name.upper(), behind, twin, behind, given), session)
    return _with(live, answered) if held.stands_in else answered


def _with(shown: AppStep, answered: Flow) -> Flow:
    value = yield from answered
    yield shown
    return value


class _Heard(PlainSite):
    """What came without being asked for: notifications, and notices with them."""

    heard: Any = None

    def result(self, recording: Recording) -> EventResult:
        """What came."""
        made = super().result(recording)
        made.reply["state"] = self.heard
        return made

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        """Let the connection of the replay have it."""
        if event is not None:
            self.connection.state = event.result.reply["state"]
        return super().rebuild(event, session)


def _poll(session: BaseSession | None, connection: Any) -> Flow | None:
    held = held_by(connection)
    if held is None or session is None:
        return None
    return _replayed_poll(held, session, connection) if held.replays(session) else _polled(held, session, connection)


def _polled(held: Held, session: BaseSession, connection: Any) -> Flow:
    """An app looks whether something came. How often it looks in vain differs in each run."""
    value = yield AppStep(_Connection.poll, connection)
    state = held.target.state_of(connection)  # type: ignore[misc]
    if any(state[_HEARD:]):
        site = _Heard(held.target, _POLL, AppStep(int, value))
        site.heard = state
        yield from flow(site, session)
    return value


def _replayed_poll(held: Held, session: BaseSession, connection: Any) -> Flow:
    assert isinstance(session, ReplaySession)
    value = yield AppStep(_Connection.poll, connection)
    site = _Heard(held.target, _POLL, AppStep(int, value), held.twin)
    event = claimed(site, session)
    if event is not None:
        yield from answered_by(site, session, event)
        _wake(session, connection)
    return value


def _wake(session: BaseSession | None, connection: Any) -> None:
    """An app waits until it can read from the socket. It can where there is a notification in the cassette."""
    held = held_by(connection)
    if held is None or not held.stands_in or not isinstance(session, ReplaySession):
        return
    site, target = _Heard(held.target, _POLL, AppStep(int), held.twin), cast(ServerTarget, held.target)
    if session.upcoming(site.redacted(session), hooks.whereabouts(None).path()) is not None:
        assert target.peer is not None
        target.peer.wake()


def _cancel(_: BaseSession | None, connection: Any) -> Flow | None:
    return Done(None) if _peer_of(connection) is not None else None


def _dsn_parameters(_: BaseSession | None, connection: Any) -> Flow | None:
    peer = _peer_of(connection)
    return Done(dict(peer.facts.get("parameters", {}))) if peer is not None else None


CONNECTIONS: Final = DerivedClass(
    LIB,
    _Shown,
    Surface(
        settings=("autocommit", "isolation_level", "readonly", "deferrable"),
        registering=("set_session", "set_isolation_level", "set_client_encoding", "reset"),
        unrecorded=("lobject", "tpc_recover"),
    ),
    twin=Twin,
    wrapped=recording_cursor,
    methods={
        "__init__": _open,
        "commit": _commit,
        "cursor": _cursor,
        "cancel": _cancel,
        "fileno": _wake,
        "poll": _poll,
        "get_dsn_parameters": _dsn_parameters,
        **{name: partial(_two_phases, name) for name in ("tpc_begin", "tpc_prepare", "tpc_commit", "tpc_rollback")},
    },
)
