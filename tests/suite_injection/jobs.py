"""Workloads of jobs that a worker runs, each with a worker of the queue's own, in this process.

The process records or replays as a whole, as `TIMETRACER_MODE` says. The broker of RQ and ARQ is a Redis server that
is there in a replay as well; the others keep their jobs in memory. Whoever sends the jobs is no part of the app.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from inspect import signature
from typing import Any

from tests.suite_injection.incoming import read
from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["JOBS"]

_GIVEN: Sequence[tuple[str, tuple[Any, ...], dict[str, Any]]] = (
    ("reading", (1,), {}),
    ("reading", (2,), {"password": "Hm4kLq9sWe"}),
    ("boom", (), {}),
)
"""The jobs: name, arguments, keyword arguments."""
_servers: list[Servers] = []
"""Where the servers are, for functions that are found by the name of their module."""


def reading(user: int, **_: Any) -> str:
    return read(_servers[0], user)


def boom() -> str:
    raise KeyError("boom")


def _functions(servers: Servers) -> dict[str, Callable[..., Any]]:
    _servers[:] = [servers]
    return {"reading": reading, "boom": boom}


@contextmanager
def _said_by(worker: str) -> Iterator[list[str]]:
    """What stands in the log of a worker that ends before its time, by the logger's name. Nobody else gets it."""
    said: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        said.append(f"{record.getMessage()} {record.exc_info and record.exc_info[1]!r}")
        return False

    logging.getLogger(worker).addFilter(keep)
    try:
        yield said
    finally:
        logging.getLogger(worker).removeFilter(keep)


def _raised(text: str) -> str:
    """Class and message of the error whose traceback a text is."""
    found: str = re.findall(r"^\S+: .*$", text, re.MULTILINE)[-1]
    return found


