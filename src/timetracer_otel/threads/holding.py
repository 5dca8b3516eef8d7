"""From when until when sessions are carried into new threads."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

__all__ = ["hold", "hold_for", "release", "release_for"]

_lock = threading.RLock()
_holds = 0
_set_by_hand: WeakKeyDictionary[object, int] = WeakKeyDictionary()
_carries = False
"""Whether the functions that start threads are replaced."""


def hold() -> None:
    """Carry sessions into threads that start from now on, until `release`. May be repeated, and is counted."""
    global _holds
    with _lock:
        _holds += 1
        _adjust()


def release() -> None:
    """Undo one `hold`. After the last one nothing of ours is left in Python's modules."""
    global _holds
    with _lock:
        _holds = max(_holds - 1, 0)
        _adjust()


def hold_for(session: object) -> None:
    """`hold` until `release_for` was called as often for this session.

    Nobody need call that: a program may set a session once and never reset it. The session is held weakly, so that a
    program that does so for each request does not fill the memory.
    """
    with _lock:
        _set_by_hand[session] = _set_by_hand.get(session, 0) + 1
        _adjust()


def release_for(session: object) -> None:
    """Undo one `hold_for`; harmless where there was none."""
    with _lock:
        count = _set_by_hand.get(session, 0)
        if count > 1:
            _set_by_hand[session] = count - 1
        else:
            _set_by_hand.pop(session, None)
        _adjust()


def _adjust() -> None:
    global _carries
    wanted = bool(_holds or _set_by_hand)
    if wanted is not _carries:
        _carries = wanted
        # Imported here: a program that sets no session does not pay for the tools of patching.
        from timetracer_otel.threads import seams

        if wanted:
            seams.install()
        else:
            seams.remove()
