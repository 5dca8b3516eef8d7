"""``python -m tests.suite_injection.run [WORKLOAD ...]``: break each function, and look whether the app notices.

For each workload, the app runs bare, and recorded; then, in a fork for each function of ours that ran and each kind
of fault, it runs recorded with that function broken. The app has to see what it saw bare, in time. Prints each
function that lets a fault out, and how.

``known.txt`` lists the functions that are known to let faults out. A function that stands there and does so is no
failure; one that does not stand there is, and so is one that stands there and no longer does so. The list shall
become empty.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.servers.redis import RedisServer
from tests.suite_injection import injector
from tests.suite_injection.workloads import WORKLOADS, Servers
from timetracer_otel import record

LOOPBACK = """
import sys
from tests.loopback import Loopback
with Loopback() as upstream:
    print(upstream.url, flush=True)
    sys.stdin.read()
"""
PATIENCE_S = 10.0
KNOWN = Path(__file__).with_name("known.txt")


def in_fork(work: Callable[[], Any]) -> Any:
    """What a function gives in a fork of this process, or how that ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(reading)
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            with os.fdopen(writing, "w") as pipe:
                json.dump(work(), pipe)
            code = 0
        except BaseException as error:
            with os.fdopen(os.dup(1), "w") as out:
                out.write(f"the harness: {type(error).__name__}: {error}\n")
        finally:
            os._exit(code)
    os.close(writing)
    data = b""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        ready, _, _ = select.select([reading], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            break
        part = os.read(reading, 1 << 16)
        if not part:
            break
        data += part
    os.close(reading)
    os.waitpid(pid, 0)
    return json.loads(data) if data and ready else "hangs" if not ready else "died"


def recorded(name: str, servers: Servers, folder: Path, target: types.CodeType | None = None, fault: str = "") -> Any:
    """What the app sees while it is recorded."""
    work = WORKLOADS[name]
    with record(folder / f"{os.getpid()}.msgpack"):
        work(servers)
        undo = injector.broken(target, fault) if target is not None else None
        try:
            seen = work(servers)
        finally:
            if undo is not None:
                undo()
    return seen


def functions(name: str, servers: Servers, folder: Path) -> dict[str, types.CodeType]:
    """The functions of ours that run in the app's thread."""
    work = WORKLOADS[name]
    with record(folder / "functions.msgpack"):
        work(servers)
        with injector.ran() as found:
            work(servers)
    return found


def main() -> int:
    """Try all; gives the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--faults", nargs="*", default=["RuntimeError", "never"])
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true", help="write the list of what is known")
    options = parser.parse_args()
    tried = 0
    known = set(KNOWN.read_text("utf-8").splitlines()) if KNOWN.exists() else set()
    expected = {line for line in known if line.split()[0] in options.workloads and options.only in line}
    noticed: set[str] = set()
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        upstream = subprocess.Popen(
            [sys.executable, "-c", LOOPBACK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert upstream.stdout is not None
        url = upstream.stdout.readline().strip()
        with RedisServer(folder) as redis:
            servers = Servers(url, "http://127.0.0.1:1", redis.url, str(folder))
            for name in options.workloads:
                bare = in_fork(partial(WORKLOADS[name], servers))
                plain = in_fork(partial(recorded, name, servers, folder))
                assert plain == bare, (bare, plain)
                found = functions(name, servers, folder)
                print(f"{name}: {len(found)} functions", flush=True)
                for place, code in found.items():
                    if options.only not in place:
                        continue
                    for fault in options.faults:
                        if fault == "never" and not code.co_flags & 0x80:
                            continue
                        tried += 1
                        seen = in_fork(partial(recorded, name, servers, folder, code, fault))
                        if seen != bare:
                            noticed.add(f"{name} {place}")
                            known_or_not = "" if f"{name} {place}" in expected else "new: "
                            print(f"  {known_or_not}{place} {fault}: {_difference(bare, seen)}", flush=True)
        upstream.kill()
    if options.write:
        KNOWN.write_text("".join(f"{line}\n" for line in sorted(known - expected | noticed)), "utf-8")
    mended = sorted(expected - noticed)
    new = noticed - expected
    print(f"{len(noticed)} functions let some of {tried} faults out; {len(new)} are not known to do so")
    if mended:
        print(f"no longer, and to be struck from {KNOWN.name}:", *mended, sep="\n  ")
    return 1 if new or mended else 0


def _difference(bare: list[str], seen: Any) -> str:
    if not isinstance(seen, list):
        return str(seen)
    found = [f"{was[:60]} -> {now[:90]}" for was, now in zip(bare, seen, strict=False) if was != now]
    return f"{len(found)} of {len(bare)}: {found[0]}"


if __name__ == "__main__":
    sys.exit(main())
