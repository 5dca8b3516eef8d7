"""A program that a server forks is what a Python of its own makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests import forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each program is a Python of its own")

_TELLS = """
import atexit, json, locale, os, signal, sys, threading, warnings
atexit.register(print, "at exit")
print(json.dumps({
    "arguments": [sys.argv, sys.orig_argv[1:], sys.path, sys.flags.interactive, sys.warnoptions],
    "main": sorted(set(globals()) - {"__annotations__", "__cached__", "__file__"}),
    "name": [__name__, globals().get("__file__")],
    "environment": [dict(os.environ), os.getcwd(), locale.getlocale()],
    "threads": threading.active_count(),
    "filters": [str(each) for each in warnings.filters if "opentelemetry" not in str(each)],
    "signals": [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGCHLD, signal.SIGTERM)],
    "streams": [
        (each.name, each.encoding, each.errors, each.line_buffering, each.write_through, each.isatty())
        for each in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "open": sorted(os.listdir("/proc/self/fd"), key=int)[:3],
    "input": sys.stdin.read(),
}))
threading.Thread(target=lambda: print("thread")).start()
print("said", file=sys.stderr)
"""
_ENDS = {
    "at its end": ("", 0, "said\n"),
    "by exit": ("sys.exit(3)", 3, "said\n"),
    "by a text": ("sys.exit('because')", 1, "said\nbecause\n"),
    "by an error": ("raise KeyError('x')", 1, "KeyError: 'x'\n"),
    "by an interrupt": ("raise KeyboardInterrupt", -2, "KeyboardInterrupt\n"),
    "with another stream": ("import io; sys.stdout = io.StringIO()", 0, "said\n"),
    "by a signal": ("sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)", -9, "said\n"),
}


def _both(
    monkeypatch: pytest.MonkeyPatch, *arguments: str, cwd: Path, env: dict[str, str]
) -> list[subprocess.CompletedProcess[str]]:
    assert forks.runs_in_a_fork(arguments, env)
    forked = forks.run(*arguments, env=env, cwd=cwd)
    with monkeypatch.context() as patch:
        patch.setenv(forks.RUN, "0")
        return [forks.run(*arguments, env=env, cwd=cwd), forked]


def _told(done: subprocess.CompletedProcess[str]) -> list[Any]:
    first, *rest = done.stdout.splitlines()
    return [*json.loads(first).items(), *rest]


@pytest.mark.parametrize("how", ["code", "module", "script", "options", "unbuffered"])
def test_it_begins_as_any_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    (tmp_path / "tells.py").write_text(_TELLS)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os; os.environ['CUSTOM'] = 'yes'")
    arguments = {
        "code": ("-c", _TELLS, "a", "-b"),
        "module": ("-m", "tells", "a", "-b"),
        "script": ("tells.py", "a", "-b"),
        "options": ("-W", "ignore", "-W", "error::UserWarning", "-c", _TELLS),
        "unbuffered": ("-u", "-W", "ignore", "-c", _TELLS),
    }[how]
    env = {"PATH": os.defpath, "PYTHONPATH": f"site{os.pathsep}{tmp_path}", "PYTHONWARNINGS": "once", "ÄÖ": "ü"}
    own, forked = _both(monkeypatch, *arguments, cwd=tmp_path, env=env)
    assert (own.returncode, '"CUSTOM": "yes"' in own.stdout) == (0, True), own.stderr
    assert _told(forked) == _told(own)
    assert (forked.returncode, forked.stderr) == (own.returncode, own.stderr)


@pytest.mark.parametrize("end", _ENDS)
def test_it_ends_as_any_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    code, status, said = _ENDS[end]
    own, forked = _both(monkeypatch, "-c", _TELLS + code, cwd=tmp_path, env={"PATH": os.defpath})
    assert (own.returncode, own.stderr[-len(said) :]) == (status, said)
    assert (forked.returncode, forked.stderr[-len(said) :]) == (status, said)
    assert _told(forked) == _told(own)


@pytest.mark.parametrize("finalised", [True, False])
def test_an_interpreter_is_finalised_where_the_test_asks_for_it(tmp_path: Path, finalised: bool) -> None:
    code = "import os\nclass Kept:\n    def __del__(self): os.write(1, b'taken apart')\nkept = Kept()"
    done = forks.run("-c", code, env={"PATH": os.defpath}, cwd=tmp_path, finalised=finalised)
    # Where coverage is measured, it writes what it saw when the interpreter is finalised.
    told = "taken apart" if finalised or "coverage" in sys.modules else ""
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")


def test_what_is_random_differs_and_so_do_hashes_of_two_programs(tmp_path: Path) -> None:
    code = "import os, random, uuid; print(random.random(), uuid.uuid4(), os.urandom(4).hex(), hash('text'))"
    found = [forks.run("-c", code, env=dict(os.environ), cwd=tmp_path).stdout.split() for _ in range(4)]
    for values in list(zip(*found, strict=True))[:-1]:
        assert len(set(values)) == 4
    assert all(one[-1] != following[-1] for one, following in pairwise(found))


def test_two_programs_run_at_once_and_one_that_hangs_is_killed(tmp_path: Path) -> None:
    waits = "import pathlib, time\nwhile not pathlib.Path('told').exists(): time.sleep(0.01)"
    with pytest.raises(subprocess.TimeoutExpired):
        forks.run("-c", waits, env=dict(os.environ), cwd=tmp_path, timeout=0.5)
    tells = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5); open('told', 'w')"], cwd=tmp_path)
    assert forks.run("-c", waits, env=dict(os.environ), cwd=tmp_path).returncode == 0
    assert tells.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (("-X", "dev", "-c", "pass"), {}),
        (("-c", "pass"), {"PYTHONHASHSEED": "0"}),
        (("-c", "pass"), {"PYTHONIOENCODING": "ascii"}),
        (("-c", "pass"), {"OTEL_PROPAGATORS": "b3"}),
    ],
)
def test_what_an_interpreter_decides_is_left_to_one(arguments: tuple[str, ...], env: dict[str, str]) -> None:
    assert not forks.runs_in_a_fork(arguments, env)
    assert forks.runs_in_a_fork(arguments[-2:], {})


@pytest.mark.parametrize("python", ["its own", "a fork"])
def test_a_shell_gets_what_any_python_gives(tmp_path: Path, python: str) -> None:
    words = forks.in_shell("traced") if python == "a fork" else sys.executable
    assert words is not None
    (tmp_path / "tells.py").write_text(
        "import os, sys\n"
        "print(sys.argv, os.environ['GIVEN'], os.getcwd(), sys.stdin.read())\n"
        "print('said', file=sys.stderr)\n"
        "sys.stdout.flush()\n"
        "os.kill(os.getpid(), 9) if sys.argv[1:] == ['end'] else sys.exit(3)\n"
    )
    line = (
        f"echo read | GIVEN=given {words} tells.py 'a b'; echo $?; GIVEN= {words} tells.py end < /dev/null; echo $?"
    )
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"['tells.py', 'a b'] given {tmp_path} read\n\n3\n['tells.py', 'end']  {tmp_path} \n137\n"
    assert done.stderr.count("said\n") == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 7), (signal.SIGTERM, 143)])
def test_a_program_that_was_started_takes_signals(tmp_path: Path, number: signal.Signals, code: int) -> None:
    waits = (
        "import sys, time\n"
        "try:\n    print('there', flush=True)\n    time.sleep(600)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n    sys.exit(7)\n"
    )
    env = {"PATH": os.defpath}
    with forks.start("-c", waits, env=env, cwd=tmp_path, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "there\n"
        started.send_signal(number)
        said, _ = started.communicate(timeout=60)
    assert (started.returncode, said) == (code, "interrupted\n" if code == 7 else "")


def test_a_program_is_killed_with_who_asked_for_it(tmp_path: Path) -> None:
    code = "import os, time; os.fork(); print('there', flush=True); time.sleep(600)"
    with forks.start("-c", code, env={"PATH": os.defpath}, cwd=tmp_path, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert [started.stdout.readline() for _ in range(2)] == ["there\n"] * 2
        started.kill()
        # Both of its processes have this pipe, and keep it open for as long as they live.
        said, _ = started.communicate(timeout=60)
    assert (started.returncode, said) == (-9, "")
