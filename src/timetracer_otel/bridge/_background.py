"""Writing the cassettes of finished requests beside the app, not in its way."""

from __future__ import annotations

import queue
import threading
import time

from timetracer_otel import _counters, _faults
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.session import TraceSession

__all__ = ["MAX_WAITING", "BackgroundWriter"]

MAX_WAITING = 1_000
"""Recordings that wait to be written; further ones are dropped, counted, and logged once."""


class BackgroundWriter:
    """One daemon thread that makes finished sessions into files. Safe from any thread.

    Attributes:
        store: Where the cassettes go.
    """

    def __init__(self, store: CassetteStore) -> None:
        self.store = store
        self._waiting: queue.Queue[TraceSession] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, session: TraceSession) -> None:
        """Take a finalised session; returns at once."""
        try:
            self._waiting.put_nowait(session)
        except queue.Full:
            self._dropped("too many waited to be written")
            _faults.warn_once(
                "writer-full",
                f"{MAX_WAITING} recordings wait to be written to {self.store.directory}; further ones are dropped "
                "and counted. Lower TIMETRACER_SAMPLE_RATE, or use a faster disk.",
            )
            return
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

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="timetracer-otel-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            session = self._waiting.get()
            try:
                self.store.put(session.to_cassette())
                _counters.cassette_written()
                _counters.session_ended()
            except CassetteError as error:
                # The disk is the user's business, not a fault of ours: one line, no traceback.
                self._dropped("the folder could not be written to")
                _faults.warn_once(f"store:{self.store.directory}", f"{error} Recordings are dropped and counted.")
            except Exception as error:
                self._dropped("a fault of the recorder")
                try:
                    _faults.contain("writer", error)
                except Exception:
                    _faults.logger.exception("timetracer-otel: fault in the writer")
            finally:
                self._waiting.task_done()

    @staticmethod
    def _dropped(reason: str) -> None:
        _counters.cassette_dropped(reason)
        _counters.session_ended()
