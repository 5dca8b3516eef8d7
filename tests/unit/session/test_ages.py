"""The setting ``max_age``: cassettes that are too old are told of, refused, or recorded anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from tests.loopback import Loopback
from timetracer_otel import ConfigurationError, TraceConfig, record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.exceptions import CassetteTooOldError
from timetracer_otel.session import ReplaySession, TraceSession


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path, upstream: Loopback) -> Path:
    """A cassette that is 40 days old."""
    made = tmp_path / "users.msgpack"
    with record(made):
        httpx.get(f"{upstream.url}/users/7")
    cassette = read_cassette(made)
    when = datetime.now(timezone.utc) - timedelta(days=40, hours=1)
    save_cassette(replace(cassette, session=replace(cassette.session, recorded_at=when.isoformat())), made)
    return made


def test_an_old_cassette_is_told_of(path: Path, upstream: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    with replay(path, max_age="30d") as session:
        assert httpx.get(f"{upstream.url}/users/7").json()["name"] == "Ada"
    assert isinstance(session, ReplaySession)
    told = (
        f"{path} was recorded 40 days ago, and TIMETRACER_MAX_AGE is 30d. Record again (TIMETRACER_RECORD_MODE=all, "
        "or --timetracer-record-mode=all in tests), or allow more."
    )
    assert session.overdue == told
    assert [(each.levelno, each.getMessage()) for each in caplog.records] == [
        (logging.WARNING, f"timetracer-otel: {told}")
    ]
    caplog.clear()
    with replay(path, max_age="41d") as session:
        httpx.get(f"{upstream.url}/users/7")
    assert not caplog.records


def test_it_is_an_error_where_the_setting_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMETRACER_MAX_AGE", "960h:fail")
    with pytest.raises(CassetteTooOldError, match="was recorded 40 days ago, and TIMETRACER_MAX_AGE is 960h"):
        replay(path).__enter__()
    with pytest.raises(CassetteTooOldError, match=r"1 of 1 recordings in .* are too old, the oldest of 40 days"):
        replay(path.parent).__enter__()
    monkeypatch.setenv("TIMETRACER_MAX_AGE", "30d:record")
    with pytest.raises(ConfigurationError, match=r"not allowed with a folder\. Allowed: warn, fail"):
        replay(path.parent).__enter__()


def test_it_is_recorded_anew_once(path: Path, upstream: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_cassette(path)
    with replay(path, max_age="30d:record") as session:
        httpx.get(f"{upstream.url}/users/7")
    assert isinstance(session, TraceSession)
    now = read_cassette(path)
    # The call has not changed, and stays as it was. Only the head says that it was made anew.
    assert now.events == before.events
    assert now.session.recorded_at == before.session.recorded_at
    assert now.session.renewed_at is not None
    with replay(path, max_age="30d:record") as session:
        httpx.get(f"{upstream.url}/users/7")
    assert isinstance(session, ReplaySession)
    save_cassette(before, path)
    monkeypatch.setenv("CI", "true")
    with replay(path, max_age="30d:record") as session:
        httpx.get(f"{upstream.url}/users/7")
    assert isinstance(session, ReplaySession)
    assert session.overdue is not None


@pytest.mark.parametrize("text", ["30", "30d:burn", "2GB", "d", "30d:fail:warn"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="max_age: "):
        TraceConfig(max_age=text)
