"""The journal: running sessions on disk, as far as they have come, so that a killed process does not lose them.

A session that runs longer than one interval gets a file of its own, a part (see `timetracer_otel.cassette`). At each
interval the calls that have ended since are added to it. When the session's cassette is written, the part is removed.
A shorter session has no part, and costs two steps of a dictionary.
"""

from __future__ import annotations

import time
from collections import deque

from timetracer_otel.base import faults
from timetracer_otel.cassette import CassetteStore, Owner, PartWriter, Store, WrittenEvents, why_unwritten
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.session import TraceSession
from timetracer_otel.session.trace import EventFeed

__all__ = ["Journal", "warn_of_store"]

_SHARE = 4
"""Writing parts takes at most one of so many seconds, however many sessions run."""

_IDLE_S = 60.0
"""How long to wait where no session runs: any time will do, since a new session wakes the writer."""


def warn_of_store(store: Store, error: CassetteError) -> None:
    """Say once for each reason that a store refuses cassettes. A full disk is not our fault: no traceback."""
    faults.warn_once(f"store:{store}:{why_unwritten(error)}", f"{error} Recordings are dropped and counted.")


class _Running:
    __slots__ = ("began_s", "given_up", "part", "progress", "queued")

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.progress: EventFeed | None = None
        self.part: PartWriter | None = None
        self.given_up = False
        self.queued = False


class Journal:
    """The parts of this process. `began`, `queued` and `ended` are for any thread, all else is for the writer's.

    Args:
        store: The folder that the cassettes go to. Parts are files, so that no other kind of store can hold them:
            they have to be on the disk when the process is killed.
        interval_s: How often the parts are brought up to date; 0 for none at all.
    """

    def __init__(self, store: CassetteStore, interval_s: float) -> None:
        self._store = store
        self.interval_s = interval_s
        self._owner: Owner | None = None
        # Entries are added by `began` from any thread, and removed by the writer's thread only. The ends that other
        # threads tell of wait in `_ended` until then. Who goes through them takes a copy, which is made in one step:
        # a list of pairs is not, since the garbage collector may run, and with it another thread, as each is made.
        self._running: dict[TraceSession, _Running] = {}
        self._ended: deque[tuple[TraceSession, bool]] = deque()
        self.kept: set[TraceSession] = set()
        """The sessions that still ran when the journal was closed, whose parts became cassettes."""
        self._due_s = 0.0
        self._was_quiet = True

    @property
    def is_idle(self) -> bool:
        """Whether no session runs, and none has run for a whole interval."""
        return self._was_quiet and not self._running and not self._ended

    def began(self, session: TraceSession) -> None:
        """Take note of a session that has begun."""
        self._running[session] = _Running()

    def has_part(self, session: TraceSession) -> bool:
        """Whether a session is on the disk as far as it had come. Safe from any thread."""
        running = self._running.get(session)
        return running is not None and running.part is not None

    def written(self, session: TraceSession) -> WrittenEvents | None:
        """What the part of a session has of its events; None where it has no part, or a broken one."""
        running = self._running.get(session)
        return running.part.written if running is not None and running.part and not running.given_up else None

    def queued(self, session: TraceSession, *, is_queued: bool = True) -> None:
        """Take note that a session is in the writer's queue, or no longer (it waits for late calls then).

        A session in the queue gets no part: its cassette is written next, and a part would cost as much.
        """
        running = self._running.get(session)
        if running is not None:
            running.queued = is_queued

    def ended(self, session: TraceSession, *, wanted: bool) -> None:
        """Take note of a session that has ended.

        Args:
            session: The session.
            wanted: Whether its part is to become a cassette, since the session's own could not be written. Otherwise
                the part is removed.
        """
        if self.interval_s:
            self._ended.append((session, wanted))

    def wait_s(self) -> float:
        """Seconds until `tick` is due."""
        return _IDLE_S if self.is_idle else max(0.0, self._due_s - time.monotonic())

    def tick(self, *, is_busy: bool = False) -> None:
        """Bring all parts up to date, where that is due.

        Args:
            is_busy: Whether sessions wait to be written. They come first: what is written needs no part. The parts
                wait for that, but no longer than one more interval.
        """
        now_s = time.monotonic()
        if now_s < self._due_s + (self.interval_s if is_busy else 0.0):
            return
        began_s = time.thread_time()
        self._was_quiet = not self._running and not self._ended
        self.settle()
        for session, running in self._running.copy().items():
            if now_s - running.began_s >= self.interval_s and not running.queued:
                self._bring_up_to_date(session, running, self.interval_s)
        # What the thread took of a processor. On a machine with much else to do, it waits for one most of the time.
        took_s = time.thread_time() - began_s
        self._due_s = time.monotonic() + max(self.interval_s, (_SHARE - 1) * took_s)

    def settle(self) -> None:
        """Remove the parts of sessions that have ended, or make cassettes of them."""
        while self._ended:
            session, wanted = self._ended.popleft()
            running = self._running.pop(session, None)
            part = running.part if running is not None else None
            if part is not None:
                (part.keep if wanted else part.remove)()

    def close(self) -> None:
        """Make cassettes of the parts of all sessions that still run: no session is written any more."""
        self.settle()
        for session, running in self._running.copy().items():
            self._bring_up_to_date(session, running, 0.0)
            if running.part is not None:
                self.kept.add(session)
            self._ended.append((session, True))
        self.settle()
        if self._owner is not None:
            self._owner.release()
            self._owner = None

    def recover(self) -> None:
        """Make cassettes of the parts that dead processes have left in the folder."""
        number = self._store.recover()
        if number:
            faults.logger.info(
                "timetracer-otel: %s recordings of a process that died became cassettes in %s.", number, self._store
            )

    def abandon(self) -> None:
        """Leave everything to the parent, in a forked child."""
        if self._owner is not None:
            self._owner.abandon()

    def _bring_up_to_date(self, session: TraceSession, running: _Running, patience_s: float) -> None:
        # Without any of these it is not known yet which request the session is about. A finalised session is about to
        # be written.
        known = session.exchange or session.origin or session.request
        if running.given_up or session.is_finalized or known is None:
            return
        try:
            if running.progress is None:
                running.progress = EventFeed(session)
            events = running.progress.take(patience_s)
            if running.part is not None:
                running.part.append(events)
            else:
                running.part = PartWriter(session.head(), events, self._store.directory, self._owned().name)
        except CassetteError as error:
            running.given_up = True
            warn_of_store(self._store, error)
        except Exception as error:
            running.given_up = True
            faults.contain("journal", error)
        except BaseException:
            # The thread dies of it. The part may lack events that were taken, and gets no others.
            running.given_up = True
            raise

    def _owned(self) -> Owner:
        if self._owner is None:
            self._owner = Owner(self._store.directory)
        return self._owner
