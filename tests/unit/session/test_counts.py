"""How often a call is redacted, packed and looked up: once each, whatever asks for it.

Each number here is one that grew unseen before: a body of many megabytes was gone through twice, the arguments of a
statement eight times, and a cassette of one event was packed 21 times.
"""

from __future__ import annotations

import http.server
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import sqlalchemy as sa

from tests.servers.redis import RedisServer
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.calls import registry
from timetracer_otel.cassette import codec, model, read_cassette
from timetracer_otel.libraries.kits.dbapi import statements
from timetracer_otel.libraries.redis import answer as redis_answer
from timetracer_otel.match import canonical
from timetracer_otel.match.signature import RedactedCall
from timetracer_otel.plugins import function_plugin
from timetracer_otel.redact.redactor import Redactor

HEADER_AND_FOOTER = 2


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What was done since it was cleared: bodies and values redacted, values packed, calls and keys made."""
    found: Counter[str] = Counter()

    def count(owner: Any, name: str, label: str) -> None:
        original, depth = getattr(owner, name), 0

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            found[label] += not depth
            depth += 1
            try:
                return original(*args, **kwargs)
            finally:
                depth -= 1

        monkeypatch.setattr(owner, name, counted)

    count(Redactor, "body", "body")
    count(Redactor, "value", "value")
    count(codec, "_pack_with", "pack")
    count(model, "pack_looked_at", "pack")
    for module in (canonical, redis_answer, statements):
        count(module, "pack_native", "pack")
    count(RedactedCall, "__init__", "call")
    key: Any = RedactedCall.key

    def counted_key(made: RedactedCall) -> Any:
        found["key"] += made._key is None
        return key.fget(made)

    monkeypatch.setattr(RedactedCall, "key", property(counted_key))
    return found


class _Answering(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        if "content-length" in self.headers:
            self.rfile.read(int(self.headers["content-length"]))
        else:
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        answer = b'{"token": "t", "n": 1}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a?token=t"
        server.shutdown()


def run(counts: Counter[str], path: Path, call: Callable[[], Any]) -> tuple[Counter[str], Counter[str], int]:
    """What recording and replaying a call takes, and how many events it makes."""
    call()
    counts.clear()
    with record(path):
        call()
    recorded = Counter(counts)
    events = len(read_cassette(path).events)
    counts.clear()
    with replay(path, fail_on_unused=True):
        call()
    return recorded, Counter(counts), events


def test_a_post(counts: Counter[str], tmp_path: Path, url: str) -> None:
    def post() -> None:
        with httpx.Client() as client:
            client.post(url, json={"password": "p", "n": 1})

    recorded, replayed, events = run(counts, tmp_path / "x.msgpack", post)
    assert events == 1
    # The bodies of request and response; the facts of the response.
    assert recorded == {"body": 2, "value": 1, "pack": 1 + HEADER_AND_FOOTER, "call": 1}
    # The recorded body and the present one are masked, and compared.
    assert replayed == {"body": 2, "call": 1, "key": 1}
    counts.clear()
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError):
        httpx.post(url, json={"password": "p", "n": 2})
    # The recorded body to look it up, to find its variables, and for the text of a miss. What is made of the call is
    # made once; of a miss, the call's secrets are looked for once more, which must not be shown.
    assert counts == {"body": 5, "call": 1, "key": 1}, "the text of a miss is made of what was compared"


def test_a_post_of_a_stream(counts: Counter[str], tmp_path: Path, url: str) -> None:
    def post() -> None:
        with httpx.Client() as client:
            client.post(url, content=iter([b'{"password": ', b'"p"}']), headers={"content-type": "application/json"})

    recorded, replayed, events = run(counts, tmp_path / "x.msgpack", post)
    assert events == 1
    assert recorded == {"body": 2, "value": 1, "pack": 1 + HEADER_AND_FOOTER, "call": 1}
    # Before its body is read, and after.
    assert replayed == {"body": 2, "call": 2, "key": 2}


def test_a_select(counts: Counter[str], tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}")

    def select() -> None:
        with engine.connect() as connection:
            statement = sa.text("SELECT :n AS n, :password AS password")
            assert len(connection.execute(statement, {"n": 1, "password": "p"}).all()) == 1

    recorded, replayed, events = run(counts, tmp_path / "x.msgpack", select)
    engine.dispose()
    # The beginning and the end of the transaction are made of the statement's event, and stand within it.
    assert events == 3
    # The parameters and the result of the statement, which has a secret; its arguments for their hash, and all for
    # the file.
    assert recorded == {"value": 2, "pack": 2 + HEADER_AND_FOOTER, "call": 1}
    # The opening of the connection, as far as there is any, and the statement. BEGIN and the end of the transaction
    # are found as they are.
    assert replayed["call"] <= 2
    # The statement has a secret. So it is hashed as it is, in the quick way and in the usual one, then with its
    # secret masked, and its recorded arguments are hashed once more. The opening was not recorded, and has no
    # argument: the recording is not looked through for variables.
    assert replayed.pop("pack") <= 7
    assert replayed == {"value": 2, **dict.fromkeys(("call", "key"), replayed["call"])}


def test_a_get(counts: Counter[str], tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, redis.Redis(port=server.port) as client:
        client.set("k", "v")
        recorded, replayed, events = run(counts, tmp_path / "x.msgpack", lambda: client.get("k"))
    assert events == 1
    # Nothing in it is secret, so that its event is written from what was noted of it, and no objects are made.
    assert recorded == {"pack": 2 + HEADER_AND_FOOTER}
    # It is equal to the recorded call as it is: nothing is redacted, and no call is made of it.
    assert replayed == {"pack": 1}


def test_a_function(counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("timetracer_test_counted")
    module.pay = lambda order: {"paid": [order["n"]], "token": "t"}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_all", None)
    function_plugin("counted", ["timetracer_test_counted:pay"])
    recorded, replayed, events = run(
        counts, tmp_path / "x.msgpack", lambda: module.pay({"n": 1, "password": "p", "of": [{"token": 1}]})
    )
    assert events == 1
    assert recorded == {"value": 2, "pack": 2 + HEADER_AND_FOOTER, "call": 1}
    assert replayed == {"value": 2, "pack": 2, "call": 1, "key": 1}
