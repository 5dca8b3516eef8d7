"""``timetracer-otel verify`` with a service of Django under gunicorn: its database and its Redis are gone.

Each database is tried in one way in which a service keeps its connections, and a pool besides; in ``make test-whole``
in all of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import django
import pytest

from tests import forks
from tests.children import script
from tests.django_shop.serving import serving
from tests.examples import drawn
from tests.process._programs import cassettes
from tests.servers._ports import free_port
from tests.servers.mariadb import HAS_MARIADB, HAS_MYSQLCLIENT, needs_mariadb, needs_mysqlclient
from tests.verify._services import Request, record, verify

_JSON = {"Content-Type": "application/json"}
REQUESTS = [
    *(
        Request(
            "POST", "/items", _JSON, json.dumps({"name": name, "price": "2.50", "stock": 3, "tags": [name]}).encode()
        )
        for name in ("tea", "milk", "salt", "rice")
    ),
    *(
        Request("GET", target)
        for target in (
            *("/items", "/items/tea/order?count=2", "/items/tea/order?count=2", "/items/milk", "/counted", "/raw"),
            *("/stream", "/broken", "/items", "/counted", "/no/such/page"),
        )
    ),
]
WAYS = {
    "sqlite": ("sqlite", {}),
    "sqlite, connections that stay": ("sqlite", {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}),
    "postgresql": ("postgresql", {"ATOMIC_REQUESTS": True}),
    "postgresql, connections that stay": (
        "postgresql",
        {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True, "OPTIONS": {"server_side_binding": True}},
    ),
    **({"postgresql, a pool": ("postgresql", {"OPTIONS": {"pool": True}})} if django.VERSION >= (5, 1) else {}),
    "postgresql by psycopg2": ("postgresql", {"ATOMIC_REQUESTS": True}),
    "postgresql by psycopg2, connections that stay": (
        "postgresql",
        {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True},
    ),
    "mysql": ("mysql", {"ATOMIC_REQUESTS": True}),
    "mysql, connections that stay": ("mysql", {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}),
}
"""By name: the database, and settings of Django for it."""
_MARKS = {"mysql": [needs_mariadb, needs_mysqlclient]}
"""By database: what needs a server that may not be there."""
_KINDS = [list(WAYS)[:2], list(WAYS)[2:4], list(WAYS)[4:5], list(WAYS)[5:]]
_TRIED = drawn(_KINDS, "ways of Django") if HAS_MARIADB and HAS_MYSQLCLIENT else WAYS


def command(port: int, turn: int) -> list[str]:
    """How the service is started: each turn under a hash seed of its own."""
    serve = [*forks.python(turn=turn), script("gunicorn"), "--worker-class", "gthread", "--threads", "4"]
    return [*serve, "--workers", "2", "--bind", f"127.0.0.1:{port}", "tests.django_shop.wsgi:application"]


@pytest.mark.sweep
@pytest.mark.parametrize("way", [pytest.param(way, marks=_MARKS.get(WAYS[way][0], [])) for way in _TRIED])
def test_an_unchanged_service_passes_with_its_database_gone(way: str, tmp_path: Path) -> None:
    database, settings = WAYS[way]
    port, folder = free_port(), tmp_path / "cassettes"
    variables = {"SHOP_SETTINGS": json.dumps(settings), "SHOP_DRIVER": "psycopg2" if "psycopg2" in way else ""}
    with serving(database, tmp_path, **variables) as shop:
        record(command(port, 0), port, REQUESTS, folder, **shop.variables)
    libraries = {event.signature.lib for each in cassettes(folder) for event in each.events}
    assert ("psycopg2" in libraries) is ("psycopg2" in way)
    statements = {event.signature.method for each in cassettes(folder) for event in each.events}
    assert {"INSERT", "SELECT", "UPDATE", "SAVEPOINT", "COMMIT", "SET"} <= statements
    done = verify(folder, command(port, 1), "--timeout", "20", "--jobs", "3", "--fail-on-unused", **shop.variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(REQUESTS)} passed in " in done.stdout.splitlines()[-1], done.stdout
