"""Where sqlite3 is patched: its ``connect``, under each name that a module has for it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.base.rebinding import Rebound
from timetracer_otel.calls.flow import pass_or_refuse
from timetracer_otel.calls.guarded import AppStep, Flow, guarded, only, raising
from timetracer_otel.calls.noting import looked
from timetracer_otel.libraries.kits.dbapi.app_types import note_made, registers
from timetracer_otel.libraries.kits.dbapi.direct import connected
from timetracer_otel.libraries.kits.dbapi.owners import opening, through
from timetracer_otel.libraries.kits.dbapi.values import PLAIN
from timetracer_otel.libraries.sqlite3.call import LIB, FileTarget
from timetracer_otel.libraries.sqlite3.connection import CONNECTIONS, hold
from timetracer_otel.libraries.sqlite3.internals import connect_in_c, opened_by_aiosqlite
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_NAMES: Final = (
    *("database", "timeout", "detect_types", "isolation_level", "check_same_thread", "factory"),
    *("cached_statements", "uri"),
)
"""The arguments of ``connect`` by position."""
_MEMORY: Final = ":memory:"
_CONVERTER: Final = "sqlite3.converter"


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``sqlite3``."""
    replacement = _connect(module, connect_in_c())
    beneath = importlib.import_module(f"{module.__name__}.dbapi2")
    registering: Any = importlib.import_module("_sqlite3").register_converter
    return [
        # Innermost, where OpenTelemetry's instrumentor has wrapped them; and the names of other modules.
        *(Staying(Patch(owner, "connect", lambda _: replacement)) for owner in (module, beneath)),
        Staying(Rebound(connect_in_c(), replacement)),
        Staying(Rebound(registering, _register_converter(registering))),
        *CONNECTIONS.seams,
    ]


def _connect(module: Any, original: Function) -> Function:
    def begin(session: BaseSession | None, *args: Any, **kwargs: Any) -> Flow | None:
        lib = through.get()
        if opening.get() is not None or len(args) > len(_NAMES) or (lib is None and opened_by_aiosqlite()):
            return None
        given: dict[str, Any] = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        if "database" not in given:
            return None
        asked = given.get("factory", module.Connection)
        is_known = isinstance(asked, type) and issubclass(asked, module.Connection)
        kinds = [CONNECTIONS.of(asked, stands_in=stands_in) for stands_in in (False, True)] if is_known else [None]
        target = FileTarget(module, given["database"], bool(given.get("uri")), lib or LIB)
        if None in kinds:
            return _unseen(session, target.lib)
        opens = AppStep(original, *args, **kwargs)
        noted, standing = (_with((args, kwargs), "factory", kind) for kind in kinds)
        live, stand_in = (
            AppStep(original, *less, **named) for less, named in (noted, _with(standing, "database", _MEMORY))
        )
        return connected(target, session, live, lambda: stand_in, partial(hold, target, opens))

    return guarded(LIB, original, begin, outside=True)


Given = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Arguments by position and by name."""


def _with(given: Given, name: str, value: Any) -> Given:
    """The arguments of ``connect`` with another value for one of them."""
    args, kwargs = given
    place = _NAMES.index(name)
    if place < len(args):
        return (*args[:place], value, *args[place + 1 :]), kwargs
    return args, {**kwargs, name: value}


def _unseen(session: BaseSession | None, lib: str) -> Flow | None:
    """Nothing can be derived of what the app has its connections made by: a function, or a class with slots."""
    refusal = pass_or_refuse(
        lib,
        "sqlite3 opens a connection by a factory of which no class can be derived, so its statements cannot be seen",
        "give connect() a class without __slots__ as factory.",
        session,
    )
    return only(raising(refusal)) if refusal is not None else None


def _register_converter(original: Function) -> Function:
    """An app says how values of a type are made of their bytes: a cassette holds these, where it has no form for such
    a value.
    """

    def begin(_: BaseSession | None, name: Any, converter: Any) -> Flow:
        known = str(name).upper()

        def converting(value: bytes) -> Any:
            made = converter(value)
            if type(made) not in PLAIN:
                looked("sqlite3.converter", note_made, made, _CONVERTER, known, [value])
            return made

        yield AppStep(original, name, converting)
        registers(_CONVERTER, known, lambda parts: converter(*parts))

    return guarded(LIB, original, begin, outside=True)
