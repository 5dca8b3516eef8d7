"""How long programs take to start: ``python benchmarks/startup.py``, or within ``make bench``.

An import is what it adds to a bare interpreter. A service (service_app.py) starts under `opentelemetry-instrument`
and under `timetracer-otel record`; the time is from its start to its first answer, its servers being up. All of one
kind run in turn, and the median counts, by the clock.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import results
from compare import environment
from under_load import Service, all_servers, commands

IMPORTS = (
    "opentelemetry.sdk.trace",
    "timetracer_otel",
    "timetracer_otel.plugins.httpx_plugin",
    "timetracer_otel.plugins.requests_plugin",
    "timetracer_otel.plugins.aiohttp_plugin",
    "timetracer_otel.plugins.sqlalchemy_plugin",
    "timetracer_otel.plugins.redis_plugin",
)
PEER_IMPORTS = ("timetracer", "vcr", "cassetter", "drift")


def import_ms(peers: str | None, rounds: int) -> dict[str, float]:
    """Milliseconds that each import adds to a bare interpreter of its environment."""
    wanted = [(sys.executable, name) for name in ("sys", *IMPORTS)]
    if peers:
        wanted += [(peers, name) for name in ("sys", *PEER_IMPORTS)]
    taken: dict[tuple[str, str], list[float]] = {pair: [] for pair in wanted}
    for _ in range(rounds):
        for python, name in wanted:
            began = time.perf_counter()
            subprocess.run([python, "-c", f"import {name}"], check=True, env=environment())
            taken[python, name].append((time.perf_counter() - began) * 1000)
    bare = {python: median(found) for (python, name), found in taken.items() if name == "sys"}
    return {name: median(found) - bare[python] for (python, name), found in taken.items() if name != "sys"}


def service_ms(rounds: int) -> dict[str, float]:
    """Milliseconds until a service has answered."""
    taken: dict[str, list[float]] = {name: [] for name in commands()}
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = all_servers(stack)
        for number in range(-1, rounds):
            for name, command in commands().items():
                with ExitStack() as own:
                    took_s = Service(own, command, addresses, base / name).until_ready_s()
                if number >= 0:
                    taken[name].append(took_s * 1000)
    return {name: median(found) for name, found in taken.items()}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", help="a Python that has the packages of peers.txt")
    parser.add_argument("--imports", type=int, default=10, help="how often each import is timed")
    parser.add_argument("--starts", type=int, default=7, help="how often the service is started")
    arguments = parser.parse_args()
    imports = import_ms(arguments.peers, arguments.imports)
    print("| import | ms beyond a bare interpreter |\n| --- | ---: |")
    for name, ms in imports.items():
        print(f"| `{name}` | {ms:.0f} |")
    services = service_ms(arguments.starts)
    print("\n| service, from its start to its first answer | ms |\n| --- | ---: |")
    for name, ms in services.items():
        print(f"| {name} | {ms:,.0f} |", flush=True)
    results.keep("startup", {"import_ms": imports, "service_ms": services})


if __name__ == "__main__":
    main()
