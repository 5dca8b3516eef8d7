"""A FastAPI service under load, recorded and not: ``python benchmarks/under_load.py``, or within ``make bench``.

One request makes one HTTP call, one SELECT and two Redis commands (service_app.py). Uvicorn, the upstream, PostgreSQL
and Redis are processes of their own; the load comes from this one. Two services are up at once, one under
`opentelemetry-instrument`, one under `timetracer-otel record`, with the same exporter that does nothing. They have
their slices of load in turn, in an order that changes, and each ratio is one of neighbours.

- Throughput is measured in a closed loop: so many connections, each of which sends its next request when it has the
  answer of the last.
- Latency is measured in an open loop: requests come by chance at a rate below saturation, the same for both, and a
  request that has to wait is as late as it waits.
- What is on the way of a request is the processor time of the thread that serves; beside it stands that of the thread
  that writes, and of all others. A slice ends when the writer has nothing left to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import psycopg
import results
from compare import environment
from servers import SERVERS

HERE = Path(__file__).parent
WRITER = "timetracer-otel-writer"
CONNECTIONS = 8
"""Of the closed loop."""
SHARE_OF_SATURATION = 0.5
"""The rate of the open loop, of what the slower service can answer."""
LATE_AT_MOST = 1.15
THROUGHPUT_AT_LEAST = 0.9
START_S = 60.0


class Service:
    """One service on a port of its own.

    Args:
        stack: Ends it.
        command: What its Python program is run by.
        addresses: Of its servers, by name.
        folder: Where recordings go, if it is recorded.
    """

    def __init__(self, stack: ExitStack, command: list[str], addresses: dict[str, str], folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        program = ["uvicorn", "service_app:app", "--port", str(self.port), "--no-access-log"]
        variables = {f"BENCHMARK_{name.upper()}": address for name, address in addresses.items()}
        variables |= {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
        variables |= {"TIMETRACER_DIR": str(folder), "TIMETRACER_EXCLUDE_PATHS": "/threads"}
        self.began_s = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, str(Path(sys.executable).with_name("python")), "-m", *program, "--log-level", "warning"],
            cwd=HERE,
            env={**environment(), **variables, "OTEL_PYTHON_EXCLUDED_URLS": "threads"},
            start_new_session=True,
        )
        stack.callback(self._end)

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait()

    def until_ready_s(self) -> float:
        """Wait for its first answer. Gives the seconds since its start."""
        while time.perf_counter() - self.began_s < START_S:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                self.get("/orders/1")
                return time.perf_counter() - self.began_s
            except OSError:
                time.sleep(0.002)
        raise SystemExit("benchmark: the service did not start; what it says stands above")

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return bytes(response.read())

    def cpu_ms(self) -> dict[str, float]:
        """Milliseconds of processor time of the threads that serve and write, and of all others together."""
        names = {number: name for name, number in self.threads.items()}
        found = dict.fromkeys(("serving", "writing", "other"), 0.0)
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            kind = "serving" if int(task.name) == self._process.pid else "other"
            kind = "writing" if names.get(int(task.name)) == WRITER else kind
            found[kind] += int((task / "schedstat").read_text().split()[0]) / 1e6
        return found

    def settle(self) -> None:
        """Wait until what is recorded is written."""
        before = -1.0
        while (now := self.cpu_ms()["writing"]) - before > 0.5:
            before = now
            time.sleep(0.2)

    def memory_mb(self) -> float:
        """What its process has in memory."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    def recordings(self) -> int:
        return sum(path.name.startswith("GET_orders") for path in self.folder.rglob("*.msgpack"))

    def know_threads(self) -> None:
        """Ask which thread does what, once all are there."""
        self.threads: dict[str, int] = json.loads(self.get("/threads"))


class Connection(asyncio.Protocol):
    """Sends a request, and waits for its answer."""

    def __init__(self) -> None:
        self._waiting = b""
        self._answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def get(self, number: int) -> None:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(b"GET /orders/%d HTTP/1.1\r\nHost: service\r\n\r\n" % number)
        await self._answer

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        head, end, body = self._waiting.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self._waiting = b""
            if head.split(b" ", 2)[1] == b"200":
                self._answer.set_result(None)
            else:
                self._answer.set_exception(RuntimeError(f"the service answered {head.decode()}"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the service closed the connection"))

    def close(self) -> None:
        self._transport.close()


async def connect(port: int) -> Connection:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(Connection, "127.0.0.1", port))[1]


async def closed_loop(port: int, seconds: float) -> int:
    """How many requests are answered in this time."""
    until = time.perf_counter() + seconds
    answered = 0

    async def one(connection: Connection) -> None:
        nonlocal answered
        while time.perf_counter() < until:
            answered += 1
            await connection.get(answered)

    connections = [await connect(port) for _ in range(CONNECTIONS)]
    await asyncio.gather(*map(one, connections))
    for connection in connections:
        connection.close()
    return answered


async def open_loop(port: int, seconds: float, rate: float, chance: random.Random) -> list[float]:
    """Milliseconds from when each request is due until it is answered."""
    loop = asyncio.get_running_loop()
    free: list[Connection] = [await connect(port) for _ in range(CONNECTIONS)]
    took: list[float] = []

    async def one(due: float, number: int) -> None:
        connection = free.pop() if free else await connect(port)
        await connection.get(number)
        took.append((loop.time() - due) * 1000)
        free.append(connection)

    due = began = loop.time()
    tasks: list[asyncio.Task[None]] = []
    while (due := due + chance.expovariate(rate)) < began + seconds:
        await asyncio.sleep(max(due - loop.time(), 0))
        tasks.append(asyncio.create_task(one(due, len(tasks))))
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return took


class Slice(NamedTuple):
    """What one slice of load of a service found."""

    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: dict[str, float] = {}  # noqa: RUF012
    requests: int = 0


def throughput(service: Service, seconds: float) -> Slice:
    """A slice of the closed loop."""
    before = service.cpu_ms()
    answered = asyncio.run(closed_loop(service.port, seconds))
    service.settle()
    cpu = {kind: (after - before[kind]) / answered for kind, after in service.cpu_ms().items()}
    return Slice(per_second=answered / seconds, cpu_ms=cpu, requests=answered)


def latency(service: Service, seconds: float, rate: float, seed: int) -> Slice:
    """A slice of the open loop."""
    took = asyncio.run(open_loop(service.port, seconds, rate, random.Random(seed)))
    service.settle()
    percentiles = quantiles(took, n=100)
    return Slice(p50_ms=percentiles[49], p99_ms=percentiles[98], requests=len(took))


def prepare(database: str) -> None:
    """Make the table that is asked."""
    with psycopg.connect(f"postgresql://{database}") as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, mail TEXT)")
        for number in range(100):
            row = (number, f"name of {number}", f"user{number}@example.com")
            connection.execute("INSERT INTO customers VALUES (%s, %s, %s)", row)


