"""Apps that know nothing of us see the same bare, recorded, and replayed with all servers stopped.

Each run is a process of its own, with a hash seed of its own that is drawn from ``TEST_SEED``. What a replay says at
its end is its account. ``make fuzz`` does it again and again, under other seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lines._runs import Apps, raised, unlike
from tests.lines._servers import serving
from tests.process._thread_ways import USERS
from tests.servers.mariadb import HAS_MARIADB, HAS_MYSQLCLIENT, needs_mariadb, needs_mysqlclient
from timetracer_otel.cassette import read_cassette

pytestmark = pytest.mark.sweep

_HAS_MYSQL = HAS_MARIADB and HAS_MYSQLCLIENT
_MOST = ("web", "sql", "commands", "threads")
SAME = [
    # In one process, since most of what they cost are imports.
    pytest.param(Apps(*_MOST, *(["mysql"] if _HAS_MYSQL else []), traced=True), 5, id="most"),
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
    calls = len(read_cassette(apps.cassette(tmp_path)).events)
    assert recorded.account == f"0 hit, 0 missed, 0 unused, 0 live, {calls} recorded"
    assert replayed.account == f"{calls} hit, 0 missed, 0 unused, 0 live{f', {bound} bound' if bound else ''}"
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
    assert unlike(recorded.seen, replayed.seen) == []
    assert replayed.account == f"{len(read_cassette(apps.cassette(tmp_path)).events)} hit, 0 missed, 0 unused, 0 live"
    assert not (tmp_path / "app.db").exists()


def test_threads_of_a_session_that_is_set_by_hand(number: int, tmp_path: Path) -> None:
    apps = Apps("threads")
    with serving(apps, tmp_path) as servers:
        recorded = apps.run_within("hand", "record", tmp_path, number, **servers.variables)
    replayed = apps.run_within("hand", "replay", tmp_path, number, **servers.variables)
    assert unlike(recorded.seen, replayed.seen) == []
    assert replayed.account == f"{len(USERS)} hit, 0 missed, 0 unused, 0 live"
