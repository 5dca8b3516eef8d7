"""From when until when sessions are carried into new threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from timetracer_otel.base.holds import Holds

if TYPE_CHECKING:
    from timetracer_otel.base.patching import Seams

__all__ = ["hold", "release"]

_lock = threading.RLock()
_holds = Holds()
_seams: Seams | None = None


def hold(session: object = None) -> None:
    """Carry sessions into threads that start from now on, until `release`. May be repeated, and is counted.

    Args:
        session: Who holds, where nobody need call `release`: the session is held weakly.
    """
    with _lock:
        _holds.add(session)
        _adjust()


def release(session: object = None) -> None:
    """Undo one `hold`; harmless where there was none.

    After the last one nothing of ours is left in Python's modules.
    """
    with _lock:
        _holds.remove(session)
        _adjust()


def _adjust() -> None:
    global _seams
    wanted = bool(_holds)
    if wanted and _seams is None:
        # Imported here: a program that sets no session does not pay for the tools of patching.
        from timetracer_otel.threads.seams import thread_seams

        _seams = thread_seams()
        _seams.install()
    elif _seams is not None and not wanted:
        _seams.remove()
        _seams = None
