"""Where psycopg2 is patched: its ``connect``, under each name that a module has for it."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.base.rebinding import Rebound
from timetracer_otel.calls.flow import pass_or_refuse
from timetracer_otel.calls.guarded import AppStep, Flow, guarded, only, raising
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.direct import held_by
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg2_types import type_patches
from timetracer_otel.libraries.kits.dbapi.owners import opening
from timetracer_otel.libraries.psycopg2.call import LIB
from timetracer_otel.libraries.psycopg2.connection import CONNECTIONS
from timetracer_otel.libraries.psycopg2.internals import connect_of
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]

_NAMES: Final = ("dsn", "connection_factory", "cursor_factory")
"""The arguments of ``connect`` by position."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``psycopg2``."""
    original = connect_of(module)
    replacement = _connect(module, original)
    encrypting = module.extensions.encrypt_password
    extras = importlib.import_module(f"{module.__name__}.extras")
    return [
        # Innermost, where OpenTelemetry's instrumentor has wrapped it; and the names of other modules.
        Patch(module, "connect", lambda _: replacement),
        Rebound(original, replacement),
        Rebound(encrypting, _encrypt_password(encrypting)),
        *type_patches(extras),
    ]


def _connect(module: Any, original: Function) -> Function:
    own = module.extensions.connection

    def begin(session: BaseSession | None, *args: Any, **kwargs: Any) -> Flow | AppStep | None:
        if opening.get() is not None or len(args) > len(_NAMES):
            return None
        given: dict[str, Any] = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        asked = given.get("connection_factory") or own
        if given.get("async") or given.get("async_"):
            return _unseen("psycopg2 opens an asynchronous connection, which is not recorded", "use psycopg", session)
        kind = CONNECTIONS.of(asked) if isinstance(asked, type) and issubclass(asked, own) else None
        if kind is None:
            return _unseen(
                "psycopg2 opens a connection by a factory of which no class can be derived, so its statements cannot "
                "be seen",
                "give connect() a class without __slots__ as connection_factory.",
                session,
            )
        if isinstance(session, ReplaySession):
            return _made_by(module, kind, **{**given, "connection_factory": None})
        return AppStep(original, **{**given, "connection_factory": kind})

    return guarded(LIB, original, begin, outside=True)


def _encrypt_password(original: Function) -> Function:
    """It asks the server how, where the app does not say. psycopg2 lets no other thread run meanwhile, so that the
    other end of the connection of a replay could not answer.
    """

    def begin(
        _: BaseSession | None, password: Any, user: Any, scope: Any = None, algorithm: Any = None
    ) -> Flow | None:
        held = held_by(getattr(scope, "connection", scope)) if algorithm is None else None
        if held is None or not held.stands_in:
            return None
        return only(raising(unrecorded(held.target, "encrypt_password without an algorithm")))

    return guarded(LIB, original, begin, outside=True)


def _made_by(
    module: Any,
    kind: Any,
    dsn: Any = None,
    connection_factory: None = None,
    cursor_factory: Any = None,
    **kwargs: Any,
) -> Flow:
    """Do as ``connect`` does, but for the function in C, which no replay may call (``guard/c_connections.py``)."""
    connection = yield AppStep(kind, (yield AppStep(module.extensions.make_dsn, dsn, **kwargs)))
    if cursor_factory is not None:
        yield AppStep(setattr, connection, "cursor_factory", cursor_factory)
    return connection


def _unseen(what: str, cure: str, session: BaseSession | None) -> Flow | None:
    refusal = pass_or_refuse(LIB, what, cure, session)
    return only(raising(refusal)) if refusal is not None else None
