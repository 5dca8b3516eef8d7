"""``python -m tests.suite_injection.run [WORKLOAD ...]``: break each function, and look whether the app notices.

For each workload, the app runs bare, and recorded; then, in a fork for each function of ours that ran and each kind
of fault, it runs recorded with that function broken. The app has to see what it saw bare, in time. Prints each
function that lets a fault out, and how.

Then it does the same in a replay, with the servers stopped: each call of the app has to give what was recorded, or a
miss, in time. And, for some workloads, in a replay to which all calls are new (``new_episodes``), with the servers:
each call has to give what it gives bare, or a miss. Where a driver refuses new calls, its connections are recorded,
and each call has to be refused. ``--modes`` chooses among the three.

``known.txt`` (recordings) and ``known-replay.txt`` list the functions that are known to let faults out. A function
that stands there and does so is no failure; one that does not stand there is, and so is one that stands there and no
longer does so. The lists only get shorter; that of recordings is empty.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from inspect import CO_COROUTINE
from pathlib import Path
from typing import Any

from tests.examples import seeded
from tests.servers._process import ServerProcess
from tests.servers.grpc_service import GrpcService
from tests.servers.kafka import Kafka
from tests.servers.mariadb import HAS_MARIADB, MariaDb
from tests.servers.mongo import Mongo
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import HAS_RABBITMQ, RabbitMq, Relay
from tests.servers.redis import RedisServer
from tests.servers.websocket_service import WebSocketService
from tests.suite_injection import injector
from tests.suite_injection.amqp_calls import AMQP, AMQP_CONSUMERS
from tests.suite_injection.aws import AWS
from tests.suite_injection.direct import DIRECT, DIRECT_MYSQL
from tests.suite_injection.grpc_calls import GRPC, GRPC_ASYNC
from tests.suite_injection.incoming import INCOMING, OWN_MIDDLEWARES
from tests.suite_injection.jobs import JOBS
from tests.suite_injection.kafka_calls import KAFKA, KAFKA_CONSUMERS, WITH_THREADS_IN_C, with_orders
from tests.suite_injection.mongo import MONGO
from tests.suite_injection.mysql import MYSQL, MYSQL_SCHEMA
from tests.suite_injection.postgres import SCHEMA
from tests.suite_injection.servers import Servers
from tests.suite_injection.websocket_calls import WEBSOCKET
from tests.suite_injection.workloads import WORKLOADS
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.exceptions import ReplayFailedError, ReplayMismatchError
from timetracer_otel.otel import TimetracerInstrumentor

LOOPBACK = """
import sys
from tests.loopback import Loopback
with Loopback() as upstream:
    print(upstream.url, flush=True)
    sys.stdin.read()
