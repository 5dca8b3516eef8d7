"""Jobs of task queues: each has a cassette of its own, and a replay answers it by its name and its arguments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import ROOT, environment, instrumented_path
from tests.loopback import Loopback
from tests.process._programs import cassettes
from tests.servers.redis import RedisServer
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.types import Cassette

QUEUES = ["rq", "huey", "dramatiq", "celery"]
PLAIN_SOCKET = "plain socket: the broker is b'+PONG\\r\\n'"
"""What the worker of Celery says of a connection that no plugin makes, outside its jobs."""


def work(url: str, upstream: str, *users: int, **changes: str) -> tuple[list[str], str]:
    """What the jobs of all queues told, and the log."""
    env = environment({"httpx", "redis", "sqlalchemy", "celery"}, OTEL_TRACES_EXPORTER="none", REDIS=url, **changes)
    env |= {"UPSTREAM": upstream, "PYTHONPATH": instrumented_path(str(ROOT), ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.process._job_queues", ",".join(QUEUES), *map(str, users)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if " is " in line], done.stderr


def arguments(cassette: Cassette) -> tuple[list[int], str]:
    body = cassette.request.body
    assert body is not None
    given = json.loads(body.data)
    return given["args"], given["kwargs"]["queue"]


@pytest.mark.skipif(sys.platform == "win32", reason="RQ forks")
def test_jobs_are_answered_by_name_and_arguments_and_the_broker_stays_live(tmp_path: Path) -> None:
    folder, report = tmp_path / "cassettes", tmp_path / "report.jsonl"
    with RedisServer(tmp_path) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        with Loopback() as upstream:
            settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder)}
            told, log = work(url, upstream.url, 1, 2, **settings)
        assert told.pop(-3) == PLAIN_SOCKET
        assert told == [f"{queue}: {user} is {user}" for queue in QUEUES for user in (1, 2)], log
        recorded = cassettes(folder)
        jobs = [each for each in recorded if each.request.method == "JOB" and "leave" not in each.request.path]
        assert [arguments(each) for each in jobs] == [([user], queue) for queue in QUEUES for user in (1, 2)]
        for job in jobs:
            calls = [event.signature.lib for event in job.events]
            assert calls[0] == "httpx"
            # The broker's own calls, and those that store the results, are none of the app's.
            assert set(calls) == {"httpx", "sqlalchemy"}
            assert [event for event in job.events if event.not_replayable] == []
            assert job.response.body is not None
            returned = None if job.session.framework == "dramatiq" else arguments(job)[0][0]
            assert json.loads(job.response.body.data) == returned
        outside = [event for each in recorded if each.request.method == "" for event in each.events]
        assert {event.signature.lib for event in outside} <= {"celery"}, "what sends the jobs makes spans"
        # Now the upstream is gone; the broker is there, and gives the jobs in another order.
        settings = {"TIMETRACER_MODE": "replay", "TIMETRACER_CASSETTE": str(folder)}
        told, log = work(url, upstream.url, 2, 1, 3, **settings, TIMETRACER_REPLAY_REPORT=str(report))
    assert told.pop(-3) == PLAIN_SOCKET, log
    assert told == [f"{queue}: {user} is {user}" for queue in QUEUES for user in (2, 1)], log
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    ended = [line for line in lines if line["state"] == "ended" and "leave" not in line["request"]]
    answered = {line["cassette"] for line in ended if not line["misses"]}
    assert answered == {each.path for each in jobs}
    missed = [line["misses"] for line in ended if line["misses"]]
    assert {text.partition("\n")[0] for texts in missed for text in texts} == {
        f"No recorded call matches: httpx GET {upstream.url}/users/3"
    }
    assert "missed in outside any request" not in log


def test_what_a_job_is_given_is_the_same_in_each_run() -> None:
    job = IncomingJob("x", "n", (object(), b"\xff", {3, 1}), {"at": 1.5})
    body = job.request().body
    assert body is not None
    assert json.loads(body.data) == {"args": ["builtins.object", "\xff", ["1", "3"]], "kwargs": {"at": 1.5}}
