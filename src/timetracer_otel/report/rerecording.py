"""What a recording changed in the older one whose place it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timetracer_otel.report.comparison import compare_recordings
from timetracer_otel.report.tables import printable

if TYPE_CHECKING:
    from timetracer_otel.match.rerecording import Rerecorded

__all__ = ["rerecording_lines"]


def rerecording_lines(made: Rerecorded) -> list[str]:
    """Lines: how many calls stayed as they were, and how the others differ."""
    named = f"{printable(made.before.path or made.before.session.id)} was recorded anew"
    if made.is_same:
        return [f"{named}: no call has changed, and the file stays as it was"]
    calls = f"{made.kept} call{'s' * (made.kept != 1)} of {len(made.cassette.events)}"
    stays = f"{calls} stay{'s' * (made.kept == 1)} as {'it was' if made.kept == 1 else 'they were'}"
    if not made.kept:
        stays = "all of it is new"
    # How long a call took is another figure in each recording.
    found = compare_recordings(made.before, made.cassette, least_ms=float("inf"))
    return [f"{named}: {stays}", *found.lines()[2:]]
