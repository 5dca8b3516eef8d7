"""The grammar of the setting ``redact_rules``: what else is secret, beside the known names and forms.

    rule = name                       ssn
         | "body:" JSON path from $   body:$.user.ssn
         | "sql:" table "." column    sql:users.email
         | library ":" pattern        session:* behind the name of a library that has keys
         | "pattern:" expression      pattern:EMP-([0-9]{6})

In a pattern of keys, ``*`` stands for anything; as a table, for all tables. Of an expression, the first group is the
secret, or all of it where it has none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["RedactionRule", "json_path", "parse_redaction_rule"]

Kind: TypeAlias = Literal["name", "body", "sql", "keys", "pattern"]
_KIND = re.compile(r"([a-z][a-z0-9_]*):(.+)", re.DOTALL)
_NAME = re.compile(r"[^\s:;,]+")
_COLUMN = re.compile(r"\S+\.[^\s.]+")
_TOKEN = re.compile(r"\.([^.\[\]]+)|\[(\d+|\*)\]|\['([^']*)'\]")


class RedactionRule(NamedTuple):
    """One rule, taken apart."""

    kind: Kind
    what: str


@lru_cache(maxsize=1024)
def parse_redaction_rule(text: str) -> RedactionRule | None:
    """A rule, taken apart; None where the text is none."""
    text = text.strip()
    found = _KIND.fullmatch(text)
    if found is None:
        return RedactionRule("name", text) if _NAME.fullmatch(text) else None
    kind, what = found[1], found[2].strip()
    if kind == "body":
        return RedactionRule("body", what) if what.startswith("$") and json_path(what) else None
    if kind == "sql":
        return RedactionRule("sql", what) if _COLUMN.fullmatch(what) else None
    if kind != "pattern":
        return RedactionRule("keys", f"{kind}:{what}")
    try:
        re.compile(what)
    except re.error:
        return None
    return RedactionRule("pattern", what)


def json_path(text: str) -> tuple[str, ...]:
    """The steps of a JSON path: ``$.a[0]['b c'].*`` gives ``a``, ``0``, ``b c`` and ``*``."""
    return tuple(next(step for step in match.groups() if step is not None) for match in _TOKEN.finditer(text[1:]))
