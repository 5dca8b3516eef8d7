"""A test suite that was written for pytest-recording: recorded by that, then run unchanged on ours, offline."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests import forks
from tests.children import environment
from tests.loopback import Loopback

BESIDE = Path(sys.prefix, "beside")
"""Where the Makefile installs pytest-recording."""
OURS = ("-p", "timetracer_otel.pytest_plugin", "-p", "timetracer_otel_exporter_vcr.pytest_shim")
THEIRS = ("-p", "pytest_recording.plugin")

SUITE = """
import os

import httpx
import pytest
import requests

URL = os.environ["UPSTREAM"]


@pytest.fixture(scope="module")
def vcr_config():
    return {"filter_headers": ["authorization"], "filter_query_parameters": [("key", "x")], "record_mode": "none"} | (
        {"record_mode": os.environ["MODE"]} if "MODE" in os.environ else {}
    )


@pytest.mark.vcr
@pytest.mark.parametrize("number", [1, 2])
def test_users(number):
    answer = requests.get(f"{URL}/users/{number}", params={"key": os.urandom(9).hex()})
    assert answer.json() == {"id": number, "name": "Ada"}


class TestOrders:
    @pytest.mark.vcr(match_on=["method", "path"])
    def test_body_and_query_do_not_count(self):
        answer = httpx.post(f"{URL}/orders?at={os.getpid()}", json={"pid": os.getpid()})
        assert answer.json()["pid"]


@pytest.mark.default_cassette("items")
@pytest.mark.vcr
def test_items():
    assert httpx.get(f"{URL}/items").json() == {"items": ["tea", "cake"]}


def test_without_marker():
    pass
"""


def run(folder: Path, url: str, *arguments: str, **changes: str) -> str:
    """What pytest prints of a suite, with these plugins and no other that is installed: that would take longer than
    the suite does. The suite passes.
    """
    done = forks.run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments),
        env=environment(UPSTREAM=url, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", **changes),
        cwd=folder,
        loaded="tool",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in (folder / "cassettes").rglob("*.*"))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_shop.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_what_pytest_recording_made_is_replayed_unchanged(suite: Path) -> None:
    path = os.pathsep.join([str(BESIDE), os.environ.get("PYTHONPATH", "")])
    with Loopback() as server:
        run(suite, server.url, *THEIRS, PYTHONPATH=path, MODE="once")
    names = ["TestOrders.test_body_and_query_do_not_count", "items", "test_users[1]", "test_users[2]"]
    made = [f"cassettes/test_shop/{name}.yaml" for name in names]
    assert files(suite) == made
    assert "5 passed" in run(suite, server.url, *OURS)
    assert files(suite) == made


def test_what_is_recorded_anew_is_ours_and_replays(suite: Path) -> None:
    with Loopback() as server:
        run(suite, server.url, *OURS, MODE="once")
        asked = sum(server.hits.values())
    assert asked == 4
    assert [Path(name).suffix for name in files(suite)] == [".msgpack"] * 4
    assert "5 passed" in run(suite, server.url, *OURS)


def test_without_a_cassette_a_test_makes_no_call(suite: Path) -> None:
    with Loopback() as server, pytest.raises(AssertionError, match="4 errors"):
        run(suite, server.url, *OURS)
    assert not server.hits


def test_with_recording_disabled_calls_are_made_for_real(suite: Path) -> None:
    with Loopback() as server:
        assert "5 passed" in run(suite, server.url, *OURS, "--disable-recording")
        assert sum(server.hits.values()) == 4


def test_beside_pytest_recording_it_says_what_to_do(suite: Path) -> None:
    path = os.pathsep.join([str(BESIDE), os.environ.get("PYTHONPATH", "")])
    with pytest.raises(AssertionError, match="give pytest -p no:recording"):
        run(suite, "http://h", *OURS, PYTHONPATH=path)
