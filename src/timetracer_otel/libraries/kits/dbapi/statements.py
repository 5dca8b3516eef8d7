"""A statement as it is matched: its text, its first word, its bound values with their names."""

from __future__ import annotations

import enum
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from datetime import date, datetime, time
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

from timetracer_otel.calls.whose_error import outside
from timetracer_otel.cassette import pack_native
from timetracer_otel.libraries.kits.dbapi.driver import known
from timetracer_otel.libraries.kits.dbapi.values import PLAIN, items_of, or_raising, pairs_of, plain_parameter

__all__ = [
    "CursorCall",
    "Effect",
    "arguments",
    "cursor_call",
    "effect_of",
    "is_connection_setup",
    "quoted_identifier",
    "text_of",
    "two_phase_name",
    "verb_of",
]

_COMMENTER = re.compile(
    r"\s*/\*\s*[\w.%-]+='(?:[^'\\]|\\.)*'(?:\s*,\s*[\w.%-]+='(?:[^'\\]|\\.)*')*\s*\*/\s*(;?)\s*\Z"
)
"""A comment of key='value' pairs at the end (https://google.github.io/sqlcommenter/spec/). Tracers add the id of the
trace in this way, which differs in each run."""

_SAVEPOINT = re.compile(
    r'(\s*(?:SAVEPOINT|RELEASE\s+SAVEPOINT|ROLLBACK\s+TO(?:\s+SAVEPOINT)?)\s+["`]?s)\d+_x\d+(["`]?\s*)\Z',
    re.IGNORECASE,
)
"""A savepoint with a name of an ORM's: in it are the id of the thread and the number of savepoints that the thread
had by then. Both differ in each run, and the order of statements tells which savepoint is meant."""

_OF_SETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Tables that are emptied at once, or whose numbers begin anew, options of EXPLAIN, and words of JSON where a
        # database has no type for it.
        r"""\A(\s*UPDATE "\w+" SET "seq" = 0 WHERE "name" IN \()('[^']+'(?:, '[^']+')+)(?=\))""",
        r'\A(\s*TRUNCATE\s+(?:TABLE\s+)?)("[^"]+"(?:,\s*"[^"]+")+)',
        r"\A(\s*EXPLAIN\s+\()(\w+ \w+(?:, \w+ \w+)+)(?=\))",
        r"\b(IN \()('(?:false|null|true)'(?:,'(?:false|null|true)'){2})(?=\))",
    )
)
"""Lists in statements that an ORM makes of sets: each process has another order of them, and none is meant."""

_LEADING = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)?", re.DOTALL)

_SETUP = frozenset({"SET", "RESET", "PRAGMA", "ALTER", "ATTACH", "USE", "BEGIN", "COMMIT", "ROLLBACK", "LOAD", ""})
_PING = re.compile(r"\s*(?:SELECT\s+1(?:\s+FROM\s+DUAL)?)?\s*;?\s*\Z", re.IGNORECASE)


def text_of(statement: Any) -> str:
    """The text of a statement, without a tracer's comment. Drivers also take bytes, and objects of their own."""
    if type(statement) is str:
        return _as_compared(statement)
    if isinstance(statement, bytes):
        text = statement.decode("utf-8", "backslashreplace")
    elif isinstance(statement, str):
        text = str.__str__(statement)
    elif (as_text := known.statement_texts.get(type(statement).__module__)) is not None:
        text = as_text(statement)
    else:
        # Several drivers have classes that put a statement together, with this method; None stands for a connection.
        as_string = outside(getattr, statement, "as_string", None)
        text = str(outside(as_string, None)) if as_string is not None else outside(str, statement)
    return _as_compared(text)


# An app has few statements, and repeats them.
@lru_cache(maxsize=2048)
def _as_compared(text: str) -> str:
    """A text without what differs in each run: a tracer's comment, the id of a thread, the order of a set."""
    text = _SAVEPOINT.sub(r"\1_x\2", text)
    for pattern in _OF_SETS:
        text = pattern.sub(_sorted, text)
    return _COMMENTER.sub(r"\1", text) if "*/" in text[-3:] or text.rstrip().endswith(("*/", "*/;")) else text


