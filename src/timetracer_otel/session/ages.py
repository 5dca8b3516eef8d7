"""Recordings that are older than the setting ``max_age`` allows."""

# pyright: strict

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import NamedTuple

from timetracer_otel.base import real_time
from timetracer_otel.base.settings import max_age_of
from timetracer_otel.config import TraceConfig, is_ci
from timetracer_otel.types import Cassette

__all__ = ["Overdue", "overdue", "some_overdue"]

_DAY_S = 86_400
_HOUR_S = 3600
_CURE = "Record again (TIMETRACER_RECORD_MODE=all, or --timetracer-record-mode=all in tests), or allow more."


class Overdue(NamedTuple):
    """What is said of a recording that is too old, and what is to be done."""

    text: str
    action: str
    """``warn``, ``fail`` or ``record``."""


def overdue(cassette: Cassette, path: str, config: TraceConfig) -> Overdue | None:
    """What to do about a recording that is too old; None where it is not, or does not say when it was made.

    Args:
        cassette: The recording.
        path: Where it is.
        config: The settings.
    """
    session = cassette.session
    age_s = _age_s(session.renewed_at or session.recorded_at)
    limit = max_age_of(config.max_age)
    if limit is None or age_s is None or age_s <= limit.age_s:
        return None
    # On a CI nobody would keep what is recorded.
    action = "warn" if limit.action == "record" and is_ci() else limit.action
    return Overdue(f"{path} was recorded {_told(age_s)} ago, and {_allowed(config)}. {_CURE}", action)


def some_overdue(recorded_at: Iterable[str], folder: str, config: TraceConfig) -> Overdue | None:
    """The same of the recordings of a folder, by the times when they were made."""
    limit = max_age_of(config.max_age)
    if limit is None:
        return None
    ages_s = [age_s for text in recorded_at if (age_s := _age_s(text)) is not None]
    old = [age_s for age_s in ages_s if age_s > limit.age_s]
    if not old:
        return None
    which = f"{len(old)} of {len(ages_s)} recordings in {folder} are too old, the oldest of {_told(max(old))}"
    return Overdue(f"{which}, and {_allowed(config)}. Record them again, or allow more.", limit.action)


def _allowed(config: TraceConfig) -> str:
    return f"TIMETRACER_MAX_AGE is {config.max_age.partition(':')[0]}"


def _age_s(recorded_at: str) -> float | None:
    try:
        when = datetime.fromisoformat(recorded_at.replace("Z", "+00:00"))
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return real_time.time_s() - when.timestamp()


def _told(age_s: float) -> str:
    for unit_s, name in ((_DAY_S, "day"), (_HOUR_S, "hour"), (60, "minute")):
        number = int(age_s // unit_s)
        if number:
            return f"{number} {name}{'s' * (number != 1)}"
    return "less than a minute"
