"""`OwnRules`: what a project calls secret, by the setting ``redact_rules``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from timetracer_otel.base.ignore_rules import glob
from timetracer_otel.base.redaction_rules import json_path, parse_redaction_rule

__all__ = ["OwnRules"]


class OwnRules(NamedTuple):
    """The rules by what they are about."""

    names: frozenset[str] = frozenset()
    paths: tuple[tuple[str, ...], ...] = ()
    """The steps of JSON paths."""
    columns: tuple[tuple[re.Pattern[str], str], ...] = ()
    """The tables and the column of each, in lower case."""
    keys: tuple[tuple[str, re.Pattern[str]], ...] = ()
    """Libraries, and patterns of their keys."""
    finders: tuple[Any, ...] = ()
    """Expressions, and functions that give the secrets in a text. Only a recording uses them."""
    texts: tuple[str, ...] = ()
    """The rules as the cassette's header has them, but for the names."""

    @classmethod
    def of(cls, rules: Sequence[Any]) -> OwnRules:
        """The rules of a setting: texts, compiled expressions, and functions."""
        return _own_rules(tuple(rules))

    def is_column(self, tables: Iterable[str], name: str) -> bool:
        """Whether a column of a statement about these tables is secret."""
        lowered = name.lower()
        return any(
            column == lowered and (any(map(table.fullmatch, tables)) or table.pattern == _ANY.pattern)
            for table, column in self.columns
        )

    def is_key(self, library: str, key: Any) -> bool:
        """Whether the values under a key of a library are secret."""
        text = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        return isinstance(text, str) and any(
            name == library and pattern.fullmatch(text) is not None for name, pattern in self.keys
        )

    def found_in(self, text: str) -> Iterator[str]:
        """What the expressions and functions call secret in a text."""
        for finder in self.finders:
            if isinstance(finder, re.Pattern):
                yield from _matched(finder, text)
            else:
                yield from finder(text)


_ANY = glob("*")


def _matched(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for found in pattern.finditer(text):
        yield found[1 if pattern.groups and found[1] else 0]


@lru_cache(maxsize=16)
def _own_rules(rules: tuple[str | re.Pattern[str] | Callable[[str], Iterable[str]], ...]) -> OwnRules:
    names: set[str] = set()
    paths: list[tuple[str, ...]] = []
    columns: list[tuple[re.Pattern[str], str]] = []
    keys: list[tuple[str, re.Pattern[str]]] = []
    finders: list[Any] = []
    texts: list[str] = []
    for rule in rules:
        if not isinstance(rule, str):
            finders.append(rule)
            name = rule.pattern if isinstance(rule, re.Pattern) else getattr(rule, "__qualname__", repr(rule))
            texts.append(f"function:{name}" if callable(rule) else f"pattern:{name}")
            continue
        parsed = parse_redaction_rule(rule)
        if parsed is None:
            continue
        kind, what = parsed
        if kind == "name":
            names.add(what.lower())
            continue
        texts.append(rule.strip())
        if kind == "body":
            paths.append(json_path(what))
        elif kind == "sql":
            table, _, column = what.rpartition(".")
            columns.append((glob(table.lower()), column.lower()))
        elif kind == "keys":
            library, _, pattern = what.partition(":")
            keys.append((library, glob(pattern)))
        else:
            finders.append(re.compile(what))
    return OwnRules(frozenset(names), tuple(paths), tuple(columns), tuple(keys), tuple(finders), tuple(texts))
