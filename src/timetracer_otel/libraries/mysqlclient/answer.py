"""Results of mysqlclient, noted and recorded, and what its connection in a replay consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn

from timetracer_otel.base import faults
from timetracer_otel.calls.guarded_objects import ReplayObject, guarded_method
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.libraries.kits.dbapi.answer import RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.owners import HELD
from timetracer_otel.libraries.kits.mysql.answer import described
from timetracer_otel.libraries.kits.mysql.call import MySQLHeld
from timetracer_otel.libraries.mysqlclient import internals
from timetracer_otel.libraries.mysqlclient.internals import LIB

__all__ = ["NotedResult", "Now", "RecordedResult", "stand_in_class", "stand_in_with"]

_DICTS = 0
"""``fetch_row`` gives tuples for this argument, and dicts for others."""
_FACTS = "_timetracer_facts"
_UNKNOWN: Final = {"character_set_name": "utf8mb4", "get_server_info": "0.0"}
"""What the driver needs in order to open a connection, where a recording does not tell."""
_KEYS = 3
"""Where the state of a result has the keys of its rows as dicts."""


class NotedResult:
    """A result in C while a session records. Its methods are guards.

    Args:
        own: The driver's.
        held: What is noted of its connection.
    """

    def __init__(self, own: Any, held: MySQLHeld) -> None:
        self._own = own
        self._held = held
        self._fetches = held.open[1] if held.open is not None else None

    def fetch_row(self, maxrows: int = 1, how: int = 0) -> Any:
        """Some rows, noted; all that are left where the number is 0."""
        try:
            rows = self._own.fetch_row(maxrows, how)
        except BaseException as error:
            self._end(error)
            raise
        try:
            self._took(rows, maxrows, how)
        except Exception as fault:
            faults.contain(f"{LIB}.fetch", fault)
        return rows

    def discard(self) -> Any:
        """Skip the rows that are left."""
        value = self._own.discard()
        self._end()
        return value

    def _took(self, rows: Sequence[Any], maxrows: int, how: int) -> None:
        fetches = self._fetches
        if fetches is None:
            return
        if how != _DICTS and rows:
            fetches.state[_KEYS] = list(rows[0])
            rows = [tuple(row.values()) for row in rows]
        fetches.took(None, "many", rows, maxrows or None)
        if not maxrows or len(rows) < maxrows:
            self._end()

    def _end(self, error: BaseException | None = None) -> None:
        try:
            fetches, self._fetches = self._fetches, None
            if fetches is not None and error is not None:
                fetches.failed(error)
            if fetches is not None and self._held.open is not None and self._held.open[1] is fetches:
                self._held.let_go()
        except Exception as fault:
            faults.contain(f"{LIB}.close", fault)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __del__(self) -> None:
        self._end()


class RecordedResult(ReplayObject):
    """Stands for a result in C.

    Args:
        answer: Holds its rows.
        held: What is noted of its connection.
    """

    _lib = LIB
    has_next = 0

    def __init__(self, answer: RecordedAnswer, held: MySQLHeld) -> None:
        self._answer = answer
        self._target = held.target
        self._flags, self._keys = answer.state[2:4]

    def describe(self) -> Any:
        """The columns (PEP 249)."""
        return described(self._answer)

    def field_flags(self) -> tuple[int, ...]:
        """The flags of each column."""
        return tuple(self._flags)

    def num_fields(self) -> int:
        """How many columns there are."""
        return len(self._flags)

    def num_rows(self) -> int:
        """How many rows the driver has."""
        return self._answer.rowcount

    def fetch_row(self, maxrows: int = 1, how: int = 0) -> tuple[Any, ...]:
        """Some recorded rows; all that are left where the number is 0."""
        rows = tuple(map(tuple, self._answer.take(maxrows or None)))
        if how == _DICTS or not rows:
            return rows
        keys = self._keys
        if keys is None:
            keys = [column[0] for column in self.describe()]
            if len(set(keys)) != len(keys):
                raise unrecorded(self._target, "rows as dicts, of columns with one name")
        return tuple(dict(zip(keys, row, strict=True)) for row in rows)

    def discard(self) -> None:
        """Nothing: nothing is left on the way."""

    def __getattr__(self, name: str) -> NoReturn:
        raise unrecorded(self._target, f"result.{name}")


class Now:
    """What a connection says in a replay of the statement that it sent last.

    Args:
        answer: The recorded one; None behind an error.
        held: What is noted of the connection.
    """

    def __init__(self, answer: RecordedAnswer | None, held: MySQLHeld) -> None:
        state: list[Any] = answer.state if answer is not None else [0, False, None, None]
        self.warning_count, self.has_more, self.flags, _ = state
        self.result = RecordedResult(answer, held) if answer is not None and answer.gives_rows else None
        self.more_results = self.has_more
        self.affected_rows = answer.rowcount if answer is not None else -1
        self.insert_id = (answer.lastrowid or 0) if answer is not None else 0
        self.field_count = len(self.flags) if self.result is not None else 0


class _Unconnected(ReplayObject):
    """The methods of a connection that was never connected, in the place of those in C."""

    __slots__ = ()
    _lib = LIB
    converter: Any

    # The driver calls it, and not we.
    @guarded_method
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.converter = dict(kwargs.get("conv") or {})
        vars(self)["_timetracer_open"] = True

    @property
    def closed(self) -> int:
        """Whether the app has closed it."""
        return int(not self.open)

    @property
    def open(self) -> int:
        """Whether the app has not closed it."""
        return int(vars(self)["_timetracer_open"])

    @property
    def server_capabilities(self) -> Any:
        """As recorded."""
        return vars(self)[_FACTS].get("server_capabilities", 0)

    @property
    def client_flag(self) -> Any:
        """As recorded."""
        return vars(self)[_FACTS].get("client_flag", 0)

    @property
    def port(self) -> Any:
        """As recorded."""
        return vars(self)[_FACTS].get("port", 0)

    def close(self) -> None:
        """Close it."""
        _check(self)
        vars(self)["_timetracer_open"] = False

    def select_db(self, _: Any) -> None:
        """Nothing: no statement reaches a database."""
        _check(self)

    def set_character_set(self, name: str) -> None:
        """Note the character set."""
        _check(self)
        vars(self)[_FACTS]["character_set_name"] = name

    def string_literal(self, value: Any) -> Any:
        """A value as a text in a statement."""
        return internals.string_literal(value)

    def escape(self, value: Any, encoders: Any = None) -> Any:
        """The same by the app's converters."""
        return internals.escape(value, encoders)

    def escape_string(self, value: Any) -> Any:
        """The same without quotes."""
        return internals.escape_string(value)

    def __repr__(self) -> str:
        return "<_mysql.connection of a replay>"


