"""Trace context that an app writes into a body or an argument is not compared; everything else there is."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.match.body_content import plain_content
from timetracer_otel.match.trace_context import untraced

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_CARRIERS: list[dict[str, Any]] = [
    {"traceparent": _TRACE},
    {"traceparent": _TRACE, "tracestate": "vendor=1", "baggage": "user=7,cart=9"},
    {"baggage": "user=7", "traceparent": _TRACE},
    {"b3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"},
    {"x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7", "x-b3-spanid": "e457b5a2e4d86bd1", "x-b3-sampled": "1"},
    {"uber-trace-id": "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:1"},
    {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"},
    {"traceparent": {"StringValue": _TRACE, "DataType": "String"}, "baggage": {"StringValue": "a=1"}},
    {"traceparent": {"DataType": "String", "StringValue": _TRACE}},
]
_MESSAGES: list[Any] = [
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "_meta": None}},
    {"_meta": None, "name": "add"},
    [{"a": 1}, {"headers": None, "b": 1e2}],
    {"deep": {"deeper": {"_meta": None, "z": [1]}}},
]


def _with(message: Any, carrier: Any) -> Any:
    """The message with a carrier in it, or without the place for one."""
    if isinstance(message, dict):
        filled = {}
        for name, value in message.items():
            if value is not None:
                filled[name] = _with(value, carrier)
            elif carrier is not None:
                filled[name] = carrier
        return filled
    return [_with(item, carrier) for item in message] if isinstance(message, list) else message


def _plain(data: bytes, content_type: bytes = b"application/json") -> bytes:
    return plain_content(data, content_type, b"")


@pytest.mark.parametrize("message", _MESSAGES)
@pytest.mark.parametrize("carrier", _CARRIERS)
@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 2}])
def test_a_body_is_as_if_nothing_had_been_written_into_it(message: Any, carrier: Any, layout: dict[str, Any]) -> None:
    def sent(carrier: Any) -> bytes:
        return json.dumps(_with(message, carrier), **layout).encode()

    without, with_other = _plain(sent(None)), _plain(sent({"lang": "py"}))
    assert without == sent(None)
    assert with_other == sent({"lang": "py"})
    assert json.loads(_plain(sent(carrier))) == json.loads(without)
    for order in ({"lang": "py", **carrier}, {**carrier, "lang": "py"}):
        assert json.loads(_plain(sent(order))) == json.loads(with_other)
        if not layout.get("indent"):
            assert _plain(sent(order)) == with_other
    assert untraced(_with(message, carrier)) == _with(message, None)
    assert untraced(_with(message, {**carrier, "lang": "py"})) == _with(message, {"lang": "py"})


def test_json_within_json_is_looked_into() -> None:
    def sent(carrier: dict[str, str]) -> bytes:
        inner = json.dumps({"task": "add", "headers": {"lang": "py", **carrier}})
        return json.dumps({"body": inner, "again": json.dumps({"inner": inner})}).encode()

    assert _plain(sent({"traceparent": _TRACE, "baggage": "a=1"})) == _plain(sent({}))
    text = sent({"traceparent": _TRACE}).decode()
    assert untraced(["LPUSH", "celery", text]) == ["LPUSH", "celery", sent({}).decode()]


def test_what_is_no_trace_context_stays() -> None:
    kept: list[dict[str, Any]] = [
        {"traceparent": "of a tracing paper"},
        {"traceparent": None},
        {"baggage": "two suitcases", "passenger": "Ada"},
        {"tracestate": "California"},
        {"b3": "row b, seat 3"},
        {"note": f"traced by {_TRACE[:-1]}"},
        {"x-b3-traceid": "Wells"},
    ]
    for body in kept:
        data = json.dumps(body).encode()
        assert _plain(data) == data
        assert untraced(body) is body
    one, other = ({"a": 1, "traceparent": _TRACE, "b": number} for number in (1, 2))
    assert _plain(json.dumps(one).encode()) != _plain(json.dumps(other).encode())


def test_numbers_and_keys_stay_as_they_were_sent() -> None:
    data = b'{"a": 1e2, "a": 100.0, "_meta": {"traceparent": "%s"}}' % _TRACE.encode()
    assert _plain(data) == b'{"a": 1e2, "a": 100.0}'


def test_forms_are_fields_of_their_own() -> None:
    form = b"application/x-www-form-urlencoded; charset=utf-8"
    value = "MessageAttribute.{0}.Value.DataType=String&MessageAttribute.{0}.Value.StringValue={2}"
    attribute = f"MessageAttribute.{{0}}.Name={{1}}&{value}"
    own, traced, state = (
        attribute.format(1, "kind", "order"),
        attribute.format(2, "traceparent", _TRACE),
        attribute.format(3, "tracestate", "a%3D1"),
    )
    assert _plain(f"Action=SendMessage&{own}&{traced}&{state}".encode(), form) == f"Action=SendMessage&{own}".encode()
    assert _plain(f"a=1&traceparent={_TRACE}&baggage=u%3D7&b=2".encode(), form) == b"a=1&b=2"
    assert _plain(b"a=1&baggage=two+bags&traceparent=no", form) == b"a=1&baggage=two+bags&traceparent=no"


def test_in_any_other_form_the_value_is_blanked() -> None:
    multipart = b'--x\r\nContent-Disposition: form-data; name="traceparent"\r\n\r\n%s\r\n--x--'
    packed = b"\x82\xabtraceparent\xd97%s\xa1a\x01"
    for pattern in (multipart, packed, b'[["traceparent", "%s"]]'):
        one, other = (pattern % _TRACE.replace("0af", begin).encode() for begin in ("0af", "1bf"))
        assert _plain(one, b"text/plain") == _plain(other, b"text/plain") != one
    assert untraced([("traceparent", _TRACE), ("a", "1")]) == [("a", "1")]
    assert untraced(["XADD", "s", "*", b"traceparent", _TRACE.encode()])[-1] == ""


@given(
    st.recursive(st.none() | st.text() | st.floats(allow_nan=False), lambda inner: st.dictionaries(st.text(), inner))
)
def test_values_without_a_trace_are_the_same_objects(value: Any) -> None:
    data = json.dumps(value).encode()
    assert _plain(data) is data
    assert untraced(value) is value


@pytest.mark.parametrize(
    "piece", [b'"baggage": "', b'"baggage": {', b'"traceparent": {', b'"tracestate": "", ', b"\\", b"traceparent"]
)
def test_a_hostile_body_takes_no_longer_than_a_large_one(piece: bytes) -> None:
    started_s = time.process_time()
    _plain(b"traceparent" + piece * (100_000 // len(piece)))
    assert time.process_time() - started_s < 5
