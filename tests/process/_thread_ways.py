"""Every way in which a program starts a thread, each with one call in it."""

from __future__ import annotations

import _thread
import asyncio
import queue
import threading
from _thread import start_new_thread
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

__all__ = ["USERS", "Worker", "in_every_way"]

_WAYS = (
    *(
        "thread",
        "timer",
        "nested",
        "own run",
        "own start and run",
        "worker",
        "raw",
        "raw, imported",
        "raw, by keyword",
    ),
    *("pool", "map", "own pool", "initializer", "shared pool", "run_in_executor", "to_thread", "multiprocessing"),
)
USERS = {way: user for user, way in enumerate(_WAYS, 1)}
"""The user that each way asks for."""


class _OwnRun(threading.Thread):
    """A class with a ``run`` of its own, as those of most libraries."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.work = work

    def run(self) -> None:
        self.work()


class _OwnStart(_OwnRun):
    def start(self) -> None:
        super().start()


class Worker(threading.Thread):
    """A thread that works off a queue, as the workers of Dramatiq do."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.jobs: queue.Queue[tuple[Future[Any], Callable[[], Any]] | None] = queue.Queue()

    def ask(self, work: Callable[[], Any]) -> Any:
        answer: Future[Any] = Future()
        self.jobs.put((answer, work))
        return answer.result(60)

    def stop(self) -> None:
        self.jobs.put(None)
        self.join()

    def run(self) -> None:
        for answer, work in iter(self.jobs.get, None):
            try:
                answer.set_result(work())
            except BaseException as error:
                answer.set_exception(error)


class _OwnPool(ThreadPoolExecutor):
    """An executor with a ``submit`` of its own, as instrumented ones have."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(lambda: fn(*args, **kwargs))


def in_every_way(ask: Callable[[int], Any], shared: ThreadPoolExecutor) -> dict[str, Any]:
    """What ``ask`` gives for the user of each way, made in that way.

    Args:
        ask: Makes one call.
        shared: An executor whose worker was started before.
    """
    found: dict[str, Any] = {}

    def call(way: str) -> None:
        try:
            found[way] = ask(USERS[way])
        except BaseException as error:
            found[way] = f"{type(error).__name__}: {error}"

    def joined(thread: threading.Thread) -> None:
        thread.start()
        thread.join()

    def raw(start: Callable[..., Any], way: str, by_keyword: bool = False) -> None:
        done = threading.Event()

        def work(name: str) -> None:
            call(name)
            done.set()

        if by_keyword:
            start(work, (), {"name": way})
        else:
            start(work, (way,))
        assert done.wait(60)

    joined(threading.Thread(target=call, args=("thread",)))
    joined(threading.Timer(0.001, call, ("timer",)))
    joined(threading.Thread(target=lambda: joined(threading.Thread(target=call, args=("nested",)))))
    joined(_OwnRun(lambda: call("own run")))
    joined(_OwnStart(lambda: call("own start and run")))
    worker = Worker()
    worker.start()
    worker.ask(lambda: call("worker"))
    worker.stop()
    raw(_thread.start_new_thread, "raw")
    raw(start_new_thread, "raw, imported")
    raw(_thread.start_new_thread, "raw, by keyword", by_keyword=True)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(call, "pool").result()
        list(pool.map(call, ["map"]))
    with _OwnPool(1) as own:
        own.submit(call, "own pool").result()
    with ThreadPoolExecutor(1, initializer=call, initargs=("initializer",)) as pool:
        pool.submit(int).result()
    shared.submit(call, "shared pool").result()

    async def tasks() -> None:
        await asyncio.get_running_loop().run_in_executor(None, call, "run_in_executor")
        await asyncio.to_thread(call, "to_thread")

    asyncio.run(tasks())
    with ThreadPool(1) as processes:
        processes.apply(call, ("multiprocessing",))
    return found
