"""RQ: a worker's loop, the process that it forks for each job, and the job's function."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Seams
from timetracer_otel.calls.guarded import AppStep, Flow, only
from timetracer_otel.calls.noting import noting
from timetracer_otel.config import job_source
from timetracer_otel.incoming.guarded import around
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.jobs import in_job, outside_jobs, worker_ends
from timetracer_otel.incoming.seams import on
from timetracer_otel.incoming.verified_jobs import given_by_verify, unless_verified

__all__ = ["SEAMS"]


def _job(job: Any) -> IncomingJob:
    return IncomingJob("rq", str(job.func_name), tuple(job.args), dict(job.kwargs))


def _performing(original: Function) -> Function:
    performed = outside_jobs(original)

    def begin(_: None, worker: Any, *args: Any, **kwargs: Any) -> Flow:
        try:
            return (yield AppStep(performed, worker, *args, **kwargs))
        finally:
            if getattr(worker, "_is_horse", False):
                # The process that was forked for this job ends by `os._exit`.
                worker_ends()

    return around("rq", performed, begin)


def _subscribing(original: Function) -> Function:
    """A worker listens for commands in a thread, which does not get the worker's context."""

    def begin(_: None, worker: Any, *args: Any, **kwargs: Any) -> Flow:
        worker.connection.pubsub = noting("rq", worker.connection.pubsub, _note_listening)
        try:
            return (yield AppStep(original, worker, *args, **kwargs))
        finally:
            del worker.connection.pubsub

    return around("rq", original, begin)


def _note_listening(made: Any, *_: object) -> None:
    made.get_message = outside_jobs(made.get_message)


def _making(original: Function) -> Function:
    """A worker asks Redis about itself when it is made, unless it is made for another purpose than to work."""
    made = outside_jobs(original)

    def begin(_: None, *args: Any, **kwargs: Any) -> Flow | None:
        return None if job_source() is None else only(AppStep(made, *args, **{**kwargs, "prepare_for_work": False}))

    return around("rq", made, begin)


def _function_of(worker: Any, name: str) -> Function | None:
    try:
        found: Function = sys.modules["rq.utils"].import_attribute(name)
    except (ImportError, AttributeError, ValueError):
        return None

    def function(*args: Any, **kwargs: Any) -> Any:
        job = worker.job_class.create(found, args, kwargs, connection=worker.connection, serializer=worker.serializer)
        with _as_current(job):
            return job._execute()

    return function


@contextmanager
def _as_current(job: Any) -> Generator[None, None, None]:
    """Let ``rq.get_current_job`` give a job."""
    module: Any = sys.modules["rq.job"]
    if hasattr(module, "_current_job"):
        token = module._current_job.set(job)
        try:
            yield
        finally:
            module._current_job.reset(token)
        return
    # Before RQ 3.
    module._job_stack.push(job)
    try:
        yield
    finally:
        module._job_stack.pop()


_METHODS = {
    "__init__": _making,
    "work": given_by_verify("rq", _function_of),
    "subscribe": _subscribing,
    "perform_job": _performing,
}


def _worker_patches(module: ModuleType) -> list[Patch]:
    """Before RQ 3, the two classes stood in one module, and each had a part of the methods."""
    named = (getattr(module, name, None) for name in ("BaseWorker", "Worker"))
    classes = [found for found in named if getattr(found, "__module__", None) == module.__name__]
    owners = {name: next((cls for cls in classes if name in vars(cls)), None) for name in _METHODS}
    return [Patch(owner, name, _METHODS[name]) for name, owner in owners.items() if owner is not None]


def _command_patches(module: ModuleType) -> list[Patch]:
    """The command ``rq worker`` asks Redis whether all workers are suspended. Before RQ 3 it had one module."""
    return [Patch(module, "is_suspended", unless_verified("rq", False))] if hasattr(module, "is_suspended") else []


SEAMS = (
    Seams("rq", ["rq.job"], on("Job", "_execute", lambda original: in_job(original, _job))),
    Seams("rq", ["rq.worker", "rq.worker.base"], _worker_patches),
    Seams("rq", ["rq.cli.cli", "rq.cli.workers"], _command_patches),
)
