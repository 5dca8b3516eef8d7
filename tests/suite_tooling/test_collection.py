"""Every process collects the same tests: pytest-xdist's workers refuse to run where they do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_the_names_of_tests_do_not_depend_on_the_process_or_the_time() -> None:
    """A parameter made of a clock, a random number or a set's order gives a test another name in each worker."""
    first, second = collected("1"), collected("2")
    assert len(first) > 1000
    assert first == second


def collected(hash_seed: str) -> list[str]:
    """The names of all tests, as a process with this seed for its hashes has them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]
