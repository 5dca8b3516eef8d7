"""The recordings of requests, jobs and messages: each from its beginning until it is on disk or given up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from timetracer_otel.base import counters, faults
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.config import TraceConfig
from timetracer_otel.otel.spans import LiveSpans
from timetracer_otel.process.choice import Choice
from timetracer_otel.process.journal import Journal
from timetracer_otel.process.keeping import Keeper
from timetracer_otel.process.late_calls import LateChildren
from timetracer_otel.process.writer import BackgroundWriter
from timetracer_otel.session import BaseSession, TraceSession

__all__ = ["Recordings"]


class Recordings:
    """Begins, ends and counts recordings, and limits their number. Safe from any thread.

    Args:
        config: How many recordings there may be at once, and in which folder they are written.
        spans: The live spans, which tell whether a recording has late children.
        successor: Gives the session for calls that begin when the recording they belong to is written already.
    """

    def __init__(self, config: TraceConfig, spans: LiveSpans, successor: Callable[[], BaseSession | None]) -> None:
        self._config = config
        self._choice = Choice(config)
        # Where only failed requests are kept, calls that come too late are not, like all calls outside a request.
        self._successor = successor if self._choice.keeps_calls_outside else None
        self._lock = threading.RLock()
        self._open: set[TraceSession] = set()
        self._ended: set[TraceSession] = set()
        store = CassetteStore(config.cassette_dir, config.compression)
        late = LateChildren(config.late_s, spans.sessions)
        self._journal = Journal(store, config.journal_s)
        keeper = Keeper(store, config.keep)
        self._writer = BackgroundWriter(store, late, self._journal, keeper, self._settled)

    @property
    def keeps_calls_outside(self) -> bool:
        """Whether calls outside any request are recorded (see `Choice`)."""
        return self._choice.keeps_calls_outside

    def begin(self) -> TraceSession | None:
        """A session for a request that begins; None, counted, where it is not chosen, or too many are under way."""
        if not self._choice.begins():
            return None
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
        session.names_root = True
        # The lock is held for as few steps as possible. The handler of a signal that interrupts this thread meanwhile
        # waits for the writer, which needs the lock.
        with self._lock:
            self._open.add(session)
        counters.session_began()
        self._writer.began(session)
        return session

    def end(self, session: TraceSession, has_failed: bool) -> None:
        """Write the recording of a request that has ended, or discard it.

        Harmless when repeated, and for a session that was not begun here.
        """
        with self._lock:
            if session not in self._open or session in self._ended:
                return
            self._ended.add(session)
        if self._choice.keeps(session, has_failed):
            session.end_root()
            self._writer.submit(session)
        else:
            session.discard()
            self._writer.discard(session)
            self._settled(session)

    def flush(self, timeout_s: float) -> bool:
        """Wait for the cassettes of ended requests without late calls under way; False where that took too long."""
        return self._writer.flush(timeout_s)

    def recover(self) -> None:
        """Make cassettes of the parts that killed processes have left in the folder."""
        self._writer.recover()

    def tidy(self) -> None:
        """Delete what the folder need not keep, soon and in the writer's thread: there is one more cassette."""
        self._writer.tidy()

    def stop(self) -> None:
        """Write the ended requests without waiting for late calls, and the running ones as far as they have come."""
        with self._lock:
            under_way = self._open - self._ended
            self._ended |= under_way
        if not self._writer.finish():
            self.give_up()
            return
        for session in under_way:
            session.finalize()
            session.release()
            if session in self._journal.kept:
                counters.cassette_cut()
            else:
                counters.cassette_dropped("recording was switched off before the request ended")
            self._settled(session)

    def give_up(self) -> None:
        """Count the recordings that are not written, as the process ends without them. Safe from any thread.

        Of some, a part is on the disk, of which the next process that records there makes a cassette.
        """
        with self._lock:
            left = self._open & self._ended
            self._open -= left
            self._ended -= left
        for session in left:
            if self._journal.has_part(session):
                counters.cassette_cut()
            else:
                counters.cassette_dropped("not written when the process ended")

    def abandon(self) -> None:
        """Leave all recordings to the parent, in a forked child."""
        self._journal.abandon()
        for session in self._open:
            session.disown(self._successor)

    def _settled(self, session: TraceSession) -> None:
        with self._lock:
            self._open.discard(session)
            self._ended.discard(session)
        counters.session_ended(session.session_id)
