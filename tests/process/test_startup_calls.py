"""A service that calls before its first request comes: the replay of a request's cassette answers these calls too."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace as changed
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests import forks
from tests.children import environment, instrumented_path, script
from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented
from tests.servers._ports import free_port
from timetracer_otel import ReplayMismatchError, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.constants import TraceMode
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import ConfigurationError, ReplayFailedError
from timetracer_otel.guard import network_guard
from timetracer_otel.process.runtime import runtime
from timetracer_otel.pytest_plugin import ReplayFixture
from timetracer_otel.pytest_plugin.sessions import CASSETTE

SHOP = '''
"""A shop that makes its tables, reads its configuration and warms up when it is imported."""

import os
import time
from pathlib import Path

import flask
import httpx
import sqlalchemy as sa

UPSTREAM, HERE = os.environ["UPSTREAM"], Path(os.environ["HERE"])
engine = sa.create_engine(f"sqlite:///{HERE / 'shop.db'}")
metadata = sa.MetaData()
orders = sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("item", sa.String))
metadata.create_all(engine)
with engine.begin() as connection:
    connection.execute(orders.insert(), [{"item": "tea"}, {"item": "cake"}])
configured = httpx.get(f"{UPSTREAM}/users/1").json()["id"]
app = flask.Flask(__name__)


@app.get("/total")
def total():
    (HERE / f"here-{os.getpid()}").touch()
    while len(list(HERE.glob("here-*"))) < int(os.environ.get("SHOP_WORKERS", "1")):
        time.sleep(0.01)
    with engine.connect() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(orders)).scalar_one()
    # The same call as at the start, which is answered otherwise now.
    later = httpx.get(f"{UPSTREAM}/users/1").json()["id"]
    return {"count": count, "configured": configured, "later": later, "pid": os.getpid()}
'''
RECORD = """
import flask, httpx, sqlalchemy
from shop import app

