"""The grammar of the setting ``ignore``: which field a rule leaves out of the comparison, and of which calls.

    rule   = field | scope field | sql
    field  = "query:" name | "header:" name | "body:" JSON path from $
    scope  = library [":" method [" " pattern]]          redis:GET cache:*
           | [METHOD " "] pattern of path or URL         POST /v1/*
    sql    = "sql:" [verb " "] table "." name            sql:orders.id

A colon may stand behind a scope: ``POST /v1/*: body:$.ts``. In a pattern, ``*`` stands for anything and everything
else for itself.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["BOUND", "IgnoreRule", "glob", "parse_rule"]

BOUND = "sql:"
"""What a rule about a bound value of statements begins with."""

_FIELD = re.compile(r"(?:\A|\s)(query|header|body):")
_BOUND = re.compile(r"sql:(?:[A-Za-z]+\s+)?\S+\.[^\s.]+")


class IgnoreRule(NamedTuple):
    """One rule, taken apart."""

    scope: str
    """Of which calls, without the colon behind it; empty for all calls."""
    kind: str
    """``query``, ``header``, ``body`` or ``sql``."""
    what: str
    """The field's name, or its JSON path; of ``sql``, the whole rule."""


@lru_cache(maxsize=1024)
def parse_rule(text: str) -> IgnoreRule | None:
    """A rule, taken apart; None where the text is none."""
    text = text.strip()
    found = _FIELD.search(text)
    if found is None:
        return IgnoreRule("", "sql", text) if _BOUND.fullmatch(text) else None
    kind, what = found[1], text[found.end() :].strip()
    if not (what.startswith("$") if kind == "body" else what):
        return None
    return IgnoreRule(text[: found.start()].strip().removesuffix(":").strip(), kind, what)


@lru_cache(maxsize=1024)
def glob(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for the whole text; ``*`` stands for anything."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
