"""Reading attributes of spans, whose names differ between OpenTelemetry's old and new semantic conventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["first_of", "text_or_none"]


def first_of(attributes: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these names that the attributes have; None where they have none of them."""
    return next((attributes[name] for name in names if name in attributes), None)


def text_or_none(value: Any) -> str | None:
    """A value as text; None stays None."""
    return None if value is None else str(value)
