"""The server that forks: a script that is run by its path, and imports nothing of the tests.

``server.py SOCKET PID MODULE …`` imports the modules and waits at the socket for as long as the process with that id
is there. A request is one line of JSON, with the file descriptors of the program's standard streams. The answer is
the program's process id, and when it has ended its exit code, each on a line. Where who asked is gone, the program
is killed, with all of its process group.

A program ends when its threads have ended, the functions of ``atexit`` have run and its output is written. What an
interpreter does then, it does for hundreds of modules of the server: it takes them apart, which copies every page of
memory that the program shared with the server. That takes longer than most programs. So it is done where a request
says that the program is finalised.
"""

from __future__ import annotations

import _thread
import atexit
import faulthandler
import gc
import hmac
import importlib
import importlib.metadata
import io
import json
import os
import selectors
import signal
import site
import socket
import sys
import types
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

_LOOKS_S = 2.0
"""How often the server looks whether the test run is still there."""
_RECORDED = (
    *("aiohttp", "arq", "celery", "django", "dramatiq", "fastapi", "flask", "httpx", "httpx2", "huey", "redis"),
    *("opentelemetry-api", "opentelemetry-sdk", "requests", "rq", "sqlalchemy", "starlette", "timetracer-otel"),
)
"""Distributions whose versions stand in cassettes."""
_code: int | None = None
"""The exit code of a program that is not finalised, when it has come to its end."""


def _end_at_once() -> None:
    """End the process, before its interpreter is finalised, where the program's exit code is known.

    This is the first function that `atexit` knows, and so the last that it calls. Coverage, where tests are measured,
    came before, and has not yet written what it saw.
    """
    if _code is None or "coverage" in sys.modules:
        return
    try:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            stream.flush()  # type: ignore[union-attr]
    except Exception:
        return  # The interpreter meets the same, and says so.
    os._exit(_code & 0xFF)


atexit.register(_end_at_once)


def _find_what_all_find() -> None:
    """Find once what each program would find for itself, in the same way and at any time: a quarter of its work.

    It is what is installed and in which version, the pattern of the keys that are secret, and which modules have a
    name of their own for a function that threads or replays replace. To look for these names touches every object of
    every module, so a program would copy most pages of memory that it shares with the server. It looks through
    modules that it imports itself.
    """
    importlib.metadata.entry_points()
    if "timetracer_otel.process.runtime" not in sys.modules:
        return
    from opentelemetry.util._importlib_metadata import entry_points

    from timetracer_otel.base import module_names, plugin_names
    from timetracer_otel.redact.redactor import Redactor
    from timetracer_otel.session import header
    from timetracer_otel.types import AppliedPolicies

    entry_points()
    plugin_names.installed()
    for function in (_thread.start_new_thread, hmac.digest, hmac.compare_digest):
        module_names.names_of(function)
    for pseudonymised in (True, False):
        Redactor.from_policies(AppliedPolicies(pseudonymised=pseudonymised))
    for name in _RECORDED:
        header._found(name)


