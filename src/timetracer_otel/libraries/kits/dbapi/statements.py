"""A statement as it is matched: its text, its kind, its bound values with their names."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sized
from functools import lru_cache
from typing import Any, Final, NamedTuple

from timetracer_otel.libraries.kits.dbapi.composed import composed_text, is_composed
from timetracer_otel.libraries.kits.dbapi.values import plain_parameter
from timetracer_otel.libraries.sqlalchemy.internals import Binds

__all__ = [
    "Effect",
    "Given",
    "arguments",
    "effect_of",
    "given",
    "is_connection_setup",
    "kind_of",
    "text_of",
    "two_phase_name",
]

_COMMENTER = re.compile(
    r"\s*/\*\s*[\w.%-]+='(?:[^'\\]|\\.)*'(?:\s*,\s*[\w.%-]+='(?:[^'\\]|\\.)*')*\s*\*/\s*(;?)\s*\Z"
)
"""A trailing comment of key='value' pairs (https://google.github.io/sqlcommenter/spec/), as tracers add them."""

_LEADING = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)?", re.DOTALL)

_SETUP = frozenset({"SET", "RESET", "PRAGMA", "ALTER", "ATTACH", "USE", "BEGIN", "COMMIT", "ROLLBACK", "LOAD", ""})
_PING = re.compile(r"\s*(?:SELECT\s+1(?:\s+FROM\s+DUAL)?)?\s*;?\s*\Z", re.IGNORECASE)


def text_of(statement: Any) -> str:
    """The text of a statement without a tracer's comment; drivers take bytes and objects of their own as well."""
    if isinstance(statement, bytes):
        text = statement.decode("utf-8", "backslashreplace")
    elif isinstance(statement, str):
        text = str.__str__(statement)
    elif is_composed(statement):
        text = composed_text(statement)
    else:
        as_string = getattr(statement, "as_string", None)
        text = str(as_string(None)) if as_string is not None else str(statement)
    return _COMMENTER.sub(r"\1", text) if "*/" in text[-3:] or text.rstrip().endswith(("*/", "*/;")) else text


@lru_cache(maxsize=2048)
def kind_of(text: str) -> str:
    """The first word of a statement, in upper case: SELECT, INSERT, and so on."""
    found = _LEADING.match(text)
    return (found.group(1) or "").upper() if found else ""


def is_connection_setup(text: str) -> bool:
    """Whether a statement only sets its connection up, or pings: running it has no answer that counts."""
    return _PING.match(text) is not None or kind_of(text) in _SETUP


class Effect(enum.Enum):
    """What a statement does to the connection that it runs on, besides its answer."""

    NONE = "none"
    SETS = "sets"
    """Something that lasts."""
    TRANSACTION = "transaction"
    """It begins a transaction, or is about savepoints or settings of the one under way."""
    ENDS = "ends"
    """It ends the transaction under way."""
    PREPARES = "prepares"
    """It ends the transaction under way, to be committed or undone by its name."""
    FINISHES = "finishes"
    """It commits or undoes what was prepared under that name."""


_TRANSACTION = frozenset({"BEGIN", "START", "SAVEPOINT", "RELEASE"})
_LASTING = frozenset({"SET", "RESET", "USE", "ATTACH", "DETACH", "LOAD"})
_OF_TRANSACTION = re.compile(
    r"\s*(?:SET\s+(?:LOCAL|TRANSACTION|CONSTRAINTS)|ROLLBACK\s+(?:WORK\s+|TRANSACTION\s+)?TO)\b", re.IGNORECASE
)


_TWO_PHASE = re.compile(
    r"\s*(?:PREPARE\s+TRANSACTION|(?:COMMIT|ROLLBACK)\s+PREPARED)\s+'((?:[^']|'')*)'\s*;?\s*\Z", re.IGNORECASE
)


def two_phase_name(text: str) -> str | None:
    """The transaction that a statement of the two-phase commit is about; None for other statements."""
    found = _TWO_PHASE.match(text)
    return found.group(1) if found else None


@lru_cache(maxsize=2048)
def effect_of(text: str) -> Effect:
    """What a statement does to its connection."""
    if two_phase_name(text) is not None:
        return Effect.PREPARES if kind_of(text) == "PREPARE" else Effect.FINISHES
    kind = kind_of(text)
    if kind in _TRANSACTION or _OF_TRANSACTION.match(text):
        return Effect.TRANSACTION
    if kind in ("COMMIT", "ROLLBACK", "END"):
        return Effect.ENDS
    if kind in _LASTING or (kind == "PRAGMA" and "=" in text):
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
"""What drivers call the parameters of a cursor's methods, which an app may give by name."""


class Given(NamedTuple):
    """The arguments of an ``execute``, ``executemany`` or ``callproc``, and what they are."""

    statement: Any
    """As the driver gets it."""
    values: Any = None
    """The bound values; a sequence of them where ``many``."""
    many: bool = False
    options: Mapping[str, Any] = {}
    """What else was given by name."""
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


def given(args: tuple[Any, ...], kwargs: dict[str, Any], *, many: bool = False) -> Given | None:
    """What the arguments of a cursor's method are; None where the driver will not take them."""
    statement_name = values_name = None
    if kwargs:
        statement_name = next((name for name in _STATEMENT_NAMES if name in kwargs), None)
        values_name = next((name for name in _VALUES_NAMES if name in kwargs), None)
    if not args and statement_name is None:
        return None
    statement = args[0] if args else kwargs[statement_name or ""]
    values = args[1] if len(args) > 1 else kwargs.get(values_name or "")
    if many and not isinstance(values, (list, tuple)):
        if not isinstance(values, Iterable):
            return None
        # An iterator can be read once: the driver gets what it had.
        values = list(values)
        if len(args) > 1:
            args = (statement, values, *args[2:])
        else:
            kwargs = {**kwargs, values_name or "": values}
    options = {name: value for name, value in kwargs.items() if name not in (statement_name, values_name)}
    return Given(statement, values, many, options, args, kwargs)


def arguments(call: Given, binds: Binds) -> dict[str, Any]:
    """What a call of a cursor is matched by.

    Args:
        call: As the app or SQLAlchemy made it.
        binds: What positional values are called.
    """
    made: dict[str, Any] = {"statement": text_of(call.statement)}
    if call.many:
        made["many"] = [_named(row, binds) for row in call.values]
    elif isinstance(call.values, Sized) and len(call.values):
        made["parameters"] = _named(call.values, binds)
    if call.options:
        made["options"] = {name: plain_parameter(value) for name, value in call.options.items()}
    return made


def _named(parameters: Any, binds: Binds) -> Any:
    if isinstance(parameters, Mapping):
        return {plain_parameter(name): plain_parameter(value) for name, value in parameters.items()}
    values = [plain_parameter(value) for value in parameters]
    names = binds.of(len(values))
    if names is None or len(set(names)) != len(names):
        return values
    return dict(zip(names, values, strict=True))
