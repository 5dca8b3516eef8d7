"""Where Django's ORM is patched: the wrapper around a connection, migrations, and databases for tests."""

from __future__ import annotations

import importlib
from functools import partial
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded, only, raising
from timetracer_otel.calls.noting import noting
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.django_orm import internals
from timetracer_otel.libraries.kits.dbapi.direct import held_by
from timetracer_otel.libraries.kits.dbapi.facts import KNOWN_ABOVE, known_above, let_know, recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import setting_up
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]

_LIB: Final = "django_orm"
_MADE_NONE: Final = "_timetracer_made_none"
"""The attribute of what makes databases for tests, where a replay made none."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of one of Django's modules."""
    where: Any = module
    if module.__name__ == "django.db.migrations.executor":
        refused = [("apply_migration", "to apply"), ("unapply_migration", "to unapply")]
        return [Patch(where.MigrationExecutor, name, partial(_migrates, doing)) for name, doing in refused]
    if module.__name__ == "django.db.backends.base.creation":
        creation = where.BaseDatabaseCreation
        return [Patch(creation, "create_test_db", _creates), Patch(creation, "destroy_test_db", _destroys)]
    if module.__name__.endswith(".psycopg_any"):
        loader = "orig_tz_loader_cls"
        return [Patch(where, loader, _loads)] if hasattr(where, loader) else []
    if module.__name__.endswith(".features"):
        return _asking(where.DatabaseFeatures)
    wrapper = where.DatabaseWrapper if hasattr(where, "DatabaseWrapper") else where.BaseDatabaseWrapper
    found: list[Undoable] = [Patch(wrapper, name, _sets_up) for name in internals.SETS_UP if name in vars(wrapper)]
    if "ensure_connection" in vars(wrapper):
        found += [Patch(wrapper, "ensure_connection", _ensures), _LeftBehind()]
        found.append(Patch(wrapper, "init_connection_state", _opened))
    return [*found, *_asking(wrapper)]


def _asking(where: Any) -> list[Undoable]:
    asking = internals.asking_property(where)
    return [Patch(asking[1], "func", partial(_asks, asking[0]))] if asking is not None else []


def _sets_up(original: Function) -> Function:
    """Django opens a connection and sets it up, or looks whether it is alive."""

    def begin(session: BaseSession | None, *args: Any) -> Flow | None:
        return setting_up.around(_LIB, AppStep(original, *args)) if session is not None else None

    return guarded(_LIB, original, begin)


def _opened(original: Function) -> Function:
    """A connection is new. What Django asked its server once is noted with it."""

    def look(wrapper: Any, *_: Any) -> None:
        _knows(get_current_session(), wrapper)

    return noting(f"{_LIB}.features", original, before=look)


def _knows(session: BaseSession | None, wrapper: Any) -> None:
    """What Django asked its server once is noted with its connection. In a replay the connection tells it."""
    connection = wrapper.connection
    held = held_by(connection)
    if isinstance(session, ReplaySession) and held is not None and held.replays(session):
        _told(wrapper).tell(session, (recorded_facts(session, held.target) or {}).get(KNOWN_ABOVE, {}))
    elif connection is not None and known_above(connection) is not (told := _told(wrapper)):
        let_know(connection, told)


def _told(wrapper: Any) -> internals.AskedOnce:
    found = _asked_once.get(wrapper)
    if found is None:
        found = _asked_once[wrapper] = internals.AskedOnce(wrapper)
    return found


def _asks(name: str, original: Function) -> Function:
    """Django asks its server before it needs a connection. In a replay the connection tells what was known of it."""

    def begin(session: BaseSession | None, asking: Any) -> Flow | None:
        if isinstance(session, ReplaySession):
            return told(asking)
        if session is None:
            return None
        _told(internals.wrapper_of(asking)).asked(name, session)
        return setting_up.around(_LIB, AppStep(original, asking))

    def told(asking: Any) -> Flow:
        yield AppStep(internals.wrapper_of(asking).ensure_connection)
        return vars(asking)[name] if name in vars(asking) else (yield AppStep(original, asking))

    return guarded(_LIB, original, begin)


