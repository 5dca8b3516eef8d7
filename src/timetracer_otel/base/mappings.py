"""Small things that attributes and queries are asked for in several rooms. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["first_of", "text_or_none", "values_by_name"]


def first_of(attributes: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these names that is there (old and new semantic conventions); else None."""
    return next((attributes[name] for name in names if name in attributes), None)


def text_or_none(value: Any) -> str | None:
    """A value as text; None stays None."""
    return None if value is None else str(value)


def values_by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The value of each name, and a list of them where a name occurs more than once."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        known = values.get(name)
        values[name] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    return values
