"""``timetracer-otel verify`` with a worker: its jobs come from the command in the place of a broker.

The worker's loop is not entered. Each job is a line of JSON on a connection to the command: name and arguments. The
answer is a line as well: what the job returned, or what it raised.
"""

from __future__ import annotations

import inspect
import json
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from io import BufferedRWPair
from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import run, run_async
from timetracer_otel.calls.guarded import Done, Flow
from timetracer_otel.config import job_source
from timetracer_otel.incoming.guarded import around, around_async
from timetracer_otel.incoming.job_scope import IncomingJob, as_json
from timetracer_otel.incoming.jobs import in_job, outside_jobs

__all__ = ["connected", "given_by_verify", "raised", "tell", "unless_verified"]

FunctionOf = Callable[[Any, str], "Function | None"]
"""Gives the function of a worker's job by the job's name; None where the worker has none of that name."""

Begin = Callable[..., Any]
"""Does what a worker does before its first job, called with the worker's own method and its arguments."""


def given_by_verify(
    framework: str,
    function_of: FunctionOf,
    begin: Begin | None = None,
    *,
    is_worker: bool = True,
    are_messages: bool = False,
) -> Callable[[Function], Function]:
    """Wrap the method in which a worker works: while a verification runs, it takes the command's jobs instead.

    Args:
        framework: The framework's name.
        function_of: Finds the functions of jobs.
        begin: What else the jobs need: hooks of the app for the worker's start. It is awaited where the method is a
            coroutine function, and runs as the process, not as the worker's own code.
        is_worker: Whether the method is the worker's own code (see `outside_jobs`), with and without a verification.
        are_messages: Whether the functions begin the sessions themselves, as those do that are given messages.
    """

    def wrap(original: Function) -> Function:
        is_awaited = inspect.iscoroutinefunction(original)
        make, work = (around_async, _work_async) if is_awaited else (around, _work)

        def verify(_: None, worker: Any, *args: Any, **kwargs: Any) -> Flow | None:
            source = job_source()
            return None if source is None else verified(worker, source, args, kwargs)

        def verified(worker: Any, source: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flow:
            if begin is not None:
                yield partial(begin, original, worker, *args, **kwargs)
            return (yield partial(outside_jobs(work), worker, source, framework, function_of, are_messages))

        return make(framework, outside_jobs(original) if is_worker else original, verify)

    return wrap


def unless_verified(framework: str, value: Any = None) -> Callable[[Function], Function]:
    """Wrap what a worker asks its broker before it works: while a verification runs, the answer is this value."""

    def begin(*_: object, **__: object) -> Done | None:
        return None if job_source() is None else Done(value)

    return lambda original: around(framework, original, begin)


def _work(*given: Any) -> None:
    run(_answers(*given))


async def _work_async(*given: Any) -> None:
    # Nothing else runs on this loop that the reading of the next job could keep waiting.
    await run_async(_answers(*given))


def _answers(worker: Any, source: str, framework: str, function_of: FunctionOf, are_messages: bool) -> Flow:
    """Answer each job that the command gives. The steps are the functions of the jobs, to be called or awaited."""
    with connected(source, framework) as wire:
        for line in wire:
            told: dict[str, Any] = {"unknown": True}
            found = _call(worker, framework, function_of, json.loads(line), are_messages)
            if found is not None:
                try:
                    told = {"value": as_json((yield found))}
                except Exception as error:
                    told = raised(error)
            tell(wire, told)


def _call(
    worker: Any, framework: str, function_of: FunctionOf, given: dict[str, Any], is_message: bool
) -> Callable[[], Any] | None:
    name = given["name"]
    function = function_of(worker, name)
    if function is None:
        return None
    if is_message:
        return lambda: function(*given["args"], **given["kwargs"])
    job = in_job(function, lambda *args, **kwargs: IncomingJob(framework, name, args, kwargs))
    return lambda: job(*given["args"], **given["kwargs"])


def raised(error: Exception) -> dict[str, Any]:
    """What the command is told of an exception."""
    kind = type(error)
    return {"error": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."), "text": str(error)}


def tell(wire: BufferedRWPair, told: dict[str, Any]) -> None:
    """Tell the command something."""
    wire.write(json.dumps(told).encode() + b"\n")
    wire.flush()


@contextmanager
def connected(source: str, framework: str) -> Generator[BufferedRWPair, None, None]:
    """The connection to the command, which is told which framework is there."""
    host, _, port = source.rpartition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rwb") as wire:
        tell(wire, {"framework": framework})
        yield wire
