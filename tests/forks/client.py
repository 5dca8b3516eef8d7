"""Asking a server for a program, and starting the servers where they are first needed."""

from __future__ import annotations

import itertools
import json
import os
import selectors
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.examples import seeded

__all__ = [
    "OWNER",
    "RUN",
    "forked_workers",
    "in_shell",
    "on_path",
    "python",
    "run",
    "runs_in_a_fork",
    "start",
    "worker",
]

RUN = "TEST_FORKS"
"""The variable that names the folder of the test run's servers; 0 where each program is a Python of its own."""
OWNER = "TEST_FORKS_OF"
"""The variable that names the process whose end is theirs."""
_SERVER = Path(__file__).with_name("server.py")
_IN_SHELL = Path(__file__).with_name("in_shell.py")
_PLUGINS = Path(__file__).with_name("plugins")
_LOADED = {
    # What every traced program loads, of others and of ours. No library that is instrumented, nor our part for it:
    # when those are imported, and what is done to them then, is what these programs are about. (Our kits are for no
    # library of their own, and import none.)
    "traced": (
        *("asyncio", "concurrent.futures.thread", "email.parser", "html", "http.client", "http.cookies", "ipaddress"),
        *("logging.config", "sqlite3", "ssl", "subprocess", "tempfile", "unittest.mock", "urllib.request", "uuid"),
        *("certifi", "click", "idna", "msgpack", "packaging.requirements", "psutil", "typing_extensions", "wrapt"),
        *("anyio", "anyio._backends._asyncio", "h11", "sniffio", "yaml"),
        # What httpx, aiohttp and web frameworks import. Nothing in it is instrumented, by others or by us; together
        # it takes longer than all else that most programs do.
        *("trio", "attr", "attrs", "h2.connection", "socksio", "brotli", "zstandard", "httpcore", "wsproto"),
        *("http.cookiejar", "http.server", "mimetypes", "encodings.idna", "multiprocessing.connection"),
        *("pydantic.main", "pydantic.networks", "pydantic.v1.main", "jinja2", "pygments.lexers", "pygments.util"),
        *("opentelemetry.sdk._configuration", "opentelemetry.sdk.trace.export", "opentelemetry.sdk.metrics.export"),
        *("opentelemetry.instrumentation.dependencies", "opentelemetry.instrumentation.distro"),
        *("asgiref.sync", "asgiref.wsgi", "charset_normalizer", "dateutil.parser", "secrets", "sqlparse"),
        *("tqdm", "wsgiref.simple_server", "yarl"),
        # httpx has a command line, which it imports where these are installed; and its pygments, what they import.
        *("mmap", "rich.console", "rich.markup", "rich.progress", "rich.syntax", "rich.table", "pygments.filters"),
        *("pygments.lexer", "pygments.styles", "timeit", "runpy", "readline", "opentelemetry.util.http"),
        "opentelemetry.semconv.metrics.http_metrics",
        "opentelemetry.semconv._incubating.attributes.user_agent_attributes",
        *("opentelemetry.instrumentation.utils", "opentelemetry.instrumentation.propagators"),
        *("timetracer_otel.calls.functions", "timetracer_otel.otel.exporter", "timetracer_otel.otel.processor"),
        *("timetracer_otel.process.runtime", "timetracer_otel.report", "timetracer_otel.threads.seams"),
        *("timetracer_otel.libraries.kits.dbapi.drivers", "timetracer_otel.libraries.kits.dbapi.secrets"),
        "timetracer_otel.libraries.kits.http.bodies",
    ),
    # Our commands and what the pytest plugin works with besides. Not the plugin itself, nor others: pytest imports
    # plugins when it has begun, so that their assertions say what they compared.
    "tool": (
        *("pytest", "_pytest.doctest", "_pytest.junitxml", "_pytest.legacypath", "_pytest.unittest"),
        *(
            f"_pytest.{name}"
            for name in ("faulthandler", "helpconfig", "pastebin", "setuponly", "setupplan", "skipping")
        ),
        *(f"_pytest.{name}" for name in ("threadexception", "tracemalloc", "unraisableexception", "warnings")),
        *("execnet.gateway_base", "pdb", "pygments.formatters.terminal", "pygments.lexers.python"),
        *("timetracer_otel.blocks", "timetracer_otel.plugins", "timetracer_otel.report", "timetracer_otel.cli"),
    ),
}
_LOADED_BY_A_WORKER = (
    # What the test modules import, of others; not ours, whose assertions pytest rewrites. Nor gRPC, which has threads
    # in C. When Hypothesis is imported, it looks for who refers to trio's random numbers. It does not find them after
    # `gc.freeze`, so it is among these.
    *("pytest", "_pytest.doctest", "_pytest.junitxml", "_pytest.unittest", "execnet.gateway_base", "xml.etree"),
    *("aiohttp.web", "asyncmy", "asyncpg", "aiomysql", "aiosqlite", "attr", "cryptography.x509", "curl_cffi"),
    *(
        "dateutil.parser",
        "fastapi",
        "flask",
        "gevent",
        "h2.connection",
        "hypothesis.strategies",
        "jinja2",
        "MySQLdb",
        "oracledb",
    ),
    *("pgvector.asyncpg", "psycopg", "psycopg.types.json", "psycopg2.extras", "pydantic.v1", "pymysql"),
    *("pygments.lexers", "redis.asyncio.cluster", "redis.sentinel", "requests", "responses", "rich.console"),
    *("sqlalchemy.ext.asyncio", "sqlalchemy.orm", "sqlalchemy.dialects", "vcr", "werkzeug.serving", "yaml"),
    *("httpx", "httpx2", "starlette.testclient", "opentelemetry.sdk._configuration", "sqlparse", "trustme"),
    *("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.instrumentation.requests"),
)
_DECIDED_BY_THE_INTERPRETER = {"PYTHONDEVMODE", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUNBUFFERED", "PYTHONUTF8"}
_READ_AT_IMPORT = {"OTEL_PROPAGATORS", "OTEL_PYTHON_CONTEXT"}
_turns = itertools.count()


def runs_in_a_fork(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a server can run this: nothing in it is decided before a program of Python begins."""
    first = arguments[0] if arguments else "-"
    return (
        os.environ.get(RUN, "0") != "0"
        and (first in {"-c", "-m", "-u", "-W"} or not first.startswith("-"))
        and environment.get("PYTHONIOENCODING", "utf-8") == "utf-8"
        and not (_DECIDED_BY_THE_INTERPRETER | _READ_AT_IMPORT) & environment.keys()
    )


def run(
    *arguments: str,
    env: Mapping[str, str],
    cwd: str | Path | None = None,
    loaded: str = "traced",
    finalised: bool = False,
    turn: int | None = None,
    timeout: float = 240.0,
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` without input, and wait for its end and that of all that writes to its pipes.

    Args:
        arguments: ``-c CODE``, ``-m MODULE`` or the path of a script, with its arguments.
        env: Its whole environment.
        cwd: Its folder; ours where there is none.
        loaded: What is loaded when it begins: ``traced`` (no library that is instrumented, and none of our parts for
            them) or ``tool`` (these parts, our commands and pytest too).
        finalised: Whether the interpreter is finalised, for a program whose test looks at what happens then: to
            ``__del__`` of what is still there, or to threads that Python does not wait for.
        turn: Which hash seed it has, by number; 0 and 1 in turn where there is none.
        timeout: Seconds after which it is killed.

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    if not runs_in_a_fork(arguments, env):
        return subprocess.run(
            [sys.executable, *arguments],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
    asked = {
        "arguments": arguments,
        "environment": dict(env),
        "folder": str(Path(cwd or ".").absolute()),
        "finalised": finalised,
    }
    pipes = [os.pipe(), os.pipe()]
    with socket.socket(socket.AF_UNIX) as connection, open(os.devnull, "rb") as nothing:
        connection.connect(_server(loaded, next(_turns) % 2 if turn is None else turn))
        data = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(connection, [data], [nothing.fileno(), *(write for _, write in pipes)])
        if sent < len(data):
            # Not of nothing: a program that has ended already has closed the other end.
            connection.sendall(data[sent:])
        for _, write in pipes:
            os.close(write)
        answers = connection.makefile("rb")
        pid = int(answers.readline())
        try:
            output, error = _read([read for read, _ in pipes], timeout)
            connection.settimeout(timeout)
            return subprocess.CompletedProcess(
                [sys.executable, *arguments], int(answers.readline()), output.decode(), error.decode()
            )
        except TimeoutError:
            os.kill(pid, 9)
            raise subprocess.TimeoutExpired(list(arguments), timeout) from None
        finally:
            answers.close()
            for read, _ in pipes:
                os.close(read)


def start(
    *arguments: str,
    env: Mapping[str, str],
    cwd: str | Path | None = None,
    loaded: str = "traced",
    turn: int | None = None,
    **streams: Any,
) -> subprocess.Popen[str]:
    """Begin ``python ARGUMENTS``, which takes SIGINT, SIGTERM and SIGABRT. Where a signal ends it, its exit
    code is a shell's.

    Args:
        arguments: As for `run`.
        env: Its whole environment.
        cwd: Its folder; ours where there is none.
        loaded: As for `run`.
        turn: As for `run`.
        streams: ``stdout`` and others that `subprocess.Popen` takes.
    """
    words = [sys.executable, *arguments]
    if runs_in_a_fork(arguments, env):
        words[:1] = python(loaded, turn)
    return subprocess.Popen(words, env=env, cwd=cwd, text=True, **streams)


def in_shell(loaded: str) -> str | None:
    """The words of a shell's command that are as good as ``python``, for a program that runs to its end.

    None where each program is a Python of its own.

    Args:
        loaded: As for `run`.
    """
    return None if os.environ.get(RUN, "0") == "0" else shlex.join(python(loaded))


def on_path(folder: Path) -> str:
    """What stands before a ``PATH`` so that a command which starts ``python`` by its name gets a fork, or nothing.

    Args:
        folder: Where the command is put; made where it is not there.
    """
    words = in_shell("traced")
    if words is None:
        return ""
    folder.mkdir(exist_ok=True)
    (folder / "python").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (folder / "python").chmod(0o755)
    return f"{folder}{os.pathsep}"


def forked_workers(python_path: str) -> tuple[list[str], dict[str, str]]:
    """What lets pytest-xdist fork its processes: arguments for pytest, and what its environment has besides.

    Both are empty where each program is a Python of its own.

    Args:
        python_path: The ``PYTHONPATH`` of the run without them.
    """
    words = in_shell("tool")
    if words is None:
        return [], {}
    return ["-p", "forked_workers"], {
        "PYTHONPATH": os.pathsep.join([python_path, str(_PLUGINS)]),
        "TEST_FORKED_PYTHON": words,
    }


def python(loaded: str = "traced", turn: int | None = None) -> list[str]:
    """The words of a command that are as good as ``python``, for a program that another one starts.

    The program is killed with the process that has these words. It gets no other signal than SIGINT and SIGTERM, and
    where a signal ends it, its exit code is a shell's.

    Args:
        loaded: As for `run`.
        turn: 0 for the one hash seed, 1 for the other; whatever comes next where there is none. A recording and its
            replay want both.
    """
    if os.environ.get(RUN, "0") == "0":
        return [sys.executable]
    return [sys.executable, "-I", "-S", str(_IN_SHELL), _server(loaded, next(_turns) % 2 if turn is None else turn)]


def worker() -> str | None:
    """The Python of a process that runs tests: a fork of one that has imported what they import.

    It has the hash seed of this process. None where each program is a Python of its own.
    """
    if os.environ.get(RUN, "0") == "0":
        return None
    return shlex.join([sys.executable, "-I", "-S", str(_IN_SHELL), _server("worker", None)])


def _read(descriptors: Sequence[int], timeout: float) -> list[bytes]:
    """All that comes through pipes until each is closed."""
    deadline = time.monotonic() + timeout
    found: dict[int, list[bytes]] = {descriptor: [] for descriptor in descriptors}
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(deadline - time.monotonic())
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                found[key.fd].append(data)
                if not data:
                    selector.unregister(key.fd)
    return [b"".join(found[descriptor]) for descriptor in descriptors]


def _server(loaded: str, turn: int | None) -> str:
    """The socket of a server, which is started by whoever needs it first."""
    path = Path(os.environ[RUN]) / f"{loaded}-{turn}"
    if not path.exists():
        try:
            path.with_suffix(".lock").touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            _start(path, loaded, turn)
        deadline = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < deadline, f"the server of {path} did not start"
            time.sleep(0.01)
    return str(path)


def _start(path: Path, loaded: str, turn: int | None) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OTEL_"))}
    if turn is None:
        modules = dict.fromkeys(_LOADED_BY_A_WORKER)
        hash_seed = os.environ.get("PYTHONHASHSEED", "random")
    else:
        modules = dict.fromkeys([*_LOADED["traced"], *_LOADED[loaded]])
        hash_seed = str(seeded("hash seed of forks", turn).randrange(2**32))
    log = os.open(path.with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDWR)
    # Nobody of this process waits for it: it ends by itself, after the test run.
    os.posix_spawn(
        sys.executable,
        [sys.executable, str(_SERVER), str(path), os.environ[OWNER], *modules],
        {**environment, "PYTHONIOENCODING": "utf-8", "PYTHONHASHSEED": hash_seed},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, nothing, 0),
            (os.POSIX_SPAWN_DUP2, nothing, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ],
        setsid=True,
    )
    os.close(log)
    os.close(nothing)
