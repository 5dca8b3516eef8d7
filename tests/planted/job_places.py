"""Where jobs of task queues can carry a secret: in the calls that send them, and in what their worker is given.

Usage: ``python -m tests.planted.job_places FOLDER FIRST QUEUE ...``. Where Redis is is told by the environment. Jobs
are sent in sessions that are recorded, and worked off in this process. In FOLDER it notes what it has planted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celery
import redis
import rq
import sqlalchemy as sa
from celery.exceptions import WorkerShutdown
from opentelemetry.instrumentation.utils import suppress_instrumentation

import timetracer_otel
from tests.planted.planter import Planter

__all__ = ["Job", "QUEUES"]

URL = os.environ["REDIS"]
engine = sa.create_engine("sqlite://")


def reveal(texts: list[str]) -> None:
    """A statement that has these texts under a secret name."""
    with engine.connect() as connection:
        for text in texts:
            connection.execute(sa.text("SELECT :password"), {"password": text}).all()


@dataclass
class Login:
    """What a job may be given in place of plain values."""

    user: str
    password: str


class Job:
    """One job to send: what it is given, and what it does.

    Args:
        place: Its name.
        args: What it is given.
        kwargs: What it is given by name.
        act: What it does.
        told: What it tells as it runs.
    """

    def __init__(
        self,
        place: str,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        act: Callable[[], Any] | None = None,
        told: list[str] | None = None,
    ) -> None:
        self.place, self.args, self.kwargs = place, args, dict(kwargs or {})
        self._act, self._told = act, told if told is not None else []

    def tell(self) -> None:
        """Make known what is to be known of it."""
        if self._told:
            reveal(self._told)

    def run(self) -> Any:
        """Do what it is for."""
        self.tell()
        return self._act() if self._act is not None else None


JOBS: dict[str, Job] = {}
ENDED: set[str] = set()


def work(place: str, *args: Any, **kwargs: Any) -> Any:
    """The function of each job."""
    try:
        return JOBS[place].run()
    finally:
        ENDED.add(place)


def _raising(error: Exception, cause: Exception | None = None) -> Callable[[], Any]:
    def act() -> Any:
        raise error from cause

    return act


def jobs(planter: Planter, queue: str) -> Iterator[Job]:
    """Jobs of which each has a secret in another place."""
    named, plain = planter.named, str.maketrans("", "", "'\"&;,()<>{}[]\\ %")

    def scene(place: str) -> list[str]:
        told: list[str] = []
        planter.scene(f"{queue} {place}", told.extend)
        return told

    for place, given in {
        "keyword": lambda s: Job("", (), {"password": s, "user": "ada"}),
        "field of an argument": lambda s: Job("", ({"token": s, "n": 1},)),
        "field of fields": lambda s: Job("", (), {"order": [{"client_secret": s}]}),
        "json in an argument": lambda s: Job("", (f'{{"api_key": {json.dumps(s)}}}',)),
        "text": lambda s: Job("", (f"password='{s.translate(plain)}'",)),
        "result": lambda s: Job("", act=lambda: {"access_token": s}),
        "list of results": lambda s: Job("", act=lambda: [{"of": {"refresh_token": s}}]),
        "error": lambda s: Job("", act=_raising(ValueError(f"no password='{s.translate(plain)}'"))),
        "cause of an error": lambda s: Job(
            "", act=_raising(ValueError("no"), KeyError(f"token: {s.translate(plain)}"))
        ),
        "pair of an error": lambda s: Job("", act=_raising(ValueError({"password": s}))),
    }.items():
        scene(place)
        job = given(named(place))
        job.place = f"{queue} {place}"
        yield job
    if queue in PICKLED:
        scene("object")
        yield Job(f"{queue} object", (Login("ada", named("object")),))
    others: dict[str, Callable[[str, list[str]], Job]] = {
        "argument": lambda s, told: Job("", (f"of {s}",), told=told),
        "other keyword": lambda s, told: Job("", (), {"of": s}, told=told),
        "name of a field": lambda s, told: Job("", ({s: 1},), told=told),
        "other result": lambda s, told: Job("", act=lambda: f"it is {s}", told=told),
        "name of a result's field": lambda s, told: Job("", act=lambda: {s: [s]}, told=told),
        "other error": lambda s, told: Job("", act=_raising(ValueError(f"no {s}")), told=told),
        "other cause": lambda s, told: Job("", act=_raising(ValueError("no"), KeyError(s)), told=told),
    }
    for place, make in others.items():
        told = scene(place)
        for number, text in enumerate(planter.anywhere(place)):
            job = make(text, told)
            job.place = f"{queue} {place} {number}"
            yield job
        planter.end_scene()


PICKLED = {"rq", "arq", "huey"}
"""Queues that pickle what a job is given."""
celery_app = celery.Celery("jobs", broker=URL, backend=URL)
celery_app.conf.update(
    worker_hijack_root_logger=False, worker_redirect_stdouts=False, broker_connection_retry_on_startup=False
)
celery_work = celery_app.task(name="work")(work)


@celery_app.task(name="again", bind=True, max_retries=1)
def celery_again(self: Any, text: str) -> None:
    raise self.retry(countdown=0, exc=ValueError(f"once more: {text}"))


@celery_app.task
def leave() -> None:
    raise WorkerShutdown


def celery_queue(planter: Planter) -> tuple[Callable[[Job], object], Callable[[], object]]:
    def send(job: Job) -> object:
        return celery_work.apply_async((job.place, *job.args), job.kwargs, headers={"x-of": "1"})

    def run() -> None:
        celery_work.apply_async(("celery keyword",), headers={"x_api_key": planter.named("header")})
        celery_work.apply_async(("celery keyword",), {"password": planter.named("hidden")}, kwargsrepr="...")
        celery_again.delay(planter.form("retry"))
        with suppress_instrumentation():
            leave.apply_async(countdown=1)
        celery_app.worker_main(["worker", "--pool=solo", "--loglevel=ERROR", "--without-gossip", "--without-mingle"])

    return send, run


def rq_queue(planter: Planter) -> tuple[Callable[[Job], object], Callable[[], object]]:
    connection = redis.Redis.from_url(URL)
    queue = rq.Queue(connection=connection)

    def send(job: Job) -> object:
        return queue.enqueue(work, job.place, *job.args, **job.kwargs)

    def run() -> None:
        queue.enqueue(work, "rq keyword", meta={"token": planter.named("meta")})
        queue.enqueue(work, "rq keyword", description=f"of {planter.form('description')}")
        rq.Worker([queue], connection=connection).work(burst=True, logging_level="CRITICAL")

    return send, run


def dramatiq_queue(planter: Planter) -> tuple[Callable[[Job], object], Callable[[], object]]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=URL))
    broker = dramatiq.get_broker()
    actor = dramatiq.actor(actor_name="work", max_retries=0)(work)

    def send(job: Job) -> object:
        return actor.send(job.place, *job.args, **job.kwargs)

    def run() -> None:
        actor.send_with_options(args=("dramatiq keyword",), token=planter.named("option"))
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
        worker.start()
        with suppress_instrumentation():
            broker.join(actor.queue_name)
        worker.join()
        worker.stop()

    return send, run


def huey_queue(planter: Planter) -> tuple[Callable[[Job], object], Callable[[], object]]:
    import huey

    app = huey.RedisHuey("jobs", url=URL, blocking=False)
    task = app.task(name="work")(work)

    def send(job: Job) -> object:
        return task(job.place, *job.args, **job.kwargs)

    def run() -> None:
        consumer = app.create_consumer(workers=1, periodic=False, initial_delay=0.01, max_delay=0.02)
        consumer.start()
        until = time.monotonic() + 60
        while not ENDED.issuperset(JOBS) and time.monotonic() < until:
            time.sleep(0.05)
        consumer.stop(graceful=True)

    return send, run


async def arq_work(context: dict[str, Any], place: str, *args: Any, **kwargs: Any) -> Any:
    """The function of arq's jobs."""
    return await asyncio.to_thread(work, place, *args, **kwargs)


