"""The record modes: what a replay does about calls that its cassette does not hold, at its begin and its end."""

# pyright: strict

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from timetracer_otel.base import counters, faults
from timetracer_otel.cassette import cassette_path, check_writable, open_cassette, read_cassette, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import RecordMode, Uncaptured
from timetracer_otel.exceptions import CassetteError, CassetteTooOldError, ConfigurationError
from timetracer_otel.match.process_recordings import beside
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.ages import overdue
from timetracer_otel.session.replay import ReplaySession
from timetracer_otel.session.trace import TraceSession
from timetracer_otel.types import CaptureStats, Cassette

if TYPE_CHECKING:
    from timetracer_otel.match.rerecording import Rerecorded

__all__ = ["ReplayOrRecording", "begin_replay", "save_session"]

ReplayOrRecording: TypeAlias = "ReplaySession | TraceSession"


def begin_replay(path: str | None, config: TraceConfig) -> ReplayOrRecording:
    """The session of a replay: a `TraceSession` where the record mode means to record everything.

    Raises:
        ConfigurationError: No cassette is named.
        CassetteError: The cassette is missing or broken, or nothing can be written where something will have to be.
        CassetteTooOldError: The cassette is older than the setting ``max_age`` allows, which says to fail then.
    """
    if path is None:
        raise ConfigurationError("replay: no cassette is named. Give its path, or set TIMETRACER_CASSETTE.")
    record_mode = config.record_mode
    if record_mode.is_anew or (record_mode is not RecordMode.NONE and not os.path.exists(path)):
        check_writable(path, config.compression)
        return TraceSession(config)
    cassette = open_cassette(path)
    found = overdue(cassette, path, config)
    if found is not None and found.action == "fail":
        raise CassetteTooOldError(found.text, path=path)
    if found is not None:
        faults.logger.warning("timetracer-otel: %s", found.text)
    if found is not None and found.action == "record":
        check_writable(path, config.compression)
        return TraceSession(replace(config, record_mode=RecordMode.ALL))
    session = ReplaySession(cassette, os.fspath(path), config.strict_replay, config, beside(cassette))
    session.overdue = found.text if found is not None else None
    if record_mode is RecordMode.NEW_EPISODES:
        check_writable(path, config.compression)
        session.recorder = _recorder_behind(session.cassette, config)
    return session


def save_session(session: ReplayOrRecording, path: str | None, config: TraceConfig) -> None:
    """End a session, and write what it recorded. The new file replaces an old one in one step.

    Where the record mode means to record everything anew, calls of an old file that have not changed stay in it as
    they were, and `TraceSession.rerecorded` says so; a file stays as it is where no call has changed.

    A recording without a path gets a name in ``cassette_dir``. Nothing is written for a replay that recorded nothing,
    and nothing by a forked child of the process in which the session began.

    Raises:
        CassetteError: It cannot be written.
    """
    recorder = session if isinstance(session, TraceSession) else session.recorder
    if recorder is None or recorder.is_inherited:
        return
    recorder.finalize()
    if isinstance(session, TraceSession):
        cassette = session.to_cassette()
        if config.uncaptured is not Uncaptured.RECORD:
            counters.tell_without_plugin(cassette.stats.without_plugin, cassette.stats.connections)
    elif recorder.events:
        cassette = _with_new_episodes(session.cassette, recorder)
    else:
        return
    if path is None:
        target = cassette_path(cassette, config.cassette_dir, config.compression)
    else:
        # Replacing a symbolic link would make it a file. The file that it points to is replaced instead.
        target = os.path.realpath(path) if os.path.islink(path) else path
        if isinstance(session, TraceSession) and session.config.record_mode.is_anew:
            session.rerecorded = made = _rerecorded(cassette, target)
            # Where the age counts, the file must say that it was made anew.
            if made is not None and made.is_same and not config.max_age:
                return
            cassette = made.cassette if made is not None else cassette
    save_cassette(cassette, target, config.compression)


def _rerecorded(cassette: Cassette, path: str) -> Rerecorded | None:
    """What to write in the place of the recording that is at a path; None where none can be read there."""
    try:
        before = read_cassette(path)
    except CassetteError:
        return None
    from timetracer_otel.match.rerecording import rerecorded

    try:
        return rerecorded(before, cassette)
    except Exception as error:
        # What was recorded is written as it is.
        faults.contain("rerecording", error)
        return None


def _recorder_behind(cassette: Cassette, config: TraceConfig) -> TraceSession:
    """The recording of the calls that a cassette lacks. Its times and its redaction go on from the cassette's.

    It takes the calls of every plugin: the replay decides which calls are answered and which are made for real.
    """
    policies = cassette.policies
    settings = replace(
        config,
        capture=[],
        redact=policies.redaction_mode,
        redact_extra=Redactor.names_in(policies.redaction_rules),
        redact_rules=Redactor.places_in(policies.redaction_rules),
    )
    ends_ms = (event.end_offset_ms for event in cassette.events)
    recorder = TraceSession(settings, max([cassette.stats.total_duration_ms, *ends_ms]), cassette)
    # An answered call has a client span too. That span is no call that a plugin missed.
    recorder.observes = False
    return recorder


def _with_new_episodes(cassette: Cassette, recorder: TraceSession) -> Cassette:
    """The cassette's events, followed by those that were recorded now.

    The session, the request and the response stay those of the first recording.
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
        pseudonyms=more.pseudonyms,
    )
