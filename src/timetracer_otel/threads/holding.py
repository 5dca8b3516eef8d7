"""From when until when sessions are carried into new threads."""

from __future__ import annotations

import threading

from timetracer_otel.base.holds import Holds

__all__ = ["hold", "release"]

_lock = threading.RLock()
_holds = Holds()
_carries = False
"""Whether the functions that start threads are replaced."""


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
    global _carries
    wanted = bool(_holds)
    if wanted is not _carries:
        _carries = wanted
        # Imported here: a program that sets no session does not pay for the tools of patching.
        from timetracer_otel.threads import seams

        if wanted:
            seams.install()
        else:
            seams.remove()
