"""What the programs that tests start find: the instrumentations they use, commands by any PATH, an interrupt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import ROOT, environment, script, uses

pytest_plugins = ["pytester"]

INTERRUPTED = """
    import signal, subprocess, sys

    def test_an_interrupt_is_one_here_and_in_a_child():
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        code = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
        assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == -signal.SIGINT
"""


def test_a_program_has_the_instrumentations_of_what_it_imports_and_no_other() -> None:
    code = "import os, httpx as client\nfrom sqlalchemy.ext import asyncio\n", "    import aiohttp; import redislike"
    assert uses(*code) == {"httpx", "sqlalchemy", "aiohttp-client"}
    disabled = set(environment(uses(*code))["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"].split(","))
    assert {"django", "flask", "redis", "requests"} <= disabled
    assert not {"httpx", "sqlalchemy", "aiohttp-client", "threading", "timetracer"} & disabled
    with pytest.raises(AssertionError, match="not installed"):
        environment({"httx"})


def test_commands_are_found_whatever_the_path_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert Path(script("timetracer-otel")).is_file()
    assert environment()["PATH"].split(":")[0] == str(Path(sys.executable).parent)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_background_job_takes_interrupts_as_they_come(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest("from tests.conftest import pytest_configure")
    path = pytester.makepyfile(INTERRUPTED)
    # As a shell without job control starts what runs in the background.
    started = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "pytest", "-q", str(path)]
    done = subprocess.run(started, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