def _sorted(found: re.Match[str]) -> str:
    separator = ", " if ", " in found[2] else ","
    return found[1] + separator.join(sorted(found[2].split(separator)))


@lru_cache(maxsize=2048)
def verb_of(text: str) -> str:
    """The first word of a statement, in upper case: SELECT, INSERT, and so on; empty where there is none."""
    found = _LEADING.match(text)
    return (found.group(1) or "").upper() if found else ""


def quoted_identifier(name: str) -> str:
    """A name in quotes, as standard SQL has it, and as ``PQescapeIdentifier`` of libpq makes it."""
    return '"' + name.replace('"', '""') + '"'


def is_connection_setup(text: str) -> bool:
    """Whether a statement only sets up its connection, or pings the server: no app looks at its answer."""
    return _PING.match(text) is not None or verb_of(text) in _SETUP


class Effect(enum.Enum):
    """What a statement does to the connection that it runs on, besides its answer."""

    NONE = "none"
    """Nothing."""
    SETS = "sets"
    """It sets something that lasts, such as ``SET search_path``."""
    TRANSACTION = "transaction"
    """It begins a transaction, or is about savepoints or settings of the open one."""
    ENDS = "ends"
    """It ends the open transaction."""
    PREPARES = "prepares"
    """It prepares the open transaction, to be committed or undone later by its name (two-phase commit)."""
    FINISHES = "finishes"
    """It commits or undoes the transaction that was prepared under that name."""


_TRANSACTION = frozenset({"BEGIN", "START", "SAVEPOINT", "RELEASE"})
_LASTING = frozenset({"SET", "RESET", "USE", "ATTACH", "DETACH", "LOAD"})
_OF_TRANSACTION = re.compile(
    r"\s*(?:SET\s+(?:LOCAL|TRANSACTION|CONSTRAINTS)|ROLLBACK\s+(?:WORK\s+|TRANSACTION\s+)?TO)\b", re.IGNORECASE
)
_TWO_PHASE = re.compile(
    r"\s*(?:PREPARE\s+TRANSACTION|(?:COMMIT|ROLLBACK)\s+PREPARED)\s+'((?:[^']|'')*)'\s*;?\s*\Z", re.IGNORECASE
)


def two_phase_name(text: str) -> str | None:
    """Name of the transaction in a statement of the two-phase commit; None for other statements."""
    found = _TWO_PHASE.match(text)
    return found.group(1) if found else None


@lru_cache(maxsize=2048)
def effect_of(text: str) -> Effect:
    """What a statement does to its connection."""
    if two_phase_name(text) is not None:
        return Effect.PREPARES if verb_of(text) == "PREPARE" else Effect.FINISHES
    verb = verb_of(text)
    if verb in _TRANSACTION or _OF_TRANSACTION.match(text):
        return Effect.TRANSACTION
    if verb in ("COMMIT", "ROLLBACK", "END"):
        return Effect.ENDS
    if verb in _LASTING or (verb == "PRAGMA" and "=" in text):
        return Effect.SETS
    return Effect.NONE


_STATEMENT_NAMES: Final = ("operation", "query", "sql", "statement")
_VALUES_NAMES: Final = (
    "parameters",
    "params",
    "vars",
    "args",
    "seq_of_parameters",
    "params_seq",
    "vars_list",
    "seq_params",
)
"""What drivers call the parameters of ``execute`` and ``executemany``.

An app may give its arguments by these names.
"""


class CursorCall(NamedTuple):
    """The arguments of an ``execute``, ``executemany`` or ``callproc``, and what each of them is."""

    statement: Any
    """As the driver gets it."""
    values: Any = None
    """The bound values; a sequence of them where ``many``."""
    many: bool = False
    options: Mapping[str, Any] = {}
    """What else was given by name."""
    args: tuple[Any, ...] = ()
    """All of it again, as the driver gets it."""
    kwargs: Mapping[str, Any] = {}
    is_read_late: bool = False
    """Whether the app gave the sets of values one by one, so that the driver reads them while it runs."""


