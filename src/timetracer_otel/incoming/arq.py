"""ARQ: a worker's main coroutine, and the coroutines of its functions."""

from __future__ import annotations

from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.jobs import as_process, in_job, outside_jobs
from timetracer_otel.incoming.seams import on
from timetracer_otel.incoming.verified_jobs import given_by_verify

__all__ = ["SEAMS"]


def _job(name: str, _: object, *args: Any, **kwargs: Any) -> IncomingJob:
    # The first argument is the worker's context, a dictionary of its own.
    return IncomingJob("arq", name, args, kwargs)


def _making(original: Function) -> Function:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        for name, function in self.functions.items():
            function.coroutine = in_job(function.coroutine, partial(_job, name))
        for hook in ("on_startup", "on_shutdown"):
            if getattr(self, hook, None) is not None:
                setattr(self, hook, as_process(getattr(self, hook)))

    return __init__


def _function_of(worker: Any, name: str) -> Function | None:
    found = worker.functions.get(name)
    if found is None:
        return None

    async def function(*args: Any, **kwargs: Any) -> Any:
        return await found.coroutine(dict(worker.ctx), *args, **kwargs)

    return function


SEAMS = (
    Seams("arq", ["arq.worker"], on("Worker", "__init__", _making)),
    Seams("arq", ["arq.worker"], on("Worker", "close", outside_jobs)),
    Seams("arq", ["arq.worker"], on("Worker", "main", given_by_verify("arq", _function_of))),
)