answer = app.test_client().get("/total").json
print(answer["count"], answer["configured"], answer["later"])
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str]]:
    """The folder of the program, that of its cassettes, and the environment of both."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    with Loopback() as upstream:
        changes = {"UPSTREAM": upstream.url, "HERE": str(folder), "PYTHONPATH": str(folder)}
        bare = instrumented(RECORD, folder, **changes)
        assert bare.stdout.split() == ["2", "1", "1"], bare.stderr
        (folder / "shop.db").unlink()
        done = instrumented(
            RECORD, folder, TIMETRACER_MODE="record", TIMETRACER_DIR=str(folder / "cassettes"), **changes
        )
        assert done.stdout.split() == ["2", "1", "1"], done.stderr
    for left in (*folder.glob("here-*"), folder / "shop.db"):
        left.unlink()
    (path,) = (folder / "cassettes").rglob("GET_total_*")
    # As if the second answer had been another one.
    cassette = read_cassette(path)
    body = cassette.events[-1].result.body
    assert body is not None
    assert isinstance(body.data, bytes)
    body.data = body.data.replace(b'"id": 1', b'"id": 9')
    save_cassette(cassette, path)
    return folder, path, changes


def test_the_start_is_answered_from_the_recording_of_the_process(
    recorded: tuple[Path, Path, dict[str, str]],
) -> None:
    folder, path, changes = recorded
    env = environment({"httpx", "flask", "sqlalchemy"}, OTEL_TRACES_EXPORTER="none", **changes)
    # The command of the README.
    words = [script("timetracer-otel"), "replay", str(path), "--", *forks.python(turn=1), "-c", RECORD]
    done = forks.run(*words, env=env, cwd=folder, loaded="tool")
    # Each of the two equal calls has its own answer: that of the start, and that of the request.
    assert done.stdout.split() == ["2", "1", "9"], done.stderr
    assert re.search(rf"Replay of {re.escape(str(path))}: \d+ hit, 0 missed, 0 unused, 0 live\n", done.stderr)
    assert not (folder / "shop.db").exists()


def test_two_workers_have_the_whole_cassette_each(recorded: tuple[Path, Path, dict[str, str]]) -> None:
    folder, path, changes = recorded
    for left in folder.glob("here-*"):
        left.unlink()
    port = free_port()
    env = environment({"httpx", "flask", "sqlalchemy"}, **changes)
    env |= {"TIMETRACER_MODE": "replay", "TIMETRACER_CASSETTE": str(path), "OTEL_TRACES_EXPORTER": "none"}
    env |= {"SHOP_WORKERS": "2", "PYTHONPATH": instrumented_path(str(folder), folder)}
    command = [script("gunicorn"), "-w", "2", "-b", f"127.0.0.1:{port}", "shop:app"]
    service = forks.start(*command, env=env, cwd=folder, stderr=subprocess.PIPE)
    answers: list[dict[str, int]] = []
    try:
        until = time.monotonic() + 120
        while not _listens(port):
            assert time.monotonic() < until
            time.sleep(0.1)

        def ask() -> None:
            # A worker that has a request waits until the other one has one, too.
            with urlopen(f"http://127.0.0.1:{port}/total", timeout=60) as response:
                answers.append(json.loads(response.read()))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        service.send_signal(signal.SIGTERM)
        _, log = service.communicate(timeout=60)
    assert len({answer.pop("pid") for answer in answers}) == 2
    assert answers == [{"count": 2, "configured": 1, "later": 9}] * 2, log
    assert log.count(" 0 missed, 0 unused, 0 live") >= 2, log
    assert not (folder / "shop.db").exists()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_recordings_of_other_processes_are_left_alone(
    recorded: tuple[Path, Path, dict[str, str]], tmp_path: Path
) -> None:
    _, path, _ = recorded
    (process,) = path.parent.glob("process_*")
    for day, name in (("2026-03-01", process.name), ("2026-03-02", path.name)):
        (tmp_path / day).mkdir()
        shutil.copy(path.parent / name, tmp_path / day / name)
    path, process = tmp_path / "2026-03-02" / path.name, tmp_path / "2026-03-01" / process.name
    own, more = read_cassette(path), read_cassette(process)
    assert own.session.process == more.session.process
    assert len(own.session.process) == 1
    with replay(path) as session:
        assert len(session.events) == len(own.events) + len(more.events)
        assert [event.eid for event in session.events] == list(range(1, len(session.events) + 1))
        assert len(session.verdict().unused) == len([event for event in own.events if event.not_replayable is None])
    # A worker's request, whose parent made the calls at the start.
    parent = own.session.process[0]
    worker = changed(own, session=changed(own.session, process=[parent, "worker"]))
    save_cassette(worker, path)
    with replay(path) as session:
        assert len(session.events) == len(own.events) + len(more.events)
    for strangers in (["other"], []):
        save_cassette(changed(own, session=changed(own.session, process=strangers)), path)
        with replay(path) as session:
            assert len(session.events) == len(own.events)
    assert len(cassettes(tmp_path)) == 2


def test_a_folder_answers_the_requests_of_a_test(
    recorded: tuple[Path, Path, dict[str, str]],
    timetracer_replay: ReplayFixture,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    folder, path, changes = recorded
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("UPSTREAM", changes["UPSTREAM"])
    monkeypatch.setenv("HERE", changes["HERE"])
    with timetracer_replay(folder / "cassettes") as session:
        shop: Any = importlib.import_module("shop")
        request.addfinalizer(lambda: sys.modules.pop("shop"))
        request.addfinalizer(shop.engine.dispose)
        client = shop.app.test_client()
        own = {"count": 2, "configured": 1, "later": 9, "pid": os.getpid()}
        # Each request has a whole cassette of its own.
        assert [client.get("/total").json for _ in range(2)] == [own, own]
        assert get_current_session() is session
    assert re.fullmatch(r"\d+ hit, 0 missed, 0 unused, 0 live", str(session.verdict()))

    def calls_once_more() -> None:
        with replay(folder / "cassettes"):
            client.get("/total?other=1")
            with suppress(ReplayMismatchError):
                shop.httpx.get(changes["UPSTREAM"] + "/users/7")
            with pytest.raises(ConfigurationError, match="for the whole process"):
                replay(folder / "cassettes").__enter__()

    with pytest.raises(ReplayFailedError) as failed:
        calls_once_more()
    assert "users/7" in str(failed.value)
    assert len(failed.value.verdict.misses) == 1
    assert runtime().mode is TraceMode.OFF
    assert not network_guard.guarded, "the block that was refused left nothing behind"
    assert not (folder / "shop.db").exists()
    used = {value for name, value in request.node.user_properties if name == CASSETTE}
    assert used == set(map(str, path.parent.glob("*.msgpack")))
