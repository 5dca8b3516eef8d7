"""Apps that know nothing of us see the same bare, recorded, and replayed with all servers stopped.

Each run is a process of its own, with a hash seed of its own that is drawn from ``TEST_SEED``. What a replay says at
its end is its account. ``make fuzz`` does it again and again, under other seeds.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.examples import drawn
from tests.golden import make_golden
from tests.lines._runs import ROUNDS, Apps, Step, unlike
from tests.loopback import Loopback
from tests.process._thread_ways import USERS
from tests.servers.mariadb import HAS_MARIADB, HAS_MYSQLCLIENT, MariaDb, needs_mariadb, needs_mysqlclient
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer
from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.report import timeline

pytestmark = pytest.mark.sweep

_HAS_MYSQL = HAS_MARIADB and HAS_MYSQLCLIENT
_MOST = ("web", "sql", "frames", "commands", "threads", "levels", "older")
SAME = [
    # In one process, since most of what they cost are imports.
    pytest.param(Apps(*_MOST, *(["mysql"] if _HAS_MYSQL else []), traced=True), 6, id="most"),
    *([] if _HAS_MYSQL else [pytest.param(Apps("mysql"), 0, id="mysql", marks=[needs_mariadb, needs_mysqlclient])]),
]
"""Apps, and how many values they make anew in each run."""


@pytest.fixture(params=range(ROUNDS))
def number(request: pytest.FixtureRequest) -> int:
    """Of the round: each has other hash seeds."""
    found: int = request.param
    return found


class Servers:
    """Those that an app needs, by the variables of its environment that name them."""

    def __init__(self, apps: Apps, folder: Path) -> None:
        self._stack = ExitStack()
        self.upstream: Loopback | None = None
        self.variables: dict[str, str] = {}
        if "UPSTREAM" in apps.code:
            self.upstream = self._stack.enter_context(Loopback())
            self.variables["UPSTREAM"] = self.upstream.url
        if "REDIS_PORT" in apps.code:
            self.variables["REDIS_PORT"] = str(self._stack.enter_context(RedisServer(folder)).port)
        if "POSTGRES" in apps.code:
            self.postgres = self._database(Postgres())
            self.variables["POSTGRES"] = self.postgres.url("x").render_as_string(hide_password=False)
        if "MARIADB" in apps.code:
            self.variables["MARIADB"] = self._database(MariaDb()).url("x").render_as_string(hide_password=False)
        if "SQLITE" in apps.code:
            self.variables["SQLITE"] = str(folder / "app.db")
            self._stack.callback((folder / "app.db").unlink)

    def _database(self, server: Any) -> Any:
        self._stack.callback(server.stop)
        return server

    def hits(self) -> int:
        """How many requests the upstream had."""
        return self.upstream.hits.total() if self.upstream is not None else 0

    def stop(self) -> None:
        """All of them, with what they have kept."""
        self._stack.close()


@contextmanager
def serving(apps: Apps, folder: Path) -> Iterator[Servers]:
    """Servers for a block."""
    servers = Servers(apps, folder)
    try:
        yield servers
    finally:
        servers.stop()


@pytest.mark.parametrize(("apps", "bound"), SAME)
def test_lines_are_the_same_bare_recorded_and_replayed(apps: Apps, bound: int, number: int, tmp_path: Path) -> None:
    with serving(apps, tmp_path) as servers:
        bare, recorded = (apps.run(step, tmp_path, number, **servers.variables) for step in ("bare", "record"))
    replayed = apps.run("replay", tmp_path, number, **servers.variables)
    found = [
        f"{line}, {step}: {where}"
        for line in bare.seen
        for step, told in (("recorded", recorded), ("replayed", replayed))
        for where in unlike(bare.seen[line], told.seen[line])
    ]
    assert not found, "\n".join([recorded.account, replayed.said, *found])
    cassette = read_cassette(apps.cassette(tmp_path))
    calls = len(cassette.events)
    assert recorded.account == f"0 hit, 0 missed, 0 unused, 0 live, {calls} recorded"
    assert replayed.account == f"{calls} hit, 0 missed, 0 unused, 0 live{f', {bound} bound' if bound else ''}"
    assert not (tmp_path / "app.db").exists()
    if "older" in apps.names:
        _is_replayed_from_before(bare, number, tmp_path)
    if "levels" in apps.names:
        _is_shown_by_levels(timeline(cassette, width=250))
    # A letter that stands for a secret is no name for it: it stands elsewhere by itself.
    assert all(len(name) > 3 for name in cassette.pseudonyms), cassette.pseudonyms


def _is_shown_by_levels(shown: list[str]) -> None:
    """Spans of one call stand above it or beneath it, and none is a call of its own that no plugin captures."""
    assert not [line for line in shown if "observed only" in line]
    below = [f"{line.strip(' │├└─')} > {after.strip(' │├└─')}" for line, after in pairwise(shown)]
    expected = [
        r"#\d+ sqlalchemy SELE.*psycopg2:.* > psycopg2 SELECT",
        r"asyncpg BEGIN; > asyncpg SELECT",
        r"#\d+ requests GET.* > wire urllib3 GET",
        *([r"openai chat m-1 > #\d+ httpx2? .*/chat/completions.*"] if find_spec("openai") is not None else []),
    ]
    assert all(any(re.fullmatch(each, pair) for pair in below) for each in expected), "\n".join(shown)
    steps = sum(line.strip(" │├└─").startswith("step ") for line in shown)
    assert steps == 3 + (find_spec("openai") is not None)


OLDER = Path(make_golden.__file__).with_name("app-before-0.1.0.msgpack.gz")
"""``older`` as it was recorded under the hash seed 11 by the last code that hashed mappings in the order of the app
(f3744b7), with ``UPSTREAM`` and ``REDIS_PORT`` as below and a database ``shop``."""
OF_OLDER = {"UPSTREAM": "http://127.0.0.1:28471", "REDIS_PORT": "49035", "POSTGRES": "postgresql://postgres@/shop"}


def _is_replayed_from_before(bare: Step, number: int, folder: Path) -> None:
    """An app is answered from a cassette of an earlier release, in a process of its own."""
    apps = Apps("older")
    shutil.copy(OLDER, apps.cassette(folder))
    # By the hashes alone: what looks for values that the app has made anew finds these calls as well.
    replayed = apps.run("replay", folder, number, **OF_OLDER, TIMETRACER_VARIABLES="off")
    assert unlike({line: seen for line, seen in bare.seen.items() if line.startswith("older.")}, replayed.seen) == []
    calls = [event for event in read_cassette(OLDER).events if event.not_replayable is None]
    assert replayed.account == f"{len(calls)} hit, 0 missed, 0 unused, 0 live"


BOUNDS: list[tuple[dict[str, str], list[list[int]] | None]] = [
    ({"MAX_EVENTS": "3", "KEEP": "1d,2"}, [[15, 16, 17], [18, 19]]),
    *drawn(
        [
            [
                ({"MAX_EVENTS": "3"}, [[0, 1, 2], [15, 16, 17], [18, 19]]),
                ({"MAX_EVENTS": "3", "KEEP": "3KB"}, [[18, 19]]),
            ]
        ],
        "bounds",
    ),
    ({"MAX_SESSION_KB": "2"}, None),
]
"""Settings, and the users in each file that is left. How many calls fill a size depends on the lengths of ports."""


def test_a_worker_that_polls_is_replayed_as_far_as_it_was_kept(number: int, tmp_path: Path) -> None:
    apps = Apps("worker", of_folder=True)
    all_polls = " ".join(map(str, range(20)))
    with serving(apps, tmp_path) as servers:
        given = {**servers.variables, "POLLS": all_polls}
        bare = apps.run("bare", tmp_path, number, **given)
        recorded = []
        for at, (bounds, _) in enumerate(BOUNDS):
            folder = tmp_path / str(at)
            of_long_ago = apps.cassette(folder) / "2020-01-01" / OLDER.name
            of_long_ago.parent.mkdir(parents=True)
            shutil.copy(OLDER, of_long_ago)
            os.utime(of_long_ago, (1.6e9, 1.6e9))
            settings = {f"TIMETRACER_{name}": value for name, value in bounds.items()}
            recorded.append(apps.run("record", folder, number, **given, **settings))
            assert of_long_ago.exists() == ("KEEP" not in bounds)
            of_long_ago.unlink(missing_ok=True)
    assert [unlike(bare.seen, each.seen) for each in recorded] == [[]] * len(BOUNDS)
    for at, (_, kept) in enumerate(BOUNDS):
        found = [
            [int(str(event.signature.url).rpartition("/")[2]) for event in read_cassette(stored.path).events]
            for stored in CassetteStore(apps.cassette(tmp_path / str(at))).list()
        ]
        assert found == kept or (kept is None and 2 <= len(found) <= 3 and found[0][0] == 0 and found[-1][-1] == 19)
        polls = [poll for each in found for poll in each]
        lost = next(poll for poll in range(20) if poll not in polls)
        asked = {**servers.variables, "POLLS": " ".join(map(str, [*polls, lost]))}
        replayed = apps.run("replay", tmp_path / str(at), number, **asked)
        told = replayed.seen["worker.polls"]
        assert told[1:-1] == [bare.seen["worker.polls"][1 + poll] for poll in polls]
        assert "newer ones" in _raised(told[-1], "ReplayMismatchError")
        assert f"{len(polls)} hit, 1 missed, 0 unused, 0 live" in replayed.account


def test_a_service_is_replayed_from_its_folder(number: int, tmp_path: Path) -> None:
    apps = Apps("service", traced=True, of_folder=True)
    with serving(apps, tmp_path) as servers:
        bare = apps.run("bare", tmp_path, number, **servers.variables)
        (tmp_path / "app.db").unlink()
        # Whether a request is recorded is drawn, and draws nothing of the app's.
        given = {"TIMETRACER_SAMPLE_RATE": "0.999999"}
        recorded = apps.run("record", tmp_path, number, **servers.variables, **given)
    assert unlike(bare.seen, recorded.seen) == []
    replayed = apps.run("replay", tmp_path, number, **servers.variables)
    assert unlike(bare.seen, replayed.seen) == [], replayed.said
    assert re.fullmatch(r"4 requests from 4 of 4 recordings: \d+ hit, 0 missed, 0 unused, 0 live", replayed.account)
    assert not (tmp_path / "app.db").exists()


LIVE = {
    "nothing": "",
    "hosts with ports, paths of sockets": "{host}:{port},{folder}/.s.PGSQL.{socket}",
    "networks, globs": "127.0.0.0/8,{folder}/*",
}
"""What ``live_hosts`` says."""
TO_NOBODY = ["smtplib", "grpc", "confluent_kafka", "oracledb"]
"""Libraries that ask an address where nobody is, so that only a network lets them out."""


def test_clients_without_a_plugin_are_refused_or_live_because_the_user_said_so(number: int, tmp_path: Path) -> None:
    apps = Apps("world")
    with serving(apps, tmp_path) as servers:
        bare, recorded = (apps.run(step, tmp_path, number, **servers.variables) for step in ("bare", "record"))
        assert unlike(bare.seen, recorded.seen) == []
        libraries = [line.removeprefix("world.by_") for line in bare.seen]
        url = servers.postgres.url("x")
        host, _, port = servers.variables["UPSTREAM"].rpartition("/")[2].partition(":")
        for kind in drawn([list(LIVE)], "live hosts"):
            hosts = LIVE[kind].format(host=host, port=port, folder=url.query["host"], socket=url.port or 5432)
            before = servers.hits()
            replayed = apps.run("replay", tmp_path, number, **servers.variables, TIMETRACER_LIVE_HOSTS=hosts)
            refused = {"nothing": libraries[:-1], "networks, globs": []}.get(kind, TO_NOBODY)
            lines = [f"world.by_{library}" for library in refused]
            assert [line for line in bare.seen if unlike(bare.seen[line], replayed.seen[line])] == lines
            assert all(_raised(replayed.seen[line], "NetworkBlockedError") for line in lines)
            told = re.fullmatch(_ACCOUNT, replayed.account)
            assert told is not None, replayed.account
            assert int(told["blocked"] or 0) == len(refused)
            if kind == "nothing":
                assert (servers.hits(), told["hit"], told["live"]) == (before, "1", "0")
            else:
                assert told["hit"] == "0"
                # The account names them by their packages and modules.
                named = {_LIBRARIES.get(library, library) for library in libraries[:-1] if library not in refused}
                assert set(told["libraries"].split(", ")) == named


_ACCOUNT = (
    r"(?P<hit>\d+) hit, 0 missed, 0 unused, (?P<live>\d+) live(?: \((?P<libraries>.*)\))?"
    r"(?:, (?P<blocked>\d+) blocked)?"
)
_LIBRARIES = {
    "urllib": "urllib.request",
    "http_client": "http.client",
    "a_stream_of_asyncio": "asyncio",
    "a_socket_in_a_thread_of_an_own_class": "socket",
}

ORDERS, BILLS = (f"POST /v1/{name}: body:$." for name in ("orders", "bills"))
RULES = [f"{scope}{field}" for scope in (ORDERS, BILLS) for field in ("build", "node.shard")]
REFUSED = {
    "values_that_change": "body.node.shard: recorded 4, now 5",
    "other_values_that_change": "body.build: recorded 'b-1', now 'b-2'",
    "another_users_key": "args[1]: recorded 'user:7', now 'user:8'",
    "replies_that_were_never_read": "the connection was closed before its reply was read",
    "calls_after_the_last_answer": "{repeats}",
    "requests_that_nobody_can_read": "OwnRequest cannot be seen",
    "prepared_transactions_by_psycopg": "Not recorded: connection.tpc_recover",
    "prepared_transactions_by_psycopg2": "Not recorded: connection.tpc_recover",
    "methods_that_were_not_recorded": "Not recorded: cursor.mogrify",
    "types_that_were_not_asked_for": "Not recorded: TypeInfo.fetch('inet')",
}


def test_what_a_changed_app_asks_is_refused_and_the_advice_is_in_the_users_words(number: int, tmp_path: Path) -> None:
    apps = Apps("changed")
    with serving(apps, tmp_path) as servers:
        bare, recorded = (apps.run(step, tmp_path, number, **servers.variables) for step in ("bare", "record"))
        assert unlike(bare.seen, recorded.seen) == []
    changed = {**servers.variables, "CHANGED": "1"}
    # Of two scopes, the one that is ignored answers, and the advice has it again, with what the other one lacks.
    replayed = apps.run("replay", tmp_path, number, **changed, TIMETRACER_IGNORE=",".join(RULES[:2]))
    assert [line for line in recorded.seen if not unlike(recorded.seen[line], replayed.seen[line])] == [
        "changed.values_that_change"
    ]
    for line, text in [*REFUSED.items()][1:]:
        named = text.format(repeats="TIMETRACER_ALLOW_REPEATS=true")
        assert named in _raised(replayed.seen[f"changed.{line}"], "ReplayMismatchError"), line
    assert replayed.account == "7 hit, 9 missed, 2 unused, 0 live"
    advice = f"of all misses at once:\n  TIMETRACER_IGNORE='{','.join(RULES)}'\n"
    assert advice in replayed.said
    assert "live_plugins" not in replayed.said

    in_python = apps.run_within("block", "replay", tmp_path, number, **changed)
    for line, text in REFUSED.items():
        named = text.format(repeats="allow_repeats=True")
        assert named in _raised(in_python.seen[f"changed.{line}"], "ReplayMismatchError"), line
    assert in_python.account == "6 hit, 10 missed, 3 unused, 0 live"
    of_one = '", "'.join(RULES[:2])
    assert f'ignore=["{of_one}"]' in _raised(in_python.seen["changed.values_that_change"], "ReplayMismatchError")


def test_pools_filled_before_a_block_chance_and_what_is_not_redacted(number: int, tmp_path: Path) -> None:
    apps = Apps("pools", "passwords")
    with serving(apps, tmp_path) as servers:
        given = {**servers.variables, "TIMETRACER_REDACT": "off"}
        bare = apps.run("bare", tmp_path, number, **given)
        recorded = apps.run_within("block", "record", tmp_path, number, **given)
    replayed = apps.run_within("block", "replay", tmp_path, number, **given)
    assert unlike(bare.seen, recorded.seen, anew=True) == []
    del recorded.seen["pools.after"]
    assert unlike(recorded.seen, replayed.seen) == []
    assert replayed.account == f"{len(read_cassette(apps.cassette(tmp_path)).events)} hit, 0 missed, 0 unused, 0 live"
    assert not (tmp_path / "app.db").exists()


WAYS = ["hand", "block", "context", "fixture"]


def test_threads_of_a_session(number: int, tmp_path: Path) -> None:
    """Those of a process are among the lines that are the same; for a folder see `tests.process.test_threads`."""
    apps = Apps("threads")
    with serving(apps, tmp_path) as servers:
        recorded = apps.run_in_ways(WAYS, "record", tmp_path, number, **servers.variables)
    replayed = apps.run_in_ways(WAYS, "replay", tmp_path, number, **servers.variables)
    for way in WAYS:
        assert unlike(recorded[way].seen, replayed[way].seen) == [], way
        assert _users(recorded[way]) == list(USERS.values()), way
        assert replayed[way].account == f"{len(USERS)} hit, 0 missed, 0 unused, 0 live", way


def _users(step: Step) -> list[int]:
    """The users that were asked for in each way, and found."""
    (told,) = step.seen.values()
    return [int(answer[1][1].removeprefix("builtins:int ")) for _, answer in told[1:]]


def test_connections_that_were_open_before_are_refused_before_they_are_used(number: int, tmp_path: Path) -> None:
    apps = Apps("kept", traced=True)
    with serving(apps, tmp_path) as servers:
        recorded = apps.run_within("block", "record", tmp_path, number, **servers.variables)
        given = {**servers.variables, "SERVERS": "1", "TIMETRACER_LIVE_HOSTS": "127.0.0.1:9"}
        before = servers.hits()
        replayed = apps.run_within("block", "replay", tmp_path, number, **given)
        # That which fills the pool, before the block.
        assert servers.hits() == before + 1
    # Where one of psycopg2's goes is not known before it is used: it is counted.
    assert unlike(recorded.seen["kept.by_psycopg2"], replayed.seen["kept.by_psycopg2"]) == []
    assert replayed.account == "0 hit, 0 missed, 0 unused, 1 live (psycopg2), 2 blocked"
    assert "/.s.PGSQL." in _raised(replayed.seen["kept.by_psycopg"], "NetworkBlockedError")
    address = servers.variables["UPSTREAM"].rpartition("/")[2]
    text = _raised(replayed.seen["kept.by_urllib3"], "NetworkBlockedError")
    assert f"of urllib3 to {address}, which no plugin captures\n  made by: urllib3." in text


def _raised(seen: Any, name: str) -> str:
    """The text of the error of one of our classes that a line raised or gave; empty where there is none."""
    facts = dict(seen[1][1][1:]) if "raises" in seen[1][0] else {}
    if f"timetracer_otel.exceptions:{name}" not in facts.get("builtins:str 'class'", ""):
        return ""
    return str(ast.literal_eval(facts["builtins:str 'str'"].partition(" ")[2]))
