"""A cassette with the calls that were made beyond it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from timetracer_otel.config import TraceConfig
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.trace import TraceSession
from timetracer_otel.types import CaptureStats, Cassette

__all__ = ["recorder_behind", "with_new_episodes"]


def recorder_behind(cassette: Cassette, config: TraceConfig) -> TraceSession:
    """A recording that goes on from where a cassette ends: redacted as that is, with times behind those in it.

    It takes the calls of every plugin: which are answered and which are live, the replay has decided.
    """
    policies = cassette.policies
    settings = replace(
        config,
        capture=[],
        redact=policies.redaction_mode,
        redact_extra=Redactor.names_in(policies.redaction_rules),
    )
    ends_ms = (event.start_offset_ms + event.duration_ms for event in cassette.events)
    recorder = TraceSession(settings, started_ms_ago=max([cassette.stats.total_duration_ms, *ends_ms]))
    # The client spans of calls that were answered are no calls of their own.
    recorder.observes = False
    return recorder


def with_new_episodes(cassette: Cassette, recorder: TraceSession) -> Cassette:
    """The recorded events, and behind them those of the recording that went on from there.

    Session, request and response stay the first recording's.
    """
    more = recorder.to_cassette()
    events = [replace(event, eid=eid) for eid, event in enumerate((*cassette.events, *more.events), 1)]
    return replace(
        cassette,
        events=events,
        stats=CaptureStats.of(
            events, more.stats.total_duration_ms, Counter(cassette.stats.dropped) + Counter(more.stats.dropped)
        ),
        complete=True,
    )
