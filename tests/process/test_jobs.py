"""Jobs of task queues: each has a cassette of its own, and a replay answers it by its name and its arguments."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import forks
from tests.children import ROOT, environment, instrumented_path, script
from tests.examples import drawn
from tests.loopback import Loopback
from tests.process._programs import cassettes
from tests.servers.redis import RedisServer
from timetracer_otel.cli import main
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.types import Cassette

QUEUES = ["rq", "huey", "dramatiq", "arq", "celery"]
WORKERS = {
    "rq": ["rq", "worker", "--url", "{url}"],
    "huey": ["huey_consumer", "{app}.huey_app", "--quiet"],
    "dramatiq": ["dramatiq", "{app}", "--processes", "1", "--threads", "1"],
    "arq": ["arq", "{app}.WorkerSettings"],
}
"""The command of each queue's worker; for Celery's, see `tests/verify/test_verify_jobs.py`."""
PLAIN_SOCKET = "plain socket: the broker is b'+PONG\\r\\n'"
"""What the worker of Celery says of a connection that no plugin makes, outside its jobs."""


def work(url: str, upstream: str, *users: int, command: Sequence[str] = (), **changes: str) -> tuple[list[str], str]:
    """What the jobs of all queues told, and the log; run by a command of ours, or as OpenTelemetry would run them."""
    env = environment({"httpx", "redis", "sqlalchemy", "celery"}, OTEL_TRACES_EXPORTER="none", REDIS=url, **changes)
    env |= {"UPSTREAM": upstream, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    program = ["-m", "tests.process._job_queues", ",".join(QUEUES), *map(str, users)]
    if command:
        words = [script("timetracer-otel"), *command, "--", *forks.python(turn=1), *program]
        done = forks.run(*words, env=env, cwd=ROOT, loaded="tool")
    else:
        env["PYTHONPATH"] = instrumented_path(str(ROOT), ROOT)
        done = forks.run(*program, env=env, cwd=ROOT, turn=0)
    assert done.returncode == 0, done.stderr
    return sorted(line for line in done.stdout.splitlines() if " is " in line), done.stderr


def expected() -> list[str]:
    """What two jobs of each queue tell. A queue may give its jobs in another order (Dramatiq 1.17 does)."""
    return sorted([PLAIN_SOCKET, *(f"{queue}: {user} is {user}" for queue in QUEUES for user in (1, 2))])


def arguments(cassette: Cassette) -> tuple[list[int], str]:
    body = cassette.request.body
    assert body is not None
    given = json.loads(body.data)
    return given["args"], given["kwargs"]["queue"]


class Recorded(NamedTuple):
    folder: Path
    url: str
    upstream: str
    server: RedisServer


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """The recordings of two jobs of each queue; the upstream is gone then, and the broker is there."""
    folder = tmp_path_factory.mktemp("jobs")
    with RedisServer(folder) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        with Loopback() as upstream:
            bare, log = work(url, upstream.url, 1, 2)
            assert bare == expected(), log
            settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder / "cassettes")}
            told, log = work(url, upstream.url, 1, 2, **settings)
        assert told == expected(), log
        yield Recorded(folder / "cassettes", url, upstream.url, server)


@pytest.mark.skipif(sys.platform == "win32", reason="RQ forks")
class TestJobs:
    def test_they_have_a_cassette_each(self, recorded: Recorded) -> None:
        kept = cassettes(recorded.folder)
        jobs = [each for each in kept if each.request.method == "JOB" and "leave" not in each.request.path]
        asked = sorted(([user], queue) for queue in QUEUES for user in (1, 2))
        assert sorted(arguments(each) for each in jobs) == asked
        for job in jobs:
            calls = [event.signature.lib for event in job.events]
            assert calls[0] == "httpx"
            # The broker's own calls, and those that store the results, are none of the app's.
            assert set(calls) == {"httpx", "sqlalchemy"}
            assert [event for event in job.events if event.not_replayable] == []
            assert job.response.body is not None
            returned = None if job.session.framework == "dramatiq" else arguments(job)[0][0]
            assert json.loads(job.response.body.data) == returned
        outside = [event for each in kept if each.request.method == "" for event in each.events]
        assert {event.signature.lib for event in outside} <= {"celery", "httpx"}, "what sends the jobs makes spans"
        # What the app does when a worker starts belongs to the process.
        prepared = {str(event.signature.url)[-2:] for event in outside if event.signature.lib == "httpx"}
        assert prepared == {"91", "92", "93", "94"}

    def test_they_are_answered_by_name_and_arguments_and_the_broker_stays_live(
        self, recorded: Recorded, tmp_path: Path
    ) -> None:
        report = tmp_path / "report.jsonl"
        # The broker gives the jobs in another order.
        replays = ("replay", str(recorded.folder))
        told, log = work(
            recorded.url, recorded.upstream, 2, 1, 3, command=replays, TIMETRACER_REPLAY_REPORT=str(report)
        )
        assert told == expected(), log
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        ended = [line for line in lines if line["state"] == "ended" and "leave" not in line["request"]]
        answered = {line["cassette"] for line in ended if not line["misses"]}
        kept = cassettes(recorded.folder)
        assert answered == {
            each.path for each in kept if each.request.method == "JOB" and "leave" not in each.request.path
        }
        missed = [line["misses"] for line in ended if line["misses"]]
        assert {text.partition("\n")[0] for texts in missed for text in texts} == {
            f"No recorded call matches: httpx GET {recorded.upstream}/users/3"
        }
        assert "missed in outside any request" not in log

    @pytest.mark.sweep
    @pytest.mark.parametrize("queue", drawn([["rq", "huey"], ["dramatiq", "arq"]], "workers"))
    def test_they_are_verified_by_the_queues_own_command_without_a_broker(
        self, recorded: Recorded, queue: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        recorded.server.stop()
        env = environment({"httpx", "redis", "sqlalchemy", "celery"}, REDIS=recorded.url, UPSTREAM=recorded.upstream)
        env |= {"OTEL_TRACES_EXPORTER": "none", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        worker = [text.format(url=recorded.url, app="tests.process._job_queues") for text in WORKERS[queue]]
        job = f"JOB {'tests.process._job_queues.' if queue == 'rq' else ''}{queue}_fetch"
        assert main(["verify", str(recorded.folder), "--only", job, "--", *worker]) == 0
        told = capsys.readouterr().out
        assert re.search(r"\n2 passed in [\d.]+ s\n$", told), told


def test_what_a_job_is_given_is_the_same_in_each_run() -> None:
    job = IncomingJob("x", "n", (object(), b"\xff", {3, 1}), {"at": 1.5})
    body = job.request().body
    assert body is not None
    assert json.loads(body.data) == {"args": ["builtins.object", "\xff", ["1", "3"]], "kwargs": {"at": 1.5}}