def _serve(listener: socket.socket, run: int) -> Any:
    """Fork for each request. Returns in the children, with what is asked for; ends with the test run."""
    waking, wakes = os.pipe()
    for end in (waking, wakes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(waking, selectors.EVENT_READ)
    waited: dict[int, socket.socket] = {}
    while True:
        ready = [key.fileobj for key, _ in selector.select(_LOOKS_S)]
        for pid, connection in waited.items():
            if connection in ready:
                selector.unregister(connection)
                with suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
        if waking in ready:
            os.read(waking, 4096)
            for pid in _report(waited):
                with suppress(KeyError), waited.pop(pid) as connection:
                    selector.unregister(connection)
        if listener in ready:
            connection, _ = listener.accept()
            data, descriptors, _, _ = socket.recv_fds(connection, 1 << 22, 3)
            while not data.endswith(b"\n"):
                data += connection.recv(1 << 22)
            pid = os.fork()
            if not pid:
                os.setpgid(0, 0)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                selector.close()
                for number, descriptor in enumerate(descriptors):
                    os.dup2(descriptor, number)
                for one in (*descriptors, waking, wakes):
                    os.close(one)
                for other in (listener, connection, *waited.values()):
                    other.close()
                return json.loads(data)
            for descriptor in descriptors:
                os.close(descriptor)
            waited[pid] = connection
            with suppress(OSError):
                os.setpgid(pid, pid)
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(b"%d\n" % pid)
        if not ready and not _lives(run):
            sys.exit()


def _report(waited: dict[int, socket.socket]) -> list[int]:
    """Tell those who asked for programs that have ended; the process ids of these."""
    found = []
    for pid, connection in waited.items():
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            found.append(pid)
            with suppress(OSError):
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _become(asked: Any, path: list[str]) -> tuple[str, str]:
    """Make this process what a Python with the arguments is before it runs its program: how that is given, and it."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    if not {"LC_ALL", "LC_CTYPE", "LANG"} & os.environ.keys():
        # An interpreter that finds no language takes this one (PEP 538).
        os.environ["LC_CTYPE"] = "C.UTF-8"
    os.chdir(asked["folder"])
    words = list(asked["arguments"])
    sys.orig_argv[:] = [sys.executable, *words]
    added = asked["environment"].get("PYTHONPATH", "")
    # Not `Path.resolve`, which follows links: an interpreter does not.
    sys.path[:] = [*(os.path.abspath(entry) for entry in added.split(os.pathsep) if entry), *path]  # noqa: PTH100
    filters = [each for each in asked["environment"].get("PYTHONWARNINGS", "").split(",") if each]
    unbuffered = False
    while words[0] in {"-W", "-u"}:
        if words.pop(0) == "-u":
            unbuffered = True
        else:
            filters.append(words.pop(0))
    sys.warnoptions[:] = filters
    warnings._processoptions(filters)  # type: ignore[attr-defined]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        raw = io.FileIO(number, "rb" if name == "stdin" else "wb", closefd=False)
        raw.name = f"<{name}>"
        buffer: Any = io.BufferedReader(raw) if name == "stdin" else raw if unbuffered else io.BufferedWriter(raw)
        errors, at_once = ("backslashreplace", not unbuffered) if name == "stderr" else (_strictness(), False)
        stream = io.TextIOWrapper(buffer, "utf-8", errors, line_buffering=at_once, write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if os.environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()
    how, what = (words.pop(0), words.pop(0)) if words[0] in {"-c", "-m"} else ("", words.pop(0))
    main = types.ModuleType("__main__")
    main.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = main
    sys.argv[:] = [how or what, *words]
    # Debian's Python has one of its own, which was imported when the server began.
    sys.modules.pop("sitecustomize", None)
    site.execsitecustomize()
    sys.path.insert(0, {"-c": "", "-m": str(Path.cwd())}.get(how, str(Path(what).resolve().parent)))
    return how, what


def _strictness() -> str:
    """What a Python does with bytes of its input that are no text: by the language that it finds (PEP 540)."""
    found = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    language = next(filter(None, found), "C")
    plain = language in {"C", "POSIX", "C.UTF-8", "C.utf8", "UTF-8"} and "PYTHONIOENCODING" not in os.environ
    return "surrogateescape" if plain else "strict"


_SOCKET, _RUN, *_MODULES = sys.argv[1:]
_PATH = sys.path[1:]
for _name in _MODULES:
    with suppress(ImportError):
        importlib.import_module(_name)
_find_what_all_find()
_LISTENER = socket.socket(socket.AF_UNIX)
_LISTENER.bind(_SOCKET + ".new")
_LISTENER.listen(64)
Path(_SOCKET + ".new").rename(_SOCKET)
# The collector of a program has not to look through what the server has loaded, nor to copy its pages. By default it
# would look through all that the program has whenever that has grown by a quarter, from nothing on.
gc.collect()
gc.freeze()
gc.set_threshold(7_000, 10, 10)
_ASKED = _serve(_LISTENER, int(_RUN))
_HOW, _WHAT = _become(_ASKED, _PATH)
# At the top of a main module, as in any Python: what follows the program's end is done by the interpreter.
try:
    if _HOW == "-m":
        import runpy

        runpy._run_module_as_main(_WHAT)  # type: ignore[attr-defined]
    else:
        if _HOW == "-c":
            _CODE = compile(_WHAT, "<string>", "exec")
        else:
            _FILE = vars(sys.modules["__main__"])["__file__"] = str(Path(_WHAT).absolute())
            _CODE = compile(Path(_WHAT).read_bytes(), _FILE, "exec")
        # No name here for what the program has: the collector does not free what is here, since it is frozen.
        exec(_CODE, vars(sys.modules["__main__"]))
except SystemExit as _end:
    if not _ASKED["finalised"]:
        _code = _end.code if isinstance(_end.code, int) else int(_end.code is not None)
    raise
except Exception:
    if not _ASKED["finalised"]:
        _code = 1
    raise
if not _ASKED["finalised"]:
    _code = 0
