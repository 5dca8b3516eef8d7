"""One job for a worker of each task queue: ``python -m tests.process._job_queues rq,celery 2 1``."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import arq.connections
import arq.worker
import celery
import celery.signals
import dramatiq
import httpx
import huey
import redis
import rq
from celery import bootsteps
from celery.exceptions import WorkerShutdown
from dramatiq.brokers.redis import RedisBroker
from huey.exceptions import TaskException
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import create_engine, text

URL = os.environ["REDIS"]
engine = create_engine("sqlite://")


def fetch(user: int, *, queue: str) -> int:
    found: int = httpx.get(f"{os.environ['UPSTREAM']}/users/{user}").json()["id"]
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 + :n"), {"n": user}).scalar_one()
    print(f"{queue}: {user} is {found}", flush=True)
    return found


def prepare(number: int) -> Any:
    """What the app does when a worker starts."""
    return httpx.get(f"{os.environ['UPSTREAM']}/users/{number}").json()["id"]


BROKER = os.environ.get("BROKER", URL)
"""Where Celery's jobs come from; it stores no results where this is not Redis."""
celery_app = celery.Celery("jobs", broker=BROKER, backend=URL if BROKER == URL else None)
celery_app.conf.update(
    worker_hijack_root_logger=False, worker_redirect_stdouts=False, broker_connection_retry_on_startup=False
)


@celery.signals.worker_ready.connect
def celery_starts(**_: Any) -> None:
    assert prepare(91) == 91


class Starting(dramatiq.Middleware):
    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        assert prepare(92) == 92


dramatiq.set_broker(RedisBroker(url=URL))
dramatiq.get_broker().add_middleware(Starting())
huey_app = huey.RedisHuey("jobs", url=URL, blocking=False)


@celery_app.task(name="celery_fetch")
def celery_fetch(user: int, *, queue: str) -> int:
    return fetch(user, queue=queue)


@celery_app.task
def leave() -> None:
    raise WorkerShutdown


@dramatiq.actor(actor_name="dramatiq_fetch", max_retries=0)
def dramatiq_fetch(user: int, *, queue: str) -> None:
    fetch(user, queue=queue)


@huey_app.on_startup()
def huey_starts() -> None:
    assert prepare(93) == 93


@huey_app.task(name="huey_fetch")
def huey_fetch(user: int, *, queue: str) -> int:
    return fetch(user, queue=queue)


async def arq_fetch(context: dict[str, Any], user: int, *, queue: str) -> int:
    assert context["prepared"] == 94
    assert context["job_id"]
    assert context["job_try"] == 1
    found: int = context["fetch"](user, queue=queue)
    return found


async def arq_startup(context: dict[str, Any]) -> None:
    context["fetch"], context["prepared"] = fetch, prepare(94)


class WorkerSettings:
    """What ``arq tests.process._job_queues.WorkerSettings`` works with."""

    redis_settings = arq.connections.RedisSettings.from_dsn(URL)
    functions = (arq_fetch,)
    on_startup = arq_startup
    poll_delay = 0.05


def rq_fetch(user: int, *, queue: str) -> int:
    assert rq.get_current_job() is not None
    return fetch(user, queue=queue)


class PlainSocket(bootsteps.StartStopStep):  # type: ignore[misc, unused-ignore]
    """What a worker's own code does outside jobs over sockets of Python's, as py-amqp reaches a broker."""

    def start(self, worker: object) -> None:
        if BROKER != URL:
            return
        url = urlsplit(URL)
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=20) as connection:
            connection.sendall(b"PING\r\n")
            print(f"plain socket: the broker is {connection.recv(64)!r}", flush=True)


celery_app.steps["worker"].add(PlainSocket)


def run_celery(users: Sequence[int]) -> None:
    with suppress_instrumentation():
        for user in users:
            celery_fetch.delay(user, queue="celery")
        leave.delay()
        # Celery 5.4 unsubscribes from a result when that is collected, which is in a cycle.
        gc.collect()
    celery_app.worker_main(["worker", "--pool=solo", "--loglevel=ERROR", "--without-gossip", "--without-mingle"])


def run_rq(users: Sequence[int]) -> None:
    connection = redis.Redis.from_url(URL)
    queue = rq.Queue(connection=connection)
    with suppress_instrumentation():
        for user in users:
            queue.enqueue(rq_fetch, user, queue="rq")
    # It forks a process for each job.
    rq.Worker([queue], connection=connection).work(burst=True, logging_level="ERROR")


def run_dramatiq(users: Sequence[int]) -> None:
    broker = dramatiq.get_broker()
    with suppress_instrumentation():
        for user in users:
            dramatiq_fetch.send(user, queue="dramatiq")
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    worker.start()
    with suppress_instrumentation():
        broker.join(dramatiq_fetch.queue_name)
    worker.join()
    worker.stop()


def run_huey(users: Sequence[int]) -> None:
    with suppress_instrumentation():
        results = [huey_fetch(user, queue="huey") for user in users]
    consumer = huey_app.create_consumer(workers=1, periodic=False, initial_delay=0.05, max_delay=0.1)
    consumer.start()
    with suppress_instrumentation():
        for result in results:
            # A job that failed has told so in its account.
            with suppress(TaskException):
                result.get(blocking=True, timeout=60)
    consumer.stop(graceful=True)


def run_arq(users: Sequence[int]) -> None:
    async def send_and_work() -> None:
        with suppress_instrumentation():
            pool = await arq.connections.create_pool(WorkerSettings.redis_settings)
            for user in users:
                await pool.enqueue_job("arq_fetch", user, queue="arq")
            # redis-py 5.0.0 has no `aclose`.
            await getattr(pool, "aclose", pool.close)()
        settings: Any = WorkerSettings
        worker = arq.worker.create_worker(settings, burst=True, handle_signals=False, max_jobs=1)
        await worker.main()
        await worker.close()

    asyncio.run(send_and_work())


RUNNERS: dict[str, Callable[[Sequence[int]], None]] = {
    "rq": run_rq,
    "huey": run_huey,
    "dramatiq": run_dramatiq,
    "arq": run_arq,
    "celery": run_celery,
}

if __name__ == "__main__":
    # Tasks are found by the name of their module.
    from tests.process import _job_queues

    for name in sys.argv[1].split(","):
        _job_queues.RUNNERS[name]([int(user) for user in sys.argv[2:]])
