"""What stands in a replay for the handle in C of a connection of mysql-connector-python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.libraries.kits.dbapi.answer import RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.mysqlconnector import internals
from timetracer_otel.libraries.mysqlconnector.internals import LIB

__all__ = ["Handle"]

_AUTOCOMMIT = 2


class Handle(ReplayObject):
    """Stands for the handle. The connection asks it for the state of the last statement.

    Args:
        target: The database.
        facts: What the recorded connection knew of its server.
    """

    _lib = LIB
    converter_str_fallback = False

    def __init__(self, target: Target, facts: Mapping[str, Any]) -> None:
        self._target = target
        self._facts = dict(facts)
        self._is_connected = True
        self._is_raw = False
        self._answer: RecordedAnswer | None = None
        self._status: int = facts.get("st_server_status", _AUTOCOMMIT)
        self._warnings = self._more = 0
        self.have_result_set = False
        """Whether there are rows."""

    def now(self, answer: RecordedAnswer | None) -> None:
        """A statement is answered: None behind an error."""
        self._answer = answer
        self.have_result_set = answer is not None and answer.gives_rows
        if answer is not None:
            self._status, self._warnings, self._more, _ = answer.state

    def take(self, count: int | None) -> tuple[list[Any], bool]:
        """Some rows, and whether they are the last ones."""
        assert self._answer is not None
        rows = list(map(tuple, self._answer.take(count)))
        is_end = count is None or len(rows) < count
        if is_end:
            self.have_result_set = False
        return rows, is_end

    def fetch_fields(self) -> list[tuple[Any, ...]]:
        """The columns as C tells them: the connection reads four items of each."""
        if self._answer is None or self._answer.description is None:
            return []
        further = self._answer.state[3]
        return [
            (None, None, None, None, column[0], None, charset, None, column[1], flags)
            for column, (flags, charset) in zip(self._answer.description, further, strict=True)
        ]

    def st_server_status(self) -> int:
        """The status of the server."""
        return self._status

    def warning_count(self) -> int:
        """How many warnings there are."""
        return self._warnings

    st_warning_count = warning_count

    def st_field_count(self) -> int:
        """How many columns there are."""
        return len(self.fetch_fields())

    field_count = num_fields = st_field_count

    def affected_rows(self) -> int:
        """How many rows the statement changed."""
        return -1 if self._answer is None else self._answer.rowcount

    def insert_id(self) -> int:
        """The number that the database made for a new row."""
        return 0 if self._answer is None else self._answer.lastrowid or 0

    def num_rows(self) -> int:
        """How many rows there are."""
        return 0 if self._answer is None else len(self._answer.rows)

    def more_results(self) -> bool:
        """Whether results follow."""
        return bool(self._more)

    def free_result(self) -> None:
        """Forget the rows."""
        self.have_result_set = False

    consume_result = free_result

    def fetch_row(self) -> None:
        """None: the connection takes rows in another way."""

    def query(self, *_: Any, **__: Any) -> None:
        """Nothing: a statement was answered, or belongs to the opening of the connection."""

    def raw(self, value: bool | None = None) -> bool:
        """Whether values are left as they came."""
        if value is not None:
            self._is_raw = value
        return self._is_raw

    def convert_to_mysql(self, *values: Any) -> Any:
        """Values as texts in a statement."""
        return internals.literals(values)

    def autocommit(self, value: bool) -> None:
        """Note it."""
        self._status = self._status | _AUTOCOMMIT if value else self._status & ~_AUTOCOMMIT

    def commit(self) -> None:
        """End the transaction; the guard of the connection answers it."""
        self._status &= ~1

    rollback = commit

    def select_db(self, _: str) -> None:
        """Nothing: no statement reaches a database."""

    def set_character_set(self, name: str) -> None:
        """Note it."""
        self._facts["character_set_name"] = name

    def use_unicode(self, _: bool) -> None:
        """Nothing: values are as they were recorded."""

    def ping(self) -> bool:
        """Whether it is there."""
        return self._is_connected

    connected = ping

    def close(self) -> None:
        """Close it."""
        self._is_connected = self.have_result_set = False

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("_facts") or {}
        if name in facts:
            return lambda: facts[name]
        if name in _UNKNOWN:
            return lambda: _UNKNOWN[name]
        return self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise unrecorded(self._target, f"connection.{name}")


_UNKNOWN: Mapping[str, Any] = {
    "character_set_name": "utf8mb4",
    "get_proto_info": 10,
    "get_server_info": "0.0.0",
    "get_ssl_cipher": None,
    "st_server_capabilities": 0,
    "thread_id": 0,
}
"""What the driver needs in order to open a connection, where a recording does not tell."""