def commands() -> dict[str, list[str]]:
    """What the service is run by: traced, and recorded beside it."""
    programs = Path(sys.executable).parent
    return {
        "OTel": [str(programs / "opentelemetry-instrument")],
        "OTel, recorded": [str(programs / "timetracer-otel"), "record", "--"],
    }


def all_servers(stack: ExitStack) -> dict[str, str]:
    """Start what the service calls. Gives the addresses by name."""
    addresses = {name: stack.enter_context(SERVERS[name]()) for name in ("http", "postgresql", "redis")}
    prepare(addresses["postgresql"])
    return addresses


def main() -> None:
    """Print a table, and whether the goals were met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slices", type=int, default=12, help="of each load, for each service")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a slice")
    arguments = parser.parse_args()
    closed: defaultdict[str, list[Slice]] = defaultdict(list)
    opened: defaultdict[str, list[Slice]] = defaultdict(list)
    asked: defaultdict[str, int] = defaultdict(int)
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = all_servers(stack)
        services = {
            name: Service(stack, command, addresses, base / str(number))
            for number, (name, command) in enumerate(commands().items())
        }
        for service in services.values():
            service.until_ready_s()
            asyncio.run(closed_loop(service.port, arguments.seconds))
            service.know_threads()
            service.settle()
        begun = {name: service.recordings() for name, service in services.items()}
        order = random.Random(1)
        for _ in range(arguments.slices):
            for name in order.sample(sorted(services), len(services)):
                closed[name].append(throughput(services[name], arguments.seconds))
        rate = SHARE_OF_SATURATION * min(median(each.per_second for each in found) for found in closed.values())
        for seed in range(arguments.slices):
            for name in order.sample(sorted(services), len(services)):
                opened[name].append(latency(services[name], arguments.seconds, rate, seed))
        memory = {name: service.memory_mb() for name, service in services.items()}
        for name in services:
            asked[name] = sum(each.requests for each in closed[name] + opened[name])
        recorded = {name: service.recordings() - begun[name] for name, service in services.items()}
    figures = {
        name: {
            "per_second": round(median(each.per_second for each in closed[name]), 1),
            "p50_ms": round(median(each.p50_ms for each in opened[name]), 2),
            "p99_ms": round(median(each.p99_ms for each in opened[name]), 2),
            **{
                f"{kind}_ms": round(median(each.cpu_ms[kind] for each in closed[name]), 3)
                for kind in ("serving", "writing", "other")
            },
            "memory_mb": round(memory[name], 1),
            "requests": asked[name],
            "recordings": recorded[name],
        }
        for name in closed
    }
    print(f"The open loop has {rate:.0f} requests a second.\n")
    print("| service | requests/s | p50, ms | p99, ms | CPU a request: serving thread, ms ", end="")
    print("| writer's, ms | others, ms | memory, MB | requests | recordings |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in commands():
        print(f"| {name} | {' | '.join(f'{figure:,}' for figure in figures[name].values())} |")
    traced, ours = commands()
    pairs = [
        median(one.per_second / other.per_second for one, other in zip(closed[ours], closed[traced], strict=True)),
        *(
            median(
                getattr(one, at) / getattr(other, at) for one, other in zip(opened[ours], opened[traced], strict=True)
            )
            for at in ("p50_ms", "p99_ms")
        ),
    ]
    print(f"\nRecorded, of traced alone: throughput {pairs[0]:.2f}, p50 {pairs[1]:.2f}, p99 {pairs[2]:.2f}.")
    results.keep(
        "service",
        {"rate": rate, "services": figures, "ratios": dict(zip(("throughput", "p50", "p99"), pairs, strict=True))},
    )
    results.state(
        [
            results.Goal("loaded service, p99, recorded against OTel alone", pairs[2], LATE_AT_MOST),
            results.Goal(
                "loaded service, throughput, recorded against OTel alone",
                pairs[0],
                THROUGHPUT_AT_LEAST,
                at_least=True,
            ),
        ]
    )


if __name__ == "__main__":
    main()
