"""Tests that a user might have, whose calls have secrets: pytest runs it as it is, once to record and once to replay.

The environment tells the number of the first secret, which makes each call another one in each run, and the upstream.
What a test's own errors quote is the user's, so these are swallowed.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
import requests
import sqlalchemy as sa

from tests.planted.secrets import FORMS, odd, plain

FIRST = int(os.environ.get("PLANTED_FIRST", "0"))
URL = os.environ.get("PLANTED_URL", "")
_numbers = itertools.count(FIRST)


def _s(make: Callable[[int], str] = plain) -> str:
    return make(next(_numbers))


def _form(kind: str) -> str:
    return FORMS[kind](next(_numbers))


def _sql(statement: str, **values: str) -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        connection.execute(sa.text(statement), values)


def path() -> None:
    httpx.get(f"{URL}/of/{FIRST}/{_form('github')}")


def query() -> None:
    httpx.get(f"{URL}/a?n={FIRST}&token={_s()}&of={_form('npm')}")


def header() -> None:
    headers = {"Authorization": f"Bearer {_s()}", "X-Api-Key": _s(odd), "X-Of": _form("stripe")}
    requests.get(f"{URL}/a?n={FIRST}", headers=headers).raise_for_status()


def body() -> None:
    httpx.post(f"{URL}/b", json={"password": _s(odd), "n": FIRST, "of": _form("aws")})


def form() -> None:
    requests.post(f"{URL}/b", data={"password": _s(odd), "n": FIRST, "of": _form("gitlab")})


def bound() -> None:
    _sql(f"SELECT {FIRST}, :password, :of", password=_s(odd), of=_form("slack"))


def literal() -> None:
    _sql(f"SELECT {FIRST} AS n, '{_s()}' AS token, '{_form('npm')}' AS of_it")


def refused_by_the_server() -> None:
    with suppress(httpx.HTTPStatusError):
        httpx.get(f"{URL}/missing?access_token={_s()}&n={FIRST}&k={_form('npm')}").raise_for_status()


def refused_by_requests() -> None:
    with suppress(requests.HTTPError):
        requests.get(f"{URL}/missing?access_token={_s()}&n={FIRST}&k={_form('vault')}").raise_for_status()


def nobody_there() -> None:
    with suppress(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:1/?token={_s()}&n={FIRST}&of={_form('openai')}")


def illegal() -> None:
    with suppress(httpx.LocalProtocolError):
        httpx.get(f"{URL}/{FIRST}", headers={"Authorization": f"Bearer {_s()}\n"})


def object_in_json() -> None:
    httpx.post(f"{URL}/b", json={"of": f"Login(password='{_s()}')", "n": FIRST})


CALLS = [path, query, header, body, form, bound, literal, object_in_json]
CALLS += [refused_by_the_server, refused_by_requests, nobody_there, illegal]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
@pytest.mark.timetracer
def test_planted(call: Callable[[], None]) -> None:
    call()
