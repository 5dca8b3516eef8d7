"""Counts instructions by `valgrind --tool=callgrind`, which no other load of the machine changes.

A benchmark calls itself as another process, which calls `mark` before and after what is to be counted. What stands
between two marks is counted of all threads, without the system's part.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

mark = os.getppid
"""Writes down what was counted, and begins anew. It is a function of the C library that nothing else calls here."""
MARK = "getppid"
"""Its name in the C library, by which `callgrind` knows it."""


def is_there() -> bool:
    """Whether instructions can be counted on this machine."""
    return shutil.which("valgrind") is not None


def between_marks(*command: str, environment: Mapping[str, str] | None = None, keep: Path | None = None) -> list[int]:
    """Run a Python script, and give the instructions from each mark to the next.

    Args:
        command: The script and its arguments.
        environment: Variables that it has besides ours.
        keep: Leave what `callgrind` wrote in this file.

    Raises:
        SystemExit: The script failed; the exception has what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = keep or Path(folder, "counts")
        options = [f"--dump-before={MARK}", "--combine-dumps=yes", f"--callgrind-out-file={out}"]
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", *options, sys.executable, *command],
            check=False,
            capture_output=True,
            text=True,
            # With a seed, hash tables are laid out alike in each run.
            env={**os.environ, **(environment or {}), "PYTHONHASHSEED": "0"},
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        totals = [int(number) for number in re.findall(r"^totals: (\d+)$", out.read_text(), re.MULTILINE)]
    # The first count is that of all before the first mark, the last one that of all behind the last mark.
    return totals[1:-1]
