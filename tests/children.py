"""The environment and the commands of the programs that tests start: one place that knows what each of them costs.

To start costs more than most tests do. ``opentelemetry-instrument`` loads every instrumentation that is installed,
with the library and the frameworks that it is for: 2 s of the processor, where a program that uses httpx needs half
of it. So a program gets those that it uses, and no other.

Programs are found beside the Python that runs the tests, whatever ``PATH`` says.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tests import forks

__all__ = ["ROOT", "environment", "instrument", "instrumented_path", "script", "told_under_hash_seed", "uses"]

ROOT = Path(__file__).parents[1]
"""The repository."""

_ALWAYS = {"timetracer", "threading"}
_PACKAGES = {"aiohttp-client": "aiohttp", "grpc_client": "grpc", "mysqlclient": "MySQLdb"}
"""What an instrumentation is for, where that is not its name."""
_PATIENCE_S = 500
_SHOWN = 6000
"""Of what a program that failed has written to its standard error, so many characters are shown."""
_IMPORTED = re.compile(r"\b(?:import|from) +((?:\w+[\w.]*(?: as \w+)?(?:, *)?)+)")


def script(name: str) -> str:
    """The path of a command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def told_under_hash_seed(seed: int, program: Path, *args: str, folder: Path, given: str = "") -> Any:
    """What a program writes in JSON: it runs in a process of its own, which hashes text by this seed.

    Where programs are forked (`tests.forks`), it has one of two seeds that the run has drawn: what replays has the
    one, and all else the other.

    Args:
        seed: Of the hashes.
        program: Its file.
        args: Its arguments.
        folder: Where it runs.
        given: Its standard input.

    Raises:
        AssertionError: It failed, or did not end in time, with what it wrote last to its standard error. A program
            that did not end has written where each of its threads stood.
    """
    changes = {"PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
    if os.environ.get(forks.RUN, "0") == "0":
        changes["PYTHONHASHSEED"] = str(seed)
        print(f"{program.name} {args[0]}: PYTHONHASHSEED={seed}")
    # No pipe: servers that it has started and left would hold that open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        with forks.start(
            *(str(program), *args),
            env=environment(**changes),
            cwd=folder,
            # What replays has another seed than what was recorded.
            turn=int("replay" in args),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        ) as started:
            try:
                written, _ = started.communicate(given, timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                written = ""
                # By this signal it ends, and says where it stood.
                started.send_signal(signal.SIGABRT)
            except BaseException:
                started.kill()
                raise
        said.seek(0)
        assert started.returncode == 0, f"exit code {started.returncode}\n{said.read()[-_SHOWN:]}"
    return json.loads(written)


def instrument(*command: str) -> list[str]:
    """A command, under stock ``opentelemetry-instrument``."""
    return [script("opentelemetry-instrument"), *command]


def instrumented_path(python_path: str | None, folder: Path) -> str:
    """The ``PYTHONPATH`` with which ``opentelemetry-instrument`` replaces itself by a Python, in a folder.

    The script does nothing else with a command: a Python that is started with it is instrumented in the same way, and
    a third sooner. `tests/process/test_instrumented_process.py` compares the two.
    """
    spec = importlib.util.find_spec("opentelemetry.instrumentation.auto_instrumentation")
    assert spec is not None
    assert spec.origin is not None
    own = str(Path(spec.origin).parent)
    paths = [path for path in (python_path or "").split(os.pathsep) if path and path != own]
    return os.pathsep.join([own, *([] if str(folder) in paths else [str(folder)]), *paths])


def uses(*code: str) -> set[str]:
    """The instrumentations of the libraries that programs import."""
    imported = {
        name.split()[0].partition(".")[0]
        for text in code
        for names in _IMPORTED.findall(text)
        for name in names.split(",")
        if name.strip()
    }
    return {name for name in _installed() if _PACKAGES.get(name, name) in imported}


def environment(instrumentations: Iterable[str] = (), /, **changes: str) -> dict[str, str]:
    """The environment of a program that a test starts: ours, with these instrumentations and no other.

    Args:
        instrumentations: Names of entry points, as `uses` gives them. That of threads is always there: it stands
            for any program of a user.
        changes: What stands in it besides, or in another way.
    """
    unknown = set(instrumentations) - _installed()
    assert not unknown, f"not installed: {sorted(unknown)}"
    scripts = str(Path(sys.executable).parent)
    return {
        # How wide a terminal is, and its language, are of whoever runs the tests.
        **{name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LANG", "LC_ALL"}},
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)]),
        "PYTHONIOENCODING": "utf-8",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(sorted(_installed() - _ALWAYS - set(instrumentations))),
        **changes,
    }


@cache
def _installed() -> frozenset[str]:
    return frozenset(point.name for point in entry_points(group="opentelemetry_instrumentor"))
