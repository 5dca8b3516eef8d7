"""Hundreds of secrets in a recording that was made without redaction: found by an audit, removed by a scrubbing."""

from __future__ import annotations

import bz2
import json
import lzma
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.sample_cassettes import body, checkout, http_event
from tests.sample_cassettes import cassette as cassette_of
from tests.unit.ended_calls import Ended
from tests.unit.session.test_planted_secrets import leaks, planted, sql
from timetracer_otel.cassette import (
    AppendWriter,
    CassetteStore,
    PartWriter,
    cassette_to_bytes,
    read_cassette,
    save_cassette,
)
from timetracer_otel.cassette.model import encode_event
from timetracer_otel.cli import main
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import CompressionType, EventType, TraceMode
from timetracer_otel.session import TraceSession
from timetracer_otel.types import (
    AppliedPolicies,
    BodySnapshot,
    Call,
    Cassette,
    EventResult,
    HeaderMap,
    RequestSnapshot,
    ResponseSnapshot,
)

UNREDACTED = TraceConfig(mode=TraceMode.RECORD, redact="off")


@pytest.fixture
def without_second_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own rules are what is tested, and the other scanner takes a second to begin."""
    monkeypatch.setitem(sys.modules, "kingfisher_sdk", None)


def recorded(every: int) -> tuple[Cassette, list[str]]:
    """A recording with some of the planted secrets, and the secrets."""
    plants = planted()[::every]
    session = TraceSession(UNREDACTED)
    for _, calls in plants:
        for call in calls:
            session.call_began(call)
    secrets = [secret for secret, _ in plants]
    some = secrets[:40:4]
    session.set_request(RequestSnapshot("GET", "/a", headers={"x-of": some[0], "cookie": f"sessionid={some[1]}"}))
    session.set_response(ResponseSnapshot(500, {}, BodySnapshot(True, "bytes", "\n".join(some).encode())))
    session.mark_error("ValueError", f"no {some[4]}", "Traceback:\n" + "\n".join(some))
    return session.to_cassette(), secrets


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main([str(each) for each in arguments])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.usefixtures("without_second_scanner")
def test_a_scrubbed_recording_has_none_of_several_hundred_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cassette, secrets = recorded(2)
    path = Path(save_cassette(cassette, tmp_path / "a.msgpack"))
    assert len(leaks(path.read_bytes(), secrets)) > 250

    code, listed = command(capsys, "audit", path, "--json")
    assert code == 1
    findings: list[dict[str, Any]] = json.loads(listed.splitlines()[0])["findings"]
    carry_one = {event.eid for event in cassette.events if leaks(encode_event(event)[0], secrets)}
    assert carry_one - {each["event"] for each in findings} == set()
    assert leaks(listed.encode(), secrets) == []

    code, said = command(capsys, "scrub", path)
    assert (code, leaks(said.encode(), secrets)) == (0, [])
    once = path.read_bytes()
    assert leaks(once, secrets) == []
    assert path.stat().st_mode & 0o777 == 0o600
    scrubbed = read_cassette(path)
    assert scrubbed.policies.pseudonymised
    assert [each.mode for each in scrubbed.scrubbed] == ["default"]
    assert scrubbed.scrubbed[0].replaced > 250
    assert len(scrubbed.events) == len(cassette.events)

    outputs = [("list", "--dir", tmp_path), ("show", path), ("show", path, "--bodies"), ("show", path, "--json")]
    for arguments in [*outputs, ("export", "--to", "har", path)]:
        code, said = command(capsys, *arguments)
        assert (code, leaks(said.encode(), secrets)) == (0, [])
        assert len(said) > (10_000 if arguments[0] != "list" else 10)

    code, said = command(capsys, "scrub", path)
    assert (code, said) == (0, f"{path}: nothing to replace\n")
    assert path.read_bytes() == once
    code, said = command(capsys, "audit", path)
    assert (code, said.splitlines()[0]) == (0, "Nothing in 1 file looks like a secret.")


def test_both_scanners_look_into_what_is_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = "ghp_" + "".join("x7QrK2mB9"[number * 5 % 9] for number in range(36))
    document = json.dumps({"n": 1, "of": token}).encode()
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n%s\r\n--b--\r\n'
    lines = HeaderMap([(b"content-type", b"multipart/form-data; boundary=b")])
    session = TraceSession(UNREDACTED)
    for value in (zlib.compress(document), lzma.compress(document)):
        call = Call("redis", EventType.REDIS, "SET", "redis://h:1/0", args=["SET", "k", value])
        session.call_began(Ended(call, EventResult()))
    cassette = session.to_cassette()
    sent = http_event(3, "http://h/a", request_headers=lines.pairs, request_body=part % bz2.compress(document))
    path = Path(save_cassette(replace(cassette, events=[*cassette.events, sent]), tmp_path / "a.msgpack"))
    code, listed = command(capsys, "audit", path, "--json")
    assert (code, token in listed) == (1, False)
    places: dict[str, set[str]] = {}
    for each in json.loads(listed.splitlines()[0])["findings"]:
        places.setdefault(each["place"], set()).add(each["scanner"].split()[0])
    assert places == {
        "request.args[2] (unpacked):$.of": {"timetracer-otel", "kingfisher"},
        "request.body part 1 (unpacked):$.of": {"timetracer-otel", "kingfisher"},
    }
    assert command(capsys, "scrub", path)[0] == 0
    assert command(capsys, "audit", path)[0] == 0


@pytest.mark.usefixtures("without_second_scanner")
def test_a_recording_with_pseudonyms_has_nothing_to_scrub(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = TraceSession()
    for _, calls in planted()[::4]:
        for call in calls:
            session.call_began(call)
    path = Path(save_cassette(session.to_cassette(), tmp_path / "a.msgpack"))
    before = path.read_bytes()
    assert command(capsys, "scrub", path)[0] == 0
    assert path.read_bytes() == before
    assert command(capsys, "audit", path)[0] == 0


@pytest.mark.usefixtures("without_second_scanner")
def test_a_part_stays_a_part_and_a_compressed_cassette_compressed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cassette, secrets = recorded(20)
    few = replace(cassette, events=cassette.events[:40])
    part = tmp_path / "2026-03-01" / "GET_a_120000_12345678.msgpack.gz.0123abcd.part"
    with AppendWriter(part, few, CompressionType.GZIP) as writer:
        for event in few.events:
            writer.append(event)
    assert not read_cassette(part).complete
    packed = Path(save_cassette(few, tmp_path / "b.msgpack.zst", CompressionType.ZSTD))
    plain = packed.read_bytes()[:4]

    code, _ = command(capsys, "scrub", tmp_path, "--output", tmp_path / "clean")
    assert code == 0
    new = tmp_path / "clean" / part.relative_to(tmp_path)
    assert new.read_bytes()[:2] == b"\x1f\x8b"
    assert (read_cassette(new).complete, len(read_cassette(new).events)) == (False, len(few.events))
    assert (tmp_path / "clean" / "b.msgpack.zst").read_bytes()[:4] == plain
    assert command(capsys, "audit", tmp_path / "clean")[0] == 0
    assert command(capsys, "audit", part)[0] == 1
    assert leaks(cassette_to_bytes(read_cassette(new)), secrets) == []


@pytest.mark.usefixtures("without_second_scanner")
def test_a_secret_in_the_path_is_in_the_files_name_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "ghp_" + "Ab1" * 12
    cassette, _ = recorded(20)
    cassette = replace(cassette, events=[], request=RequestSnapshot("GET", f"/reset/{secret}"))
    path = Path(CassetteStore(tmp_path).put(cassette))
    assert secret in path.name

    code, listed = command(capsys, "audit", tmp_path)
    assert code == 1
    # Only the name of the file itself says it, which says where to look.
    assert "the file's name" in listed
    code, _ = command(capsys, "scrub", tmp_path)
    assert code == 0
    (now,) = tmp_path.rglob("*.msgpack")
    assert secret not in now.name
    assert now.name.startswith("GET_reset_ghp_")
    assert secret.encode() not in now.read_bytes()
    assert command(capsys, "audit", tmp_path)[0] == 0


@pytest.mark.usefixtures("without_second_scanner")
def test_placeholders_of_older_recordings_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = http_event(
        1,
        "http://a/x",
        query={"token": "[REDACTED]", "apitoken": "abc-1234567"},
        request_headers=((b"Authorization", b"[REDACTED]"), (b"Cookie", b"sessionid=[REDACTED]")),
        request_body=b'{"password":"[REDACTED]"}',
        response=body(b'{"token":"[REDACTED]","n":1}'),
    )
    old = cassette_of([event], policies=AppliedPolicies(redaction_rules=["headers", "cookies"]))
    path = Path(save_cassette(old, tmp_path / "old.msgpack"))
    assert command(capsys, "scrub", path)[0] == 0
    now = read_cassette(path)
    (made,) = now.events
    assert made.signature.query["token"] == "[REDACTED]"
    assert made.signature.query["apitoken"] not in ("[REDACTED]", "abc-1234567")
    assert made.call is not None
    assert dict(made.call.headers) == {"authorization": "[REDACTED]", "cookie": "sessionid=[REDACTED]"}
    assert made.call.body is not None
    assert made.call.body.data == b'{"password":"[REDACTED]"}'
    assert made.result.body is not None
    assert made.result.body.data == b'{"token":"[REDACTED]","n":1}'
    assert now.pseudonyms == (made.signature.query["apitoken"],)


def test_without_the_extra_our_own_rules_look_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without_second_scanner: None
) -> None:
    path = save_cassette(checkout(), tmp_path / "a.msgpack")
    assert main(["audit", path]) == 0
    printed = capsys.readouterr()
    assert printed.err == (
        'timetracer-otel: only our own rules looked. For a second scanner: pip install "timetracer-otel[audit]"\n'
    )


def test_the_name_of_a_part_holds_no_value_of_the_path(tmp_path: Path) -> None:
    head = cassette_of([], request=RequestSnapshot("GET", "/reset/n0t-a-known-form/of/users/7"))
    part = PartWriter(head, [], str(tmp_path), "0123abcd")
    assert Path(part.path).name.startswith("GET_reset_value_of_users_7_")
    head.request.route_template = "/reset/{token}/of/users/{id}"
    assert Path(PartWriter(head, [], str(tmp_path), "0123abcd").path).name.startswith("GET_reset_token_of_users_id_")


@pytest.mark.usefixtures("without_second_scanner")
def test_values_of_two_words_under_a_new_name_are_scrubbed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = TraceSession(UNREDACTED)
    for number in range(3):
        session.call_began(sql("INSERT INTO t (name) VALUES (:name)", {"name": f"item {number}"}))
        session.call_began(sql("SELECT name FROM t", description=[("name",)], rows=[(f"item {number}",)]))
    path = Path(save_cassette(session.to_cassette(), tmp_path / "a.msgpack"))
    assert command(capsys, "scrub", path, "--redact-extra", "name")[0] == 0
    once = path.read_bytes()
    assert b"item 1" not in once
    assert command(capsys, "scrub", path, "--redact-extra", "name")[1] == f"{path}: nothing to replace\n"
    assert path.read_bytes() == once
