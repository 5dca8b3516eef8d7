"""Dramatiq: the threads of a worker, and the actor that one of them calls for a message."""

from __future__ import annotations

from typing import Any

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.jobs import in_job, outside_jobs
from timetracer_otel.incoming.seams import on
from timetracer_otel.incoming.verified_jobs import given_by_verify, unless_verified

__all__ = ["SEAMS"]


def _job(actor: Any, *args: Any, **kwargs: Any) -> IncomingJob:
    return IncomingJob("dramatiq", str(actor.actor_name), args, kwargs)


def _function_of(worker: Any, name: str) -> Function | None:
    actors: dict[str, Any] = worker.broker.actors
    return actors[name].fn if name in actors else None


def _begin(start: Function, worker: Any) -> None:
    """Middlewares are told that the worker starts. That of coroutines starts their loop then."""
    start(worker)


SEAMS = (
    Seams("dramatiq", ["dramatiq.actor"], on("Actor", "__call__", lambda original: in_job(original, _job))),
    Seams(
        "dramatiq",
        ["dramatiq.worker"],
        on("Worker", "start", given_by_verify("dramatiq", _function_of, _begin, is_worker=False)),
    ),
    Seams("dramatiq", ["dramatiq.worker"], on("Worker", "_add_worker", unless_verified("dramatiq"))),
    Seams("dramatiq", ["dramatiq.worker"], on("Worker", "_add_consumer", unless_verified("dramatiq"))),
    Seams("dramatiq", ["dramatiq.worker"], on("_WorkerThread", "run", outside_jobs)),
    Seams("dramatiq", ["dramatiq.worker"], on("_ConsumerThread", "run", outside_jobs)),
)
