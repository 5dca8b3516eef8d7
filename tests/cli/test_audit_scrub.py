"""Old recordings with secrets: what ``audit`` lists, and what ``scrub`` makes of them, which replays as before."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import sqlalchemy

from tests.cli.conftest import Run
from tests.loopback import Loopback
from tests.sample_cassettes import checkout
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.match.signature import Signer
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.events import EventMaker
from timetracer_otel.types import AppliedPolicies, Cassette

GITHUB = "ghp_" + "x7Qr" * 9
AWS = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12"
PASSWORD = "Tr0ub4dor&3-horse"


def service(upstream: str, store: str, database: str) -> list[Any]:
    """Gets a token, keeps it in Redis and in a table, and uses it in a header, a path and a query."""
    seen: list[Any] = []
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    with httpx.Client() as client, redis.Redis.from_url(store) as cache, engine.begin() as connection:
        login = client.post(
            f"{upstream}/login",
            json={"SecretAccessKey": AWS, "user": "ada", "personal_access_token": GITHUB, "password": PASSWORD},
        ).json()
        # What the answer gave is used from here on, whatever it is.
        token, key = login["personal_access_token"], login["SecretAccessKey"]
        seen += [login["user"], len(token), len(key)]
        cache.set("session:ada", token)
        kept = cache.get("session:ada")
        seen.append(kept == token.encode())
        connection.execute(
            sqlalchemy.text("insert into keys (owner, bot_token) values (:owner, :bot_token)"),
            {"owner": "ada", "bot_token": key},
        )
        row = connection.execute(sqlalchemy.text("select owner, bot_token from keys where owner = 'ada'")).one()
        seen += [row[0], row[1] == key]
        answer = client.get(
            f"{upstream}/users/7", params={"apitoken": token}, headers={"X-Gitlab-Token": key, "X-Of": token}
        )
        seen += [answer.status_code, answer.json(), client.get(f"{upstream}/of/{token}").status_code]
    engine.dispose()
    return seen


def of_the_first_recorder(cassette: Cassette) -> Cassette:
    """The recording as the first releases redacted it: one text for all secrets, and under few names only."""
    policies = AppliedPolicies(redaction_rules=["headers", "cookies", "url userinfo", "query", "json fields"])
    maker = EventMaker(TraceConfig(), Redactor.from_policies(policies), masks=True)
    events = [maker.anew(event) for event in cassette.events]
    return replace(cassette, events=events, policies=policies)


@pytest.mark.parametrize("first_recorder", [False, True], ids=["recorded without redaction", "of the first recorder"])
def test_a_scrubbed_recording_replays_with_the_service_unchanged(
    run: Run, upstream: Loopback, tmp_path: Path, first_recorder: bool
) -> None:
    path = tmp_path / "old.msgpack"
    database = tmp_path / "keys.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("create table keys (owner text, bot_token text)")
    with RedisServer(tmp_path) as server:
        arguments = upstream.url, server.url, str(database)
        with record(path, redact="off"):
            live = service(*arguments)
    if first_recorder:
        save_cassette(of_the_first_recorder(read_cassette(path)), path)
    upstream.stop()
    database.unlink()
    with replay(path, fail_on_unused=True):
        before = service(*arguments)
    assert before == live
    held = [secret for secret in (GITHUB, AWS, PASSWORD) if secret.encode() in path.read_bytes()]
    assert held == ([GITHUB, AWS] if first_recorder else [GITHUB, AWS, PASSWORD])

    listed = run("audit", "old.msgpack", "--json")
    assert listed.returncode == 1
    found = json.loads(listed.stdout)
    assert {each["scanner"] for each in found["findings"]} >= {"timetracer-otel"}
    places = {each["place"] for each in found["findings"]}
    assert {"request.body:$.SecretAccessKey", "response.body:$.SecretAccessKey", "request.query.apitoken"} <= places
    for secret in held:
        assert secret not in listed.stdout

    scrubbed = run("scrub", "old.msgpack", "--output", "new.msgpack")
    assert (scrubbed.returncode, scrubbed.stderr) == (0, "")
    assert scrubbed.stdout.startswith("old.msgpack: ")
    new = tmp_path / "new.msgpack"
    for secret in held:
        assert secret.encode() not in new.read_bytes()
    assert run("audit", "new.msgpack").stdout == "Nothing in 1 file looks like a secret.\n"
    assert run("scrub", "new.msgpack").stdout == "new.msgpack: nothing to replace\n"
    shown = run("show", "new.msgpack").stdout
    assert "\nscrubbed  2" in shown
    signer = Signer(Redactor.of("off", []))
    for event in read_cassette(new).events:
        assert event.call is not None
        before_hash = event.signature.body_hash
        assert signer.snapshot_hash(event.signature.lib, event.call, before_hash) == before_hash
    with replay(new, fail_on_unused=True) as session:
        after = service(*arguments)
    assert after == live
    assert session.verdict().ok


def test_audit_lists_each_place_with_a_mask_and_both_scanners(run: Run, tmp_path: Path) -> None:
    cassette = checkout()
    cassette.events[0].signature.url = "https://api.gitlab.com/users/glpat-x7Qab1Zr9Lm2Np4Tv6Wc"
    save_cassette(cassette, tmp_path / "cassettes" / "a.msgpack")
    (tmp_path / "cassettes" / "report.jsonl").write_text(
        '{"cassette": "a.msgpack"}\n{"misses": ["GET https://api.gitlab.com/users/glpat-x7Qab1Zr9Lm2Np4Tv6Wc"]}\n'
    )
    (tmp_path / "cassettes" / "b.msgpack").write_bytes(b"no cassette")

    listed = run("audit", "cassettes", COLUMNS="150")

    assert listed.returncode == 1
    assert listed.stderr.startswith("timetracer-otel: cassettes/b.msgpack is not a cassette of timetracer-otel: ")
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert ["cassettes/a.msgpack"] in lines
    assert ["#1", "request.url", "glpat-…", "(26", "characters)", "timetracer-otel", "a", "known", "form"] in lines
    assert any(line[:3] == ["#1", "request.url", "glpat-…"] and line[5:6] == ["kingfisher"] for line in lines)
    assert ["cassettes/report.jsonl"] in lines
    assert any(line[:6] == ["-", "text", "line", "2:$.misses[0]", "glpat-…", "(26"] for line in lines)
    assert listed.stdout.endswith("4 places look like secrets, in 2 of 3 files.\n")
    assert "x7Qab1Zr9Lm2Np4Tv6Wc" not in listed.stdout


def test_audit_of_a_folder_with_nothing_but_unreadable_files_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "b.msgpack").write_bytes(b"no cassette")
    assert run("audit", "b.msgpack").returncode == 2
    missing = run("audit", "missing.msgpack")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert run("scrub", "b.msgpack").returncode == 2


def test_rules_of_the_command_line_count_as_well(run: Run, tmp_path: Path) -> None:
    cassette = checkout()
    cassette.events[0].signature.query = {"ssn": "123-45-6789"}
    save_cassette(cassette, tmp_path / "a.msgpack")
    assert run("audit", "a.msgpack").returncode == 0
    assert run("audit", "a.msgpack", "--redact-extra", "ssn").returncode == 1
    assert run("scrub", "a.msgpack", "--redact-extra", "ssn").returncode == 0
    scrubbed = read_cassette(tmp_path / "a.msgpack")
    assert "name:ssn" in scrubbed.policies.redaction_rules
    assert b"123-45-6789" not in (tmp_path / "a.msgpack").read_bytes()
    # Its header has the rule now: a replay masks by it, and an audit needs no option.
    assert run("audit", "a.msgpack").returncode == 0
