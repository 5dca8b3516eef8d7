"""The recordings of requests (of jobs, of messages): each from its beginning until it is on disk or given up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from timetracer_otel.base import counters, faults
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.config import TraceConfig
from timetracer_otel.otel.spans import LiveSpans
from timetracer_otel.process.journal import Journal
from timetracer_otel.process.late_calls import LateChildren
from timetracer_otel.process.writer import BackgroundWriter
from timetracer_otel.session import BaseSession, TraceSession

__all__ = ["Recordings"]


class Recordings:
    """Opens, bounds, ends and counts them. Safe from any thread.

    Args:
        config: How many there may be at once, and where they go.
        spans: The live spans, which tell whether a recording has late children.
        successor: Gives the session of calls that begin when their own recording is written.
    """

    def __init__(self, config: TraceConfig, spans: LiveSpans, successor: Callable[[], BaseSession | None]) -> None:
        self._config = config
        # Where only failed requests are kept, calls outside any are not, nor those that come too late.
        self._successor = None if config.errors_only else successor
        self._lock = threading.RLock()
        self._open: set[TraceSession] = set()
        self._ended: set[TraceSession] = set()
        store = CassetteStore(config.cassette_dir, config.compression)
        late = LateChildren(config.late_s, spans.sessions)
        self._journal = Journal(store, config.journal_s)
        self._writer = BackgroundWriter(store, late, self._journal, self._settled)

    def begin(self) -> TraceSession | None:
        """A session for a request that begins; None, counted, where there are too many already."""
        if len(self._open) >= self._config.max_sessions:
            counters.cassette_dropped("too many recordings at once")
            faults.warn_once(
                "too-many-recordings",
                f"{self._config.max_sessions} recordings are under way or wait to be written to "
                f"{self._config.cassette_dir}; further requests are not recorded, and counted. Lower "
                "TIMETRACER_SAMPLE_RATE, use a faster disk, or raise TIMETRACER_MAX_SESSIONS.",
            )
            return None
        session = TraceSession(self._config)
        session.successor = self._successor
        # The lock is held for moments only: a signal that comes while it is held keeps the writer from its work.
        with self._lock:
            self._open.add(session)
        counters.session_began()
        self._writer.began(session)
        return session

    def end(self, session: TraceSession, has_failed: bool) -> None:
        """The request has ended: keep its recording, or not. Harmless when repeated, and for sessions of nobody's."""
        with self._lock:
            if session not in self._open or session in self._ended:
                return
            self._ended.add(session)
        if self._config.errors_only and not has_failed:
            session.discard()
            self._writer.discard(session)
            counters.cassette_discarded()
            self._settled(session)
        else:
            session.end_root()
            self._writer.submit(session)

    def flush(self, timeout_s: float) -> bool:
        """Wait for the cassettes of ended requests that have no late calls under way; False: that took longer."""
        return self._writer.flush(timeout_s)

    def recover(self) -> None:
        """Make cassettes of what processes that died have left in the folder."""
        self._writer.recover()

    def stop(self) -> None:
        """Write what has ended, without waiting for late calls, and what is still under way as far as it has come."""
        with self._lock:
            under_way = self._open - self._ended
            self._ended |= under_way
        self._writer.finish()
        for session in under_way:
            session.finalize()
            session.release()
            if session in self._journal.kept:
                counters.cassette_cut()
            else:
                counters.cassette_dropped("recording was switched off before the request ended")
            self._settled(session)

    def abandon(self) -> None:
        """In a forked child: everything here is its parent's."""
        self._journal.abandon()
        for session in self._open:
            session.disown(self._successor)

    def _settled(self, session: TraceSession) -> None:
        with self._lock:
            self._open.discard(session)
            self._ended.discard(session)
        counters.session_ended()
