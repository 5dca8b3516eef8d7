"""The replay of a whole process: one session from its start to its end, whose result is logged at the end."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from timetracer_otel import logs
from timetracer_otel.base import faults
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError, ConfigurationError
from timetracer_otel.process import closed_world, recorded_clock
from timetracer_otel.process.telling import tell_rerecorded
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.session.record_modes import ReplayOrRecording, begin_replay, save_session

__all__ = ["ProcessReplay"]


class ProcessReplay:
    """What ``TIMETRACER_MODE=replay`` does, in any record mode.

    Args:
        config: Names the cassette.
        session: The session; made from the configuration where it is left out.

    Raises:
        ConfigurationError: The configuration names no cassette.
        CassetteError: The cassette cannot be read, or what will be recorded cannot be written.
    """

    def __init__(self, config: TraceConfig, session: ReplayOrRecording | None = None) -> None:
        if session is None and config.cassette_path is None:
            raise ConfigurationError(
                "TIMETRACER_CASSETTE: not set, but TIMETRACER_MODE=replay needs a cassette. Name the file to replay."
            )
        self.session = session if session is not None else begin_replay(config.cassette_path, config)
        if isinstance(self.session, ReplaySession):
            self.session.by_environment = True
        self._config = config
        # The app may go to another folder while it runs.
        self._saved_to = str(Path(config.cassette_path).absolute()) if config.cassette_path is not None else None
        self._process_id = os.getpid()
        self._file = _stamp(self._saved_to)
        # A replay that could not start has no recording.
        self._has_clock = session is None and recorded_clock.begin(self.session)
        self._watches = isinstance(self.session, ReplaySession)
        if self._watches:
            closed_world.watch(config.live_hosts)
        else:
            closed_world.note()
            logs.hold()
        if config.block_network:
            closed_world.block(self.session)

    def finish(self) -> None:
        """Write what was recorded, and log what the replay did; a cassette that cannot be written is logged too."""
        session = self.session
        if self._has_clock:
            self._has_clock = False
            recorded_clock.end()
        closed_world.unblock(session)
        if self._watches:
            self._watches = False
            closed_world.unwatch()
        elif isinstance(session, TraceSession):
            closed_world.unnote()
            logs.release()
        if os.getpid() != self._process_id:
            self._finish_fork()
        elif self._saved_to is not None:
            try:
                self._save(self._saved_to)
                tell_rerecorded(session)
            except CassetteError as error:
                faults.logger.error("timetracer-otel: %s", error)
        verdict = replace(session.verdict(), cassette_path=self._config.cassette_path or "")
        # Imported here, since a process that only records never needs it.
        from timetracer_otel.report import verdict_text

        faults.say(logging.INFO if verdict.ok else logging.WARNING, verdict_text(verdict))

    @property
    def _recorder(self) -> TraceSession | None:
        session = self.session
        return session.recorder if isinstance(session, ReplaySession) else session

    def _save(self, path: str) -> None:
        """Write what was recorded, but do not replace what another process has recorded meanwhile.

        The reloaders of Django and Flask start the program a second time, so two processes have the same cassette.
        Only one of them makes calls, and the other must not write an empty cassette over these.
        """
        recorder = self._recorder
        if recorder is not None and _stamp(path) != self._file and _holds_calls(path):
            if not recorder.events:
                return
            own = Path(path).with_name(f"{os.getpid()}-{Path(path).name}")
            faults.logger.warning(
                "timetracer-otel: %s was written by another process meanwhile. What process %d recorded is in %s.",
                path,
                os.getpid(),
                own,
            )
            path = str(own)
        save_session(self.session, path, self._config)

    def _finish_fork(self) -> None:
        recorder = self._recorder
        if recorder is not None:
            faults.logger.warning(
                "timetracer-otel: process %d is a fork of process %d, whose cassette it does not write: "
                "new calls made in it are not kept.",
                os.getpid(),
                self._process_id,
            )


def _stamp(path: str | None) -> tuple[int, int, int] | None:
    """Numbers that change when a file is written anew; None where there is no file."""
    try:
        found = Path(path or "").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _holds_calls(path: str) -> bool:
    """Whether a cassette has calls that must not be lost; True as well where the file cannot be read."""
    try:
        return bool(read_cassette(path).events)
    except CassetteNotFoundError:
        return False
    except CassetteError:
        return True