"""
PATIENCE_S = 100.0
_MISS = "ReplayMismatchError"
_BLOCKED = "NetworkBlockedError"
"""Where a fault keeps the seams of a library out, the guard of connections refuses its calls."""
_NOTHING = "NoneType None"
"""What is seen of a call that gives nothing, such as one that closes a connection."""
_FAULT = "a fault of ours, injected"
_MODES = ["record", "replay", "new"]
_CONSUMERS = {*AMQP_CONSUMERS, *KAFKA_CONSUMERS}
_OF_PROCESS = {*INCOMING, *JOBS, *_CONSUMERS}
"""Workloads whose requests, jobs and messages each have a session of their own."""
_IN_FORKS_ONLY = {*GRPC_ASYNC, *WITH_THREADS_IN_C}
ADDING = {
    *("httpx_sync", "httpx_async", "requests", "functions", "sqlalchemy", "redis_sync", "pymysql", "aiomysql"),
    *("pymongo", "pymongo_async", "urllib", "urllib3", "botocore", "aiobotocore", "grpc_blocking"),
    *WEBSOCKET,
    *DIRECT,
    *DIRECT_MYSQL,
    *("pymysql_itself", "mysqlclient_itself"),
}
"""Workloads whose calls are also tried as new ones of a replay: of each kind of client, one or two."""
_REFUSING = {"asyncpg_direct", "pymysql_itself", "mysqlclient_itself", *DIRECT_MYSQL}
"""Those of these whose drivers refuse new calls."""
_PACED = {"functions", "requests", "asyncpg"}
"""Workloads whose replays take the time that the recording took: their calls are short."""
KNOWN = [Path(__file__).with_name(name) for name in ("known.txt", "known-replay.txt")]


def in_fork(work: Callable[[], Any]) -> Any:
    """What a function gives in a fork of this process, or how that ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(reading)
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            with os.fdopen(writing, "w") as pipe:
                json.dump(work(), pipe)
            code = 0
        except BaseException as error:
            with os.fdopen(os.dup(1), "w") as out:
                out.write(f"the harness: {type(error).__name__}: {error}\n")
        finally:
            os._exit(code)
    os.close(writing)
    data = b""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        ready, _, _ = select.select([reading], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            break
        part = os.read(reading, 1 << 16)
        if not part:
            break
        data += part
    os.close(reading)
    os.waitpid(pid, 0)
    return json.loads(data) if data and ready else "hangs" if not ready else "died"


def recorded(name: str, servers: Servers, folder: Path, target: types.CodeType | None = None, fault: str = "") -> Any:
    """What the app sees while it is recorded."""
    with recording(name, folder / str(os.getpid())), _broken(target, fault):
        return WORKLOADS[name](servers)


def replayed(name: str, servers: Servers, path: Path, target: types.CodeType | None = None, fault: str = "") -> Any:
    """What the app sees in a replay."""
    with replaying(name, path), _broken(target, fault):
        return _seen_or_missed(name, servers)


def added(name: str, servers: Servers, known: Path, target: types.CodeType | None = None, fault: str = "") -> Any:
    """What the app sees in a replay to which all calls are new."""
    with adding(known), _broken(target, fault):
        return _seen_or_missed(name, servers)


def _seen_or_missed(name: str, servers: Servers) -> Any:
    try:
        return WORKLOADS[name](servers)
    except Exception as error:
        # Of a call whose error the workload does not catch, such as the one that closes its client. Where that closes
        # a connection after a miss, pika may raise another error.
        found: BaseException | None = error
        while found is not None:
            if isinstance(found, ReplayMismatchError):
                return _MISS
            found = found.__context__
        raise


@contextmanager
def recording(name: str, path: Path) -> Iterator[None]:
    """Record a workload into a file; one of requests or jobs that come in, into a folder."""
    if name in _OF_PROCESS:
        with _process(name, TIMETRACER_MODE="record", TIMETRACER_DIR=str(path)):
            yield
    else:
        with record(path.with_suffix(".msgpack")):
            yield


@contextmanager
def replaying(name: str, path: Path) -> Iterator[None]:
    """Replay what `recording` made."""
    if name in _OF_PROCESS:
        # Messages of a consumer come from a broker.
        live = {"TIMETRACER_LIVE_PLUGINS": "messaging"} if name in _CONSUMERS else {}
        if name in OWN_MIDDLEWARES:
            (path,) = path.rglob("GET*.msgpack")
        with _process(name, TIMETRACER_MODE="replay", TIMETRACER_CASSETTE=str(path), **live):
            yield
    else:
        # The account names the calls that were refused.
        with suppress(ReplayFailedError), replay(path.with_suffix(".msgpack"), replay_timing=name in _PACED):
            yield


@contextmanager
def adding(known: Path) -> Iterator[None]:
    """Add all calls to a copy of a cassette that `without_calls` made."""
    path = known.with_name(f"new-{os.getpid()}.msgpack")
    shutil.copyfile(known, path)
    with suppress(ReplayFailedError), replay(path, record_mode="new_episodes"):
        yield


def without_calls(name: str, servers: Servers, path: Path) -> None:
    """Make a cassette to which the calls of a workload are new; the connections of one that refuses them are not."""
    with record(path):
        if name in _REFUSING:
            WORKLOADS[name](servers)
    cassette = read_cassette(path)
    openings = [event for event in cassette.events if event.signature.method == "CONNECT"]
    save_cassette(replace(cassette, events=openings), path)


@contextmanager
def _process(workload: str, **environment: str) -> Iterator[None]:
    """Let the process do what the environment says, as a program does that sets OpenTelemetry up by hand. Where the
    app has a middleware of its own, that one does it.
    """
    os.environ.update(environment)
    by_itself = workload not in OWN_MIDDLEWARES
    if by_itself:
        TimetracerInstrumentor().instrument()
    try:
        yield
    finally:
        if by_itself:
            TimetracerInstrumentor().uninstrument()
        for name in environment:
            del os.environ[name]


@contextmanager
def _broken(target: types.CodeType | None, fault: str) -> Iterator[None]:
    mend = injector.broken(target, fault) if target is not None else None
    try:
        yield
    finally:
        if mend is not None:
            mend()


def _record(name: str, servers: Servers, path: Path) -> Any:
    with recording(name, path):
        return WORKLOADS[name](servers)


def functions_of_recording(name: str, servers: Servers, folder: Path) -> dict[str, types.CodeType]:
    """The functions of ours that run in the app's threads while it is recorded."""
    work = WORKLOADS[name]

    def found_here() -> dict[str, types.CodeType]:
        with recording(name, folder / "functions"):
            work(servers)
            with injector.ran() as found:
                work(servers)
        return found

    return _functions(name, found_here, recording(name, folder / "none"))


def functions_of_replay(name: str, servers: Servers, path: Path) -> dict[str, types.CodeType]:
    """The same for a replay."""

    def found_here() -> dict[str, types.CodeType]:
        with replaying(name, path), injector.ran() as found:
            WORKLOADS[name](servers)
        return found

    return _functions(name, found_here, replaying(name, path))


def functions_of_adding(name: str, servers: Servers, known: Path) -> dict[str, types.CodeType]:
    """The same for a replay to which all calls are new."""

    def found_here() -> dict[str, types.CodeType]:
        with adding(known), injector.ran() as found:
            _seen_or_missed(name, servers)
        return found

    return _functions(name, found_here, adding(known))


def _functions(
    name: str, found_here: Callable[[], dict[str, types.CodeType]], session: AbstractContextManager[None]
) -> dict[str, types.CodeType]:
    """What a function finds; of a workload that may run in forks only, in a fork. The seams are then put in here."""
    if name not in _IN_FORKS_ONLY:
        return found_here()
    names = in_fork(lambda: list(found_here()))
    assert isinstance(names, list), names
    with session:
        if name in WITH_THREADS_IN_C:
            # First: who imports the plugin's modules before the client is, gets half of one.
            import_module("confluent_kafka")
        return injector.codes_of(names)


@dataclass
class Suite:
    """Breaks functions, and keeps what was noticed.

    Attributes:
        servers: Where the workloads' servers are.
        folder: A folder for cassettes.
        faults: Kinds of faults.
        only: What the names of functions have in them.
        sample: How many faults of each workload are tried, of each mode; None for all.
        noticed: Functions that let a fault out, as ``record httpx_sync place``.
        tried: How many faults were injected.
    """

    servers: Servers
    folder: Path
    faults: Sequence[str]
    only: str = ""
    sample: int | None = None
    noticed: dict[str, str] = field(default_factory=dict)
    tried: int = 0

    def record(self, name: str) -> None:
        """Break what runs while a workload is recorded: the app has to see what it sees bare."""
        bare = in_fork(partial(WORKLOADS[name], self.servers))
        plain = in_fork(partial(recorded, name, self.servers, self.folder))
        assert plain == bare, (bare, plain)
        found = functions_of_recording(name, self.servers, self.folder)
        for place, code, fault in self._each("record", name, found):
            seen = in_fork(partial(recorded, name, self.servers, self.folder, code, fault))
            if seen != bare:
                self._note(f"record {name} {place}", fault, _difference(bare, seen))

    def keep(self, name: str) -> Any:
        """Record a workload for `replay`."""
        return in_fork(partial(_record, name, self.servers, self.folder / name))

    def replay(self, name: str, kept: Any) -> None:
        """Break what runs while a workload is replayed: the app has to see what was recorded, or a miss."""
        path = self.folder / name
        seen_when = partial(replayed, name, self.servers, path)
        plain = in_fork(seen_when)
        # Secrets are replaced in what was recorded.
        assert len(plain) == len(kept), (kept, plain)
        assert not any(_MISS in line for line in plain), (kept, plain)
        self._same_or_missed("replay", name, functions_of_replay(name, self.servers, path), plain, seen_when)

    def add(self, name: str) -> None:
        """Break what runs while all calls of a workload are new to a replay: the app has to see what it sees bare,
        or a miss. Where new calls are refused, it has to see that, and nothing of what it sees bare.
        """
        bare, known = in_fork(partial(WORKLOADS[name], self.servers)), self.folder / "known.msgpack"
        assert in_fork(partial(without_calls, name, self.servers, known)) is None
        seen_when = partial(added, name, self.servers, known)
        plain = in_fork(seen_when)
        if name in _REFUSING:
            assert all(_MISS in now or now == _NOTHING for now in plain), plain
            assert any(_MISS in now for now in plain), plain
        else:
            assert plain == bare, (bare, plain)
        self._same_or_missed("new", name, functions_of_adding(name, self.servers, known), plain, seen_when)

    def _same_or_missed(
        self,
        mode: str,
        name: str,
        found: dict[str, types.CodeType],
        plain: list[str],
        seen_when: Callable[[types.CodeType, str], Any],
    ) -> None:
        for place, code, fault in self._each(mode, name, found):
            seen = in_fork(partial(seen_when, code, fault))
            if seen == _MISS:
                continue
            if not isinstance(seen, list):
                self._note(f"{mode} {name} {place}", fault, str(seen))
                continue
            differing = _differing(plain, seen, is_new=mode == "new", refuses=name in _REFUSING)
            if differing is not None:
                self._note(f"{mode} {name} {place}", fault, _difference(plain, seen, differing))

    def _each(
        self, mode: str, name: str, found: dict[str, types.CodeType]
    ) -> Iterator[tuple[str, types.CodeType, str]]:
        tries = [
            (place, code, fault)
            for place, code in found.items()
            for fault in self.faults
            if self.only in place and (fault != "never" or code.co_flags & CO_COROUTINE)
        ]
        if self.sample is not None:
            tries = seeded("faults of ours", mode, name).sample(tries, min(self.sample, len(tries)))
        print(f"{mode} {name}: {len(found)} functions, {len(tries)} faults", flush=True)
        self.tried += len(tries)
        injector.remember()
        yield from tries

    def _note(self, what: str, fault: str, seen: str) -> None:
        self.noticed.setdefault(what, f"{fault}: {seen}")
        print(f"  {what} {fault}: {seen}", flush=True)


@contextmanager
def running(
    folder: Path,
    broker: str,
    *,
    with_mysql: bool,
    with_mongo: bool,
    with_grpc: bool,
    with_websocket: bool,
    with_aws: bool,
    with_amqp: bool,
    with_kafka: bool,
) -> Iterator[Servers]:
    """The servers of the workloads, without the broker, which stays."""
    with ExitStack() as stack:
        upstream = subprocess.Popen(
            [sys.executable, "-c", LOOPBACK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        stack.callback(upstream.wait)
        stack.callback(upstream.kill)
        assert upstream.stdout is not None
        url = upstream.stdout.readline().strip()
        postgres = _database(stack, Postgres(), SCHEMA)
        mysql = _database(stack, MariaDb(), MYSQL_SCHEMA) if with_mysql else ""
        mongo = Mongo() if with_mongo else None
        if mongo is not None:
            stack.callback(mongo.stop)
        grpc = GrpcService() if with_grpc else None
        if grpc is not None:
            stack.callback(grpc.stop)
        websocket = WebSocketService() if with_websocket else None
        if websocket is not None:
            stack.callback(websocket.stop)
        aws = ServerProcess("tests.servers.moto_server") if with_aws else None
        if aws is not None:
            stack.callback(aws.close)
        amqp = ""
        if with_amqp:
            (folder / "rabbitmq").mkdir()
            relay = Relay(stack.enter_context(RabbitMq(folder / "rabbitmq")).port)
            stack.callback(relay.stop)
            amqp = relay.url
        kafka = _kafka(stack) if with_kafka else ""
        redis = stack.enter_context(RedisServer(folder))
        yield Servers(
            url,
            "http://127.0.0.1:1",
            redis.url,
            postgres,
            str(folder),
            broker,
            mysql,
            mongo.url if mongo is not None else "",
            grpc.address if grpc is not None else "",
            websocket.url if websocket is not None else "",
            amqp,
            aws=f"http://127.0.0.1:{aws.port('aws')}" if aws is not None else "",
            metadata=f"http://127.0.0.1:{aws.port('metadata')}" if aws is not None else "",
            kafka=kafka,
        )


def _kafka(stack: ExitStack) -> str:
    """Where a broker of Kafka's protocol listens. Its topics are made in a fork: so are threads of a library in C."""
    server = Kafka()
    stack.callback(server.stop)
    server.start()
    assert in_fork(partial(with_orders, server.address)) is None
    return server.address


def _broker(name: str, stack: ExitStack, folder: Path) -> str:
    """Where the jobs or messages of a workload come from; nothing where it has none."""
    if name in JOBS:
        return stack.enter_context(RedisServer(folder)).url
    if name in KAFKA_CONSUMERS:
        return _kafka(stack)
    if name in AMQP_CONSUMERS:
        (folder / "broker").mkdir()
        server = stack.enter_context(RabbitMq(folder / "broker"))
        return f"amqp://guest:guest@127.0.0.1:{server.port}/%2F"
    return ""


def _database(stack: ExitStack, server: Postgres | MariaDb, schema: Sequence[str]) -> str:
    """What stands behind the driver in a URL of SQLAlchemy's."""
    stack.callback(server.stop)
    url = server.url("x")
    # A connection to MariaDB begins in no database.
    server.execute(*([f"USE {url.database}"] if isinstance(server, MariaDb) else []), *schema)
    _, _, address = url.render_as_string(hide_password=False).partition("://")
    return address


def main() -> int:
    """Try all; gives the exit code."""
    parser = argparse.ArgumentParser()
    of_rabbitmq = {**AMQP, **AMQP_CONSUMERS}
    here = [
        name for name in WORKLOADS if (HAS_MARIADB or name not in MYSQL) and (HAS_RABBITMQ or name not in of_rabbitmq)
    ]
    parser.add_argument("workloads", nargs="*", default=here)
    parser.add_argument("--faults", nargs="*", default=list(injector.FAULTS))
    parser.add_argument("--modes", nargs="*", choices=_MODES, default=_MODES)
    parser.add_argument("--only", default="", help="functions with this in their names")
    parser.add_argument("--sample", type=int, help="so many faults of a workload, drawn by TEST_SEED")
    parser.add_argument("--at-once", type=int, default=2, help="workloads at a time, each in a process of its own")
    options = parser.parse_args()
    if not HAS_MARIADB:
        print(f"skipped, as there is no MariaDB here: {', '.join(MYSQL)}")
    if not HAS_RABBITMQ:
        print(f"skipped, as there is no RabbitMQ here: {', '.join(of_rabbitmq)}")
    return _one(options) if len(options.workloads) == 1 else _each_by_itself(options)


def _each_by_itself(options: argparse.Namespace) -> int:
    """Try the workloads in processes of their own, so that none finds what another one has set up."""
    given = ["--faults", *options.faults, "--modes", *options.modes, "--only", options.only]
    if options.sample is not None:
        given += ["--sample", str(options.sample)]

    def tried(name: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "tests.suite_injection.run", name, *given]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, end="", flush=True)
        return done.returncode, done.stdout.splitlines()

    with ThreadPoolExecutor(options.at_once) as threads:
        outcomes = list(threads.map(tried, options.workloads))
    counts = [re.findall(r"^(record|replay|new) .* (\d+) faults$", line) for _, lines in outcomes for line in lines]
    for mode in options.modes:
        found = [int(count) for ((of, count),) in filter(None, counts) if of == mode]
        print(f"{mode}: {sum(found)} faults in {len(found)} workloads")
    return max(code for code, _ in outcomes)


def _one(options: argparse.Namespace) -> int:
    (name,) = options.workloads
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        broker = _broker(name, stack, folder)
        needs = {
            "with_mysql": MYSQL,
            "with_mongo": MONGO,
            "with_grpc": GRPC,
            "with_websocket": WEBSOCKET,
            "with_aws": AWS,
            "with_amqp": AMQP,
            "with_kafka": KAFKA,
        }
        kinds = {what: name in workloads for what, workloads in needs.items()}
        with running(folder, broker, **kinds) as servers:
            suite = Suite(servers, folder, options.faults, options.only, options.sample)
            if "record" in options.modes:
                suite.record(name)
            if "new" in options.modes and name in ADDING:
                suite.add(name)
            kept = suite.keep(name) if "replay" in options.modes else None
        if kept is not None:
            # The servers are stopped: what goes out for real in a replay fails.
            suite.replay(name, kept)
    known = {line for path in KNOWN for line in path.read_text("utf-8").splitlines()}
    expected = {
        line
        for line in known
        if line.split()[0] in options.modes and line.split()[1] == name and options.only in line
    }
    new = sorted(suite.noticed.keys() - known)
    mended = sorted(expected - suite.noticed.keys()) if options.sample is None else []
    print(f"{len(suite.noticed)} functions let some of {suite.tried} faults out; {len(new)} are not known to do so")
    for title, lines in (("not known", new), ("no longer, and to be struck from the list", mended)):
        if lines:
            print(f"{title}:", *lines, sep="\n  ")
    return 1 if new or mended else 0


def _differing(plain: list[str], seen: list[str], *, is_new: bool, refuses: bool) -> int | None:
    """The first line that is neither what it was nor a miss; None without one.

    Where calls are new, lines behind a miss tell of a server on which something was not done. No fault may be there.
    Where a driver refuses new calls, they may tell of a connection that was lost, and of no answer.
    """
    missed = False
    for index, (was, now) in enumerate(zip(plain, seen, strict=True)):
        if _MISS in now or _BLOCKED in now:
            missed = True
        elif now != was and not (is_new and missed and _FAULT not in now and (not refuses or "raised " in now)):
            return index
    return None


def _difference(before: list[str], seen: Any, index: int | None = None) -> str:
    if not isinstance(seen, list):
        return str(seen)
    differing = [place for place, (was, now) in enumerate(zip(before, seen, strict=False)) if was != now]
    first = differing[0] if index is None else index
    return f"{len(differing)} of {len(before)}: {before[first][:60]} -> {seen[first][:90]}"


if __name__ == "__main__":
    sys.exit(main())
