"""psycopg2, with its extras and ``psycopg2.sql``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from timetracer_otel.base.patching import Function, Undoable
from timetracer_otel.base.rebinding import Rebound
from timetracer_otel.calls.guarded import AppStep, Flow, guarded
from timetracer_otel.calls.registry import Connector
from timetracer_otel.libraries.kits.dbapi.driver import Driver, RowType, ValueType
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg import LibpqInfo, libpq_address
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg2_types import (
    range_of,
    range_parts,
    recorded_rows,
    type_patches,
)
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection, TwoPhaseConnection
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor
from timetracer_otel.libraries.kits.dbapi.statements import quoted_identifier
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.kits.dbapi.values import plain_parameter

__all__ = ["PSYCOPG2", "Psycopg2Connection", "function_patches"]


class Psycopg2Connection(TwoPhaseConnection):
    """A connection of psycopg2."""

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self.closed = 0
        self.readonly: Any = None
        self.deferrable: Any = None
        self.encoding = "UTF8"
        self.status = 1
        self.info = LibpqInfo(target, status=0)

    @property
    def connection(self) -> Psycopg2Connection:
        """Itself: pgvector asks this of whatever is no connection of psycopg2's own."""
        return self

    @property
    def ProgrammingError(self) -> Any:  # noqa: N802 - the name of the driver's class, as PEP 249 has it on connections
        """The driver's class of such errors."""
        return self.target.dbapi.ProgrammingError

    def known_rows(self, text: str, values: Any) -> Sequence[Any] | None:
        """The rows of what psycopg2 itself asks about types."""
        rows = recorded_rows(self.target, text, values)
        if rows is None and "typname = 'hstore'" in text:
            # SQLAlchemy has psycopg2 ask for the numbers of that type when it connects. Older recordings do not have
            # them, and their values are read already.
            return ()
        return rows

    def library_cursor(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """The cursor that the library above asks for."""
        cursor = super().library_cursor(*args, **kwargs)
        cursor.__dict__.setdefault("name", None)
        return cursor

    def lose(self) -> None:
        """Be a connection that was lost, after an error that says so."""
        self.closed = 2

    def set_isolation_level(self, level: Any) -> None:
        """Set the isolation level of the transactions that follow."""
        state = {"autocommit": level == 0, "isolation_level": None if level == 0 else level}
        self.configure("set_isolation_level", level, **state)

    def set_session(
        self, isolation_level: Any = None, readonly: Any = None, deferrable: Any = None, autocommit: Any = None
    ) -> None:
        """Set several settings of the transactions that follow."""
        settings = {"isolation_level": isolation_level, "readonly": readonly, "deferrable": deferrable}
        for name, value in {**settings, "autocommit": autocommit}.items():
            if value is not None:
                setattr(self, name, value)

    def reset(self) -> None:
        """Undo what was set, and roll back."""
        self.real.do("reset")

    def set_client_encoding(self, encoding: str) -> None:
        """Set the encoding of texts; a replay's texts have none."""
        self.configure("set_client_encoding", encoding, encoding=encoding)


def function_patches() -> list[Undoable]:
    """Patches of the functions that are written in C, and take nothing but psycopg2's own connections and cursors.

    An app that records calls ``quote_ident(name, cursor)`` with a cursor of ours: the function gets the one beneath.
    Modules have names of their own for these functions, those of pgvector for instance.
    """
    extensions, extras = (importlib.import_module(f"psycopg2.{name}") for name in ("extensions", "extras"))
    return [
        Rebound(extensions.register_type, _register_type(extensions.register_type)),
        Rebound(extensions.quote_ident, _quote_ident(extensions.quote_ident)),
        *type_patches(extras),
    ]


def _register_type(original: Function) -> Function:
    def begin(_: Any, obj: Any, *args: Any) -> Flow:
        if any(isinstance(scope, (ReplayConnection, ReplayCursor)) for scope in args):
            # It says how values are read. Those of a replay are read already.
            return None
        return (yield AppStep(original, obj, *map(_own_object, args)))

    def bare(obj: Any, *args: Any) -> Any:
        return original(obj, *map(_own_object, args))

    return guarded("psycopg2", bare, begin, outside=True)


def _quote_ident(original: Function) -> Function:
    def begin(_: Any, ident: Any, scope: Any) -> Flow:
        if isinstance(scope, (ReplayConnection, ReplayCursor)):
            return quoted_identifier(ident)
        return (yield AppStep(original, ident, _own_object(scope)))

    def bare(ident: Any, scope: Any) -> Any:
        return original(ident, _own_object(scope))

    return guarded("psycopg2", bare, begin, outside=True)


def _own_object(scope: Any) -> Any:
    """The driver's own connection or cursor."""
    return scope.__wrapped__ if issubclass(type(scope), RecordingCursor) else scope


def _composed_text(statement: Any) -> str:
    """The text of an object of ``psycopg2.sql``, for matching and showing.

    psycopg2 needs a connection to make it, and a replay has none. So a recording uses this text as well. Identifiers
    are quoted as libpq does it; literals are written so that they can be read.
    """
    kind = type(statement).__name__
    if kind == "Composed":
        return "".join(map(_composed_text, statement.seq))
    if kind == "Identifier":
        return ".".join(map(quoted_identifier, statement.strings))
    if kind == "Literal":
        return _literal(plain_parameter(statement.wrapped))
    return str(statement.as_string(None))


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if type(value) in (bool, int, float):
        return str(value)
    if type(value) is list:
        return f"ARRAY[{', '.join(map(_literal, value))}]"
    text = value.hex() if type(value) is bytes else str(value)
    return "'" + text.replace("'", "''") + "'"


def _range_type(name: str) -> ValueType:
    return ValueType(
        f"psycopg2.{name}",
        ("psycopg2._range", name),
        parts=range_parts,
        build=range_of,
        module="psycopg2.extras",
    )


def _real_dict_row(names: Sequence[Any]) -> Callable[[tuple[Any, ...]], Any]:
    kind = importlib.import_module("psycopg2.extras").RealDictRow
    return lambda values: kind(zip(names, values, strict=True))


def _dict_row(names: Sequence[Any]) -> Callable[[tuple[Any, ...]], Any]:
    # The constructor asks a cursor for these two attributes.
    cursor = SimpleNamespace(index={name: at for at, name in enumerate(names)}, description=names)
    kind = importlib.import_module("psycopg2.extras").DictRow

    def make(values: tuple[Any, ...]) -> Any:
        row = kind(cursor)
        row[:] = values
        return row

    return make


_DIAG: Final = "timetracer_diag"
_DIAG_FIELDS: Final = (
    "column_name",
    "constraint_name",
    "context",
    "datatype_name",
    "internal_position",
    "internal_query",
    "message_detail",
    "message_hint",
    "message_primary",
    "schema_name",
    "severity",
    "severity_nonlocalized",
    "source_file",
    "source_function",
    "source_line",
    "sqlstate",
    "statement_position",
    "table_name",
)


@lru_cache(maxsize=1)
def _diagnostics() -> Any:
    """A subclass of the class of ``error.diag``, with what the server said of an error.

    Objects of psycopg2's own class get that from a server only.
    """
    own = importlib.import_module("psycopg2.extensions").Diagnostics

    def init(self: Any, error: BaseException, fields: Mapping[str, Any]) -> None:
        own.__init__(self, error)
        self._fields = fields

    body = {name: property(partial(_field, name)) for name in _DIAG_FIELDS}
    return type(own.__name__, (own,), {"__module__": own.__module__, "__init__": init, **body})


def _field(name: str, diagnostics: Any) -> Any:
    return diagnostics._fields.get(name)


_WITH_DIAG: dict[type[BaseException], type[BaseException]] = {}
"""By class of the driver's: the class that stands for it."""


def _keep_error(error: BaseException, attributes: dict[str, Any]) -> None:
    diag = getattr(error, "diag", None)
    attributes[_DIAG] = {name: getattr(diag, name, None) for name in _DIAG_FIELDS}


def _reduced(error: Any) -> tuple[Any, ...]:
    """What is pickled or copied of such an error: an error of psycopg2's own class."""
    known = {"pgcode": error.pgcode, "pgerror": error.pgerror}
    return type(error).__mro__[1], error.args, {**vars(error), **known}


def _restore_error(error: BaseException, fields: Any, attributes: Mapping[str, Any]) -> BaseException:
    """The same error, in a subclass with the same name whose ``diag`` can be filled: psycopg2's is read-only."""
    kind = type(error)
    made = _WITH_DIAG.get(kind)
    if made is None:
        body = {
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "__doc__": kind.__doc__,
            # In no dictionary, where an app would see it.
            "__slots__": ("_diag",),
            "diag": property(lambda self: self._diag),
            "__reduce__": _reduced,
        }
        made = _WITH_DIAG[kind] = type(kind.__name__, (kind,), body)
    copy = made.__new__(made, *error.args)
    copy.args = error.args
    copy.__dict__ = dict(vars(error))
    if error.__cause__ is not None:
        # It also says that the context is not shown.
        copy.__cause__ = error.__cause__
    # These two attributes are read-only, and `__setstate__` is the one way to set them. It clears what it is not
    # given.
    copy.__setstate__({name: attributes.get(name) for name in ("pgcode", "pgerror")})
    vars(made)["_diag"].__set__(copy, _diagnostics()(copy, fields))
    return copy


def _connectors(module: ModuleType) -> list[Connector]:
    """What asks libpq for a connection, in psycopg2 2.9."""

    def address(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        return libpq_address(module.extensions.parse_dsn((args[0] if args else kwargs.get("dsn")) or ""))

    return [Connector("_connect", address)]


PSYCOPG2: Final = Driver(
    packages=("psycopg2",),
    statement_texts={"psycopg2.sql": _composed_text},
    value_types=(
        ValueType("psycopg2.Inet", ("psycopg2.extras", "Inet"), parts=lambda value: value.addr),
        *map(_range_type, ("NumericRange", "DateRange", "DateTimeRange", "DateTimeTZRange")),
    ),
    wrapped=("adapted", "wrapped"),
    row_types=(
        RowType("psycopg2.extras.RealDictRow", _real_dict_row, by_name=True),
        RowType("psycopg2.extras.DictRow", _dict_row),
    ),
    named_tuple_modules={"psycopg2.extras": ""},
    error_attributes=("pgcode", "pgerror"),
    keep_error=_keep_error,
    kept_apart=_DIAG,
    restore_error=_restore_error,
    cursor_class=lambda dbapi, args, kwargs: (
        kwargs.get("cursor_factory") or (args[1] if len(args) > 1 and args[1] else None) or dbapi.extensions.cursor
    ),
    connectors=_connectors,
)
