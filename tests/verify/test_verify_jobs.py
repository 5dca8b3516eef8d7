"""``timetracer-otel verify`` with a worker: each recorded job is called there, with no broker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import forks
from tests.children import environment, instrumented_path, script
from tests.loopback import Loopback

TASKS = """
import os

import celery
import httpx
from celery.exceptions import WorkerShutdown
from celery.signals import worker_process_init

app = celery.Celery("tasks", broker="memory://", backend="cache+memory://")
prepared = []
worker_process_init.connect(lambda **_: prepared.append(1), weak=False)


@app.task(name="greet", bind=True)
def greet(self, user, word="Hello"):
    name = httpx.get(os.environ["UPSTREAM"] + f"/users/{user + int(os.environ.get('MORE', 0))}").json()["name"]
    assert self.request.id
    assert prepared
    return {"greeting": os.environ.get("WORD", word) + " " + name}


@app.task(name="fails")
def fails():
    raise ValueError("no")


@app.task(name="leave")
def leave():
    raise WorkerShutdown


if __name__ == "__main__":
    import tasks

    # In one process: the broker is in its memory.
    tasks.greet.delay(7)
    tasks.greet.delay(8, word="Hi")
    tasks.fails.delay()
    tasks.leave.delay()
    tasks.app.worker_main(["worker", "--pool=solo", "--loglevel=CRITICAL", "--without-gossip", "--without-mingle"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tasks, with what was recorded of them in ``recorded``."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "tasks.py").write_text(TASKS)
    with Loopback() as upstream:
        (folder / "upstream").write_text(upstream.url)
        env = environment(
            {"httpx", "celery"}, OTEL_TRACES_EXPORTER="none", UPSTREAM=upstream.url, TIMETRACER_MODE="record"
        )
        env |= {
            "TIMETRACER_DIR": "recorded",
            "PYTHONPATH": instrumented_path(None, folder),
            "PYTHONWARNINGS": "ignore",
        }
        done = forks.run("tasks.py", env=env, cwd=folder)
    assert len(list((folder / "recorded").rglob("JOB_*"))) == 4, done.stderr
    return folder


def verified(folder: Path, *options: str, program: tuple[str, ...] = (), **changes: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a run, its upstream gone."""
    program = program or ("celery", "-A", "tasks", "worker", "--loglevel=CRITICAL")
    env = environment(
        {"httpx", "celery"}, PYTHONPATH=str(folder), UPSTREAM=(folder / "upstream").read_text(), **changes
    )
    env |= {"PYTHONWARNINGS": "ignore", "OTEL_TRACES_EXPORTER": "none"}
    command = [script("timetracer-otel"), "verify", "recorded", "--only", "JOB [!l]*", *options, "--", *program]
    done = forks.run(*command, env=env, cwd=folder, loaded="tool")
    return done.returncode, re.sub(r"\d+ ms|[\d.]+ s\b|_\d+_\w{8}\.", "…", done.stdout), done.stderr


def test_each_recorded_job_is_called_without_a_broker(folder: Path) -> None:
    told = "verify: 3 recordings in recorded, given to a worker\n\n"
    told += "passed    JOB greet in …\npassed    JOB greet in …\npassed    JOB fails in …\n\n3 passed in …\n"
    assert verified(folder) == (0, told, "")


def test_a_job_that_does_otherwise_fails(folder: Path) -> None:
    code, told, _ = verified(folder, WORD="Bye")
    assert code == 1
    assert "  body $.greeting: recorded 'Hello Ada', now 'Bye Ada'" in told
    assert told.endswith("\n2 failed, 1 passed in …\n")
    code, told, _ = verified(folder, "--ignore", "body:$.greeting", "--only", "JOB greet", MORE="1")
    assert code == 1
    assert told.count("missed: No recorded call matches: httpx GET") == 2
    assert "error: recorded none, now timetracer_otel.exceptions.ReplayMismatchError" in told


def test_what_is_no_worker_is_told(folder: Path) -> None:
    code, _, said = verified(folder, program=("python", "-c", "print('I am none')"))
    assert code == 1
    assert "CMD ended with code 0.\nIts output:\n" in said
    assert "    I am none\n" in said
