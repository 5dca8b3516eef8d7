"""Huey: the loops of a consumer's workers and of its scheduler, and the task that a worker executes."""

from __future__ import annotations

from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.incoming.guarded import around
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.jobs import as_process, in_job, outside_jobs
from timetracer_otel.incoming.seams import on
from timetracer_otel.incoming.verified_jobs import given_by_verify

__all__ = ["SEAMS"]


def _job(task: Any) -> IncomingJob:
    args, kwargs = task.data
    return IncomingJob("huey", str(task.name), tuple(args), dict(kwargs))


def _executing(original: Function) -> Function:
    """``Huey._execute`` calls ``task.execute``, which each task's own class defines, and stores the result."""

    def begin(_: None, queue: Any, task: Any, *args: Any, **kwargs: Any) -> Flow:
        task.execute = in_job(task.execute, partial(_job, task))
        try:
            return (yield AppStep(original, queue, task, *args, **kwargs))
        finally:
            # The task is sent to the broker again where it is to be retried.
            vars(task).pop("execute", None)

    return around("huey", original, begin)


def _function_of(consumer: Any, name: str) -> Function | None:
    tasks: dict[str, Any] = consumer.huey._registry._registry
    found = next((task for task in tasks.values() if task.__name__ == name), None)
    return None if found is None else lambda *args, **kwargs: found(args, kwargs).execute()


def _begin(_: Function, consumer: Any) -> None:
    """Run the hooks of the app for a worker's start."""
    worker, _thread = consumer.worker_threads[0]
    worker.initialize()


SEAMS = (
    Seams("huey", ["huey.api"], on("Huey", "_execute", _executing)),
    Seams("huey", ["huey.consumer"], on("Worker", "loop", outside_jobs)),
    Seams("huey", ["huey.consumer"], on("Worker", "initialize", as_process)),
    Seams("huey", ["huey.consumer"], on("Worker", "shutdown", as_process)),
    Seams("huey", ["huey.consumer"], on("Scheduler", "loop", outside_jobs)),
    Seams("huey", ["huey.consumer"], on("Consumer", "run", given_by_verify("huey", _function_of, _begin))),
)