_asked_once: WeakKeyDictionary[Any, internals.AskedOnce] = WeakKeyDictionary()
"""By wrapper around a connection."""
_answered: WeakSet[Any] = WeakSet()
"""Wrappers that were used in a replay."""


class _LeftBehind:
    """Closes connections of replays when the seams go out: Django would go on with them."""

    def apply(self) -> None:
        """Nothing: they are opened when they are used."""

    def undo(self) -> None:
        """Close them."""
        while _answered:
            wrapper = _answered.pop()
            try:
                if _is_left_behind(wrapper):
                    wrapper.connection.close()
                    wrapper.connection = None
            except Exception as fault:
                faults.contain(f"{_LIB}.connection", fault)


def _is_left_behind(wrapper: Any) -> bool:
    held = held_by(wrapper.connection)
    return held is not None and held.stands_in and not wrapper.in_atomic_block


def _ensures(original: Function) -> Function:
    """Django needs its connection. One that a replay has left is of no use outside."""

    def begin(session: BaseSession | None, wrapper: Any) -> Flow | None:
        if isinstance(session, ReplaySession):
            _answered.add(wrapper)
        elif _is_left_behind(wrapper):
            return anew(wrapper)
        if session is not None:
            _knows(session, wrapper)
        return None

    def anew(wrapper: Any) -> Flow:
        yield AppStep(wrapper.connection.close)
        wrapper.connection = None
        return (yield AppStep(original, wrapper))

    return guarded(_LIB, original, begin, outside=True)


def _loads(original: Function) -> Function:
    """Django takes a loader that psycopg may have in C. That has nothing to ask where a connection stands in for one:
    there, what makes the rows gives the one in Python.
    """

    def begin(_: BaseSession | None, oid: int, context: Any = None) -> AppStep | None:
        in_python = getattr(context, "in_python", None)
        return AppStep(in_python(original), oid, context) if in_python is not None else None

    return guarded(_LIB, original, begin, outside=True)


def _migrates(doing: str, original: Function) -> Function:
    """A migration changes the database."""

    def begin(
        session: BaseSession | None, executor: Any, state: Any, migration: Any, *_: Any, **__: Any
    ) -> Flow | None:
        if not isinstance(session, ReplaySession):
            return None
        what = f"{doing} the migration {migration} to a database: a replay has none"
        return only(raising(session.refuse_unrecorded(what, "migrate before the app is recorded or replayed.")))

    return guarded(_LIB, original, begin)


def _creates(original: Function) -> Function:
    """A test runner makes a database for tests. A replay needs its name alone: that stands in the recorded calls."""

    def begin(session: BaseSession | None, creation: Any, *_: Any, **__: Any) -> Flow | None:
        return made_none(creation) if isinstance(session, ReplaySession) else None

    def made_none(creation: Any) -> Flow:
        name = internals.name_for_tests(creation)
        yield AppStep(creation.connection.close)
        setattr(creation, _MADE_NONE, True)
        _rename(creation, name)
        return name

    return guarded(_LIB, original, begin)


def _destroys(original: Function) -> Function:
    def begin(_: BaseSession | None, creation: Any, old_name: str | None = None, *__: Any, **___: Any) -> Done | None:
        if not vars(creation).pop(_MADE_NONE, False):
            return None
        creation.connection.close()
        if old_name is not None:
            _rename(creation, old_name)
        return Done(None)

    return guarded(_LIB, original, begin, outside=True)


def _rename(creation: Any, name: str) -> None:
    connection = creation.connection
    importlib.import_module("django.conf").settings.DATABASES[connection.alias]["NAME"] = name
    connection.settings_dict["NAME"] = name
