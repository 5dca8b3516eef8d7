"""The advice of a miss: rules that leave values out of the comparison, each for the calls that it is about alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.session.test_matching import call, replaying
from tests.unit.session.test_misses import post
from tests.unit.session.test_rules import answers, recorded
from timetracer_otel.base.ignore_rules import parse_rule
from timetracer_otel.calls.registry import load_plugins
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.fresh import fresh_alike
from timetracer_otel.match.rules import scope_fits
from timetracer_otel.report import verdict_text
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call

A, B = "5f0c4f3e-7f0a-4c7e-9d55-0a1b2c3d4e5f", "0b9d8c7e-1f2a-4b3c-8d4e-5f6a7b8c9d0e"

# They say what the commands of Redis and the statements of SQL ask about.
load_plugins()


def command(*words: Any) -> Call:
    return Call("redis", EventType.REDIS, str(words[0]), "redis://h:1/0", args=list(words))


def batch(*commands: list[Any]) -> Call:
    return Call("redis", EventType.REDIS, "PIPELINE", "redis://h:1/0", args=list(commands))


def statement(text: str, **parameters: Any) -> Call:
    args = {"statement": text, "parameters": parameters}
    return Call("sqlalchemy", EventType.DB_QUERY, text.split()[0], "sqlite:///app.db", args=args)


def order(number: int = 1, url: str = "http://h/v1/orders", **fields: Any) -> Call:
    return post(json.dumps({"n": number, **fields}).encode(), url=url)


def missed(session: ReplaySession, made: Call) -> ReplayMismatchError:
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(made)
    return caught.value


SELECT = "SELECT * FROM users WHERE id = :id_1"
UPDATE = "UPDATE users SET n = 1 WHERE id = :id_1"
INSERT = "INSERT INTO orders (id, at, n) VALUES (:id, :at, :n)"


@pytest.mark.parametrize(
    ("before", "now", "rules"),
    [
        (command("GET", f"cache:{A}:v1"), command("GET", f"cache:{B}:v1"), ["redis:GET cache:*:v1 body:$[1]"]),
        (command("SET", "lock", A), command("SET", "lock", B), ["redis:SET lock body:$[2]"]),
        (command("SET", "lock", 1), command("SET", "lock", 2), ["redis:SET lock body:$[2]"]),
        (command("GET", A), command("GET", B), ["redis:GET body:$[1]"]),
        (command("CONFIG", "GET", A), command("CONFIG", "GET", B), ["redis:CONFIG body:$[2]"]),
        (batch(["SET", "k", A]), batch(["SET", "k", B]), ["redis:PIPELINE body:$[0][2]"]),
        (statement(INSERT, id=A, at=1, n=3), statement(INSERT, id=B, at=1, n=3), ["sql:INSERT orders.id"]),
        (
            statement(INSERT, id=A, at="2026-01-01 10:00:00", n=3),
            statement(INSERT, id=B, at="2026-01-02 10:00:00.5", n=3),
            ["sql:INSERT orders.id", "sql:INSERT orders.at"],
        ),
        (
            statement('SELECT * FROM public."Jobs" WHERE key = :key_1', key_1=A),
            statement('SELECT * FROM public."Jobs" WHERE key = :key_1', key_1=B),
            ["sql:SELECT public.jobs.key"],
        ),
        (
            order(id=A, ts=1760000000),
            order(id=B, ts=1760000001.5),
            ["POST /v1/orders: body:$.id", "POST /v1/orders: body:$.ts"],
        ),
        (
            order(id=A, key=A, at="2026-01-01T00:00:00Z", token=f"t-{A}"),
            order(id=B, key=B, at="2026-02-01T00:00:00Z", token=f"t-{B}"),
            # `token` is a secret, and is the same on both sides.
            [f"POST /v1/orders: body:$.{name}" for name in ("id", "key", "at")],
        ),
    ],
)
def test_the_rules_of_a_miss_let_the_call_be_answered(before: Call, now: Call, rules: list[str]) -> None:
    error = missed(replaying([recorded(before)], variables="off"), now)
    assert list(error.rules) == rules
    assert f"ignore=[{', '.join(f'{chr(34)}{rule}{chr(34)}' for rule in rules)}]" in str(error)
    assert answers(replaying([recorded(before)], ignore=rules), now)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (command("GET", "user:7"), command("GET", "user:8")),
        (command("HGET", "user", "7"), command("HGET", "user", "8")),
        (batch(["GET", "user:7"], ["GET", "x"]), batch(["GET", "user:8"], ["GET", "x"])),
        (statement(SELECT, id_1=7), statement(SELECT, id_1=8)),
        (statement(UPDATE, id_1=7), statement(UPDATE, id_1=8)),
        (call("http://h/u?id=7"), call("http://h/u?id=8")),
        (order(a=1, b=1, c=1), order(a=2, b=2, c=2)),
        (order(), order(id=A)),
    ],
)
def test_no_rule_is_advised_that_gives_one_the_answer_about_another(before: Call, now: Call) -> None:
    error = missed(replaying([recorded(before)]), now)
    assert error.rules == ()
    assert "ignore" not in str(error)


def test_a_value_that_tells_recorded_calls_apart_is_left_in() -> None:
    calls = [recorded(order(user=7)), recorded(order(user=9))]
    assert missed(replaying(calls), order(user=8)).rules == ()
    # Both have another key each time, as a retry may have.
    calls = [recorded(order(key=A)), recorded(order(key=B))]
    assert missed(replaying(calls, variables="off"), order(key=A.replace("5f", "6f"))).rules == (
        "POST /v1/orders: body:$.key",
    )


def test_another_host_with_the_same_path_is_left_alone() -> None:
    here, there = order(at=1), order(at=1, url="http://other:81/v1/orders")
    (rule,) = missed(replaying([recorded(here), recorded(there)]), order(at=2)).rules
    assert rule == "POST h/v1/orders: body:$.at"
    session = replaying([recorded(here), recorded(there)], ignore=[rule])
    assert answers(session, order(at=2))
    assert not answers(session, order(at=2, url="http://other:81/v1/orders"))


def test_a_rule_for_one_command_leaves_the_others_compared() -> None:
    events = [recorded(command(*words)) for words in (("GET", "user:7"), ("GET", f"cache:{A}"), ("DEL", "user:7"))]
    for rule in ("redis:GET cache:* body:$[1]", "redis:GET cache:*: body:$[1]"):
        session = replaying(events, ignore=[rule])
        assert not answers(session, command("GET", "user:8"))
        assert not answers(session, command("DEL", f"cache:{A}"))
        assert session.match(command("GET", f"cache:{B}")).eid == 2
    assert answers(replaying(events, ignore=["redis:GET body:$[1]"]), command("GET", "user:8"))
    assert not answers(replaying(events, ignore=["redis:GET body:$[1]"]), command("DEL", "user:8"))


def test_a_rule_for_a_column_is_for_its_table_alone() -> None:
    select, other = "SELECT * FROM orders WHERE id = :id_1", "INSERT INTO users (id) VALUES (:id)"
    events = [recorded(statement(INSERT, id=1, at=1, n=1)), recorded(statement(select, id_1=1))]
    events.append(recorded(statement(other, id=1)))
    session = replaying(events, ignore=["sql:INSERT orders.id"])
    assert answers(session, statement(INSERT, id=2, at=1, n=1))
    assert not answers(session, statement(select, id_1=2))
    session = replaying(events, ignore=["sql:orders.id"])
    assert answers(session, statement(select, id_1=2))
    assert not answers(session, statement(other, id=2))


@pytest.mark.parametrize(
    ("scope", "fits"),
    [
        ("POST /v1/*", True),
        ("post /v1/*", True),
        ("POST", True),
        ("/v1/*", True),
        ("POST h:81/v1/orders", True),
        ("POST http://h:81/*", True),
        ("httpx", True),
        ("http:POST /v1/orders", True),
        ("GET /v1/*", False),
        ("POST /v2/*", False),
        ("POST other/v1/orders", False),
        ("requests", False),
        ("httpx:GET", False),
    ],
)
def test_scopes_of_requests(scope: str, fits: bool) -> None:
    assert scope_fits(scope, "httpx", "POST", "http://h:81/v1/orders") is fits
    assert scope_fits("GET /x", "redis", "GET", "redis://h:1/x", ["GET", "k"]) is False


@pytest.mark.parametrize("text", ["at", "body:at", "query:", "POST /v1", "sql:orders", "redis:GET $[1]", ""])
def test_what_is_no_rule(text: str) -> None:
    assert parse_rule(text) is None


def test_all_rules_of_a_run_are_one_setting() -> None:
    session = replaying(
        [recorded(order(at=1)), recorded(command("SET", "k", A))], ignore=["query:page"], variables="off"
    )
    missed(session, order(at=2))
    missed(session, command("SET", "k", B))
    assert session.verdict().advice == (
        'ignore=["query:page", "POST /v1/orders: body:$.at", "redis:SET k body:$[2]"]'
    )
    session.by_environment = True
    told = "TIMETRACER_IGNORE='query:page,POST /v1/orders: body:$.at,redis:SET k body:$[2]'"
    assert session.verdict().advice == told
    assert f"of all misses at once:\n  {told}\n" in verdict_text(session.verdict())
    error = missed(session, order(at=3))
    assert "TIMETRACER_IGNORE='query:page,POST /v1/orders: body:$.at'" in str(error)
    assert "TIMETRACER_LIVE_PLUGINS" in str(error)


@pytest.mark.parametrize(
    ("by_environment", "setting"), [(False, "allow_repeats=True"), (True, "TIMETRACER_ALLOW_REPEATS=true")]
)
def test_a_call_after_the_last_answer_names_the_setting_that_repeats_it(by_environment: bool, setting: str) -> None:
    session = replaying([recorded(order())])
    session.by_environment = by_environment
    session.match(order())
    error = missed(session, order())
    assert error.message.startswith("No recorded answer is left for this call")
    assert error.hint is not None
    assert error.hint.endswith(f"let it have the last answer again: {setting}.")


@pytest.mark.parametrize(
    ("before", "now", "alike"),
    [
        (A, B, True),
        (f"a:{A}", f"b:{B}", False),
        (1760000000, 1760000009.25, True),
        (b"1760000000123", b"1760000000999", True),
        ("2026-01-01", "2027-01-01", True),
        ("Mon, 01 Jan 2026 10:00:00 GMT", "Tue, 02 Jan 2026 10:00:00 GMT", True),
        ("dGhpcyBpcyBzZWNyZXQ9", "bm8gb25lIGtub3dzIDE0", True),
        ("abcdefghijklmnopqrst", "abcdefghijklmnopqrsu", False),
        (7, 8, False),
        ("7", "8", False),
        (True, False, False),
        (A, 1760000000, False),
        ({}, [], False),
    ],
)
def test_values_of_one_fresh_form(before: Any, now: Any, alike: bool) -> None:
    assert fresh_alike(before, now) is alike
