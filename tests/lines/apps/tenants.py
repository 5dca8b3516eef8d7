"""Lines of an app that is given secrets: numbers, objects, and the tokens of two tenants.

``UPSTREAM`` is a server's URL, ``REDIS_PORT`` a port on this machine, ``POSTGRES`` a database's URL for SQLAlchemy.
With ``OTHER_ORDER``, it asks for the second tenant first. No line tells a secret: a replay gives pseudonyms.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import Any

import httpx
import redis
import requests
import sqlalchemy as sa

from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "")
POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
TOKENS = {"ada": "kZ3vbN0Yt5Re38sJw2LmQ71a", "bob": "Qm7Lw28sJkZ3vbN0Yt5Re38b"}
PASSCODE = 73_519_264
LINES = Lines()

TABLES = sa.MetaData()
TENANTS = sa.Table(
    "tenants",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("token", sa.Text),
    sa.Column("passcode", sa.BigInteger),
    sa.Column("cvv", sa.Numeric(8, 2)),
    sa.Column("session_key", sa.JSON),
)


def _client() -> Any:
    return redis.Redis(port=int(os.environ.get("REDIS_PORT", "1")), decode_responses=True)


def _engine(driver: str) -> sa.Engine:
    engine = sa.create_engine(POSTGRES.set(drivername=f"postgresql+{driver}"))
    TABLES.drop_all(engine)
    TABLES.create_all(engine)
    with engine.begin() as connection:
        for number, (name, token) in enumerate(TOKENS.items(), 1):
            held = {"value": token, "ttl": 60 + number, "scopes": ["read", "write"]}
            values = {"id": number, "name": name, "token": token, "session_key": held}
            values |= {"passcode": PASSCODE + number, "cvv": Decimal("937461.25") + number}
            connection.execute(sa.insert(TENANTS), values)
    return engine


def _names() -> list[str]:
    return sorted(TOKENS, reverse="OTHER_ORDER" in os.environ)


@LINES.add
def secrets_that_are_numbers() -> Any:
    found: list[Any] = []
    sent = httpx.post(f"{UPSTREAM}/login", json={"passcode": PASSCODE, "n": 1.5}).json()
    with _client() as client:
        client.hset("user:1", mapping={"passcode": sent["passcode"], "n": 1})
        kept = client.hgetall("user:1")
    found += [type(sent["passcode"]), len(str(sent["passcode"])), kept["passcode"] == str(sent["passcode"])]
    checked = requests.post(f"{UPSTREAM}/check", json={"passcode": int(kept["passcode"])}, timeout=60).json()
    found.append(checked == {"passcode": sent["passcode"]})
    for driver in ("psycopg", "psycopg2"):
        engine = _engine(driver)
        with engine.connect() as connection:
            row = connection.execute(sa.select(TENANTS).where(TENANTS.c.name == "ada")).one()
            again = sa.select(TENANTS.c.name).where(TENANTS.c.passcode == row.passcode, TENANTS.c.cvv == row.cvv)
            found += [type(row.passcode), type(row.cvv), row.cvv.as_tuple().exponent]
            found.append(connection.execute(again).all())
        engine.dispose()
    return found


@LINES.add
def secrets_that_are_objects() -> Any:
    token = {"value": TOKENS["ada"], "ttl": 60, "scopes": ["read"], "of": {"refresh_token": TOKENS["bob"]}}
    given = httpx.post(f"{UPSTREAM}/login", json={"access_token": token}).json()["access_token"]
    with _client() as client:
        client.set("token", json.dumps(given))
        kept = json.loads(client.get("token"))
    bearer = {"Authorization": f"Bearer {kept['value']}"}
    found = [given["ttl"], given["scopes"], [*given["of"]], kept == given]
    found.append(httpx.get(f"{UPSTREAM}/whoami", headers=bearer).json())
    for driver in ("psycopg", "psycopg2"):
        engine = _engine(driver)
        with engine.connect() as connection:
            held = connection.execute(sa.select(TENANTS.c.session_key).where(TENANTS.c.id == 1)).scalar_one()
            found += [held["ttl"], held["scopes"], type(held["value"])]
        bearer = {"Authorization": f"Bearer {held['value']}"}
        found.append(httpx.get(f"{UPSTREAM}/whoami", headers=bearer).json())
        engine.dispose()
    return found


@LINES.add
def tenants_whose_calls_differ_in_their_token_alone() -> Any:
    found: list[Any] = []
    with _client() as client:
        for name, token in TOKENS.items():
            client.hset(f"tenant:{name}", mapping={"access_token": token, "name": name})
            client.set(f"of:{token}", name)
        for name in _names():
            token = client.hget(f"tenant:{name}", "access_token")
            bearer, as_field = {"Authorization": f"Bearer {token}"}, {"api_key": token}
            told = [name, client.get(f"of:{token}"), httpx.get(f"{UPSTREAM}/whoami", headers=bearer).json()]
            told.append(requests.get(f"{UPSTREAM}/whoami", headers=bearer, timeout=60).json())
            told.append(httpx.post(f"{UPSTREAM}/whoami", json=as_field, headers=bearer).json() == as_field)
            found.append(told)
    return sorted(found)


@LINES.add
def tenants_of_a_table() -> Any:
    found: list[Any] = []
    for driver in ("psycopg", "psycopg2"):
        engine = _engine(driver)
        with engine.connect() as connection:
            for name in _names():
                token = connection.execute(sa.select(TENANTS.c.token).where(TENANTS.c.name == name)).scalar_one()
                whose = sa.select(TENANTS.c.id, TENANTS.c.name).where(TENANTS.c.token == token)
                bearer = {"Authorization": f"Bearer {token}"}
                told = httpx.get(f"{UPSTREAM}/whoami", headers=bearer).json()
                found.append([driver, name, connection.execute(whose).all(), told])
        engine.dispose()
    return sorted(found)
