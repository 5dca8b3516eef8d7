"""Writing the cassettes of finished requests beside the app, not in its way."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel import _counters, _faults
from timetracer_otel.bridge._late import POLL_S, LateChildren
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.session import TraceSession

__all__ = ["BackgroundWriter"]


class BackgroundWriter:
    """One daemon thread that makes finished sessions into files. Safe from any thread.

    Its queue has no limit of its own: whoever opens sessions limits their number.

    Args:
        store: Where the cassettes go.
        late: Keeps those that have to wait.
        settled: Called with each session when it is written or lost, and holds nothing more.
    """

    def __init__(self, store: CassetteStore, late: LateChildren, settled: Callable[[TraceSession], None]) -> None:
        self.store = store
        self._late = late
        self._settled = settled
        self._waiting: queue.Queue[TraceSession] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, session: TraceSession) -> None:
        """Take a session whose root has ended; returns at once."""
        self._waiting.put_nowait(session)
        if self._thread is None:
            self._start()

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything taken so far is written; False where that took longer."""
        deadline = time.monotonic() + timeout_s
        with self._waiting.all_tasks_done:
            while self._waiting.unfinished_tasks:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._waiting.all_tasks_done.wait(left)
        return True

    def finish(self) -> bool:
        """`flush` for the last time: what waits for late calls is written as it stands."""
        self._late.hurry()
        return self.flush()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="timetracer-otel-writer", daemon=True)
                # Where threads inherit the context, this one would keep the request that it was started in.
                token = otel_context.attach(Context())
                try:
                    self._thread.start()
                finally:
                    otel_context.detach(token)

    def _run(self) -> None:
        while True:
            try:
                session = self._waiting.get(timeout=POLL_S if len(self._late) else None)
            except queue.Empty:
                ready = self._late.ready()
            else:
                ready = self._late.ready()
                if not self._late.hold(session):
                    ready.append(session)
                # Not until the next one comes: it would be kept alive by this frame.
                del session
            while ready:
                self._write(ready.pop(0))

    def _write(self, session: TraceSession) -> None:
        try:
            late = session.late_calls
            if late:
                _counters.calls_late(late)
            self.store.put(session.to_cassette())
            _counters.cassette_written()
        except CassetteError as error:
            # The disk is the user's business, not a fault of ours: one line, no traceback.
            _counters.cassette_dropped("the folder could not be written to")
            _faults.warn_once(f"store:{self.store.directory}", f"{error} Recordings are dropped and counted.")
        except Exception as error:
            _counters.cassette_dropped("a fault of the recorder")
            try:
                _faults.contain("writer", error)
            except Exception:
                _faults.logger.exception("timetracer-otel: fault in the writer")
        finally:
            session.release()
            self._settled(session)
            self._waiting.task_done()
