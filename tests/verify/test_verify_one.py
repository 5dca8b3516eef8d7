"""``verify_one``: one recording, in this process or by a command; and many, by a plan and somebody's engine."""

from __future__ import annotations

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dask.base import compute
from dask.delayed import delayed

from tests import forks
from tests.children import ROOT
from tests.loopback import Loopback
from tests.sample_cassettes import cassette
from tests.servers._ports import free_port
from tests.verify._services import SCRIPT, Request, environment, record, verify
from timetracer_otel.cassette import CassetteStore, save_cassette
from timetracer_otel.exceptions import CassetteNotFoundError, ConfigurationError
from timetracer_otel.types import RequestSnapshot
from timetracer_otel.verification import Verdict, verify_one

APP = "tests.verify._one_app:make_app()"
USERS = range(1, 7)


class Recorded:
    """A folder of recordings, and a plan for it. Whom the service asked is gone."""

    def __init__(self, folder: Path) -> None:
        self.cassettes = folder / "cassettes"
        port = free_port()
        with Loopback() as upstream:
            self.upstream_url = upstream.url
            command = [*forks.python(turn=0), "-m", "tests.verify._one_app", str(port)]
            requests = [Request("GET", path) for path in (*(f"/users/{user}" for user in USERS), "/ask")]
            record(command, port, requests, self.cassettes, UPSTREAM=upstream.url)
        rows = [row for row in CassetteStore(self.cassettes).list() if row.method]
        self.row, self.asked = rows[2], rows[-1]

    def plan(self) -> list[dict[str, Any]]:
        """What ``timetracer-otel find FOLDER --json`` prints of the requests."""
        find = [SCRIPT, "find", str(self.cassettes), "--route", "GET /users/*", "--json"]
        done = forks.run(*find, env=environment(find), cwd=ROOT, loaded="tool")
        assert (done.returncode, done.stderr) == (0, "")
        return list(json.loads(done.stdout))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("one"))


@pytest.fixture(autouse=True)
def _upstream(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    # A command gets the environment of this process.
    for name, value in environment(["tests.verify._one_app"], UPSTREAM=recorded.upstream_url).items():
        monkeypatch.setenv(name, value)


def test_a_plan_feeds_a_pool_of_processes(recorded: Recorded) -> None:
    plan = recorded.plan()
    assert len(plan) == len(USERS)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        verdicts = list(pool.map(partial(verify_one, app=APP), [row["path"] for row in plan]))
    assert [verdict.request for verdict in verdicts] == [f"GET /users/{user}" for user in USERS]
    assert [verdict.session_id for verdict in verdicts] == [row["session_id"] for row in plan]
    assert {(verdict.outcome, verdict.status, verdict.problems) for verdict in verdicts} == {("passed", 200, ())}
    assert all(verdict.passed and verdict.took_s > 0 for verdict in verdicts)


def test_a_plan_feeds_dask(recorded: Recorded) -> None:
    tasks = [delayed(verify_one)(row["path"], app=APP) for row in recorded.plan()[:3]]
    verdicts = compute(*tasks, scheduler="processes", num_workers=2)
    assert [str(verdict) for verdict in verdicts] == [f"passed    GET /users/{user}" for user in (1, 2, 3)]
    # Threads of one process are asked one at a time, and do not mix.
    verdicts = compute(*tasks, scheduler="threads", num_workers=3)
    assert all(verdict.passed for verdict in verdicts)


def test_what_differs_is_the_same_in_the_process_and_by_a_command(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANGE", "answer")
    command = [sys.executable, "-m", "tests.verify._one_app", "{port}"]
    both = [_without_time(verify_one(recorded.row.path, **how)) for how in ({"app": APP}, {"command": command})]
    assert both[0] == both[1]
    assert both[0]["outcome"] == "failed"
    assert both[0]["problems"] == ("body $.greeting: recorded 'Hello Ada!', now 'Hi Ada!'",)
    passed = verify_one(recorded.row.path, app=APP, ignore=["body:$.greeting"])
    assert passed.passed, passed


def test_a_call_without_a_recorded_answer_fails_and_goes_nowhere(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANGE", "call")
    verdict = verify_one(recorded.row.path, app=APP)
    assert verdict.outcome == "failed"
    assert verdict.status == 500
    assert verdict.problems[0] == "status: recorded 200, now 500"
    assert any(text.startswith("missed: No recorded call matches: httpx GET") for text in verdict.problems)
    assert verdict.notes == (f"not called: #1 httpx GET {recorded.upstream_url}/users/3",)


def test_an_id_names_a_recording_and_what_is_no_request_is_left_out(recorded: Recorded, tmp_path: Path) -> None:
    short = recorded.row.session_id[:8]
    assert verify_one(short, app=APP, cassette_dir=recorded.cassettes).session_id == recorded.row.session_id
    with pytest.raises(CassetteNotFoundError):
        verify_one("ffffffff", app=APP, cassette_dir=tmp_path)
    save_cassette(cassette([], request=RequestSnapshot("", "")), tmp_path / "process.msgpack")
    verdict = verify_one(tmp_path / "process.msgpack", app=APP)
    assert (verdict.outcome, verdict.problems) == ("left out", ("not a request",))


def test_the_paid_calls_to_models_are_told(recorded: Recorded, tmp_path: Path) -> None:
    assert verify_one(recorded.row.path, app=APP).paid is None
    offline = verify_one(recorded.asked.path, app=APP)
    assert (offline.passed, offline.paid) == (True, 0), offline
    command = [*forks.python(turn=1), "-m", "tests.verify._one_app", str(port := free_port())]
    options = ["--only", "/ask", "--url", f"http://127.0.0.1:{port}", "--json", str(tmp_path / "results.json")]
    done = verify(recorded.cassettes, command, *options, UPSTREAM=recorded.upstream_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("; paid calls: 0")
    assert [each["paid"] for each in json.loads((tmp_path / "results.json").read_text())["requests"]] == [0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "give either app or command"),
        ({"app": APP, "command": ["true"]}, "give either app or command"),
        ({"command": []}, "command: it is empty"),
        ({"app": "tests.verify._one_app:nothing"}, "has no 'nothing'"),
        ({"command": [sys.executable, "-c", "pass", "{port}"]}, "ended with code 0 before it listened"),
    ],
)
def test_what_cannot_be_asked_is_an_error_that_says_why(recorded: Recorded, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        verify_one(recorded.row.path, **given)


def _without_time(verdict: Verdict) -> dict[str, Any]:
    return {
        name: getattr(verdict, name) for name in ("path", "session_id", "request", "outcome", "status", "problems")
    }