def _check(connection: Any) -> None:
    if not vars(connection)["_timetracer_open"]:
        raise_for_app(internals.closed_error())


def _told(name: str) -> Any:
    @guarded_method
    def told(self: Any) -> Any:
        _check(self)
        return vars(self)[_FACTS].get(name, _UNKNOWN.get(name))

    return told


def _refused(name: str) -> Any:
    @guarded_method
    def refused(self: Any, *_: Any, **__: Any) -> NoReturn:
        _check(self)
        raise unrecorded(vars(self)[HELD].target, f"connection.{name}")

    return refused


@guarded_method
def _autocommit(self: Any, on: Any) -> None:
    _check(self)
    vars(self)[_FACTS]["get_autocommit"] = bool(on)


_TOLD = (
    *("character_set_name", "get_autocommit", "get_character_set_info", "get_host_info", "get_proto_info"),
    *("get_server_info", "thread_id"),
)


def stand_in_with(connection: Any, facts: Mapping[str, Any], guards: Mapping[str, Any]) -> None:
    """Make a connection that was not connected one of a replay.

    Args:
        connection: Of the driver's class, or of one of the app's.
        facts: What the recorded one knew of its server.
        guards: The methods that answer from the cassette, by name.
    """
    vars(connection).update({_FACTS: dict(facts), "_timetracer_open": False})
    of: Any = type(connection)
    connection.__class__ = stand_in_class(of, tuple(guards.items()))


@lru_cache(maxsize=64)
def stand_in_class(asked: Any, guards: tuple[tuple[str, Any], ...]) -> type[Any]:
    """A class that is derived of the driver's or the app's, none of whose methods reaches C: a connection that was
    never connected has nothing there.
    """
    # Where the driver's own class has such a method, that asks the one beneath.
    own = {name: _refused(name) for name in internals.in_c_names()} | {name: _told(name) for name in _TOLD}
    own |= {name: method for name, method in vars(_Unconnected).items() if name in own}
    beneath = type("_Unconnected", (_Unconnected, internals.in_c()), {"__slots__": (), **own})
    names = {"__module__": asked.__module__, "__qualname__": asked.__qualname__, "__slots__": ()}
    del own["set_character_set"]
    return type(asked.__name__, (asked, beneath), {**own, **names, **dict(guards), "autocommit": _autocommit})
