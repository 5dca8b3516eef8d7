"""The replay of a whole process: from its start to its end one session, and at the end the account of it."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from timetracer_otel import _faults
from timetracer_otel.bridge import _network_guard
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import CassetteError, ConfigurationError
from timetracer_otel.session import ReplayOrRecording, ReplaySession, begin_replay, save_session

__all__ = ["ProcessReplay"]


class ProcessReplay:
    """What ``TIMETRACER_MODE=replay`` does, in any record mode.

    Args:
        config: Names the cassette.
        session: The session, where it is no replay of that cassette.

    Raises:
        ConfigurationError: It names none.
        CassetteError: The cassette cannot be read, or what will be recorded cannot be written.
    """

    def __init__(self, config: TraceConfig, session: ReplayOrRecording | None = None) -> None:
        if session is None and config.cassette_path is None:
            raise ConfigurationError(
                "TIMETRACER_CASSETTE: not set, but TIMETRACER_MODE=replay needs a cassette. Name the file to replay."
            )
        self.session = session if session is not None else begin_replay(config.cassette_path, config)
        self._config = config
        # The app may go to another folder while it runs.
        self._saved_to = str(Path(config.cassette_path).absolute()) if config.cassette_path is not None else None
        self._process_id = os.getpid()
        if config.block_network:
            _network_guard.begin(self.session)

    def finish(self) -> None:
        """Write what was recorded, and say what the replay did. Never raises: the process ends anyway."""
        session, path = self.session, self._saved_to
        _network_guard.end(session)
        if os.getpid() != self._process_id:
            self._finish_fork()
        elif path is not None:
            try:
                save_session(session, path, self._config)
            except CassetteError as error:
                _faults.logger.error("timetracer-otel: %s", error)
        verdict = replace(session.verdict(), cassette_path=self._config.cassette_path or "")
        # Only needed at the end, and not by every process.
        from timetracer_otel.report import verdict_text

        _faults.say(logging.INFO if verdict.ok else logging.WARNING, verdict_text(verdict))

    def _finish_fork(self) -> None:
        session = self.session
        recorder = session.recorder if isinstance(session, ReplaySession) else session
        if recorder is not None:
            _faults.logger.warning(
                "timetracer-otel: process %d is a fork of process %d, whose cassette it does not write: "
                "new calls made in it are not kept.",
                os.getpid(),
                self._process_id,
            )
