"""Django's ORM in an app that knows nothing of us: the same bare, recorded, and replayed without its servers.

Each run is a process of its own, with a hash seed of its own. SQLite and one server are tried, and all of them in
``make test-whole``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.django_shop.serving import DATABASES, serving
from tests.examples import drawn
from tests.lines._runs import ROUNDS, Apps, unlike
from tests.servers.mariadb import HAS_MARIADB, HAS_MYSQLCLIENT
from timetracer_otel.cassette import read_cassette

pytestmark = pytest.mark.sweep

_ALL = [*DATABASES, "postgresql by psycopg2"]
_TRIED = drawn([_ALL[:1], _ALL[1:]], "Django's databases") if HAS_MARIADB and HAS_MYSQLCLIENT else _ALL


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("database", _TRIED)
def test_an_orm_sees_the_same_bare_recorded_and_replayed(database: str, number: int, tmp_path: Path) -> None:
    apps = Apps("django_orm", traced=True)
    database, _, driver = database.partition(" by ")
    with serving(database, tmp_path, SHOP_DRIVER=driver) as shop:
        bare = apps.run("bare", tmp_path, number, **shop.variables)
        shop.empty()
        recorded = apps.run("record", tmp_path, number, **shop.variables)
    replayed = apps.run("replay", tmp_path, number, **shop.variables)
    found = [
        f"{line}, {step}: {where}"
        for line in bare.seen
        for step, told in (("recorded", recorded), ("replayed", replayed))
        for where in unlike(bare.seen[line], told.seen[line])
    ]
    assert not found, "\n".join([recorded.account, replayed.said, *found])
    events = read_cassette(apps.cassette(tmp_path)).events
    assert recorded.account == f"0 hit, 0 missed, 0 unused, 0 live, {len(events)} recorded"
    hits, _, others = replayed.account.partition(" hit, ")
    assert others == "0 missed, 0 unused, 0 live"
    # What was asked for one connection is known for those of other threads.
    known = sum(event.sets_up for event in events)
    assert len(events) - known <= int(hits) <= len(events)