def huey(servers: Servers) -> list[str]:
    """A worker takes a job at a time from its queue, and stores what it returned."""
    from huey import MemoryHuey
    from huey.consumer import Worker

    queue = MemoryHuey(immediate=False)
    tasks = {name: queue.task()(function) for name, function in _functions(servers).items()}

    class Raising:
        """The worker only logs what fails outside of its jobs."""

        def exception(self, *_: object) -> None:
            raise

    logging.getLogger("huey").disabled = True
    # A worker of huey 2 is told of its end otherwise.
    stops = (threading.Event(),) if "stop_flag" in signature(Worker).parameters else ()
    worker = Worker(queue, *stops, 0.01, 0.01, 1)

    worker._logger = Raising()

    def worked(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = tasks[name](*args, **kwargs)
        worker.loop()
        return result.get()

    return [
        seen(worker.initialize),
        *(seen(partial(worked, *given)) for given in _GIVEN),
        seen(worker.shutdown),
    ]


def celery(servers: Servers) -> list[str]:
    """A worker takes jobs until there are none."""
    import celery
    from celery import signals
    from celery.exceptions import WorkerShutdown
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    app = celery.Celery("injected", broker="memory://", backend="cache+memory://")
    app.conf.update(
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=False,
        broker_transport_options={"polling_interval": 0.01},
    )
    tasks = {name: app.task(name=name)(function) for name, function in _functions(servers).items()}
    told: list[str] = []
    left = len(_GIVEN)

    def starts(**_: Any) -> None:
        told.append(read(servers, 9))

    def ended(**_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise WorkerShutdown

    signals.worker_ready.connect(starts)
    signals.task_postrun.connect(ended)
    with suppress_instrumentation():
        results = [tasks[name].delay(*args, **kwargs) for name, args, kwargs in _GIVEN]
    worker = app.Worker(
        pool="solo", quiet=True, without_gossip=True, without_mingle=True, without_heartbeat=True, loglevel="CRITICAL"
    )
    with _said_by("celery.worker") as said:
        found = seen(worker.start)
    nothing = f"nothing: {found} {said}"
    told = told or [nothing]
    return [found, *told, *(repr(result.result) if result.ready() else nothing for result in results)]


def rq(servers: Servers) -> list[str]:
    """A worker that works in its own process takes jobs until there are none."""
    import redis
    import rq
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    _functions(servers)
    connection = redis.Redis.from_url(servers.broker)
    queue = rq.Queue(connection=connection)
    with suppress_instrumentation():
        connection.flushall()
        jobs = [queue.enqueue(f"{__name__}.{name}", *args, **kwargs) for name, args, kwargs in _GIVEN]

    def worked() -> Any:
        return rq.SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR")

    with _said_by("rq.worker") as said:
        found = seen(worked)
    if found == "bool False":
        found = f"it quits: {said}"
    with suppress_instrumentation():
        results = [job.latest_result() for job in jobs]
    nothing = f"nothing: {found} {said}"
    told = [
        nothing if result is None else result.return_value or _raised(str(result.exc_string)) for result in results
    ]
    return [found, *told, seen(connection.close)]


def arq(servers: Servers) -> list[str]:
    """A worker takes jobs until there are none."""
    import arq
    from arq.connections import RedisSettings
    from arq.worker import func
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    settings, plain = RedisSettings.from_dsn(servers.broker), _functions(servers)

    async def starts(context: dict[str, Any]) -> None:
        context["started"] = await asyncio.to_thread(read, servers, 9)

    async def reading(context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return context["started"], await asyncio.to_thread(plain["reading"], *args, **kwargs)

    async def boom(_: dict[str, Any]) -> None:
        plain["boom"]()

    async def main() -> list[str]:
        with suppress_instrumentation():
            pool = await arq.create_pool(settings)
            await pool.flushall()
            jobs = [await pool.enqueue_job(name, *args, **kwargs) for name, args, kwargs in _GIVEN]
        works: list[Any] = [reading, boom]
        hook: Any = starts
        worker = arq.Worker(
            [func(work, name=work.__name__, max_tries=1) for work in works],
            redis_settings=settings,
            on_startup=hook,
            burst=True,
            handle_signals=False,
            max_jobs=1,
            poll_delay=0.01,
        )
        found = [await seen_async(worker.main), await seen_async(worker.close)]
        with suppress_instrumentation():
            told = [
                await seen_async(partial(job.result, timeout=0.05, poll_delay=0.01))
                for job in jobs
                if job is not None
            ]
            await getattr(pool, "aclose", pool.close)()
        return [*found, *(f"nothing: {found[0]}" if "TimeoutError" in line else line for line in told)]

    logging.getLogger("arq").disabled = True
    return asyncio.run(main())


def dramatiq(servers: Servers) -> list[str]:
    """A thread of a worker runs the actors."""
    import dramatiq
    from dramatiq.brokers.stub import StubBroker
    from dramatiq.errors import QueueJoinTimeout

    class Telling(dramatiq.Middleware):
        """Tells how each message was processed."""

        def after_process_message(
            self, _: Any, message: Any, *, result: Any = None, exception: BaseException | None = None
        ) -> None:
            told[message.message_id] = f"{result!r} {exception!r}"

    told: dict[str, str] = {}
    died: list[str] = []
    broker, actor = StubBroker(middleware=[Telling()]), partial[Any](dramatiq.actor)
    actors = {name: actor(work, broker=broker, actor_name=name) for name, work in _functions(servers).items()}
    logging.getLogger("dramatiq").disabled = True
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=20)
    sent = [actors[name].send(*args, **kwargs).message_id for name, args, kwargs in _GIVEN]
    # What ends a thread of the worker is all that is seen of its jobs then.
    usual, threading.excepthook = threading.excepthook, lambda of: died.append(repr(of.exc_value))
    found = [seen(worker.start)]
    with suppress(QueueJoinTimeout):
        broker.join("default", timeout=3000)
    worker.stop()
    threading.excepthook = usual
    return [*found, *(told.get(each, f"nothing: {found} {died}") for each in sent)]


JOBS: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (huey, celery, rq, arq, dramatiq)}
