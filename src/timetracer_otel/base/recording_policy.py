"""Which recordings of requests are kept: the texts of the settings ``policy`` and ``budget``, and what they mean."""

# pyright: strict

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = [
    "BUDGET_TEXT",
    "ERRORS",
    "OTHERS",
    "POLICY_TEXT",
    "SLOWER",
    "Budget",
    "Policy",
    "budgets_of",
    "policy_of",
]

ERRORS: Final = "errors"
SLOWER: Final = "slower"
OTHERS: Final = ""
"""The kinds of recordings: of failed requests, of slow ones, and others. Each has a budget of its own."""

POLICY_TEXT: Final = (
    "errors, slower:<a time in ms, s or min>, share:<0.0 to 1.0, or 0% to 100%>, each once, separated by commas: "
    "errors,slower:500ms,share:1%"
)
BUDGET_TEXT: Final = (
    "a number per s, min or h, alone or behind errors: or slower:, each once, separated by commas: "
    "60/min,errors:120/min"
)

_NUMBER: Final = r"\d{1,9}(?:\.\d{1,9})?"
_TIME: Final = re.compile(rf"({_NUMBER})\s*(ms|s|min)")
_SHARE: Final = re.compile(rf"({_NUMBER})\s*(%?)")
_RATE: Final = re.compile(r"(\d{1,9})\s*/\s*(s|min|h)")
_UNITS_S: Final = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Policy:
    """Which recordings are kept: those that at least one of the three asks for."""

    errors: bool = False
    """Those of requests that failed."""
    slower_s: float = math.inf
    """Those of requests that took longer."""
    share: float = 0.0
    """The share of all others, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many recordings are kept within a time."""

    number: int
    period_s: float


def policy_of(text: str) -> Policy | None:
    """What a text says: ``errors,slower:500ms,share:1%``; None for the empty text, by which every recording is kept.

    Raises:
        ValueError: The text is of another form.
    """
    found: dict[str, float] = {}
    for item in text.lower().split(","):
        name, _, value = (part.strip() for part in item.partition(":"))
        if name in found:
            raise ValueError(text)
        if name == ERRORS and ":" not in item:
            found[name] = 1.0
        elif name == SLOWER and (time := _TIME.fullmatch(value)) is not None:
            found[name] = float(time[1]) * _UNITS_S[time[2]]
        elif name == "share" and (share := _SHARE.fullmatch(value)) is not None:
            found[name] = float(share[1]) / (100 if share[2] else 1)
        elif item.strip():
            raise ValueError(text)
    if found.get("share", 0.0) > 1.0:
        raise ValueError(text)
    if not found:
        return None
    return Policy(ERRORS in found, found.get(SLOWER, math.inf), found.get("share", 0.0))


def budgets_of(text: str) -> Mapping[str, Budget]:
    """The budgets of a route that a text states, by kind: ``60/min,errors:120/min``. Others have none.

    A budget without the name of a kind is that of each kind which is not named: failed requests do not take away from
    the others, nor the others from them.

    Raises:
        ValueError: The text is of another form.
    """
    found: dict[str, Budget] = {}
    for item in text.lower().split(","):
        if not item.strip():
            continue
        kind, colon, value = (part.strip() for part in item.rpartition(":"))
        rate = _RATE.fullmatch(value)
        if rate is None or int(rate[1]) < 1 or kind in found or (kind if colon else ERRORS) not in (ERRORS, SLOWER):
            raise ValueError(text)
        found[kind] = Budget(int(rate[1]), _UNITS_S[rate[2]])
    if OTHERS in found:
        found = {**dict.fromkeys((ERRORS, SLOWER), found[OTHERS]), **found}
    return found
