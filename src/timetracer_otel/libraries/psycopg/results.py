"""Results of libpq as plain data, and back: what a server answered, beneath psycopg's loaders and row factories.

The values of a row are kept as the server sent them: text as text, and binary values as bytes. A few types that text
shows without loss (whole numbers, booleans) are kept as such, so that redaction has a stand-in of their type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from importlib import import_module
from typing import Any, Final

from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.psycopg.call import LIB

__all__ = ["RecordedResult", "as_sent", "kept_text", "noted_error", "noted_result", "size_of", "unknown_result"]

_BOOLEANS: Final = {"t": True, "f": False}
_OF_TYPE: Final[Mapping[int, Callable[[str], Any]]] = {
    16: _BOOLEANS.__getitem__,
    **dict.fromkeys((20, 21, 23, 26), int),
    **dict.fromkeys((700, 701), float),
    1700: Decimal,
}
"""By oid of a type (``pg_type``): what its text is kept as, where it can be made of that again."""
_TUPLES: Final = 2
"""``PGRES_TUPLES_OK`` of libpq."""
_TEXT: Final = 25
"""The oid of ``text``."""
_FATAL: Final = 7
"""``PGRES_FATAL_ERROR`` of libpq."""
_FIELDS: Final = tuple(map(ord, "SVCMDHPpqWFLRsctdn"))
"""What an error or a notice may tell (https://www.postgresql.org/docs/current/protocol-error-fields.html)."""
_VALUE_BYTES: Final = 32


def kept_text(data: bytes | None) -> Any:
    """What the server sent, as text if it is text."""
    if data is None:
        return None
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        return bytes(data)


def as_sent(value: Any) -> bytes | None:
    """The bytes that the server sent, of what is kept of them."""
    kind = type(value)
    if kind is str:
        return value.encode()  # type: ignore[no-any-return]
    if kind is bool:
        return b"t" if value else b"f"
    return value if value is None or kind is bytes else str(value).encode()


def _kept_column(values: list[bytes | None], of_type: Callable[[str], Any] | None) -> list[Any]:
    try:
        texts = [None if value is None else value.decode() for value in values]
    except UnicodeDecodeError:
        return list(map(kept_text, values))
    if of_type is not None:
        try:
            made = [None if text is None else of_type(text) for text in texts]
        except (ValueError, KeyError, ArithmeticError):
            return texts
        if list(map(as_sent, made)) == values:
            return made
    return texts


def noted_result(result: Any, with_rows: bool = True) -> dict[str, Any]:
    """A result of libpq as plain data.

    Args:
        result: Of libpq.
        with_rows: Whether its rows are kept.
    """
    status, tag, changed = int(result.status), result.command_status, result.command_tuples
    made: dict[str, Any] = {"status": status}
    if tag is not None:
        made["tag"] = kept_text(tag)
    if changed is not None:
        made["changed"] = changed
    columns = range(result.nfields)
    if columns:
        described = [
            [
                kept_text(result.fname(index)),
                result.ftype(index),
                result.fmod(index),
                result.fsize(index),
                result.fformat(index),
            ]
            for index in columns
        ]
        made["description"] = described
        if result.binary_tuples:
            made["binary"] = True
    if with_rows and result.ntuples:
        made["rows"] = _rows(result, made.get("description", ()))
    if status == _FATAL:
        made["error"] = noted_error(result)
        # The same as psycopg says it: without the word for how severe it is.
        made["message"] = kept_text(result.error_message)
        made["said"] = said_by(result)
    return made


def _rows(result: Any, described: Sequence[Sequence[Any]]) -> list[list[Any]]:
    get, numbers = result.get_value, range(result.ntuples)
    columns: list[list[Any]] = []
    for index, (_, oid, _, _, is_binary) in enumerate(described):
        values = [get(number, index) for number in numbers]
        columns.append(values if is_binary else _kept_column(values, _OF_TYPE.get(oid)))
    return list(map(list, zip(*columns, strict=True))) if columns else [[] for _ in numbers]


def noted_error(result: Any) -> dict[int, Any]:
    """What an error or a notice tells, by number of the field."""
    told = {field: result.error_field(field) for field in _FIELDS}
    return {field: kept_text(value) for field, value in told.items() if value is not None}


def said_by(result: Any) -> str:
    """The message of an error, as psycopg has it."""
    if hasattr(result, "get_error_message"):
        return str(result.get_error_message())
    return str(import_module("psycopg.pq").error_message(result))


def size_of(made: Mapping[str, Any]) -> int:
    """About what the rows of a noted result take in memory."""
    return sum(
        len(value) if type(value) in (str, bytes) else _VALUE_BYTES for row in made.get("rows", ()) for value in row
    )


class RecordedResult(ReplayObject):
    """Stands for a result of libpq.

    Args:
        noted: As `noted_result` made it.
        status: Another status than the noted one.
        rows: Other rows than the noted ones.
    """

    _lib = LIB
    oid_value = nparams = 0
    format: int | None = None
    """Whether all values are binary, where the columns do not tell."""

    def __init__(self, noted: Mapping[str, Any], status: Any = None, rows: Sequence[Any] | None = None) -> None:
        columns = noted.get("description", ())
        self.status = noted["status"] if status is None else status
        self.command_status = as_sent(noted.get("tag"))
        self.command_tuples = noted.get("changed")
        self.error_message = as_sent(noted.get("message")) or b""
        self.binary_tuples = int(noted.get("binary", False))
        self.rows = noted.get("rows", ()) if rows is None else rows
        """As they are kept: lists of values."""
        self.nfields, self.ntuples = len(columns), len(self.rows)
        self._columns = columns
        self._error = noted.get("error", {})
        self._said = noted.get("said", "")

    def fname(self, column_number: int) -> bytes | None:
        """Name of a column."""
        return as_sent(self._columns[column_number][0])

    def ftype(self, column_number: int) -> int:
        """Its type."""
        return self._columns[column_number][1]  # type: ignore[no-any-return]

    def fmod(self, column_number: int) -> int:
        """The modifier of its type."""
        return self._columns[column_number][2]  # type: ignore[no-any-return]

    def fsize(self, column_number: int) -> int:
        """The size of its values."""
        return self._columns[column_number][3]  # type: ignore[no-any-return]

    def fformat(self, column_number: int) -> int:
        """Whether its values are binary."""
        return self._columns[column_number][4] if self.format is None else self.format

    def ftable(self, column_number: int) -> int:
        """0: which table it came from is not kept."""
        return 0

    ftablecol = ftable

    def get_value(self, row_number: int, column_number: int) -> bytes | None:
        """A value, as the server sent it."""
        return as_sent(self.rows[row_number][column_number])

    def error_field(self, fieldcode: int) -> bytes | None:
        """What the server said of an error."""
        return as_sent(self._error.get(int(fieldcode)))

    def get_error_message(self, encoding: str = "utf-8") -> str:
        """The server's message."""
        return str(self._said)

    def clear(self) -> None:
        """Forget the rows."""
        self.rows = ()
        self.ntuples = 0


def unknown_result(target: Target, text: str) -> RecordedResult:
    """Stands for the result of a statement that set up a connection, where the cassette does not have that.

    Args:
        target: The database.
        text: The statement.
    """
    described = [["?column?", _TEXT, -1, -1, 0]]
    return RecordedResult({"status": _TUPLES, "description": described}, rows=_UnknownRows(target, text))


class _UnknownRows(Sequence[Any]):
    """A row that is refused."""

    def __init__(self, target: Target, text: str) -> None:
        self._target = target
        self._text = text

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: Any) -> Any:
        raise unrecorded(self._target, f"the rows of {self._text[:200]!r}, asked when a connection was set up,")
