"""The commands that the README names exist, and answer a wrong Python with one line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_help_names_every_command() -> None:
    done = make("help")
    assert done.returncode == 0
    for target in (
        "demo",
        "test",
        "check",
        "bench",
        "bench-quick",
        "fuzz",
        "test-whole",
        "test-oldest",
        "test-newest",
        "docs",
        "dist",
        "clean",
    ):
        assert f"  make {target} " in done.stdout


@pytest.mark.parametrize("target", ["demo", "test"])
def test_a_missing_python_is_answered_with_the_cure(target: str, tmp_path: Path) -> None:
    done = make(target, f"PYTHON={tmp_path}/python", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    assert "PYTHON=/path/to/python3" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_an_old_python_is_answered_with_the_cure(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.9.18;; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = make("test", f"PYTHON={old}", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    assert "3.10 or newer is needed" in done.stderr
    assert not (tmp_path / "venv").exists()
