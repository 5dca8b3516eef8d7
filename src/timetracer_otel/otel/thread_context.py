"""The session in the threads and executors that the app starts: by OpenTelemetry's own threading instrumentation.

It carries the OpenTelemetry context into them, in which the session rides, and makes no telemetry.
"""

from __future__ import annotations

import sys
import threading

from opentelemetry.instrumentation.threading import ThreadingInstrumentor

from timetracer_otel.base import faults
from timetracer_otel.config import instrumentation_disabled

__all__ = ["ensure", "hold", "release"]

_lock = threading.RLock()
_holds = 0
_switched_on = False


def hold() -> None:
    """Carry the context until `release`; nothing where somebody carries it already, or does not want it."""
    global _holds
    with _lock:
        _holds += 1
        if "opentelemetry.instrumentation.auto_instrumentation" not in sys.modules:
            ensure()


def ensure() -> None:
    """Switch the instrumentation on if it is held and nobody did.

    Under ``opentelemetry-instrument`` this waits for the end of loading: there it is loaded like any other, and
    would warn about having been switched on before.
    """
    global _switched_on
    with _lock:
        if _holds and not instrumentation_disabled("threading"):
            instrumentor = ThreadingInstrumentor()
            if not instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.instrument()
                _switched_on = True


def release() -> None:
    """Undo one `hold`; the last one switches off what we switched on."""
    global _holds, _switched_on
    with _lock:
        _holds = max(_holds - 1, 0)
        if _holds or not _switched_on:
            return
        _switched_on = False
        try:
            if ThreadingInstrumentor().is_instrumented_by_opentelemetry:
                ThreadingInstrumentor().uninstrument()
            _take_out_what_it_leaves()
        except Exception as error:
            faults.contain("thread_context.release", error)


def _take_out_what_it_leaves() -> None:
    # Timer inherits the wrapper of Thread.start and is given another one, of which the first stays behind
    # (seen in 0.61b0 to 0.66b1).
    timer, thread = threading.Timer, threading.Thread
    if "start" in vars(timer) and getattr(timer.start, "__wrapped__", None) is thread.start:
        del timer.start
