"""Statements as arguments: secrets among their values and rows, and values that a replay must not compare.

A plugin for a database states its calls as ``{"statement": text, "parameters": values by name or in order}``
(``"many"``: a list of those; ``"options"``: what else was given by name), and its results as
``{"description": columns, "rows": rows}``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.stand_ins import stand_in
from timetracer_otel.types import RecordedError

__all__ = [
    "IGNORED",
    "IgnoredParameters",
    "canonical",
    "is_sql",
    "redacted_arguments",
    "redacted_error",
    "redacted_reply",
]

IGNORED = "[IGNORED]"
"""Stands where a value is compared with whatever was recorded."""

_SUFFIX = re.compile(r"(?:_m?\d+|__\d+)+\Z")
"""What SQLAlchemy adds to the name of a bound value that occurs more than once (``password_1``, ``password__0``)."""
_LABEL = re.compile(r"\.\"?(\w+)\"?\s+AS\s+\"?(\w+)", re.IGNORECASE)
_SHORTEST_SECRET = 4
"""Characters of a secret that is looked for in texts; a shorter one would be found everywhere."""
_SPACES = re.compile(r"\s+")
_TWO_PHASE = re.compile(r"\s*(?:PREPARE\s+TRANSACTION|(?:COMMIT|ROLLBACK)\s+PREPARED)\b", re.IGNORECASE)
_MADE_UP = re.compile(r"_sa_[0-9a-f]{32}(?![0-9a-f])")
"""What SQLAlchemy calls a transaction of two phases: by chance, and some of its dialects write it into statements."""


def is_sql(args: Any) -> bool:
    """Whether a call's arguments are a statement."""
    return type(args) is dict and type(args.get("statement")) is str


def canonical(args: dict[str, Any]) -> dict[str, Any]:
    """A statement's arguments as they are compared: names that differ from run to run stand as one name."""
    statement: str = args["statement"]
    if "_sa_" not in statement or not _TWO_PHASE.match(statement):
        return args
    return {**args, "statement": _MADE_UP.sub("_sa_", statement)}


def redacted_arguments(args: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    """A statement's arguments with the values of secret names replaced."""
    if not redactor.active:
        return args
    made = dict(args)
    for part in made.keys() & {"parameters", "options"}:
        made[part] = _redacted_values(made[part], redactor)
    if "many" in made:
        made["many"] = [_redacted_values(values, redactor) for values in made["many"]]
    return made


def _redacted_values(values: Any, redactor: Redactor) -> Any:
    values = redactor.value(values)
    if type(values) is not dict:
        return values
    return {
        name: REDACTED if value is not None and redactor.is_secret_field(base_name(name)) else value
        for name, value in values.items()
    }


def redacted_error(error: RecordedError, args: dict[str, Any], redactor: Redactor) -> RecordedError:
    """A statement's error in whose texts the secret values of the statement are replaced: servers repeat them."""
    secrets = {value for value in _secret_texts(args, redactor) if len(value) >= _SHORTEST_SECRET}
    return _replaced(error, sorted(secrets, key=len, reverse=True)) if secrets else error


def _secret_texts(args: dict[str, Any], redactor: Redactor) -> Iterator[str]:
    for values in (args.get("parameters"), args.get("options"), *args.get("many", ())):
        if type(values) is dict:
            for name, value in values.items():
                if type(value) is str and redactor.is_secret_field(base_name(name)):
                    yield value


def _replaced(value: Any, secrets: Sequence[str]) -> Any:
    kind = type(value)
    if kind is str:
        for secret in secrets:
            value = value.replace(secret, REDACTED)
    elif kind is bytes:
        for secret in secrets:
            value = value.replace(secret.encode(), REDACTED.encode())
    elif kind in (list, tuple):
        return kind(_replaced(item, secrets) for item in value)
    elif kind is dict:
        return {key: _replaced(item, secrets) for key, item in value.items()}
    elif kind is RecordedError:
        parts = {entry.name: _replaced(getattr(value, entry.name), secrets) for entry in fields(value)}
        return RecordedError(**parts)
    return value


def redacted_reply(reply: dict[str, Any], statement: str, redactor: Redactor) -> dict[str, Any]:
    """A statement's result with the values of secret columns replaced by others of the same type."""
    columns = reply.get("description")
    if not redactor.active or not columns or not reply.get("rows"):
        return reply
    sources = {label: column for column, label in _LABEL.findall(statement)}
    secret = [
        position
        for position, column in enumerate(columns)
        if any(redactor.is_secret_field(str(name)) for name in (column[0], sources.get(column[0], "")))
    ]
    if not secret:
        return reply
    rows = []
    for row in reply["rows"]:
        items = list(row)
        for position in secret:
            items[position] = stand_in(items[position])
        rows.append(tuple(items))
    return {**reply, "rows": rows}


@lru_cache(maxsize=4096)
def base_name(name: str) -> str:
    """The name of a bound value without what tells it from others of that name."""
    return _SUFFIX.sub("", name)


class _Rule(NamedTuple):
    statement: re.Pattern[str] | None
    names: frozenset[str]
    positions: frozenset[int]


class IgnoredParameters:
    """The bound values that are not compared, by the rules of the setting ``ignore_sql_params``. Immutable.

    A rule is ``names`` or ``statement pattern: names``. The pattern is a whole statement in which ``*`` stands for
    anything, without regard to case and to kinds of white space; names are of bound values, or positions from 1.

    Raises:
        ValueError: A rule names nothing; the text is the rule.
    """

    def __init__(self, rules: Sequence[str]) -> None:
        self._rules = tuple(map(_parsed, rules))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def applied(self, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments with ignored values replaced; the same object where no rule is for the statement."""
        statement = _SPACES.sub(" ", args["statement"]).strip()
        rules = [rule for rule in self._rules if rule.statement is None or rule.statement.match(statement)]
        if not rules:
            return args
        made = dict(args)
        if "parameters" in made:
            made["parameters"] = _without(made["parameters"], rules)
        if "many" in made:
            made["many"] = [_without(values, rules) for values in made["many"]]
        return made


def _parsed(text: str) -> _Rule:
    pattern, _, listed = text.rpartition(":")
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if not names:
        raise ValueError(text)
    pattern = _SPACES.sub(" ", pattern).strip()
    return _Rule(
        re.compile(fnmatch.translate(pattern), re.IGNORECASE) if pattern not in ("", "*") else None,
        frozenset(name.lower() for name in names if not name.isdigit()),
        frozenset(int(name) for name in names if name.isdigit()),
    )


def _without(values: Any, rules: Sequence[_Rule]) -> Any:
    if type(values) is dict:
        return {
            name: IGNORED if any(_names(rule, name, position) for rule in rules) else value
            for position, (name, value) in enumerate(values.items(), 1)
        }
    return [
        IGNORED if any(position in rule.positions for rule in rules) else value
        for position, value in enumerate(values, 1)
    ]


def _names(rule: _Rule, name: str, position: int) -> bool:
    lowered = name.lower()
    return position in rule.positions or lowered in rule.names or base_name(lowered) in rule.names
