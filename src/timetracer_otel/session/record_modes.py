"""What a replay does about calls that its cassette does not hold: the record modes, from beginning to end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from timetracer_otel.cassette import cassette_path, check_writable, read_cassette, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import RecordMode
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.session.episodes import recorder_behind, with_new_episodes
from timetracer_otel.session.replay import ReplaySession
from timetracer_otel.session.trace import TraceSession

__all__ = ["ReplayOrRecording", "begin_replay", "save_session"]

ReplayOrRecording: TypeAlias = "ReplaySession | TraceSession"


def begin_replay(path: str | None, config: TraceConfig) -> ReplayOrRecording:
    """The session of a replay: a `TraceSession` where the record mode means to record everything.

    Raises:
        ConfigurationError: No cassette is named.
        CassetteError: The cassette is missing or broken, or nothing can be written where something will have to be.
    """
    if path is None:
        raise ConfigurationError("replay: no cassette is named. Give its path, or set TIMETRACER_CASSETTE.")
    mode = config.record_mode
    if mode is RecordMode.ALL or (mode is not RecordMode.NONE and not Path(path).exists()):
        check_writable(path, config.compression)
        return TraceSession(config)
    session = ReplaySession(read_cassette(path), str(Path(path)), config.strict_replay, config)
    if mode is RecordMode.NEW_EPISODES:
        check_writable(path, config.compression)
        session.recorder = recorder_behind(session.cassette, config)
    return session


def save_session(session: ReplayOrRecording, path: str | None, config: TraceConfig) -> None:
    """End a session, and write what it recorded: a new file in the place of the old one, at once.

    A recording without a path gets a name in ``cassette_dir``; a replay that recorded nothing writes nothing, nor
    does a forked child of the process that the session began in.

    Raises:
        CassetteError: It cannot be written.
    """
    recorder = session if isinstance(session, TraceSession) else session.recorder
    if recorder is None or recorder.is_inherited:
        return
    recorder.finalize()
    if isinstance(session, TraceSession):
        cassette = session.to_cassette()
    elif recorder.events:
        cassette = with_new_episodes(session.cassette, recorder)
    else:
        return
    if path is None:
        target = cassette_path(cassette, config.cassette_dir, config.compression)
    else:
        # The file takes the place of what is there; a link stays, and what it names is written.
        target = os.path.realpath(path) if Path(path).is_symlink() else path
    save_cassette(cassette, target, config.compression)
