"""What counts when an answer is compared with the recorded one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.sample_cassettes import body, cassette
from timetracer_otel.base.settings import VARIABLE_KINDS
from timetracer_otel.constants import BodyEnd
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.match.answer_names import AnswerNames
from timetracer_otel.types import AppliedPolicies, Binding, BodySnapshot, HeaderMap, RequestSnapshot, ResponseSnapshot
from timetracer_otel.verify import Ignored
from timetracer_otel.verify.compare import Comparison, compare
from timetracer_otel.verify.sender import Answer

JSON = (b"content-type", b"application/json")
NOTHING = Comparison([], [])


def compared(
    recorded: Any,
    now: bytes,
    *,
    method: str = "GET",
    status: int = 200,
    headers: Any = (JSON,),
    headers_now: Any = (JSON,),
    status_now: int = 200,
    ignore: Any = (),
    known: bool = True,
    bindings: Sequence[Binding] = (),
    variables: bool = True,
) -> Comparison:
    snapshot = body(recorded) if isinstance(recorded, bytes) else recorded
    recording = cassette(
        [],
        request=RequestSnapshot(method, "/a", headers=HeaderMap([(b"host", b"a")] if known else ())),
        response=ResponseSnapshot(status, HeaderMap(headers), snapshot),
        policies=AppliedPolicies(redaction_rules=["name:ssn"]),
    )
    names = AnswerNames(recording, bindings, VARIABLE_KINDS if variables else (), 0.1)
    return compare(recording, Answer(status_now, HeaderMap(headers_now), now, 0.1), Ignored.of(ignore), names)


def test_status_headers_and_body_count() -> None:
    assert compared(b'{"a":1}', b'{"a": 1}') == NOTHING
    found = compared(b'{"a":1}', b'{"a":2}', status_now=201, headers_now=(JSON, (b"x-a", b"1")))
    assert found.differences == [
        "status: recorded 200, now 201",
        "header x-a: recorded (none), now '1'",
        "body $.a: recorded 1, now 2",
    ]


def test_what_the_server_adds_does_not_count() -> None:
    added = [(b"Date", b"now"), (b"server", b"x"), (b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"2")]
    assert compared(b"[]", b"[]", headers_now=(JSON, *added)) == NOTHING


def test_the_answer_is_redacted_as_the_recording_was() -> None:
    headers = (JSON, (b"set-cookie", b"sid=[REDACTED]; Path=/"))
    now = (JSON, (b"set-cookie", b"sid=abc; Path=/"))
    recorded = b'{"ssn":"[REDACTED]","token":"[REDACTED]"}'
    assert compared(recorded, b'{"ssn":"078","token":"t"}', headers=headers, headers_now=now) == NOTHING


def test_a_secret_that_its_form_tells_is_not_shown() -> None:
    key = "sk_live_" + "aB3d" * 6
    for recorded, now in [
        (b'{"a":1}', json.dumps({"a": f"see {key}"}).encode()),
        (b'{"a":1}', json.dumps({"a": "x" * 60 + " sk-ant-api03-" + "aB3d" * 20}).encode()),
    ]:
        (line,) = compared(recorded, now).differences
        assert "aB3d" not in line
        assert "[REDACTED]" in line
    (line,) = compared(b"{}", b"{}", headers_now=(JSON, (b"x-of", key.encode()))).differences
    assert line == "header x-of: recorded (none), now '[REDACTED]'"


def test_rules_take_parts_out() -> None:
    found = compared(
        b'{"at":1,"n":1}',
        b'{"at":2,"n":1}',
        headers=(JSON, (b"etag", b"1")),
        headers_now=(JSON, (b"ETag", b"2")),
        ignore=["header:ETag", "body:$.at"],
    )
    assert found == NOTHING
    with pytest.raises(ConfigurationError, match="--ignore: 'query:a' says nothing about an answer"):
        Ignored.of(["query:a"])


def test_answers_without_a_body_are_compared_by_their_head() -> None:
    length = ((b"content-length", b"9"),)
    assert compared(b"what no server sends", b"", method="HEAD", headers=length, headers_now=length) == NOTHING
    shorter = compared(b"", b"", method="HEAD", headers=length, headers_now=((b"content-length", b"8"),))
    assert shorter.differences == ["header content-length: recorded '9', now '8'"]
    assert compared(b"x", b"", status=304, status_now=304) == NOTHING


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (BodySnapshot(captured=False), "the body was not compared: the recording does not hold it"),
        (body(b"ab", end=BodyEnd.FAILED), "the body was not compared: it broke off when it was recorded"),
    ],
)
def test_what_could_not_be_compared_is_said(recorded: BodySnapshot, why: str) -> None:
    assert compared(recorded, b"anything") == Comparison([], [why])


def test_where_only_a_span_is_known_the_status_is_compared() -> None:
    found = compared(None, b"anything", status_now=500, headers=(), known=False)
    assert found.differences == ["status: recorded 200, now 500"]
    assert found.notes == ["only the status was compared: only the span of this request was recorded"]


A, B = "9f0c4f3e-7f0a-4c7e-9d55-0a1b2c3d4e5f", "8f0c4f3e-7f0a-4c7e-9d55-0a1b2c3d4e5f"
P, Q = "3b9d8c7e-1f2a-4b3c-8d4e-5f6a7b8c9d0e", "4b9d8c7e-1f2a-4b3c-8d4e-5f6a7b8c9d0e"


@pytest.mark.parametrize(
    ("before", "now", "fits"),
    [
        (f'{{"id":"{A}","url":"/o/{A}"}}', f'{{"id":"{P}","url":"/o/{P}"}}', True),
        (f'{{"id":"{A}","by":"{B}"}}', f'{{"id":"{P}","by":"{Q}"}}', True),
        (f'{{"id":"{A}","by":"{B}"}}', f'{{"id":"{P}","by":"{P}"}}', False),
        (f'{{"id":"{A}","by":"{A}"}}', f'{{"id":"{P}","by":"{Q}"}}', False),
        (f'{{"id":"{A}","n":1}}', f'{{"id":"{P}","n":2}}', False),
        (f'{{"id":"{A}"}}', f'{{"id":"{P.upper()}"}}', False),
        (f'{{"id":"{A}"}}', '{"id":null}', False),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_values_that_the_app_made_for_its_answer_may_be_others(before: str, now: str, fits: bool, kind: str) -> None:
    headers = ((b"content-type", kind.encode()), (b"x-order", A.encode()))
    headers_now = ((b"content-type", kind.encode()), (b"x-order", P.encode()))
    found = compared(before.encode(), now.encode(), headers=headers, headers_now=headers_now)
    assert (found == NOTHING) is fits
    strict = compared(before.encode(), now.encode(), headers=headers, headers_now=headers_now, variables=False)
    assert strict.differences


def test_an_answer_has_the_values_that_the_calls_have_bound() -> None:
    bindings = [Binding("uuid", A, P)]
    assert compared(f'["{A}"]'.encode(), f'["{P}"]'.encode(), bindings=bindings) == NOTHING
    assert compared(f'["{A}"]'.encode(), f'["{Q}"]'.encode(), bindings=bindings).differences
    assert compared(f'["{B}"]'.encode(), f'["{P}"]'.encode(), bindings=bindings).differences
