"""A replay is a closed world: apps with clients that have no plugin, bare, recorded, and replayed.

Each run is a process of its own, with a hash seed of its own, as in `test_lines`. What may go out of a replay is seen
by servers that are there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.examples import drawn, seeded
from tests.lines._runs import Apps, Step, raised, unlike
from tests.lines._servers import Servers, collecting, serving
from tests.loopback import Loopback
from tests.servers.mariadb import HAS_MARIADB, needs_mariadb
from tests.servers.odbc import HAS_ODBC, needs_odbc
from tests.servers.oracle import needs_compiler
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli import main
from timetracer_otel.types import DependencyEvent

pytestmark = pytest.mark.sweep

_HAS_MYSQL = HAS_MARIADB and HAS_ODBC
MYSQL = [
    pytest.param("mysql_in_c", id="all")
    if _HAS_MYSQL
    else pytest.param("mysql_in_c", id="mysql", marks=[needs_mariadb, needs_odbc]),
    *([] if _HAS_MYSQL else [pytest.param(None, id="all but mysql")]),
]
NOBODY = "127.0.0.2:9"
PLACES = {
    **dict.fromkeys(("asyncio", "socket", "tornado", "pycurl", "curl_cffi"), "upstream"),
    **dict.fromkeys(("smtplib", "confluent_kafka", "oracledb"), "nobody"),
    "pyodbc": "mariadb",
}
"""By library without a plugin: whom its lines ask."""
LIBRARIES = {
    "a_socket_to_the_other_port": "socket",
    "a_stream_of_asyncio": "asyncio",
    "a_socket_in_a_thread_of_an_own_class": "socket",
}
"""By line, where it is not called after its library."""
STEPS = {name: (name, PLACES[name]) for name in ("socket",)}
"""By step of an app whose calls interleave: the library without a plugin, and whom it asks."""
OF_DRIVERS = {"SELECT": 2, "select": 0, "show": 0}
"""By name of their spans: how many drivers make of calls of the app's that are not refused. The others are of
SQLAlchemy's calls, or of refused ones of drivers without a plugin."""
REFUSED = "builtins:type <class 'timetracer_otel.exceptions.NetworkBlockedError'>"


TRACED = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    # The exporter's thread is not to wait for the end of the app.
    "OTEL_BSP_SCHEDULE_DELAY": "20",
}


class World:
    """An app most of whose clients have no plugin.

    Args:
        mysql: The module of its lines about MySQL; None where it has none.
        number: Of the round.
        folder: Where it runs.
    """

    def __init__(self, mysql: str | None, number: int, folder: Path) -> None:
        self.apps = Apps("world", "interleaved", *([mysql] if mysql else []), traced=True)
        self._number = number
        self._folder = folder
        chance = seeded("steps of clients", number)
        clients = ["httpx", "web", "redis", "sql", "urllib", *STEPS] * 2
        chance.shuffle(clients)
        self.steps: list[list[tuple[str, int]]] = []
        while clients:
            size = chance.randint(1, 4)
            self.steps.append(sorted({(name, chance.randrange(3)) for name in clients[:size]}))
            del clients[:size]

    def run(self, step: str, servers: Servers, **variables: str) -> Step:
        """Run it."""
        given = {**servers.variables, "STEPS": json.dumps(self.steps), **variables}
        return self.apps.run(step, self._folder, self._number, **given)

    def events(self) -> list[DependencyEvent]:
        """What is recorded of it."""
        return list(read_cassette(self.apps.cassette(self._folder)).events)

    def live(self, bare: Step, goes_out: Callable[[str, str], bool]) -> Counter[str]:
        """By library without a plugin: how many calls go out.

        Args:
            bare: What it sees without us.
            goes_out: Whether a call of a library to a server is allowed.
        """
        found: Counter[str] = Counter()
        for line in bare.seen:
            library, place = _asked(line)
            if library and goes_out(library, place):
                found[library] += 1
        for name, _ in (step for group in self.steps for step in group):
            # In threads, and in tasks.
            found.update(dict.fromkeys(STEPS[name][:1] if name in STEPS and goes_out(*STEPS[name]) else (), 2))
        return found

    def blocked_steps(self) -> int:
        """How many steps are refused where nothing goes out, in threads and in tasks."""
        return 2 * sum(name in STEPS for group in self.steps for name, _ in group)

    def with_refusals(self, told: Any) -> Any:
        """What a line whose calls interleave sees where these steps are refused, by what it sees without us."""
        return [told[0], *map(self._group_with_refusals, told[1:], self.steps)]

    @staticmethod
    def _group_with_refusals(told: list[Any], group: list[tuple[str, int]]) -> list[Any]:
        seen = zip(told[1:], group, strict=True)
        return [told[0], *(REFUSED if name in STEPS else value for value, (name, _) in seen)]


