"""The requests of one app that has a middleware of its own: each is a recording, or a replay of one cassette.

A request is what a block is (`blocks.record`, `blocks.replay`): it begins with the app's call, and its recording is
on disk when the response has passed. Where the process records or replays by itself, as ``timetracer-otel record``
asks it to, the process decides on the request, and the middleware's own configuration does not count.
"""

from __future__ import annotations

import logging
import weakref
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from timetracer_otel.base import counters, faults
from timetracer_otel.base.otel_context import current_context, span_around
from timetracer_otel.base.plugin_names import known_names
from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.cassette import why_unwritten
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import CassetteError, ConfigurationError, TimetracerError
from timetracer_otel.incoming.exclusions import is_excluded
from timetracer_otel.incoming.receiver import receiver
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope, begins_anew
from timetracer_otel.process import closed_world
from timetracer_otel.process.choice import Choice
from timetracer_otel.process.refusing import RefusingSession
from timetracer_otel.process.runtime import runtime
from timetracer_otel.process.surroundings import Surroundings
from timetracer_otel.process.telling import tell_rerecorded
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.session.record_modes import ReplayOrRecording, begin_replay, save_session

__all__ = ["AppRequests"]


class AppRequests:
    """Decides on the session of each request of one app (the protocol `RequestReceiver`). Safe from any thread and
    task.

    Args:
        config: The mode, and the folder or the cassette.

    Raises:
        ConfigurationError: The mode is ``replay``, and ``cassette_path`` names no cassette, or a folder.
    """

    def __init__(self, config: TraceConfig) -> None:
        path = config.cassette_path
        if config.is_replay_mode and path is None:
            raise ConfigurationError(
                "cassette_path: not set, but mode='replay' needs a cassette. Give its path, or set "
                "TIMETRACER_CASSETTE."
            )
        if config.is_replay_mode and path is not None and Path(path).is_dir():
            raise ConfigurationError(
                f"cassette_path: {path} is a folder, and a middleware replays one cassette. To answer each request "
                f"from a folder: timetracer-otel replay {path} -- CMD."
            )
        # The app may go to another folder while it runs.
        self._config = replace(
            config,
            cassette_dir=str(Path(config.spool_dir).absolute()),
            cassette_path=None if path is None else str(Path(path).absolute()),
        )
        self._choice = Choice(self._config)
        for line in config.warnings(known_names()):
            faults.warn_once(line, line)
        if config.is_enabled:
            faults.logger.setLevel(config.log_level.upper())
        if config.is_replay_mode:
            # A fault of ours before a request has its session is a miss by this, and no call that goes out.
            closed_world.watch(config.live_hosts)
            weakref.finalize(self, closed_world.unwatch)

    @cached_property
    def _excluded(self) -> ExcludedUrls:
        # Made with the first request, where a fault of ours does not reach the app.
        return ExcludedUrls()

    @property
    def takes_requests(self) -> bool:
        """Whether requests get a session each: by the configuration, or since the process records or replays."""
        return self._config.is_enabled or receiver().takes_requests

    def reads_body_first(self, incoming: IncomingRequest) -> bool:
        """Whether the process chooses among recordings by the body."""
        return receiver().takes_requests and receiver().reads_body_first(incoming)

    def request_began(self, incoming: IncomingRequest) -> RequestScope | None:
        """Begin a request; None where the app is called as it is.

        That is so where a session is current already (a block of a test, the replay of the process), where the
        request is not to be recorded, and inside another middleware of ours.
        """
        if runtime().is_active:
            return receiver().request_began(incoming) if receiver().takes_requests else None
        if not begins_anew() or (self._config.is_record_mode and not self._records(incoming)):
            return None
        session = self._session()
        surroundings = Surroundings(session, self._config.block_network)
        return RequestScope(incoming, session, partial(self._ended, session, surroundings))

    def _records(self, incoming: IncomingRequest) -> bool:
        return (
            self._config.should_trace(incoming.path)
            and not is_excluded(incoming, self._excluded)
            and self._choice.begins()
        )

    def _session(self) -> ReplayOrRecording:
        config = self._config
        if config.is_record_mode:
            session = TraceSession(config)
            session.names_root = True
            span = span_around(current_context())
            if span is not None:
                session.trace_id = f"{span.get_span_context().trace_id:032x}"
            return session
        try:
            return begin_replay(config.cassette_path, config)
        except TimetracerError as error:
            cause = str(error)
            faults.logger.error("timetracer-otel: %s", cause)
            return RefusingSession(
                "This replay could not start",
                config,
                cause=cause,
                hint="mend cassette_path of the middleware's config, or set mode='off' to make real calls.",
            )

    def _ended(self, session: ReplayOrRecording, surroundings: Surroundings, scope: RequestScope) -> None:
        surroundings.end()
        # A task that outlives the request refers to the scope, which must not keep the app.
        scope.on_end = None
        config = self._config
        if isinstance(session, TraceSession) and not self._choice.keeps(session, scope.failed):
            session.discard()
            return
        try:
            save_session(session, None if config.is_record_mode else config.cassette_path, config)
        except CassetteError as error:
            counters.cassette_dropped(why_unwritten(error))
            faults.logger.error("timetracer-otel: %s", error)
        if isinstance(session, ReplaySession):
            if config.should_trace(scope.incoming.path):
                _tell(session)
            return
        tell_rerecorded(session)
        # A task or a connection that outlives the request refers to the session.
        session.release()


def _tell(session: ReplaySession) -> None:
    # Imported here, since an app that is only recorded never needs it.
    from timetracer_otel.report import verdict_text

    verdict = session.verdict()
    faults.say(logging.INFO if verdict.ok else logging.WARNING, verdict_text(verdict))
