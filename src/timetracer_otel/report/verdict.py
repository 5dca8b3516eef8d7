"""What a replay did, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timetracer_otel.report.words import event_name

if TYPE_CHECKING:
    from timetracer_otel.types import Verdict

__all__ = ["verdict_text"]

_MOST = 20
"""Lines of one kind that are shown; the rest is counted."""


def verdict_text(verdict: Verdict) -> str:
    """A line of numbers, and below it what was missed, refused, not used, and live."""
    lines = [f"Replay of {verdict.cassette_path}: {verdict}"]
    lines += _errors("missed", [str(error) for error in verdict.misses])
    lines += _errors("blocked", [str(error) for error in verdict.blocked])
    unused = [f"#{event.eid} {event_name(event)}" for event in verdict.unused]
    lines += _errors("unused", unused)
    lines += _errors("live", [f"{name}: {count}" for name, count in sorted(verdict.live.items())])
    return "\n".join(lines)


def _errors(title: str, texts: list[str]) -> list[str]:
    if not texts:
        return []
    shown = [f"  {line}" for text in texts[:_MOST] for line in text.splitlines()]
    more = [f"  and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
    return [f"{title}:", *shown, *more]