def arq_queue(planter: Planter) -> tuple[Callable[[Job], object], Callable[[], object]]:
    import arq.connections
    import arq.worker

    settings = arq.connections.RedisSettings.from_dsn(URL)

    async def sending(job: Job) -> None:
        pool = await arq.connections.create_pool(settings)
        await pool.enqueue_job("arq_work", job.place, *job.args, **job.kwargs)
        await getattr(pool, "aclose", pool.close)()

    async def working() -> None:
        functions: Any = [arq_work]
        worker = arq.worker.Worker(
            functions, redis_settings=settings, burst=True, handle_signals=False, max_jobs=1, poll_delay=0.02
        )
        await worker.main()
        await worker.close()

    return lambda job: asyncio.run(sending(job)), lambda: asyncio.run(working())


QUEUES: dict[str, Callable[[Planter], tuple[Callable[[Job], object], Callable[[], object]]]] = {
    "celery": celery_queue,
    "rq": rq_queue,
    "dramatiq": dramatiq_queue,
    "huey": huey_queue,
    "arq": arq_queue,
}


def main(folder: Path, first: int, *queues: str) -> None:
    """Send and work off all jobs of these queues."""
    planter = Planter(first)
    for name in queues:
        send, run = QUEUES[name](planter)
        sent = list(jobs(planter, name))
        JOBS.clear()
        JOBS.update({job.place: job for job in sent})
        with timetracer_otel.record(folder / "sends" / f"{name}.msgpack"):
            for job in sent:
                send(job)
                # What a job tells is told to its sender as well.
                job.tell()
        planter.scene(name, reveal)
        run()
    planter.save(folder / "planted.json")


if __name__ == "__main__":
    # Jobs are found by the name of their module.
    from tests.planted import job_places

    job_places.main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
