"""Celery: a worker's loop, the tracer of each task, and the function that the tracer calls."""

from __future__ import annotations

import sys
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Seams
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.noting import noting
from timetracer_otel.incoming.guarded import around
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.jobs import as_process, in_job, outside_jobs, worker_ends
from timetracer_otel.incoming.seams import on
from timetracer_otel.incoming.verified_jobs import given_by_verify

__all__ = ["SEAMS"]


def _job(name: str, *args: Any, **kwargs: Any) -> IncomingJob:
    return IncomingJob("celery", name, args, kwargs)


_MARK = "_timetracer_job"


def _building(original: Function) -> Function:
    """``build_tracer`` makes the function that runs a task by its ``run``, and that stores its result."""

    def begin(_: None, name: str, task: Any, *args: Any, **kwargs: Any) -> Flow | None:
        # `apply` runs the task in the caller's place: it is a part of that request or job.
        return None if kwargs.get("eager") else built(name, task, AppStep(original, name, task, *args, **kwargs))

    def built(name: str, task: Any, build: AppStep) -> Flow:
        if not hasattr(task.run, _MARK):
            # The tracer may call the task, which looks for its `run` later. So this stays: outside a worker it passes
            # every call on.
            task.run = in_job(task.run, partial(_job, name))
            setattr(task.run, _MARK, True)
        return outside_jobs((yield build))

    return around("celery", original, begin)


def _trace_patches(module: ModuleType) -> list[Patch]:
    return [Patch(module, "build_tracer", _building)]


def _function_of(worker: Any, name: str) -> Function | None:
    task = worker.app.tasks.get(name)
    if task is None:
        return None
    # A bound task looks at its request, which this makes.
    return lambda *args, **kwargs: task.apply(args, kwargs, throw=True).result


def _begin(_: Function, worker: Any) -> None:
    """A pool of processes tells the app of each process that starts. A verification starts none of them."""
    if type(worker.pool).__module__ == "celery.concurrency.prefork":
        sys.modules["celery.signals"].worker_process_init.send(sender=worker.hostname)


_TOLD = ("worker_process_init", "worker_process_shutdown", "worker_ready", "worker_shutdown", "worker_shutting_down")


def _signal_patches(module: ModuleType) -> list[Patch]:
    """What the app does when it is told of a worker's start and end is no part of the worker."""
    return [Patch(getattr(module, name), "send", as_process) for name in _TOLD]


def _ending(original: Function) -> Function:
    """A child of the pool ends by ``os._exit``."""
    return noting("celery", original, before=lambda *_: worker_ends())


SEAMS = (
    Seams("celery", ["celery.app.trace"], _trace_patches),
    Seams("celery", ["celery.signals"], _signal_patches),
    Seams(
        "celery",
        ["celery.worker.worker"],
        on("WorkController", "start", given_by_verify("celery", _function_of, _begin)),
    ),
    Seams("celery", ["billiard.pool"], on("Worker", "_do_exit", _ending)),
)