def _asked(line: str) -> tuple[str, str]:
    """The library without a plugin of a line, and whom it asks; empty where the line is about something else."""
    name = line.partition(".by_")[2]
    library = LIBRARIES.get(name, name)
    if library not in PLACES:
        return "", ""
    return library, "other" if name.endswith("other_port") else PLACES[library]


@pytest.mark.parametrize("mysql", MYSQL)
def test_clients_without_a_plugin_are_refused_or_live_because_the_user_said_so(
    mysql: str | None, number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(mysql, number, tmp_path)
    with collecting() as (collector, received), serving(world.apps, tmp_path) as servers:
        bare = world.run("bare", servers)
        every = servers.take_hits()
        traced = {**TRACED, "OTEL_EXPORTER_OTLP_ENDPOINT": collector}
        said = seeded("uncaptured", number).choice(["", "warn"])
        recorded = world.run("record", servers, **traced, TIMETRACER_UNCAPTURED=said)
        exported = received()
        assert unlike(bare.seen, recorded.seen) == []
        assert servers.take_hits() == every
        at = _addresses(servers)
        events = world.events()
        captured = sum(not event.is_observed_only for event in events)
        _check_what_a_recording_says(recorded, events, at, tmp_path, capsys)

        let_out = world.run("replay", servers, TIMETRACER_UNCAPTURED="live")
        assert unlike(bare.seen, let_out.seen) == []
        live = world.live(bare, lambda *_: True)
        libraries = ", ".join(sorted(live))
        assert let_out.account == f"{captured} hit, 0 missed, 0 unused, {live.total()} live ({libraries})"
        assert _live(let_out) == live
        assert servers.take_hits() == Counter({path: n for path, n in every.items() if not _is_answered(path)})

        _check_live_hosts(world, bare, servers, every)
        servers.stop()
        # What nobody allowed is refused, though nobody is there; and the exporter goes on.
        closed = world.run("replay", servers, **traced, TIMETRACER_UNCAPTURED="refuse")
        replayed = received()
        # SQLAlchemy reaches no driver in a replay.
        assert {name: replayed.pop(name, 0) for name in OF_DRIVERS} == OF_DRIVERS
        assert all(exported.pop(name) for name in OF_DRIVERS)
        # A call of tornado's has a span although it is refused: the span does not say where the call goes.
        assert exported.total() == replayed.total()
    blocked = sum(bool(_asked(line)[0]) for line in bare.seen) + world.blocked_steps()
    assert closed.account == f"{captured} hit, 0 missed, 0 unused, 0 live, {blocked} blocked"
    for line, seen in bare.seen.items():
        library, place = _asked(line)
        if library:
            assert _told(closed.seen[line]) == _refusal(library, at[place], events)
        elif line.startswith("interleaved."):
            assert closed.seen[line] == world.with_refusals(seen)
        else:
            assert unlike(seen, closed.seen[line]) == []


SPANS = {"kept.by_psycopg2": "psycopg2", "kept_mysql.by_pyodbc": "dbapi"}
"""By line: the library that had a connection before, and is refused by the span of its call. pyodbc has that from
OpenTelemetry's ``dbapi``."""


def test_what_was_there_before_is_refused_where_the_session_uses_it_and_telemetry_goes_on(
    number: int, tmp_path: Path
) -> None:
    apps = Apps("kept", "outside", "telemetry", *(["kept_mysql"] if _HAS_MYSQL else []), traced=True)
    with serving(apps, tmp_path) as servers, collecting() as (url, received):
        given = {**servers.variables, **TRACED, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "COLLECTOR": url}
        bare = apps.run("bare", tmp_path, number, **given)
        told = {"bare": received()}
        every = servers.take_hits()
        recorded = apps.run_within("block", "record", tmp_path, number, **given, TIMETRACER_UNCAPTURED="record")
        told["recorded"] = received()
        assert unlike(bare.seen, recorded.seen) == []
        assert servers.take_hits() == every
        assert "no replay can answer" not in recorded.said
        events = read_cassette(apps.cassette(tmp_path)).events
        assert [event.signature.lib for event in events if not event.is_observed_only] == ["urllib3", "psycopg"]
        assert [event.signature.lib for event in events][:3] == ["urllib3", "psycopg2", "psycopg"]
        assert [event.signature.lib for event in events][3:] == (["dbapi"] if _HAS_MYSQL else [])

        # Where these connections go is not known before they are used: they are refused by their spans, or counted.
        for hosts, live in (("", False), ("127.0.0.1:9", True)):
            replayed = apps.run_within(
                "block", "replay", tmp_path, number, **given, SERVERS="1", TIMETRACER_LIVE_HOSTS=hosts
            )
            told[f"replayed, live_hosts={hosts}"] = received()
            refused = {line: library for line, library in SPANS.items() if line in bare.seen}
            went_out, blocked = "0 live", f", {len(refused)} blocked"
            if live:
                counted = sorted(refused.pop(line) for line in SPANS if line in refused)
                blocked, went_out = "", f"{len(counted)} live ({', '.join(counted)})"
            assert replayed.account == f"2 hit, 0 missed, 0 unused, {went_out}{blocked}"
            for line, seen in bare.seen.items():
                if line in refused:
                    text = raised(replayed.seen[line], "NetworkBlockedError")
                    what = f"a call over an open connection of {refused[line]}"
                    assert text.startswith(f"Blocked: {what} to its server, ")
                else:
                    assert unlike(seen, replayed.seen[line]) == []
            # What filled a pool before the block, and what runs outside it.
            assert servers.take_hits() == every - Counter({"/users/2": 1})
    assert told["bare"] == told["recorded"]
    # What is refused has no span.
    going_on = {"work": 1, "GET /users/1": 3, "POST /api/7/envelope/": 1}
    for step, got in told.items():
        assert {name: got[name] for name in going_on} == going_on, step


@needs_compiler
def test_the_library_of_oracle_is_asked_for_nothing_in_a_replay(number: int, tmp_path: Path) -> None:
    apps = Apps("thick")
    with serving(apps, tmp_path) as servers:
        assert servers.oracle is not None
        bare = apps.run("bare", tmp_path, number, **servers.variables)
        at_start, *every = servers.oracle.take_asked()
        assert at_start == f"OCIServerAttach {NOBODY}/kept"
        new = ["OCIServerAttach"] * 2 + ["OCISessionPoolCreate"] * 2
        assert every == [*(f"{function} {NOBODY}/shop" for function in new), "OCIStmtPrepare2 SELECT 1 FROM dual"]
        assert all("ORA-12541" in seen for seen in bare.seen.values())

        recorded = apps.run_within("block", "record", tmp_path, number, **servers.variables)
        assert unlike(bare.seen, recorded.seen) == []
        assert servers.oracle.take_asked() == [at_start, *every]
        assert _connections_in(apps.cassette(tmp_path)) == {"oracledb": {NOBODY: 4}}
        assert f"no replay can answer: oracledb (4 connections to {NOBODY}). " in recorded.said

        replayed = apps.run_within("block", "replay", tmp_path, number, **servers.variables, SERVERS="1")
        assert servers.oracle.take_asked() == [at_start]

        given = {**servers.variables, "SERVERS": "1", "TIMETRACER_LIVE_HOSTS": NOBODY}
        allowed = apps.run_within("block", "replay", tmp_path, number, **given)
        assert unlike(bare.seen, allowed.seen) == []
        assert servers.oracle.take_asked() == [at_start, *every]
        # Where a client leaves no spans and connects, its connections are counted.
        assert allowed.account == f"0 hit, 0 missed, 0 unused, {len(new)} live (oracledb)"
    assert replayed.account == f"0 hit, 0 missed, 0 unused, 0 live, {len(bare.seen)} blocked"
    for line, seen in replayed.seen.items():
        assert _told(seen) == _refusal("oracledb", NOBODY, [], is_open=line == "thick.by_a_cursor")


def _check_live_hosts(world: World, bare: Step, servers: Servers, every: Counter[str]) -> None:
    """What ``live_hosts`` and ``live_plugins`` name goes out, with a plugin and without; nothing else."""
    at = _addresses(servers)
    folder, port = at["postgres"].rpartition("/")[0], at["upstream"].rpartition(":")[2]
    hosts = drawn(
        [[at["upstream"], f"127.*:{port}"], [at["postgres"], f"{folder}/*"], ["127.0.0.2/31"]], "live hosts"
    )

    def goes_out(library: str, place: str) -> bool:
        return place in {"upstream", "postgres", "nobody"}

    with Loopback() as third:
        given = {"TIMETRACER_LIVE_HOSTS": ",".join(hosts), "TIMETRACER_LIVE_PLUGINS": "requests"}
        # The cassette has the same host, with another port.
        replayed = world.run("replay", servers, **given, OTHER_SERVER=third.url)
        assert third.hits == {"/users/19": 1}
        other = _address(third.url)
    # The Redis server has nobody named: its calls are answered.
    events = world.events()
    answered = [event for event in events if event.signature.lib == "redis"]
    live, captured = world.live(bare, goes_out), _live(replayed)
    assert {library: captured.pop(library) for library in live} == live
    assert captured.keys() == {
        *("httpx", "requests", "aiohttp", "urllib", "urllib3", "grpc"),
        *("psycopg", "psycopg2", "sqlalchemy"),
    }
    assert servers.take_hits() == every
    blocked = [line for line in bare.seen if (asked := _asked(line))[0] and not goes_out(*asked)]
    assert replayed.account == (
        f"{len(answered)} hit, 1 missed, 1 unused, {live.total() + sum(captured.values())} live "
        f"({', '.join(sorted(live))}), {len(blocked)} blocked"
    )
    for line in blocked:
        library, place = _asked(line)
        address = other if place == "other" else at[place]
        assert _told(replayed.seen[line]) == _refusal(library, address, events)
    missed = "world.by_httpx_to_the_other_port"
    lines = raised(replayed.seen[missed], "ReplayMismatchError").splitlines()
    assert lines[0] == f"No recorded call matches: httpx GET http://{other}/users/16"
    differs = f"url: recorded 'http://{at['other']}/users/16', now 'http://{other}/users/16'"
    assert differs in [line.strip() for line in lines]
    for line in bare.seen.keys() - {missed, *blocked}:
        assert unlike(bare.seen[line], replayed.seen[line]) == []


def _address(url: str) -> str:
    return url.removeprefix("http://")


def _addresses(servers: Servers) -> dict[str, str]:
    """By whom the lines ask: where that is."""
    url = servers.postgres.url("x")
    found = {
        "upstream": _address(servers.variables["UPSTREAM"]),
        "other": _address(servers.variables.get("OTHER_SERVER", "")),
        "postgres": f"{url.query['host']}/.s.PGSQL.{url.port or 5432}",
        "nobody": NOBODY,
    }
    if servers.mariadb is not None:
        url = servers.mariadb.url("x")
        found["mariadb"] = str(url.query.get("unix_socket") or f"{url.host}:{url.port or 3306}")
    return found


def _is_answered(path: str) -> bool:
    """Whether a client with a plugin asks for it."""
    return re.fullmatch(r"/users/([123]|10|17|[567]\d)", path) is not None


def _told(seen: Any) -> list[str]:
    """The text of a refusal, without the lines of code that it names."""
    lines = raised(seen, "NetworkBlockedError").splitlines()
    assert lines[1].startswith("  made by: ")
    return [line for line in lines if not line.startswith(("  made by: ", "  called from: tests.lines.apps."))]


def _refusal(library: str, address: str, events: list[DependencyEvent], *, is_open: bool = False) -> list[str]:
    """What the refusal of a call says: the library, the host, the span that the cassette has, and three cures."""
    what = "a call over an open connection" if is_open else "a connection"
    observed = [event for event in events if event.is_observed_only]
    same = [event for event in observed if event.signature.lib == library]
    # Or else what another library asked the same host, on the same port.
    same = same or [event for event in observed if f"//{address}/" in str(event.signature.url)]
    found = f"nothing of {library}"
    if same:
        first, more = same[0], f", and {len(same) - 1} more" if len(same) > 1 else ""
        words = (first.signature.lib, first.signature.method, first.signature.url)
        found = f"#{first.eid} {' '.join(filter(None, words))} (observed only){more}"
    return [
        f"Blocked: {what} of {library} to {address}, which no plugin captures",
        f"  in the cassette: {found}",
        "  what to do: one of three:",
        f"    a plugin: write one for {library} (docs/how-to-add-a-plugin.md), or call by a library that has one",
        f'    live_hosts: let it out, by live_hosts=["{address}"] or TIMETRACER_LIVE_HOSTS={address}',
        f"    an issue: ask the developers of timetracer-otel for a plugin for {library}",
    ]


def _live(step: Step) -> dict[str, int]:
    """By library: the calls that the account of a replay has as live."""
    block = step.said.partition("\nlive:\n")[2]
    return {name: int(count) for name, count in re.findall(r"^  ([\w.]+): (\d+)$", block, re.MULTILINE)}


def _check_what_a_recording_says(
    recorded: Step, events: list[DependencyEvent], at: dict[str, str], folder: Path, capsys: Any
) -> None:
    """It says once, at its end and in the commands, which libraries no replay answers."""
    counts = Counter(event.signature.lib for event in events if event.is_observed_only)
    assert counts.keys() == {"tornado"}
    told = {library: f"{count} call{'s' if count > 1 else ''}" for library, count in counts.items()}
    # Those that leave no span are known by where they connect, but not where this is a method of a class in C.
    libraries = {_asked(line)[0] for line in recorded.seen}
    for library in libraries - {"", "confluent_kafka", "pycurl", *told}:
        places = {_asked(line)[1] for line in recorded.seen if _asked(line)[0] == library}
        made = _connections(folder)[library]
        assert made.keys() == {at[place] for place in places}, library
        number, first = sum(made.values()), min(made)
        more = " and 1 other address" if len(made) > 1 else ""
        told[library] = f"{number} connection{'s' if number > 1 else ''} to {first}{more}"
    assert _connections(folder).keys() == told.keys() - counts.keys()
    text = ", ".join(f"{library} ({told[library]})" for library in sorted(told))
    assert recorded.said.count("no replay can answer") == 1
    assert f"timetracer-otel: recorded, but no replay can answer: {text}. " in recorded.said
    capsys.readouterr()
    assert main(["list", "--dir", str(folder)]) == 0
    assert f"No plugin captures {text}: replays refuse them." in capsys.readouterr().out
    assert main(["show", str(folder / "world.msgpack")]) == 0
    assert f"no plugin {text}: a replay refuses them" in capsys.readouterr().out


def _connections(folder: Path) -> dict[str, dict[str, int]]:
    """Those of clients that have no plugin and left no span."""
    return _connections_in(folder / "world.msgpack")


def _connections_in(path: Path) -> dict[str, dict[str, int]]:
    return read_cassette(path).stats.connections
