"""Writing the cassettes of requests beside the app, not in its way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel.base import counters, faults
from timetracer_otel.cassette import Store
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.process.journal import Journal, warn_of_store
from timetracer_otel.process.late_calls import POLL_S, LateChildren
from timetracer_otel.session import TraceSession

__all__ = ["BackgroundWriter"]


class _Order:
    """To say when all that was taken before is written or waits for late calls; ``closing``: and to end then."""

    def __init__(self, *, closing: bool) -> None:
        self.closing = closing
        self.obeyed = threading.Event()


class BackgroundWriter:
    """One daemon thread that makes ended sessions into files, and keeps the journal of those that run.

    Safe from any thread. Its queue has no limit of its own: whoever opens sessions limits their number.

    Args:
        store: Where the cassettes go.
        late: Keeps those that have to wait.
        journal: Keeps those that run on the disk.
        settled: Called with each session when it is written or lost, and holds nothing more.
    """

    def __init__(
        self,
        store: Store,
        late: LateChildren,
        journal: Journal,
        settled: Callable[[TraceSession], None],
    ) -> None:
        self._store = store
        self._late = late
        self._journal = journal
        self._settled = settled
        self._items: queue.SimpleQueue[TraceSession | _Order | None] | None = None
        self._asleep = False
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()

    def began(self, session: TraceSession) -> None:
        """A session has begun, which is to be kept in the journal until it is written or `discard` is called."""
        if not self._journal.interval_s:
            return
        self._journal.began(session)
        if self._thread is None:
            self._start()
        elif self._asleep:
            self._queue().put(None)

    def submit(self, session: TraceSession) -> None:
        """Take a session whose root has ended; returns at once."""
        self._journal.queued(session)
        self._queue().put(session)
        if self._thread is None:
            self._start()

    def discard(self, session: TraceSession) -> None:
        """A session has ended that nobody wants a cassette of."""
        self._journal.ended(session, wanted=False)

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything taken so far is written, but for what waits for late calls; False: that took longer.

        Whoever asks may be the very event loop on which those calls are made.
        """
        return self._carry_out(_Order(closing=False), timeout_s)

    def finish(self) -> bool:
        """`flush` for the last time: what waits for late calls is written as it stands, what still runs as it is."""
        self._late.hurry()
        return self._carry_out(_Order(closing=True), 30.0)

    def recover(self) -> None:
        """Make cassettes of what processes that died have left in the folder."""
        self._guarded(self._journal.recover)

    def _carry_out(self, order: _Order, timeout_s: float) -> bool:
        nothing_came = self._items is None or self._items.empty()
        if self._thread is None and nothing_came and self._journal.is_idle and not self._late.sessions:
            return True
        self._queue().put(order)
        if self._thread is None and not self._start():
            # An interpreter that is at its end starts no more threads.
            self._run(order)
        return order.obeyed.wait(timeout_s)

    def _queue(self) -> queue.SimpleQueue[TraceSession | _Order | None]:
        """What the thread takes from, made with the thread and not before.

        Recording may begin before gevent (or eventlet) puts greenlets in the place of threads: one that waited for a
        queue of before would stop all the others.
        """
        if self._items is None:
            with self._lock:
                if self._items is None:
                    # A simple one: nobody who is interrupted while he puts something in holds a lock that the
                    # thread needs.
                    self._items = queue.SimpleQueue()
        return self._items

    def _start(self) -> bool:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="timetracer-otel-writer", daemon=True)
                # Where threads inherit the context, this one would keep the request that it was started in.
                token = otel_context.attach(Context())
                try:
                    thread.start()
                except RuntimeError:
                    return False
                finally:
                    otel_context.detach(token)
                self._thread = thread
        return True

    def _run(self, last: _Order | None = None) -> None:
        """Work until a closing order is obeyed, or a certain one."""
        self.recover()
        while True:
            item = self._next()
            order = item if isinstance(item, _Order) else None
            if isinstance(item, TraceSession):
                if self._late.hold(item):
                    self._journal.queued(item, is_queued=False)
                else:
                    self._write(item)
            # What is written is let go of: this frame would keep it alive until the next one comes.
            item = None
            ready = self._late.ready()
            while ready:
                self._write(ready.pop(0))
            self._guarded(self._journal.tick)
            if order is not None:
                self._obey(order)
                if order.closing or order is last:
                    break
        if not self._queue().empty():
            # Somebody who came meanwhile took this thread for one that goes on.
            self._start()

    def _next(self) -> TraceSession | _Order | None:
        """What comes next; None when it is time to look at what waits, or at the journal."""
        items = self._queue()
        if self._journal.is_idle and not self._late.sessions:
            # First the word, then another look: who begins a session does it the other way round.
            self._asleep = True
            try:
                if self._journal.is_idle:
                    return items.get()
            finally:
                self._asleep = False
        wait_s = self._journal.wait_s()
        try:
            return items.get(timeout=min(wait_s, POLL_S) if self._late.sessions else wait_s)
        except queue.Empty:
            return None

    def _obey(self, order: _Order) -> None:
        if order.closing:
            self._guarded(self._journal.close)
            self._thread = None
        order.obeyed.set()

    def _write(self, session: TraceSession) -> None:
        written = False
        try:
            late = session.late_calls
            if late:
                counters.calls_late(late)
            self._store.put(session.to_cassette())
            counters.cassette_written()
            written = True
        except CassetteError as error:
            counters.cassette_dropped("the folder could not be written to")
            warn_of_store(self._store, error)
        except Exception as error:
            counters.cassette_dropped("a fault of the recorder")
            self._contain(error)
        finally:
            self._journal.ended(session, wanted=not written)
            self._guarded(self._journal.settle)
            session.release()
            self._settled(session)

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            self._contain(error)

    @staticmethod
    def _contain(error: Exception) -> None:
        try:
            faults.contain("writer", error)
        except Exception:
            faults.logger.exception("timetracer-otel: fault in the writer")
