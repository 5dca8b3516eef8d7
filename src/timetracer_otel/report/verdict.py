"""The verdict of a replay as text: which calls had no answer, were refused, not made, or live; what was bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timetracer_otel.report.tables import printable
from timetracer_otel.report.words import event_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from timetracer_otel.types import Verdict

__all__ = ["verdict_text"]

_MOST = 20
"""How many entries of one kind are shown. The others are only counted."""


def verdict_text(verdict: Verdict, told: Collection[BaseException] = ()) -> str:
    """A line of numbers, and below it the calls that were missed, refused, not made, and live.

    Args:
        verdict: The verdict.
        told: Errors of it that the reader is told of elsewhere.
    """
    lines = [printable(f"Replay of {verdict.cassette_path}: {verdict}")]
    elsewhere = set(map(id, told))
    lines += _section("missed", [str(error) for error in verdict.misses if id(error) not in elsewhere])
    lines += _section("blocked", [str(error) for error in verdict.blocked if id(error) not in elsewhere])
    # What is advised for a single miss stands in its text.
    if verdict.advice and len({error.rules for error in verdict.misses if error.rules}) > 1:
        lines += [
            "what to do about values that change from run to run, of all misses at once:",
            f"  {printable(verdict.advice)}",
        ]
    unused = [f"#{event.eid} {event_name(event)}" for event in verdict.unused]
    lines += _section("unused", unused)
    lines += _section("bound, recorded -> now", [str(each) for each in verdict.bindings])
    lines += _section("live", [f"{name}: {count}" for name, count in sorted(verdict.live.items())])
    return "\n".join(lines)


def _section(title: str, texts: list[str]) -> list[str]:
    if not texts:
        return []
    shown = [f"  {printable(line)}" for text in texts[:_MOST] for line in text.splitlines()]
    more = [f"  and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
    return [f"{title}:", *shown, *more]
