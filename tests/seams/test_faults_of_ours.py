"""Functions of ours fail one at a time: the app that is recorded does not notice, and a replay never hangs."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa

from tests.examples import drawn
from tests.servers.mariadb import needs_mariadb
from tests.suite_injection.direct import DIRECT
from tests.suite_injection.incoming import INCOMING
from tests.suite_injection.jobs import JOBS
from tests.suite_injection.mongo import MONGO
from tests.suite_injection.mysql import MYSQL
from tests.suite_injection.postgres import POSTGRES
from timetracer_otel import record, replay
from timetracer_otel.base import faults
from timetracer_otel.calls import hooks
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ReplayFailedError, ReplayMismatchError
from timetracer_otel.libraries.sqlalchemy.call import EngineTarget
from timetracer_otel.threads import carrying

_HTTP = ["httpx_sync", "httpx_async", "requests", "aiohttp", "functions", "threads"]
_OTHERS = ["sqlalchemy", "sqlalchemy_async", "redis_sync", "redis_async"]
_CONNECTIONS = ["redis_connections", "redis_connections_async"]
_DATABASES: list[Any] = [
    *(*POSTGRES, *DIRECT, *MONGO),
    *(pytest.param(name, marks=needs_mariadb) for name in MYSQL),
]


@pytest.mark.parametrize(
    "workload",
    drawn([[*_HTTP, *_OTHERS, *_CONNECTIONS, *_DATABASES], [*INCOMING, *JOBS]], "faults of ours"),
)
def test_the_app_sees_no_fault_of_ours_or_a_miss(workload: str) -> None:
    """A sample, drawn by ``TEST_SEED``. ``make suite-injection`` tries all.

    To begin costs as much as many faults: so few workloads are tried, with many faults each.
    """
    command = [sys.executable, "-m", "tests.suite_injection.run", workload, "--sample", "16"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_the_page_on_safety_says_in_how_many_workloads_that_is_tried() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "safety.md").read_text("utf-8")
    # In a process of its own: the workloads declare a plugin that owns modules of Python's.
    count = (
        "from tests.suite_injection.run import ADDING; from tests.suite_injection.workloads import WORKLOADS; "
        "print(len(WORKLOADS), len(ADDING & WORKLOADS.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", count], cwd=root, capture_output=True, text=True, check=True)
    every, adding = done.stdout.split()
    assert f"one at a time, in {every} workloads:" in page
    assert f"(`new_episodes`), in {adding} of the workloads |" in page


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("workload", "mode", "functions"),
    drawn(
        [
            [
                # It asks whether a verification runs.
                ("dramatiq", "record", "incoming/verified_jobs"),
                # Its functions cannot be wrapped in a replay. The calls of its jobs went out.
                ("arq", "replay", "incoming/arq.py"),
            ]
        ],
        "faults before a job",
    ),
)
def test_a_worker_meets_a_fault_of_ours_before_its_first_job(workload: str, mode: str, functions: str) -> None:
    _tried(workload, mode, functions)


def test_what_stands_for_a_server_always_answers() -> None:
    _tried("asyncpg_direct", "replay", "calls/flow.py")


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("workload", "functions"),
    drawn(
        [
            [
                ("psycopg_direct", "psycopg/connection.py:waiting"),
                ("psycopg2_direct", "psycopg2/copying.py:Copy.with_file"),
                # It refuses new calls.
                ("asyncpg_direct", "asyncpg/server.py:Server._event_of"),
            ]
        ],
        "faults of new calls",
    ),
)
def test_a_new_call_of_a_driver_meets_a_fault_of_ours(workload: str, functions: str) -> None:
    _tried(workload, "new", functions)


def _tried(workload: str, mode: str, functions: str) -> None:
    if sys.version_info < (3, 11):
        # Code objects do not know the names of their classes there.
        file, _, name = functions.partition(":")
        functions = f"{file}:{name.rpartition('.')[2]}" if name else file
    command = [sys.executable, "-m", "tests.suite_injection.run", workload, "--modes", mode, "--only", functions]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert ", 0 faults" not in tried.stdout


def _raising(*_: Any, **__: Any) -> NoReturn:
    raise KeyError("ours")


def test_a_thread_that_cannot_get_its_session_does_not_start_in_a_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "raise_faults", False)
    path, ran = tmp_path / "empty.msgpack", list[int]()
    with record(path):
        pass
    thread = threading.Thread(target=ran.append, args=(1,))
    with suppress(ReplayFailedError), replay(path):
        monkeypatch.setattr(carrying, "carried", _raising)
        with pytest.raises(ReplayMismatchError, match="a fault of ours"):
            thread.start()
        monkeypatch.undo()
    assert not ran


def test_an_engine_that_cannot_be_recognised_reaches_no_database_in_a_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, database = tmp_path / "engine.msgpack", tmp_path / "app.db"

    def app() -> Any:
        engine = sa.create_engine(f"sqlite:///{database}")
        with engine.connect() as connection:
            value = connection.execute(sa.text("SELECT 1")).scalar()
        engine.dispose()
        return value

    with record(path):
        assert app() == 1
    database.unlink()
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(EngineTarget, "__init__", _raising)
    with suppress(ReplayFailedError), replay(path), pytest.raises(ReplayMismatchError, match="a fault of ours"):
        app()
    assert not database.exists()


def test_a_new_call_that_meets_a_fault_of_ours_is_a_miss_and_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, database = tmp_path / "new.msgpack", tmp_path / "app.db"
    with record(path):
        pass
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(hooks, "let_out", _raising)
    engine = sa.create_engine(f"sqlite:///{database}")
    refused = pytest.raises(ReplayMismatchError, match="a fault of ours")
    with suppress(ReplayFailedError), replay(path, record_mode="new_episodes"), refused:
        engine.connect()
    engine.dispose()
    assert read_cassette(path).events == []
