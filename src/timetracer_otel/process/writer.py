"""Writing the cassettes of requests in a thread of its own, so that no request waits for the disk.

The thread is watched: it may die of an exception that is no `Exception` (`SystemExit` in code of the app's that it
runs, `MemoryError` within a handler). Whoever next gives it something to do starts another one, which goes on with
all that waited. The one recording that it had in its hands is counted as lost.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel.base import counters, faults
from timetracer_otel.cassette import CassetteStore, why_unwritten
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.process.journal import Journal, warn_of_store
from timetracer_otel.process.keeping import Keeper
from timetracer_otel.process.late_calls import POLL_S, LateChildren
from timetracer_otel.session import TraceSession

__all__ = ["BackgroundWriter"]

_GATHER_S = 0.05
"""How long the thread lets recordings gather before it writes them. Python runs one thread at a time, so this one and
the app's take turns. Each turn costs a switch of threads, the more so on a machine with few processors. So the thread
begins seldom, and writes all that has come by then."""
_CALM_S = 1.0
"""A thread that dies is replaced at once, unless another one died so long ago: then with the next thing to do."""
_DIED = "the thread that writes died"
_WRITTEN = ""


class _Order:
    """Asks the thread to say when all sessions that came before are written, or wait for late calls.

    A ``closing`` order also ends the thread, which is then named in ``ended``.
    """

    def __init__(self, *, closing: bool) -> None:
        self.closing = closing
        self.obeyed = threading.Event()
        self.ended: threading.Thread | None = None
        self.is_done = False
        self.was_retried = False


class BackgroundWriter:
    """One daemon thread that writes ended sessions to files, and keeps the journal of those that run.

    Safe from any thread. Its queue has no limit: `Recordings` limits the number of sessions.

    Args:
        store: The folder that the cassettes are written to.
        late: Keeps the sessions that wait for late calls.
        journal: Keeps the running sessions on disk.
        keeper: Deletes old cassettes of the folder.
        settled: Called with each session when it is written or lost, and needs no memory any more.
    """

    def __init__(
        self,
        store: CassetteStore,
        late: LateChildren,
        journal: Journal,
        keeper: Keeper,
        settled: Callable[[TraceSession], None],
    ) -> None:
        self._store = store
        self._late = late
        self._journal = journal
        self._keeper = keeper
        self._settled = settled
        self._items: queue.SimpleQueue[TraceSession | _Order | None] | None = None
        self._hurry: queue.SimpleQueue[None] | None = None
        """Ends the time in which recordings gather."""
        self._asleep = False
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        # By these is found what a thread had taken over that dies. An entry of `_waiting` is True while its session
        # is in the queue, and False when a thread has taken it out.
        self._waiting: dict[TraceSession, bool] = {}
        self._orders: list[_Order] = []
        self._ready: list[TraceSession] = []
        self._held: TraceSession | None = None
        self._outcome: str | None = None
        """What became of the session in the thread's hands: `_WRITTEN`, why it is lost, or None: not known yet."""
        self._died_s = -_CALM_S

    def began(self, session: TraceSession) -> None:
        """Keep a session that has begun in the journal, until it is written or discarded."""
        if not self._journal.interval_s:
            return
        self._journal.began(session)
        self._wake()

    def submit(self, session: TraceSession) -> None:
        """Put a session whose request has ended into the queue; returns at once."""
        self._journal.queued(session)
        self._waiting[session] = True
        self._queue().put(session)
        if not self._is_running():
            self._start()

    def discard(self, session: TraceSession) -> None:
        """Take a session out of the journal that gets no cassette."""
        self._journal.ended(session, wanted=False)

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until the sessions submitted so far are written; False where that took longer.

        Sessions with late calls under way are not waited for. The caller may run on the event loop that makes these
        calls, and would wait for itself.
        """
        return self._carry_out(_Order(closing=False), timeout_s)

    def finish(self) -> bool:
        """`flush` for the last time: sessions that wait for late calls or still run are written as they are now."""
        self._late.hurry()
        order = _Order(closing=True)
        done = self._carry_out(order, 30.0)
        if order.ended is not None:
            # A daemon thread that writes to stderr while the interpreter ends makes Python abort. This one may: in an
            # app that gevent patched after the thread began, Python fails to take it off its list, and says so.
            order.ended.join(1.0)
        return done

    def tidy(self) -> None:
        """Let the keeper look at the folder, where there is something to keep to."""
        if not self._keeper.bounds:
            return
        self._keeper.note_written()
        self._wake()

    def recover(self) -> None:
        """Make cassettes of what processes that died have left in the folder."""
        self._guarded(self._journal.recover)

    def _wake(self) -> None:
        if not self._is_running():
            self._start()
        elif self._asleep:
            self._queue().put(None)

    def _carry_out(self, order: _Order, timeout_s: float) -> bool:
        nothing_came = self._items is None or self._items.empty()
        is_running = self._is_running()
        if (
            not is_running
            and nothing_came
            and self._journal.is_idle
            and not self._late.sessions
            and not self._waiting
        ):
            return True
        self._orders.append(order)
        self._queue().put(order)
        if self._hurry is not None and self._hurry.empty():
            self._hurry.put(None)
        if not is_running and not self._start():
            # Python starts no thread when the interpreter is about to end. The work is done in this one.
            self._run(order)
        try:
            return order.obeyed.wait(timeout_s) and order.is_done
        finally:
            self._orders.remove(order)

    def _queue(self) -> queue.SimpleQueue[TraceSession | _Order | None]:
        """The queue, made when it is first needed.

        Recording may begin before the app calls gevent's ``monkey.patch_all()``, which replaces threads and queues by
        greenlets and their queues. A greenlet that waited for a queue made before that would stop all greenlets.
        """
        if self._items is None:
            with self._lock:
                if self._items is None:
                    # Not a `queue.Queue`: a signal may interrupt a thread within its `put`, which holds a lock that
                    # the writer's thread needs. The handler waits for that thread (see `process.sigterm`).
                    self._hurry = queue.SimpleQueue()
                    self._items = queue.SimpleQueue()
        return self._items

    def _start(self) -> bool:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="timetracer-otel-writer", daemon=True)
                # A new thread gets the context of the code that starts it (see the room `threads`). This thread would
                # keep the session of the request that happened to start it.
                token = otel_context.attach(Context())
                try:
                    thread.start()
                except RuntimeError:
                    return False
                finally:
                    otel_context.detach(token)
                self._thread = thread
        return True

    def _is_running(self) -> bool:
        thread = self._thread
        if thread is None:
            return False
        if not thread.is_alive():
            # Not even `_work` could say so.
            self._died(thread, RuntimeError(_DIED))
        return self._thread is not None

    def _work(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._died(threading.current_thread(), error)
            with self._lock:
                was_calm = time.monotonic() - self._died_s >= _CALM_S
                self._died_s = time.monotonic()
            if was_calm or self._orders:
                self._start()

    def _died(self, thread: threading.Thread, error: BaseException) -> None:
        """Count what a thread had in its hands when it died, and leave the rest to the next one."""
        with self._lock:
            if self._thread is not thread:
                return  # Another thread was quicker to find out.
            self._thread, self._asleep = None, False
            try:
                self._pick_up()
            except BaseException:
                # It died once more. Whoever next finds it dead does all that is left.
                self._thread = thread
                raise
        self._contain(error, "writer.thread")

    def _pick_up(self) -> None:
        """Do what a thread that died has left undone. Harmless when it is begun again."""
        late, held = self._late.sessions, self._held
        if held in late:
            self._journal.queued(held, is_queued=False)
            self._held = None
        elif held is not None:
            self._let_go(held, _DIED if self._outcome is None else self._outcome)
        for session, is_queued in self._waiting.copy().items():
            if is_queued:
                # It may have been taken out of the queue a moment before. What is in the queue twice is written once.
                self._queue().put(session)
            elif session not in late and session not in self._ready:
                self._let_go(session, _DIED)
        for order in list(self._orders):
            if order.was_retried:
                order.obeyed.set()
            else:
                order.was_retried = True
                self._queue().put(order)

    def _run(self, last: _Order | None = None) -> None:
        """Work until a closing order is carried out, or the order ``last``."""
        self.recover()
        is_first = True
        while True:
            item = self._next()
            if isinstance(item, TraceSession) and is_first:
                self._gather()
            is_first = self._queue().empty()
            order = item if isinstance(item, _Order) else None
            if isinstance(item, TraceSession) and self._waiting.get(item):
                self._waiting[item] = False
                self._take(item)
            # This variable would keep a written session in memory until the next one comes.
            item = None
            self._guarded(self._look_for_ready)
            while self._ready:
                self._write(self._ready.pop(0))
            self._guarded(self._tick)
            self._guarded(self._keeper.tick)
            if order is not None and not order.is_done:
                self._obey(order)
                if order.closing or order is last:
                    break
        if not self._queue().empty():
            # A session was submitted while this thread was about to end, so no other thread was started for it.
            self._start()

    def _tick(self) -> None:
        self._journal.tick(is_busy=not self._queue().empty())

    def _take(self, session: TraceSession) -> None:
        self._outcome, self._held = None, session
        is_late = False
        try:
            is_late = self._late.hold(session)
        except Exception as error:
            self._contain(error)
        if is_late:
            self._journal.queued(session, is_queued=False)
            self._held = None
        else:
            self._write(session)

    def _look_for_ready(self) -> None:
        try:
            self._ready += self._late.ready()
        except Exception:
            self._ready += self._late.give_back()
            raise

    def _next(self) -> TraceSession | _Order | None:
        """The next item of the queue; None when it is time to look after waiting sessions or the journal."""
        items = self._queue()
        if self._journal.is_idle and self._keeper.is_idle and not self._late.sessions:
            # `began` adds a session to the journal and then reads `_asleep`. Here it is the other way round, so that
            # one of the two threads sees what the other has done.
            self._asleep = True
            try:
                if self._journal.is_idle and self._keeper.is_idle:
                    return items.get()
            finally:
                self._asleep = False
        wait_s = min(self._journal.wait_s(), self._keeper.wait_s())
        try:
            return items.get(timeout=min(wait_s, POLL_S) if self._late.sessions else wait_s)
        except queue.Empty:
            return None

    def _gather(self) -> None:
        """Wait until more recordings have come, unless somebody waits for those that have, or the journal is due."""
        if self._hurry is None or self._orders:
            return
        with suppress(queue.Empty):
            self._hurry.get(timeout=min(_GATHER_S, self._journal.wait_s()))

    def _obey(self, order: _Order) -> None:
        if order.closing:
            self._guarded(self._journal.close)
            self._guarded(self._keeper.close)
            order.ended, self._thread = self._thread, None
        order.is_done = True
        order.obeyed.set()

    def _write(self, session: TraceSession) -> None:
        self._outcome, self._held = None, session
        try:
            late = session.late_calls
            if late:
                counters.calls_late(late)
            self._store.put(session.to_cassette(), self._journal.written(session))
            self._outcome = _WRITTEN
        except CassetteError as error:
            self._outcome = why_unwritten(error)
            warn_of_store(self._store, error)
        except Exception as error:
            self._outcome = "a fault of the recorder"
            self._contain(error)
        self._let_go(session, self._outcome)

    def _let_go(self, session: TraceSession, outcome: str) -> None:
        """Count what became of a session, once, and forget it. Where the thread dies meanwhile, it is done again."""
        if outcome == _WRITTEN:
            counters.cassette_written(session.session_id)
            self._keeper.note_written()
        else:
            counters.cassette_dropped(outcome, session.session_id)
        self._waiting.pop(session, None)
        self._journal.ended(session, wanted=outcome != _WRITTEN)
        self._guarded(self._journal.settle)
        self._guarded(session.release)
        self._settled(session)
        self._held = None

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            self._contain(error)

    @staticmethod
    def _contain(error: BaseException, where: str = "writer") -> None:
        try:
            faults.contain(where, error)
        except BaseException:
            faults.logger.exception("timetracer-otel: fault in the writer")
