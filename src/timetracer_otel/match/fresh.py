"""Which values a program makes anew in each run: identifiers, random text, times. It is judged by their form."""

from __future__ import annotations

import re
from datetime import date, time
from typing import Any
from uuid import UUID

__all__ = ["fresh_alike", "generalised"]

_FRESH = re.compile(
    r"""
    (?P<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)
    | (?P<time>\b\d{4}-\d\d-\d\d(?:[T\ ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?
        | \b[A-Z][a-z]{2},\ \d\d\ [A-Z][a-z]{2}\ \d{4}\ \d\d:\d\d:\d\d\ GMT\b)
    | (?P<epoch>(?<![\w.])[12]\d{9}(?:\d{3}){0,3}(?:\.\d+)?(?![\w.]))
    | (?P<random>(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]*\d)(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{16,}={0,2})
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Forms that a text has not by chance. An epoch time is one of seconds, milli-, micro- or nanoseconds, after 2001."""
_OBJECTS = (date, time, UUID)


def fresh_alike(recorded: Any, now: Any) -> bool:
    """Whether two values differ only where both have something of one fresh form."""
    if type(recorded) is not type(now) and not {type(recorded), type(now)} <= {int, float}:
        return False
    if isinstance(recorded, _OBJECTS):
        return True
    forms = _form(recorded), _form(now)
    return forms[0] is not None and forms[0] == forms[1]


def generalised(text: str) -> str:
    """A text as a pattern, with ``*`` where it has something of a fresh form."""
    return _FRESH.sub("*", text)


def _form(value: Any) -> str | None:
    """A text with the names of fresh forms in their places; None where it has none."""
    if isinstance(value, bool) or not isinstance(value, (str, bytes, int, float)):
        return None
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    form, number = _FRESH.subn(lambda found: f"<{found.lastgroup}>", text)
    return form if number else None
