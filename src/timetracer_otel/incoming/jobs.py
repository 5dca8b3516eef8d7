"""Jobs of task queues: a worker takes them from a broker, and each has a session of its own, by name and arguments.

A worker talks to its broker all the time. That is no call of the app: it is neither recorded nor answered, as it has
to bring the jobs. So the worker's own code runs where no session is current (`outside_jobs`), and a job's function
runs in the session of the job (`running`). Frameworks are not known here: each has a file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from opentelemetry import context as otel_context

from timetracer_otel.base.otel_context import current_context
from timetracer_otel.base.patching import Function
from timetracer_otel.calls.guarded import AppStep, Begin, Flow
from timetracer_otel.current import OUTSIDE_JOBS, SESSION_KEY, context_with, is_decided
from timetracer_otel.incoming.guarded import around, around_async
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.receiver import receiver

__all__ = ["as_process", "has_worker", "in_job", "is_outside_jobs", "outside_jobs", "with_session", "worker_ends"]


has_worker: bool = False
"""Whether a worker has run in this process. Where none has, nothing need be asked about contexts."""


def is_outside_jobs(context: otel_context.Context | None = None) -> bool:
    """Whether code that runs in a context (None: the current one) is a worker's own, and no job's."""
    return (current_context() if context is None else context).get(SESSION_KEY) is OUTSIDE_JOBS


def outside_jobs(original: Function) -> Function:
    """Replace a function that is a worker's own code by one in which no session is current, but in its jobs.

    Nothing is changed where the process records and replays no jobs, nor where the app has set a session (a test that
    runs a worker inside `record`, for instance): that session takes in the worker as well.
    """

    def begin(_: None, *args: Any, **kwargs: Any) -> Flow | None:
        if not receiver().takes_requests or (is_decided() and not is_outside_jobs()):
            return None
        global has_worker
        has_worker = True
        return with_session(OUTSIDE_JOBS, AppStep(original, *args, **kwargs))

    return _around(original, begin)


def _around(function: Function, begin: Begin) -> Function:
    return (around_async if iscoroutinefunction(function) else around)("jobs", function, begin)


def with_session(session: object, step: AppStep) -> Flow:
    """Take a step where this is the value of the session; None for that of the process."""
    token = otel_context.attach(otel_context.set_value(SESSION_KEY, session))
    try:
        return (yield step)
    finally:
        otel_context.detach(token)


def as_process(function: Function) -> Function:
    """A function of the app that a worker calls outside its jobs, such as a hook for its start.

    Its calls belong to the process, as those of any program that starts.
    """

    def begin(_: None, *args: Any, **kwargs: Any) -> Flow | None:
        return with_session(None, AppStep(function, *args, **kwargs)) if is_outside_jobs() else None

    return _around(function, begin)


def in_job(
    function: Function, job_of: Callable[..., IncomingJob], begins: Callable[[], bool] = is_outside_jobs
) -> Function:
    """A job's function, in the session of the job where a worker calls it.

    Args:
        function: The function, plain or a coroutine function.
        job_of: Makes the job of the arguments that the function is called with.
        begins: Whether it is a worker that calls it.
    """

    def begin(_: None, *args: Any, **kwargs: Any) -> Flow | None:
        return _running(job_of, args, kwargs, AppStep(function, *args, **kwargs)) if begins() else None

    return _around(function, begin)


def _running(
    job_of: Callable[..., IncomingJob], args: tuple[Any, ...], kwargs: dict[str, Any], step: AppStep
) -> Flow:
    scope = receiver().job_began(job_of(*args, **kwargs))
    if scope is None:
        # Not as the worker's own code: a replay would let the job's calls out.
        return (yield from with_session(None, step))
    try:
        token = otel_context.attach(context_with(scope.session))
        try:
            return scope.returned((yield step))
        except BaseException as error:
            scope.failed_with(error)
            raise
        finally:
            otel_context.detach(token)
    finally:
        scope.end()


def worker_ends() -> None:
    """Write what was recorded: the process is about to end in a way that no function of `atexit` hears of."""
    receiver().process_ends()
