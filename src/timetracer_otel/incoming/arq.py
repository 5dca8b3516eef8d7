"""ARQ: a worker's main coroutine, and the coroutines of its functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.chance import random_uuid
from timetracer_otel.base.patching import Function, Patch, Seams
from timetracer_otel.calls.guarded import AppStep, Done, Flow, only
from timetracer_otel.config import job_source
from timetracer_otel.incoming.guarded import around, around_async
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.jobs import as_process, in_job, is_outside_jobs, outside_jobs
from timetracer_otel.incoming.seams import on
from timetracer_otel.incoming.verified_jobs import given_by_verify

__all__ = ["SEAMS"]


def _job(name: str, _: object, *args: Any, **kwargs: Any) -> IncomingJob:
    # The first argument is the worker's context, a dictionary of its own.
    return IncomingJob("arq", name, args, kwargs)


_MARK = "_timetracer_job"


def _working(original: Function) -> Function:
    """The functions and hooks of a worker are the app's. They are wrapped before its first job: where that
    fails in a replay, the worker does not work, since the calls of its jobs would go out.
    """
    usual = given_by_verify("arq", _function_of, _begin)(original)

    def begin(_: None, worker: Any, *args: Any, **kwargs: Any) -> Flow:
        for name, function in worker.functions.items():
            function.coroutine = _once(function.coroutine, partial(in_job, job_of=partial(_job, name)))
        for hook in ("on_startup", "on_shutdown"):
            if getattr(worker, hook, None) is not None:
                setattr(worker, hook, _once(getattr(worker, hook), as_process))
        return only(AppStep(usual, worker, *args, **kwargs))

    return around_async("arq", usual, begin)


def _once(function: Function, wrap: Callable[[Function], Function]) -> Function:
    """The function, wrapped; a worker may work several times."""
    if hasattr(function, _MARK):
        return function
    wrapped = wrap(function)
    setattr(wrapped, _MARK, True)
    return wrapped


async def _begin(_: Function, worker: Any) -> None:
    """The pool of connections to Redis, and the hook of the app for the worker's start."""
    if worker._pool is None:
        create = outside_jobs(sys.modules["arq.worker"].create_pool)
        worker._pool = await create(
            worker.redis_settings,
            job_deserializer=worker.job_deserializer,
            job_serializer=worker.job_serializer,
            default_queue_name=worker.queue_name,
            expires_extra_ms=worker.expires_extra_ms,
        )
    worker.ctx["redis"] = worker.pool
    if worker.on_startup:
        await worker.on_startup(worker.ctx)


def _pinging(original: Function) -> Function:
    """A worker pings Redis when it makes its pool: not while a verification runs."""

    def begin(*_: object, **__: object) -> Done | None:
        return Done(_answered()) if job_source() is not None and is_outside_jobs() else None

    return around("arq", original, begin)


async def _answered() -> bool:
    return True


def _pool_patches(module: ModuleType) -> list[Patch]:
    return [Patch(module.ArqRedis, "ping", _pinging)]


def _closing(original: Function) -> Function:
    def begin(_: None, worker: Any) -> Flow | None:
        return None if job_source() is None else closing(worker)

    def closing(worker: Any) -> Flow:
        """As ARQ does, but for what it tells Redis."""
        if worker._pool is not None:
            if worker.on_shutdown:
                yield partial(worker.on_shutdown, worker.ctx)
            yield worker.pool.connection_pool.disconnect
            worker._pool = None

    return around_async("arq", outside_jobs(original), begin)


def _function_of(worker: Any, name: str) -> Function | None:
    found = worker.functions.get(name)
    if found is None:
        return None

    async def function(*args: Any, **kwargs: Any) -> Any:
        now = datetime.now(timezone.utc)
        of_job = {"job_id": random_uuid(), "job_try": 1, "enqueue_time": now, "score": int(now.timestamp() * 1000)}
        return await found.coroutine({**worker.ctx, **of_job}, *args, **kwargs)

    return function


SEAMS = (
    Seams("arq", ["arq.worker"], on("Worker", "close", _closing)),
    Seams("arq", ["arq.worker"], on("Worker", "main", _working)),
    Seams("arq", ["arq.connections"], _pool_patches),
)
