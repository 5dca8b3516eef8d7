"""What recording adds to a traced call, measured call by call in one process.

Recording adds less than what two starts of one program differ by, since where a process' memory lies shifts all its
times. So here the same call is made in turn, in random order, by three clients that share one memory: one of httpx
alone, one that OTel instruments, one that OTel instruments and that is recorded. Nothing of ours is on the way of the
first two. What the third takes of their caches slows them as well and is not seen, so this is the lower bound of what
recording adds; compare.py has each in processes of its own beside it.

Prints JSON: for each client nanoseconds of its calls by kind, by the clock and in processor time of the thread.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from types import FunctionType
from typing import Any

import httpx
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from subjects import provider
from workload import Operation, operations

import timetracer_otel
from timetracer_otel.plugins import enable_httpx
from timetracer_otel.process.runtime import runtime

WARM_UP = 5
"""Rounds that are not counted."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--api", choices=("sync", "async"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--of-each", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    is_async = arguments.api == "async"
    kind: Any = httpx.AsyncClient if is_async else httpx.Client
    transport: Any = httpx.AsyncHTTPTransport if is_async else httpx.HTTPTransport
    name = "handle_async_request" if is_async else "handle_request"
    # A transport that our seam is not part of. The seam goes into the function of its base, so it has a copy.
    untouched: Any = type("Untouched", (transport,), {name: copied(vars(transport)[name])})
    enable_httpx()
    providers = {"otel": provider(), "record": provider()}
    providers["record"].add_span_processor(runtime().processor)
    clients: dict[str, Any] = {
        "bare": kind(transport=untouched()),
        "otel": kind(transport=untouched()),
        "record": kind(transport=transport()),
    }
    for subject, its_provider in providers.items():
        HTTPXClientInstrumentor.instrument_client(clients[subject], tracer_provider=its_provider)
    todo = operations(arguments.seed, arguments.of_each)
    base = f"http://127.0.0.1:{arguments.port}"
    run = Run(clients, providers, base, todo, arguments.folder / "paired.msgpack", random.Random(arguments.seed))
    loop = asyncio.new_event_loop()
    wait: Callable[[Awaitable[Any]], Any] = loop.run_until_complete
    gc.collect()
    gc.freeze()
    for number in range(-WARM_UP, arguments.rounds):
        if number == 0:
            run.forget()
        wait(run.round(is_async))
    for client in clients.values():
        wait(client.aclose()) if is_async else client.close()
    loop.close()
    for its_provider in providers.values():
        its_provider.shutdown()
    json.dump({"clock": run.clock, "cpu": run.cpu, "wrong": run.wrong}, sys.stdout)
    return 1 if run.wrong else 0


def copied(function: FunctionType) -> FunctionType:
    """The same function once more."""
    made = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


class Run:
    """Rounds of calls, and what they took."""

    def __init__(
        self,
        clients: dict[str, Any],
        providers: dict[str, TracerProvider],
        base: str,
        todo: list[Operation],
        path: Path,
        order: random.Random,
    ) -> None:
        self._clients = clients
        self._tracers = {subject: its.get_tracer("benchmarks") for subject, its in providers.items()}
        self._base = base
        self._todo = todo
        self._path = path
        self._order = order
        self.wrong = 0
        self.forget()

    def forget(self) -> None:
        """What was measured so far does not count."""
        self.clock: dict[str, defaultdict[str, list[int]]] = {name: defaultdict(list) for name in self._clients}
        self.cpu: dict[str, defaultdict[str, list[int]]] = {name: defaultdict(list) for name in self._clients}

    async def round(self, is_async: bool) -> None:
        """Each operation by each client, all recorded ones in one cassette."""
        contexts = {"bare": otel_context.get_current(), "otel": self._request("otel")}
        with timetracer_otel.record(self._path) as session:
            contexts["record"] = self._request("record")
            for operation in self._todo:
                for subject in self._order.sample(sorted(self._clients), len(self._clients)):
                    token = otel_context.attach(contexts[subject])
                    await self._call(subject, operation, is_async)
                    otel_context.detach(token)
        events = session.events
        self.wrong += len(events) != len(self._todo)
        self.wrong += sum(event.span is None or event.span.name is None for event in events)

    def _request(self, subject: str) -> Context:
        """A context in the span of a request, with the session that is current, if any."""
        with self._tracers[subject].start_as_current_span("request"):
            return otel_context.get_current()

    async def _call(self, subject: str, operation: Operation, is_async: bool) -> None:
        client, url = self._clients[subject], self._base + operation.path
        began, cpu = perf_counter_ns(), thread_time_ns()
        if is_async:
            response = await client.request(operation.method, url, content=operation.body)
        else:
            response = client.request(operation.method, url, content=operation.body)
        took_cpu, took = thread_time_ns() - cpu, perf_counter_ns() - began
        self.cpu[subject][operation.kind].append(took_cpu)
        self.clock[subject][operation.kind].append(took)
        self.wrong += response.status_code != 200 or response.content != operation.answer


if __name__ == "__main__":
    sys.exit(main())
