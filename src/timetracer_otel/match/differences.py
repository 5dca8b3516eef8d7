"""The differences of two values, item by item, and their texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

__all__ = ["MISSING", "Difference", "mapping_differences", "shortened", "value_differences"]

_LONGEST_VALUE = 80
_BEFORE = 30
"""How many equal characters are shown before the place where two long texts begin to differ."""


class _Missing:
    def __repr__(self) -> str:
        return "(none)"


MISSING = _Missing()
"""The value of a field that one side does not have."""


class Difference(NamedTuple):
    """One field that differs between a recorded call and the one that was made."""

    field: str
    recorded: Any
    actual: Any

    def __str__(self) -> str:
        recorded, actual = _excerpts(repr(self.recorded), repr(self.actual))
        return f"{self.field}: recorded {recorded}, now {actual}"


def shortened(value: Any, start: int = 0) -> str:
    """A value's text from a position on, cut to at most 80 characters."""
    text = value if isinstance(value, str) else repr(value)
    end = start + _LONGEST_VALUE
    return (
        f"{'…' if start else ''}{text[start : end - 1]}…" if len(text) > end else f"{'…' * bool(start)}{text[start:]}"
    )


def _excerpts(recorded: str, actual: str) -> tuple[str, str]:
    """Both texts, or, where one is long, the part of each around the place where they begin to differ."""
    if max(len(recorded), len(actual)) <= _LONGEST_VALUE:
        return recorded, actual
    pairs = enumerate(zip(recorded, actual, strict=False))
    parting = next((at for at, (before, now) in pairs if before != now), min(len(recorded), len(actual)))
    start = parting - _BEFORE if parting > _LONGEST_VALUE - _BEFORE else 0
    return shortened(recorded, start), shortened(actual, start)


def value_differences(name: str, recorded: Any, actual: Any) -> Iterator[Difference]:
    """The differences of two values, item by item; ``name`` is the value's own name."""
    if isinstance(recorded, dict) and isinstance(actual, dict):
        yield from mapping_differences(name, recorded, actual)
    elif isinstance(recorded, (list, tuple)) and isinstance(actual, (list, tuple)):
        yield from _sequence_differences(name, recorded, actual)
    elif recorded != actual or type(recorded) is not type(actual):
        yield Difference(name, recorded, actual)


def _sequence_differences(
    name: str, recorded: list[Any] | tuple[Any, ...], actual: list[Any] | tuple[Any, ...]
) -> Iterator[Difference]:
    # Where the lengths differ, an item was added or removed somewhere. Equal items at both ends are skipped, so that
    # not every item after that place counts as different.
    first, behind = 0, 0
    shorter = min(len(recorded), len(actual))
    if len(recorded) != len(actual):
        while first < shorter and recorded[first] == actual[first]:
            first += 1
        while behind < shorter - first and recorded[-1 - behind] == actual[-1 - behind]:
            behind += 1
    middles = recorded[first : len(recorded) - behind], actual[first : len(actual) - behind]
    for position, (before, now) in enumerate(zip_longest(*middles, fillvalue=MISSING), first):
        yield from value_differences(f"{name}[{position}]", before, now)


def mapping_differences(name: str, recorded: Mapping[Any, Any], actual: Mapping[Any, Any]) -> Iterator[Difference]:
    """The differences of two mappings, entry by entry; ``name`` is the mapping's own name."""
    for key in dict.fromkeys([*recorded, *actual]):
        yield from value_differences(f"{name}.{key}", recorded.get(key, MISSING), actual.get(key, MISSING))
