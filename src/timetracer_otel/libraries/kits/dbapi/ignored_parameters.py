"""Bound values that a replay does not compare: ``ignore_sql_params``, and the ``sql:`` rules of ``ignore``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from timetracer_otel.base.ignore_rules import BOUND
from timetracer_otel.libraries.kits.dbapi.statements import verb_of

__all__ = ["IGNORED", "IgnoredParameters", "base_name", "ignored_by", "tables_of"]

IGNORED = "[IGNORED]"
"""Stands where a value is compared with whatever was recorded."""

_SUFFIX = re.compile(r"(?:_m?\d+|__\d+)+\Z")
"""What SQLAlchemy adds to the name of a bound value that occurs more than once (``password_1``, ``password__0``)."""
_SPACES = re.compile(r"\s+")
_NAME = r"(?:\"[^\"]+\"|`[^`]+`|\[[^\]]+\]|\w+)"
_TABLE = re.compile(
    rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+|ONLY\s+)?({_NAME}(?:\s*\.\s*{_NAME})*)",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def base_name(name: str) -> str:
    """The name of a bound value without what tells it from others of that name."""
    return _SUFFIX.sub("", name)


@lru_cache(maxsize=2048)
def tables_of(statement: str) -> tuple[str, ...]:
    """The names of the tables that a statement speaks of, in order, in lower case and without quotes."""
    found = (re.sub(r"[\"`\[\]\s]", "", name).lower() for name in _TABLE.findall(statement))
    return tuple(dict.fromkeys(name for name in found if name != "select"))


class _Rule(NamedTuple):
    statement: re.Pattern[str] | None
    names: frozenset[str]
    positions: frozenset[int]
    table: str | None = None
    verb: str = ""

    def is_for(self, statement: str) -> bool:
        """Whether the rule is about a statement, whose white space is single spaces."""
        if self.table is None:
            return self.statement is None or self.statement.match(statement) is not None
        if self.verb and verb_of(statement) != self.verb:
            return False
        tables = tables_of(statement)
        return self.table == "*" or any(self.table in (name, name.rpartition(".")[2]) for name in tables)


class IgnoredParameters:
    """The bound values that are not compared, by the rules of the setting ``ignore_sql_params``. Immutable.

    A rule is ``names`` or ``statement pattern: names``. The pattern is a whole statement in which ``*`` stands for
    anything, without regard to case and to kinds of white space; names are of bound values, or positions from 1. Or
    it is ``sql:table.name`` or ``sql:VERB table.name``, for statements that speak of the table.

    Raises:
        ValueError: A rule names nothing; the text is the rule.
    """

    def __init__(self, rules: Sequence[str]) -> None:
        self._rules = tuple(map(_parsed, rules))

    def applied(self, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments with ignored values replaced; the same object where no rule is for the statement."""
        statement = _SPACES.sub(" ", args["statement"]).strip()
        rules = [rule for rule in self._rules if rule.is_for(statement)]
        if not rules:
            return args
        made = dict(args)
        if "parameters" in made:
            made["parameters"] = _without(made["parameters"], rules)
        if "many" in made:
            made["many"] = [_without(values, rules) for values in made["many"]]
        return made


def _parsed(text: str) -> _Rule:
    if text.startswith(BOUND):
        verb, _, column = text.removeprefix(BOUND).strip().rpartition(" ")
        table, _, name = column.lower().rpartition(".")
        if not table or not name:
            raise ValueError(text)
        position = frozenset({int(name)}) if name.isdigit() else frozenset[int]()
        return _Rule(None, frozenset() if position else frozenset({name}), position, table, verb.strip().upper())
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


@lru_cache(maxsize=64)
def ignored_by(rules: tuple[str, ...]) -> IgnoredParameters:
    """The `IgnoredParameters` of these rules, read once.

    Raises:
        ValueError: As for `IgnoredParameters`.
    """
    return IgnoredParameters(rules)
