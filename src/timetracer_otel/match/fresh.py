"""Whether two values differ only in what a program makes anew in each run, by its form (`match.values`)."""

from __future__ import annotations

from datetime import date, time
from typing import Any
from uuid import UUID

from timetracer_otel.match.values import pieces_of, skeleton, values_in

__all__ = ["fresh_alike", "generalised"]

_OBJECTS = (date, time, UUID)


def fresh_alike(recorded: Any, now: Any) -> bool:
    """Whether two values differ only where both have something of one fresh kind."""
    if type(recorded) is not type(now) and not {type(recorded), type(now)} <= {int, float}:
        return False
    if isinstance(recorded, _OBJECTS):
        return True
    forms = _form(recorded), _form(now)
    return forms[0] is not None and forms[0] == forms[1]


def generalised(text: str) -> str:
    """A text as a pattern, with ``*`` where it has something of a fresh form."""
    return "".join(piece if isinstance(piece, str) else "*" for piece in pieces_of(text))


def _form(value: Any) -> tuple[str, list[str]] | None:
    """A text without what is of a fresh form, and the kinds of that; None where there is nothing of the sort."""
    if isinstance(value, bool) or not isinstance(value, (str, bytes, int, float)):
        return None
    pieces = pieces_of(value.decode("latin-1") if isinstance(value, bytes) else str(value))
    kinds = [each.kind for each in values_in(pieces)]
    return (skeleton(pieces), kinds) if kinds else None
