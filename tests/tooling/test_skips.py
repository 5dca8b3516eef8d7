"""A run that skips tests says so, and CI does not skip those that want a server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import ROOT, environment


def test_a_run_says_how_many_tests_it_skipped_and_why(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "@pytest.mark.skipif(True, reason='no server')\n"
        "def test_a(n): ...\n"
        "def test_b(): pytest.skip('not here')\n"
        "def test_c(): ...\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "."]
    for selected, ends in (
        ([], ["skipped tests: 3", "2: no server", "1: not here"]),
        (["-k", "test_c"], ["no test was skipped"]),
    ):
        done = subprocess.run(
            [*command, *selected],
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = [line.strip("= ") for line in done.stdout.splitlines()]
        assert [line for line in said if line in ends] == ends, done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
@pytest.mark.parametrize("installs", [True, False])
def test_ci_skips_no_server_but_where_none_can_be_had(tmp_path: Path, installs: bool) -> None:
    def program(name: str, text: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    program("make", 'echo "make $1 CI=${CI:-none}"')
    program("apt-get", "exit 0" if installs else "exit 1")
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [str(tmp_path / "bash"), str(ROOT / ".ci" / "run")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"make test CI={'true' if installs else 'none'}" in done.stdout.splitlines()
    assert ("skipped, and counted" in done.stdout) is not installs