class RowsRead:
    """The sets of values of an ``executemany``, noted as the driver reads them.

    A generator of the app's may do anything before it gives the next one, and may never end. So nobody reads it but
    the driver.

    Args:
        rows: What the app gave.

    Attributes:
        seen: What the driver has read by now.
    """

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows: Iterable[Any] | None = rows
        self._iterator: Iterator[Any] = iter(())
        self.seen: list[Any] = []

    def __iter__(self) -> RowsRead:
        return self

    def __next__(self) -> Any:
        if self._rows is not None:
            rows, self._rows = self._rows, None
            self._iterator = iter(rows)
        row = next(self._iterator)
        # An app may give the same list each time, with other values in it.
        self.seen.append(row.copy() if type(row) in (list, dict) else row)
        return row


_NO_OPTIONS: Final[Mapping[str, Any]] = {}


def cursor_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, many: bool = False, as_read: bool = False
) -> CursorCall | None:
    """Which argument of a cursor's method is what; None where the driver will not take them.

    Args:
        args: As the app gave them.
        kwargs: The same, by name.
        many: Whether there are many sets of values.
        as_read: Whether sets that can be read only once are left to the driver to read.
    """
    statement_name = values_name = None
    if kwargs:
        statement_name = next((name for name in _STATEMENT_NAMES if name in kwargs), None)
        values_name = next((name for name in _VALUES_NAMES if name in kwargs), None)
    elif args and not many:
        # As libraries call it.
        return CursorCall(args[0], args[1] if len(args) > 1 else None, False, {}, args)
    if not args and statement_name is None:
        return None
    statement = args[0] if args else kwargs[statement_name or ""]
    values = args[1] if len(args) > 1 else kwargs.get(values_name or "")
    is_read_late = False
    if many and not isinstance(values, (list, tuple)):
        if not isinstance(values, Iterable):
            return None
        # Where we read it, the driver gets a list of what it held. What the app's iterator raises is the app's.
        is_read_late = True
        read = RowsRead(values)
        if not as_read:
            outside(list, read)
        rows, values = read if as_read else read.seen, read.seen
        if len(args) > 1:
            args = (statement, rows, *args[2:])
        else:
            kwargs = {**kwargs, values_name or "": rows}
    options = (
        {name: value for name, value in kwargs.items() if name not in (statement_name, values_name)}
        if kwargs
        else _NO_OPTIONS
    )
    return CursorCall(statement, values, many, options, args, kwargs, is_read_late)


