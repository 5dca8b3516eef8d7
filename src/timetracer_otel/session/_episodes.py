"""A cassette with the calls that were made beyond it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from timetracer_otel.session._trace import TraceSession
from timetracer_otel.types import CaptureStats, Cassette

__all__ = ["with_new_episodes"]


def with_new_episodes(cassette: Cassette, recorder: TraceSession) -> Cassette:
    """The recorded events, and behind them those of a recording that went on from there.

    Session, request and response stay the first recording's.
    """
    more = recorder.to_cassette()
    end_ms = max(
        [cassette.stats.total_duration_ms, *(event.start_offset_ms + event.duration_ms for event in cassette.events)]
    )
    events = [*cassette.events]
    events += [replace(event, start_offset_ms=event.start_offset_ms + end_ms) for event in more.events]
    events = [replace(event, eid=eid) for eid, event in enumerate(events, 1)]
    return replace(
        cassette,
        events=events,
        stats=CaptureStats(
            event_counts=dict(Counter(event.event_type.value for event in events)),
            total_events=len(events),
            total_duration_ms=end_ms + more.stats.total_duration_ms,
            dropped=dict(Counter(cassette.stats.dropped) + Counter(more.stats.dropped)),
        ),
        complete=True,
    )
