"""Jobs of Celery that come over RabbitMQ: answered from their cassettes, while the broker stays live."""

from __future__ import annotations

import json
from pathlib import Path

from tests import forks
from tests.children import ROOT, environment, instrumented_path
from tests.loopback import Loopback
from tests.process._programs import cassettes
from tests.servers.rabbitmq import RabbitMq


def work(broker: str, upstream: str, *users: int, **changes: str) -> tuple[list[str], str]:
    """What the jobs told, and the log."""
    env = environment({"httpx", "redis", "sqlalchemy", "celery"}, OTEL_TRACES_EXPORTER="none", **changes)
    env |= {"UPSTREAM": upstream, "PYTHONPATH": instrumented_path(str(ROOT), ROOT), "PYTHONWARNINGS": "ignore"}
    env |= {"REDIS": "redis://127.0.0.1:9/0", "BROKER": broker}
    done = forks.run("-m", "tests.process._job_queues", "celery", *map(str, users), env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if " is " in line], done.stderr


def test_jobs_are_answered_and_the_broker_stays_live(tmp_path: Path) -> None:
    folder, report = tmp_path / "cassettes", tmp_path / "report.jsonl"
    (tmp_path / "broker").mkdir()
    with RabbitMq(tmp_path / "broker") as broker:
        with Loopback() as upstream:
            told, log = work(broker.url, upstream.url, 1, 2, TIMETRACER_MODE="record", TIMETRACER_DIR=str(folder))
            assert told == ["celery: 1 is 1", "celery: 2 is 2"], log
            upstream.hits.clear()
        settings = {"TIMETRACER_MODE": "replay", "TIMETRACER_CASSETTE": str(folder)}
        settings["TIMETRACER_REPLAY_REPORT"] = str(report)
        told, log = work(broker.url, upstream.url, 2, 1, 3, **settings)
    assert told == ["celery: 2 is 2", "celery: 1 is 1"], log
    jobs = [each for each in cassettes(folder) if each.request.method == "JOB" and "fetch" in each.request.path]
    assert [{event.signature.lib for event in job.events} for job in jobs] == [{"httpx", "sqlalchemy"}] * 2
    ended = [json.loads(line) for line in report.read_text().splitlines()]
    missed = [line["misses"] for line in ended if line["state"] == "ended" and line["misses"]]
    assert {text.partition("\n")[0] for texts in missed for text in texts} == {
        f"No recorded call matches: httpx GET {upstream.url}/users/3"
    }
    assert "Blocked:" not in log
