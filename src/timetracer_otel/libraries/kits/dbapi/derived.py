"""A class of connections that is derived of a driver's own class, where that is written in C and cannot be patched.

The driver's function that connects makes its connection of the class that it is given. C functions then still find
their own class, and an app may derive classes of its own. Each method of the derived class is a guard: it notes, or
answers from the twin of a replay (see `direct`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import ref

from timetracer_otel.base.patching import Undoable
from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.guarded import AppStep, Flow, guarded, only
from timetracer_otel.libraries.kits.dbapi.call import PlainSite
from timetracer_otel.libraries.kits.dbapi.direct import (
    Held,
    begin_cursor,
    begin_end,
    begin_shortcut,
    held_by,
    refused,
)
from timetracer_otel.libraries.kits.dbapi.owners import HELD
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import BaseSession
from timetracer_otel.types import DependencyEvent

__all__ = ["DerivedClass", "Surface"]


@dataclass(frozen=True)
class Surface:
    """What connections of a driver have beside ``cursor``, ``commit``, ``rollback`` and ``close``, by name.

    Releases of a driver differ: a name that its class does not have is passed over.
    """

    shortcuts: Sequence[str] = ()
    """Methods that execute something on a new cursor, which has a method of that name."""
    settings: Sequence[str] = ()
    """Attributes that an app sets. The real connection behind one of a replay gets them, too."""
    told: Sequence[str] = ()
    """What a connection tells of itself, in the order of `Target.state_of`. In a replay it is told as recorded."""
    registering: Sequence[str] = ()
    """Methods by which an app gives its connection something. A replay uses none of it, but may open a real
    connection later, which then gets it. Those of a real connection are left alone."""
    unrecorded: Sequence[str] = ()
    """Methods that reach the database past the cursors: a replay refuses them."""
    ends_when_left: bool = False
    """Whether a connection that is left as a context manager ends its transaction past its own methods."""


class DerivedClass:
    """The class that a driver's connections are made of while its plugin is on.

    Args:
        lib: The plugin.
        own: The driver's class.
        surface: What that has.
        twin: The class of what answers in a replay.
        wrapped: Makes the cursor of a recording, of one of the driver's.
        methods: The driver's own ways: by name of a method, what begins its calls (see `calls.guarded.Begin`).
        rests: Whether the guards of real connections are put in by `seams`, which may rest. Those of a replay's
            connections always stay.

    Attributes:
        seams: Put the guards of real connections in; none where they stay.
    """

    def __init__(
        self,
        lib: str,
        own: type[Any],
        surface: Surface,
        *,
        twin: Callable[[Target, RealConnection], ReplayConnection],
        wrapped: Callable[[Any, Target], RecordingCursor],
        methods: Mapping[str, Callable[..., Any]],
        rests: bool = False,
    ) -> None:
        self._twin = twin
        self._wrapped = wrapped
        self._settings = [name for name in surface.settings if hasattr(own, name)]
        guards = _guards(lib, own, surface, methods)
        # They do nothing for a real connection. Where a guard stands, a warning of the driver's names our file.
        of_stand_ins = {"close", *surface.settings, *surface.registering}
        slots = (HELD,) if own.__weakrefoffset__ else (HELD, "__weakref__")
        names = {"__module__": own.__module__, "__slots__": slots}
        self._made: type[Any] = type(own.__name__, (own,), names if rests else {**names, **guards})
        self._standing: type[Any] = (
            type(own.__name__, (self._made,), {**names, "__slots__": (), **guards}) if rests else self._made
        )
        self.seams: list[Undoable] = (
            [_Guard(self._made, name, guards[name]) for name in guards if name not in of_stand_ins] if rests else []
        )
        self._asked: dict[tuple[type[Any], bool], type[Any] | None] = {}

    def of(self, asked: type[Any], *, stands_in: bool = False) -> type[Any] | None:
        """The class to make a connection of; None where none can be derived of the one that the app asks for.

        Args:
            asked: The driver's class, or one that the app derived of it.
            stands_in: Whether the connection is one of a replay, with nothing behind it.
        """
        key = asked, stands_in
        if key not in self._asked:
            ours = self._standing if stands_in else self._made
            names = {"__module__": asked.__module__, "__qualname__": asked.__qualname__, "__slots__": ()}
            bases = (ours,) if asked in ours.__mro__ else (asked, ours)
            try:
                self._asked[key] = type(asked.__name__, bases, names)
            except TypeError:
                # Its slots are in the way.
                self._asked[key] = None
        return self._asked[key]

    def hold(self, target: Target, opens: Callable[[], Any], connection: Any, stands_in: bool) -> Held:
        """Note whose a new connection is.

        Args:
            target: The database.
            opens: Opens a real one.
            connection: The new one.
            stands_in: Whether it is one of a replay, with nothing behind it.
        """
        of = ref(connection)

        def behind() -> RealConnection:
            # A real connection's own methods are beneath ours.
            return (
                RealConnection(target, lambda: self._with_settings(opens(), of()))
                if stands_in
                else RealConnection(target, connection=super(self._made, of()))
            )

        held = Held(target, lambda: self._twin(target, behind()), self._wrapped, stands_in=stands_in)
        setattr(connection, HELD, held)
        return held

    def _with_settings(self, connection: Any, shown: Any) -> Any:
        for name in self._settings if shown is not None else ():
            setattr(connection, name, getattr(shown, name))
        return connection


class _Guard:
    """A guard that a class of ours has as long as this is applied. Both are harmless when repeated."""

    def __init__(self, owner: type[Any], name: str, guard: Any) -> None:
        self._owner = owner
        self._name = name
        self._guard = guard

    def apply(self) -> None:
        """Put it in."""
        setattr(self._owner, self._name, self._guard)

    def undo(self) -> None:
        """Take it out: the class has what it inherits."""
        if self._name in vars(self._owner):
            delattr(self._owner, self._name)


def _guards(lib: str, own: type[Any], surface: Surface, methods: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    begins: dict[str, Callable[..., Any]] = {
        "cursor": partial(begin_cursor, own.cursor),
        "close": partial(_close, own),
        **{name: partial(_end, name, getattr(own, name)) for name in ("commit", "rollback")},
        **{
            name: partial(begin_shortcut, name, lambda connection: guards["cursor"](connection))
            for name in surface.shortcuts
        },
        **{name: partial(_registering, name, getattr(own, name, None)) for name in surface.registering},
        **{name: partial(_unrecorded, name, own.cursor) for name in surface.unrecorded},
    }
    if surface.ends_when_left:
        begins["__exit__"] = partial(_leave, own.__exit__)
    guards: dict[str, Any] = {
        name: guarded(lib, getattr(own, name), begin, outside=True)
        for name, begin in {**begins, **methods}.items()
        if hasattr(own, name)
    }
    for name, method in guards.items():
        method.__name__ = name
    guards |= {name: _told(lib, name, getattr(own, name), place) for place, name in enumerate(surface.told)}
    guards |= {name: _set(lib, name, getattr(own, name)) for name in surface.settings if hasattr(own, name)}
    return guards


def _end(name: str, original: Any, session: BaseSession | None, connection: Any) -> Flow | None:
    return begin_end(name.upper(), PlainSite, AppStep(original, connection), session, connection)


class _ExitSite(PlainSite):
    """The end of a transaction where a connection is left as a context manager; that gives False."""

    def returned(self, value: Any, recording: Recording) -> Any:
        super().returned(None, recording)
        return value

    def rebuild(self, event: DependencyEvent | None, session: Any) -> Any:
        super().rebuild(event, session)
        return False


def _leave(original: Any, session: BaseSession | None, connection: Any, *error: Any) -> Flow | None:
    method = "COMMIT" if not any(error) else "ROLLBACK"
    return begin_end(method, _ExitSite, AppStep(original, connection, *error), session, connection)


def _unrecorded(
    name: str, cursor: Any, session: BaseSession | None, connection: Any, /, *_: Any, **__: Any
) -> Flow | None:
    return refused(f"connection.{name}", session, connection, AppStep(cursor, connection))


def _registering(
    name: str, original: Any, _: BaseSession | None, connection: Any, /, *args: Any, **kwargs: Any
) -> Flow | None:
    held = held_by(connection)
    if held is None or not held.stands_in:
        return None
    behind = AppStep(getattr(held.twin, name), *args, **kwargs)
    return _both(AppStep(original, connection, *args, **kwargs), behind)


def _close(own: type[Any], session: BaseSession | None, connection: Any) -> Flow | None:
    held = held_by(connection)
    twin = held.known_twin if held is not None and held.stands_in else None
    return None if twin is None else _both(AppStep(own.close, connection), AppStep(twin.close))


def _both(shown: AppStep, behind: AppStep) -> Flow:
    """The same on the connection of a replay, and on what stands behind it."""
    yield shown
    yield behind


def _told(lib: str, name: str, own: Any, place: int) -> property:
    """What a connection tells of itself; in a replay, as the recorded one did behind the last statement."""

    def begin(session: BaseSession | None, connection: Any) -> Flow | None:
        held = held_by(connection)
        if held is None or not held.replays(session):
            return None
        real = held.twin.real.connection
        return recorded(connection, held.twin.state[place]) if real is None else only(AppStep(getattr, real, name))

    def recorded(connection: Any, value: Any) -> Flow:
        # It raises where the connection is closed, or is used in another thread.
        yield AppStep(own.__get__, connection)
        return value

    return property(guarded(lib, own.__get__, begin, outside=True))


def _set(lib: str, name: str, own: Any) -> property:
    def begin(_: BaseSession | None, connection: Any, value: Any) -> Flow | None:
        held = held_by(connection)
        if held is None or not held.stands_in:
            return None
        return _both(AppStep(own.__set__, connection, value), AppStep(setattr, held.twin, name, value))

    return property(own.__get__, guarded(lib, own.__set__, begin, outside=True))
