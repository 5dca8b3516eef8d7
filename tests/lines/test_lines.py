"""Apps that know nothing of us see the same bare, recorded, and replayed with all servers stopped.

Each run is a process of its own, with a hash seed of its own that is drawn from ``TEST_SEED``. What a replay says at
its end is its account. ``make fuzz`` does it again and again, under other seeds.
"""

from __future__ import annotations

import os
import re
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

from tests.examples import drawn
from tests.golden import make_golden
from tests.lines._runs import Apps, Step, raised, unlike
from tests.lines._servers import serving
from tests.lines.apps.tenants import PASSCODE, TOKENS
from tests.process._thread_ways import USERS
from tests.servers.mariadb import HAS_MARIADB, HAS_MYSQLCLIENT, needs_mariadb, needs_mysqlclient
from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.report import timeline
from timetracer_otel.types import DependencyEvent

pytestmark = pytest.mark.sweep

_HAS_MYSQL = HAS_MARIADB and HAS_MYSQLCLIENT
_MOST = ("web", "sql", "transactions", "frames", "commands", "threads", "levels", "older")
SAME = [
    # In one process, since most of what they cost are imports.
    pytest.param(Apps(*_MOST, *(["mysql"] if _HAS_MYSQL else []), traced=True), 13, id="most"),
    *([] if _HAS_MYSQL else [pytest.param(Apps("mysql"), 0, id="mysql", marks=[needs_mariadb, needs_mysqlclient])]),
]
"""Apps, and how many values they make anew in each run."""


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
    observed = [event for event in cassette.events if event.not_replayable is not None]
    assert all(_ends_a_prepared_transaction(event) for event in observed), observed
    asks_a_model = "levels" in apps.names and find_spec("openai") is not None
    end = (f", {bound} bound" if bound else "") + (", paid calls: 0" if asks_a_model else "")
    assert replayed.account == f"{calls - len(observed)} hit, 0 missed, 0 unused, 0 live{end}"
    assert not (tmp_path / "app.db").exists()
    if "older" in apps.names:
        _is_replayed_from_before(bare, number, tmp_path)
    if "levels" in apps.names:
        _is_shown_by_levels(timeline(cassette, width=250), [f"#{event.eid} " for event in observed])
    # A letter that stands for a secret is no name for it: it stands elsewhere by itself.
    assert all(len(name) > 3 for name in cassette.pseudonyms), cassette.pseudonyms


def _ends_a_prepared_transaction(event: DependencyEvent) -> bool:
    """Psycopg's dialect in SQLAlchemy 2.0.0 does that on the driver's connection, and OpenTelemetry sees it."""
    said = event.span.attributes.get("db.statement") if event.span is not None else None
    return event.signature.lib == "psycopg" and re.match(r"(COMMIT|ROLLBACK) PREPARED ", str(said)) is not None


_SEES_PREPARED = hasattr(AsyncPGInstrumentor, "_do_prepared_execute")


def _is_shown_by_levels(shown: list[str], observed: list[str]) -> None:
    """Spans of one call stand above it or beneath it, and none is a call of its own that no plugin captures.

    Args:
        shown: The timeline.
        observed: The numbers of the calls of which there is a span alone.
    """
    assert not [line for line in shown if "observed only" in line and not any(each in line for each in observed)]
    # The number of a call stands left of the lines of the tree.
    shown = [re.sub(r"^\s*(#\d+)?[ │├└─]+", lambda found: f"{found[1]} " if found[1] else "", line) for line in shown]
    below = [f"{line.strip()} > {after.strip()}" for line, after in pairwise(shown)]
    expected = [
        r"#\d+ sqlalchemy SELE.*psycopg2:.* > psycopg2 SELECT",
        # Not every instrumentation sees prepared statements, by which SQLAlchemy asks: that of 0.61b0 does not.
        r"asyncpg BEGIN; > asyncpg SELECT"
        if _SEES_PREPARED
        else r"#\d+ sqlalchemy SELE.*asyncpg:.* > asyncpg BEGIN;?",
        r"#\d+ requests GET.* > wire urllib3 GET",
        *([r"openai chat m-1 > #\d+ httpx2? .*/chat/completions.*"] if find_spec("openai") is not None else []),
    ]
    assert all(any(re.fullmatch(each, pair) for pair in below) for each in expected), "\n".join(shown)
    assert find_spec("openai") is None or any("m-1, 9 tokens in, 2 out" in line for line in shown)
    steps = sum(line.startswith("step ") for line in shown)
    assert steps == 3 + (find_spec("openai") is not None)


def _release(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text.partition("sqlalchemy-")[2] or text)[:3]))


OLDER = max(
    (
        path
        for path in Path(make_golden.__file__).parent.glob("app-before-0.1.0-of-sqlalchemy-*.msgpack.gz")
        if _release(path.name) <= _release(version("sqlalchemy"))
    ),
    key=lambda path: _release(path.name),
)
"""``older`` as it was recorded under the hash seed 11 by the last code that hashed mappings in the order of the app
(f3744b7), with ``UPSTREAM`` and ``REDIS_PORT`` as below and a database ``shop``. Releases of SQLAlchemy ask for the
tables of a database, and insert rows, by statements of their own: the lowest and the newest of 2.0, and 2.1. The
clients beside the lowest are the lowest, too: redis-py 5 speaks RESP2."""
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
        assert "newer ones" in raised(told[-1], "ReplayMismatchError")
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
        assert named in raised(replayed.seen[f"changed.{line}"], "ReplayMismatchError"), line
    assert replayed.account == "7 hit, 9 missed, 2 unused, 0 live"
    advice = f"of all misses at once:\n  TIMETRACER_IGNORE='{','.join(RULES)}'\n"
    assert advice in replayed.said
    assert "live_plugins" not in replayed.said

    in_python = apps.run_within("block", "replay", tmp_path, number, **changed)
    for line, text in REFUSED.items():
        named = text.format(repeats="allow_repeats=True")
        assert named in raised(in_python.seen[f"changed.{line}"], "ReplayMismatchError"), line
    assert in_python.account == "6 hit, 10 missed, 3 unused, 0 live"
    of_one = '", "'.join(RULES[:2])
    assert f'ignore=["{of_one}"]' in raised(in_python.seen["changed.values_that_change"], "ReplayMismatchError")


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


def test_secrets_that_are_numbers_or_objects_and_two_tenants_in_another_order(number: int, tmp_path: Path) -> None:
    apps = Apps("tenants")
    with serving(apps, tmp_path) as servers:
        bare, recorded = (apps.run(step, tmp_path, number, **servers.variables) for step in ("bare", "record"))
    replayed = apps.run("replay", tmp_path, number, **servers.variables, OTHER_ORDER="1")
    assert unlike(bare.seen, recorded.seen) == []
    assert unlike(bare.seen, replayed.seen) == [], replayed.said
    cassette = apps.cassette(tmp_path)
    assert re.match(f"{len(read_cassette(cassette).events)} hit, 0 missed, 0 unused, 0 live", replayed.account)
    held = [text for text in (*TOKENS.values(), str(PASSCODE)) if text.encode() in cassette.read_bytes()]
    assert held == []


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
