"""Attributes of spans, read by the names of the old and the new semantic conventions of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["first_of", "text_or_none"]


def first_of(attributes: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these names that is there; else None."""
    return next((attributes[name] for name in names if name in attributes), None)


def text_or_none(value: Any) -> str | None:
    """A value as text; None stays None."""
    return None if value is None else str(value)
