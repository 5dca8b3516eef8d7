"""Secrets in jobs of task queues: what a job is given and gives, where it is sent and in its own recording."""

from __future__ import annotations

import json

import pytest

from tests import forks
from tests.children import ROOT, environment, instrumented_path
from tests.examples import drawn
from tests.planted.secrets import Planted
from tests.planted.test_planted_secrets import Run, found_in
from tests.servers.redis import RedisServer
from timetracer_otel.cassette import read_cassette

pytestmark = pytest.mark.sweep

_QUEUES = drawn([["celery", "dramatiq"], ["rq", "arq", "huey"]], "planted jobs")
"""One that sends JSON and one that sends pickles, which the seed draws; all in ``make fuzz``."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("jobs")
    with RedisServer(folder / "server") as server:
        done = forks.run(
            *("-m", "tests.planted.job_places", str(folder), "0", *_QUEUES),
            env=environment(
                {"celery", "redis", "sqlalchemy"},
                PYTHONPATH=instrumented_path(str(ROOT), ROOT),
                PYTHONWARNINGS="ignore",
                REDIS=f"redis://127.0.0.1:{server.port}/0",
                TIMETRACER_MODE="record",
                TIMETRACER_DIR=str(folder / "cassettes"),
                OTEL_TRACES_EXPORTER="none",
            ),
            cwd=ROOT,
        )
    assert done.returncode == 0, done.stderr[-5000:]
    planted = [Planted(*entry) for entry in json.loads((folder / "planted.json").read_text())]
    # What the queues themselves log of a job that fails is their own.
    told = "\n".join(line for line in done.stderr.splitlines() if "timetracer" in line and "File " not in line)
    return Run({one.number: one for one in planted}, folder, folder, told.encode())


def test_no_secret_of_a_job_is_on_the_disk(recorded: Run) -> None:
    files = [path for name in ("cassettes", "sends") for path in (recorded.cassettes / name).rglob("*.msgpack")]
    jobs = [read_cassette(path) for path in files if path.name.startswith("JOB_")]
    assert {job.session.framework for job in jobs} == set(_QUEUES)
    assert len(recorded.planted) > 17 * len(_QUEUES)
    leaks = [
        leak
        for path in files
        for leak in found_in(path.name.encode() + path.read_bytes(), recorded.planted, path.name)
    ]
    assert leaks == []
    assert found_in(recorded.said, recorded.planted, "the log") == []


def test_every_job_is_recorded_where_it_is_sent_and_where_it_runs(recorded: Run) -> None:
    """A secret that stood nowhere would be found nowhere."""
    for queue in _QUEUES:
        sent = read_cassette(recorded.cassettes / "sends" / f"{queue}.msgpack")
        own = [one for one in recorded.planted.values() if one.place.startswith(queue)]
        # Results and errors are none of what sends a job.
        assert len(sent.pseudonyms) > len(own) / 2
        assert any(event.signature.lib == "redis" for event in sent.events)
