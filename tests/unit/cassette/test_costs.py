"""What reading a file of a stranger costs: memory and time in proportion to the file, whatever is in it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.examples import sampled
from tests.unit.cassette.hostile_files import hostile_files

FILES = sampled(list(hostile_files()), 4)

HOW = ("read", "open", "ask")
"""Reading a file, opening it, and opening it with a question for the answer of each event."""

MEASURE = """
    import ctypes, gc, json, os, resource, sys, time
    from timetracer_otel.cassette import open_cassette, read_cassette
    from timetracer_otel.exceptions import CassetteError

    def facts(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

    def cost_of(path, how):
        size = os.stat(path).st_size
        for warm in warm_files:  # A forked process has its parent's memory, but maps its libraries anew.
            read_cassette(warm)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        before = facts("VmRSS")
        allowed = (1 << 20) + 64 * size
        # Address space comes in arenas of 1 MiB, and zstd asks for a window of 8 MiB that it does not use.
        resource.setrlimit(resource.RLIMIT_AS, (facts("VmSize") + allowed + (12 << 20),) * 2)
        began = time.process_time()
        try:
            if how == "read":
                read_cassette(path)
            else:
                events = open_cassette(path).events
                if how == "ask":
                    answers = [event.result for event in events]
            end = "read"
        except CassetteError as fault:
            end = str(fault)
        except BaseException as fault:
            end = f"raised {type(fault).__name__}"
        return {"size": size, "took": time.process_time() - began, "peak": facts("VmHWM") - before, "end": end}

    warm_files = [path for path in sys.argv[1:] if path.endswith("warm")]
    for warm in warm_files * 20:
        read_cassette(warm)
    gc.collect()
    for path, how in [(path, how) for path in sys.argv[1:] for how in ("read", "open", "ask")]:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, json.dumps(cost_of(path, how)).encode())
            os._exit(0)
        os.close(writer)
        print(json.dumps([path + how, json.loads(os.read(reader, 1 << 16) or "null")]))
        os.waitpid(child, 0)
        os.close(reader)
"""


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What reading each of the files cost, each in a process of its own with a limit of memory."""
    folder = tmp_path_factory.mktemp("hostile")
    golden = Path(__file__).parents[2] / "golden"
    paths = {}
    for kind in ("", ".gz", ".zst"):
        paths["warm" + kind] = folder / f"{kind}.warm"
        paths["warm" + kind].write_bytes((golden / f"v1.msgpack{kind}").read_bytes())
    for number, name in enumerate(FILES):
        paths[name] = folder / str(number)
        paths[name].write_bytes(hostile_files()[name]())
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), *map(str, paths.values())],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found = dict(map(json.loads, done.stdout.splitlines()))
    return {name + how: found[str(path) + how] for name, path in paths.items() for how in HOW}


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory by /proc and RLIMIT_AS")
@pytest.mark.sweep
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_costs_64_times_its_size_in_memory_and_seconds_at_most(
    costs: dict[str, Any], name: str, how: str
) -> None:
    cost = costs[name + how]
    print(f"{name}: {cost}")
    assert cost is not None
    assert not cost["end"].startswith("raised"), cost["end"]
    # Before Python 3.11, a function of Python that calls another one takes of C's stack: 100 KB at great depth.
    stack = 0 if sys.version_info >= (3, 11) else 256 << 10
    assert cost["peak"] <= (1 << 20) + 64 * cost["size"] + stack, cost
    # On a machine that does nothing else it is a second for 10 MiB, but for extension types and the smallest of
    # events (docs/safety.md). Once, these took minutes.
    assert cost["took"] <= 0.5 + 8 * cost["size"] / (10 << 20), cost