def arguments(call: CursorCall, names: tuple[str, ...], unordered: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What a call of a cursor is matched by.

    Args:
        call: As the app or the library made it.
        names: What positional values are called; empty where that is not known.
        unordered: As `StatementFacts` has it.
    """
    text = text_of(call.statement)
    made: dict[str, Any] = {"statement": text}
    values = call.values
    if call.many:
        made["many"] = or_raising(_rows, values, names, unordered)
    elif values is not None and (type(values) in _COLLECTIONS or isinstance(values, Sized)):
        row = or_raising(_row, values if names else _without_order(text, values), names, unordered)
        if row:
            made["parameters"] = row
    if call.options:
        made["options"] = {name: plain_parameter(value) for name, value in call.options.items()}
    return made


def _row(values: Any, names: tuple[str, ...], unordered: frozenset[str]) -> Any:
    return _in_order(_named(values, names), unordered)


def _rows(rows: Any, *more: Any) -> list[Any]:
    return [or_raising(_row, row, *more) for row in items_of(rows)]


_PLACEHOLDER = re.compile(r"%[%s]")
_IN = re.compile(r"\bIN \((%s(?:, %s)+)\)")
_HASHED_ANEW: Final = frozenset({str, bytes, date, datetime, time})
"""Classes whose values have another order in a set of each process."""


# An app has few statements, and repeats them.
@lru_cache(maxsize=2048)
def _in_lists(text: str) -> tuple[slice, ...]:
    """Where the values of each ``IN (...)`` stand among those of a statement."""
    if "IN (%s, %s" not in text:
        return ()
    found: list[slice] = []
    for each in _IN.finditer(text):
        first = _PLACEHOLDER.findall(text, 0, each.start(1)).count("%s")
        found.append(slice(first, first + each[1].count("%s")))
    return tuple(found)


def _without_order(text: str, values: Any) -> Any:
    """The values of a statement; those of an ``IN (...)``, which an app may take from a set, stand in their order."""
    if type(values) not in (list, tuple):
        return values
    lists = _in_lists(text)
    if not lists:
        return values
    made = list(values)
    for place in lists:
        kinds = {*map(type, made[place])}
        if len(kinds) == 1 and kinds <= _HASHED_ANEW:
            made[place] = sorted(made[place], key=repr)
    return made


_OWN_FORM: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"})
"""Verbs of statements that are compared as they stand, whatever the library and the dialect."""


def packed_arguments(verb: str, text: str, values: Any, names: tuple[str, ...]) -> bytes | None:
    """The encoded `arguments` of an ``execute``, in the form in which they are compared; None for those that are not
    as nearly all are.

    Args:
        verb: Of the statement.
        text: Of the statement, without a tracer's comment.
        values: The bound values.
        names: As for `arguments`.
    """
    if verb not in _OWN_FORM:
        return None
    if values is None or (type(values) in _COLLECTIONS and not values):
        return pack_native({"statement": text})
    if type(values) is tuple:
        if not PLAIN.issuperset(map(type, values)):
            return None
        if not names:
            return pack_native({"parameters": list(_without_order(text, values)), "statement": text})
        keys, in_order = _in_order_of_keys(names)
        if len(keys) != len(values):
            return None
        if in_order is not None:
            values = in_order(values)
        return pack_native({"parameters": dict(zip(keys, values, strict=True)), "statement": text})
    if type(values) is not dict or not PLAIN.issuperset(map(type, values.values())) or {*map(type, values)} != {str}:
        return None
    return pack_native({"parameters": {name: values[name] for name in sorted(values)}, "statement": text})


# An app has few statements, and each has few orders of names.
@lru_cache(maxsize=2048)
def _in_order_of_keys(names: tuple[str, ...]) -> tuple[tuple[str, ...], Callable[[Any], Any] | None]:
    """The names in order, and what brings their values into it; None where they are. No names where two are equal."""
    if len(set(names)) != len(names):
        return (), None
    places = tuple(sorted(range(len(names)), key=names.__getitem__))
    keys = tuple(names[place] for place in places)
    return keys, (None if keys == names else itemgetter(*places))


_COLLECTIONS: Final = frozenset({dict, list, tuple})
"""Of which it need not be asked whether they have a length: to ask an abstract class takes longer than all else."""


def _named(parameters: Any, names: tuple[str, ...]) -> Any:
    if type(parameters) is dict or isinstance(parameters, Mapping):
        return {plain_parameter(name): plain_parameter(value) for name, value in pairs_of(parameters)}
    if type(parameters) is tuple and PLAIN.issuperset(map(type, parameters)):
        # As nearly always.
        values = list(parameters)
    elif type(parameters) in _COLLECTIONS or hasattr(type(parameters), "__iter__"):
        values = list(map(plain_parameter, items_of(parameters)))
    else:
        # A sequence that says how many it has: drivers ask for no more.
        places = range(outside(len, parameters))
        values = [plain_parameter(outside(operator.getitem, parameters, place)) for place in places]
    keys = names if len(names) == len(values) else _keys(names, len(values))
    if keys is None or len(set(keys)) != len(keys):
        return values
    return dict(zip(keys, values, strict=True))


def _in_order(parameters: Any, unordered: frozenset[str]) -> Any:
    """The values with the items of those that have no order sorted: another process joins the same set otherwise."""
    if not unordered or not isinstance(parameters, dict):
        return parameters
    # A statement that inserts several rows has the names of a column with the number of the row: ``flags__1``.
    return {
        name: ",".join(sorted(value.split(",")))
        if isinstance(value, str) and (name in unordered or name.rpartition("__")[0] in unordered)
        else value
        for name, value in parameters.items()
    }


def _keys(names: tuple[str, ...], count: int) -> tuple[str, ...] | None:
    """The names of that many values. One statement may insert several rows: then the names of a row repeat."""
    rows, rest = divmod(count, len(names)) if names else (0, 1)
    if rest or not rows:
        return None
    if rows == 1:
        return names
    return tuple(f"{name}__{row}" for row in range(rows) for name in names)
