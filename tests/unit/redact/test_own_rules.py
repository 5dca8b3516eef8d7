"""The setting ``redact_rules``, and ``redact="strict"``."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.unit.ended_calls import Ended
from tests.unit.session.test_secret_book import body_of, get, recorded, redis
from timetracer_otel import TraceConfig
from timetracer_otel.cassette import cassette_to_bytes
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.secret_forms import personal_data
from timetracer_otel.redact.splice import json_path_edits
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call, EventResult

JSON = (b"content-type", b"application/json")
BODY = b'{"users":[{"name":"ada","ssn":"078-05-1120"},{"name":"bob","ssn":"219-09-9999"}],"ssn":1}'


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("users", "*", "ssn"), [b'"078-05-1120"', b'"219-09-9999"']),
        (("users", "1", "ssn"), [b'"219-09-9999"']),
        (("ssn",), [b"1"]),
        (("users", "0"), [b'{"name":"ada","ssn":"078-05-1120"}']),
        (("users", "ssn"), []),
        (("*",), [BODY[9:-9], b"1"]),
    ],
)
def test_values_at_a_path(path: tuple[str, ...], found: list[bytes]) -> None:
    assert [BODY[edit.start : edit.stop] for edit in json_path_edits(BODY, [path])] == found


def test_paths_hold_for_each_line_of_json() -> None:
    data = b'{"a": {"b": "x1"}}\n{"a": {"c": [1, {"b": 2}], "b": "y2"}}\n'
    assert [data[edit.start : edit.stop] for edit in json_path_edits(data, [("a", "b")])] == [b'"x1"', b'"y2"']


def calls(ssn: str = "078-05-1120") -> list[Ended]:
    args = {"statement": "INSERT INTO users (mail) VALUES (:mail)", "parameters": {"mail": f"{ssn}@x.example"}}
    rows = {"description": [("mail",), ("n",)], "rows": [(f"{ssn}@y.example", 1)]}
    insert = Ended(Call("sqlalchemy", EventType.DB_QUERY, "INSERT", "db://h/d", args=args), EventResult(reply=rows))
    post = get("https://h/a", b"{}")
    post._call.body, post._call.headers = b'{"user":{"ssn":"%s"}}' % ssn.encode(), (JSON,)
    return [
        post,
        insert,
        redis("SET", "session:1", f"of {ssn}", reply=b"OK"),
        redis("GET", "session:1", reply={"replies": [f"of {ssn}".encode()]}),
        redis("GET", "other", reply={"replies": [b"plain"]}),
        get(f"https://h/employees/EMP-{ssn[-4:]}77", b'{"text": "CUST_%s_END"}' % ssn[-4:].encode()),
    ]


RULES: list[Any] = [
    "body:$.user.ssn",
    "sql:users.mail",
    "redis:session:*",
    "pattern:EMP-([0-9]{6})",
    lambda text: re.findall(r"CUST_\d+_END", text),
]


def test_rules_by_place_by_form_and_by_function() -> None:
    cassette = recorded(*calls(), config=TraceConfig(redact_rules=RULES)).to_cassette()
    data = cassette_to_bytes(cassette)
    for secret in (b"078-05-1120", b"112077", b"CUST_1120_END"):
        assert secret not in data
    post, insert, stored, got, other, employee = cassette.events
    assert post.call is not None
    assert post.call.body is not None
    assert re.fullmatch(rb'\{"user":\{"ssn":"\d{3}-\d\d-\d{4}"\}\}', post.call.body.data)
    assert insert.result.reply["rows"][0][1] == 1
    assert stored.call is not None
    assert stored.call.args[:2] == ["SET", "session:1"]
    assert got.result.reply["replies"] == [stored.call.args[2].encode()]
    assert other.result.reply == {"replies": [b"plain"]}
    assert re.fullmatch(r"https://h/employees/EMP-\d{6}", employee.signature.url or "")
    assert re.fullmatch(r"[A-Z]{4}_\d{4}_[A-Z]{3}", json.loads(body_of(employee))["text"])
    # Another value at such a place finds the recorded answer, in a replay that knows the rules by the header alone.
    replay = ReplaySession(cassette, "x")
    for call, event in zip(calls("123-45-6789")[:5], cassette.events, strict=False):
        assert replay.match(call.call()) is event


def test_rules_stand_in_the_header() -> None:
    cassette = recorded(config=TraceConfig(redact_rules=["ssn", *RULES[:4]])).to_cassette()
    assert [rule for rule in cassette.policies.redaction_rules if ":" in rule] == ["name:ssn", *RULES[:4]]
    # An expression of a cassette is not run.
    assert Redactor.from_policies(cassette.policies).own.finders == ()


@pytest.mark.parametrize("rule", ["body:users", "sql:mail", "pattern:(", "two words", ""])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="redact_rules"):
        TraceConfig(redact_rules=[rule])


PERSONAL = {
    "ada.lovelace@example.com": r"[a-z]{3}\.[a-z]{8}@[a-z]{7}\.[a-z]{3}",
    "4111 1111 1111 1111": r"\d{4} \d{4} \d{4} \d{4}",
    "4111111111111111": r"411111\d{10}",
    "DE89370400440532013000": r"DE\d{20}",
    "GB82 WEST 1234 5698 7654 32": r"GB\d\d [A-Z]{4} \d{4} \d{4} \d{4} \d\d",
    "+49 170 1234567": r"\+\d\d \d{3} \d{7}",
}


@pytest.mark.parametrize("text", PERSONAL)
def test_strict_finds_personal_data(text: str) -> None:
    call = get(
        f"https://h/a?of={text.replace('+', '%2B').replace(' ', '%20')}", json.dumps({"of": f"to {text}."}).encode()
    )
    default = recorded(call).to_cassette()
    assert text in json.loads(body_of(default.events[0]))["of"]
    strict = recorded(call, config=TraceConfig(redact="strict")).to_cassette()
    assert text.encode() not in cassette_to_bytes(strict)
    made = json.loads(body_of(strict.events[0]))["of"][3:-1]
    assert re.fullmatch(PERSONAL[text], made)
    assert strict.events[0].signature.query == {"of": made}
    # It is of the same form by its check digits, too.
    assert len(personal_data(made.encode())) == 1 or " " in text


@pytest.mark.parametrize(
    "text",
    ["4111 1111 1111 1112", "DE89370400440532013001", "2024-01-01 10:00", "@decorator", "1234567890123", "v1.2.3"],
)
def test_strict_leaves_what_only_looks_similar(text: str) -> None:
    assert personal_data(text.encode()) == []
