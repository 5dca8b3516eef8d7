"""One subject in one process: sets itself up, says so, and runs one batch for each line on its standard input.

Answers each line with a line of JSON: nanoseconds of each call by kind (by the clock, and
of the processor in the calling thread), nanoseconds to open and to close what
stands around the batch, and how many answers were not equal to what the server sends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.metadata
import json
import platform
import sys
from collections import defaultdict
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Any

import httpx
from subjects import SUBJECTS, Around, Setting
from workload import Operation, operations

DISTRIBUTIONS = ("httpx", "opentelemetry-sdk", "timetracer-otel", "timetracer", "vcrpy", "cassetter")


class Timed:
    """The measurements of one batch."""

    def __init__(self) -> None:
        self.calls: defaultdict[str, list[int]] = defaultdict(list)
        self.cpu: defaultdict[str, list[int]] = defaultdict(list)
        self.opened = self.closed = self.wrong = 0

    def call(self, operation: Operation, began: int, cpu: int, response: httpx.Response) -> None:
        self.cpu[operation.kind].append(thread_time_ns() - cpu)
        self.calls[operation.kind].append(perf_counter_ns() - began)
        self.wrong += response.status_code != 200 or response.content != operation.answer


def batch(client: httpx.Client, base: str, around: Around, todo: list[Operation]) -> Timed:
    timed = Timed()
    began = perf_counter_ns()
    with around():
        timed.opened = perf_counter_ns() - began
        for operation in todo:
            began, cpu = perf_counter_ns(), thread_time_ns()
            response = client.request(operation.method, base + operation.path, content=operation.body)
            timed.call(operation, began, cpu, response)
        began = perf_counter_ns()
    timed.closed = perf_counter_ns() - began
    return timed


async def async_batch(client: httpx.AsyncClient, base: str, around: Around, todo: list[Operation]) -> Timed:
    timed = Timed()
    began = perf_counter_ns()
    with around():
        timed.opened = perf_counter_ns() - began
        for operation in todo:
            began, cpu = perf_counter_ns(), thread_time_ns()
            response = await client.request(operation.method, base + operation.path, content=operation.body)
            timed.call(operation, began, cpu, response)
        began = perf_counter_ns()
    timed.closed = perf_counter_ns() - began
    return timed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--api", choices=("sync", "async"), default="sync")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--of-each", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    base = f"http://127.0.0.1:{arguments.port}"
    todo = operations(arguments.seed, arguments.of_each)

    def run_once(transport: Any, around: Around) -> None:
        with httpx.Client(transport=transport, trust_env=False) as client:
            batch(client, base, around, todo)

    subject = SUBJECTS[arguments.subject](Setting(arguments.folder, todo, run_once))
    gc.collect()
    gc.freeze()
    answer(
        {name: version for name in DISTRIBUTIONS if (version := installed(name))}
        | {"Python": platform.python_version()}
    )
    if arguments.api == "sync":
        with httpx.Client(transport=subject.transport, trust_env=False) as client:
            for _ in sys.stdin:
                answer(vars(batch(client, base, subject.around, todo)))
    else:
        loop = asyncio.new_event_loop()
        async_client = httpx.AsyncClient(transport=subject.transport, trust_env=False)
        for _ in sys.stdin:
            answer(vars(loop.run_until_complete(async_batch(async_client, base, subject.around, todo))))
        loop.run_until_complete(async_client.aclose())
        loop.close()
    subject.shutdown()


def answer(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
