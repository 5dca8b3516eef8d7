"""The guard of what comes in: no fault of ours reaches an app, nor the server or the worker that calls it (law 6).

Where a request or a job reaches its app, `around` calls the app. It is the guard of all seams (`calls.guarded`): a
fault before the app was called lets it be called bare, and one afterwards leaves its outcome as it is. In the replay
of a folder, the first of these is a miss instead: the calls of a request without its session have no answer.

What the app and the server give each other while that lasts passes by `calls.noting`.
"""

from __future__ import annotations

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function
from timetracer_otel.calls.guarded import Begin, Flow, guarded, guarded_async, raising, refusal
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["around", "around_async", "refused_stream"]


def _no_session() -> None:
    """What comes in gets a session of its own. To ask for the current one would begin that of the process."""


def around(where: str, bare: Function, begin: Begin) -> Function:
    """A function that calls an app or a job.

    Args:
        where: A short name of the place, for the count of faults.
        bare: The same without us.
        begin: Makes the steps of one call, from None and the arguments; None where there is nothing to do.
    """
    return guarded(where, bare, begin, outside=True, session_of=_no_session)


def around_async(where: str, bare: Function, begin: Begin) -> Function:
    """The same for a coroutine function."""
    return guarded_async(where, bare, begin, outside=True, session_of=_no_session)


def refused_stream(where: str, session: BaseSession | None, fault: Exception) -> Flow:
    """The step that gives a miss to whoever called the app of a replay, where a fault of ours leaves the rest of a
    response without its session: the calls in it would go out. No step in a recording.
    """
    if isinstance(session, ReplaySession):
        faults.contain(where, fault)
        yield raising(refusal(where, session, fault))
