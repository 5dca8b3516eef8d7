"""Which recordings are sent, and where to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.sample_cassettes import body, cassette, http_event
from timetracer_otel.cassette import AppendWriter, save_cassette
from timetracer_otel.constants import BodyEnd
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.types import AppliedPolicies, BodySnapshot, HeaderMap, RequestSnapshot
from timetracer_otel.verify import Address, address_of, plan

HOST = ((b"host", b"127.0.0.1:8000"),)


def request(method: str = "GET", path: str = "/a", headers: Any = HOST, **changes: Any) -> RequestSnapshot:
    return RequestSnapshot(method, path, headers=HeaderMap(headers), **changes)


def add(folder: Path, name: str, recorded: RequestSnapshot, **changes: Any) -> None:
    save_cassette(cassette([], request=recorded, **changes), folder / f"{name}.msgpack")


@pytest.mark.parametrize(
    ("recorded", "policies", "why"),
    [
        (request(), {}, None),
        (request("POST", body=body(b"abc")), {}, None),
        (request("POST", body=body(b"", end=BodyEnd.COMPLETE)), {}, None),
        (request("POST", body=body(b"abc", end=BodyEnd.CLOSED)), {}, None),
        (
            request("POST", body=body(b"a", end=BodyEnd.CLOSED), headers=((b"content-length", b"99999999"),)),
            {},
            "the service left 99999998 bytes of its body unread",
        ),
        (request("POST", body=body(b"abc", end=BodyEnd.CUT)), {}, "its body broke off"),
        (
            request("POST", body=BodySnapshot(captured=False, size_bytes=9000)),
            {"max_body_kb": 8},
            "its body of 9000 bytes was not kept (TIMETRACER_MAX_BODY_KB=8)",
        ),
        (
            request("POST", body=BodySnapshot(captured=False, size_bytes=9)),
            {"store_request_body": "never"},
            "its body was not kept (TIMETRACER_STORE_REQ_BODY=never)",
        ),
        (request("POST", headers=()), {}, "only its span was recorded, so its body is not known"),
        (request("GET", headers=()), {}, None),
    ],
)
def test_a_request_is_sent_where_all_of_it_is_known(
    tmp_path: Path, recorded: RequestSnapshot, policies: dict[str, Any], why: str | None
) -> None:
    add(tmp_path, "a", recorded, policies=AppliedPolicies(**policies))
    (planned,) = plan(FolderIndex(tmp_path))
    assert (planned.left_out, planned.unsendable) == (None, why)


def test_jobs_and_processes_are_listed_and_left_out(tmp_path: Path) -> None:
    add(tmp_path, "job", request("INTERNAL", "nightly", ()))
    add(tmp_path, "process", request("", "", ()))
    assert [(planned.name, planned.left_out) for planned in plan(FolderIndex(tmp_path))] == [
        ("INTERNAL nightly", "not a request"),
        ("process.msgpack", "not a request"),
    ]


def test_a_request_whose_recorder_died_cannot_be_sent(tmp_path: Path) -> None:
    writer = AppendWriter(tmp_path / "cut.msgpack", cassette([], request=request()))
    writer.close()
    (planned,) = plan(FolderIndex(tmp_path))
    assert planned.unsendable == "its recorder died before the answer was written"


def test_a_cassette_that_is_broken_behind_its_head_cannot_be_sent(tmp_path: Path) -> None:
    path = save_cassette(cassette([http_event(1, "http://up/a")], request=request()), tmp_path / "a.msgpack")
    data = bytearray(Path(path).read_bytes())
    data[data.index(b"http://up/a")] ^= 1
    Path(path).write_bytes(data)
    (planned,) = plan(FolderIndex(tmp_path))
    assert (planned.unsendable or "").startswith("Cassette a.msgpack is damaged at offset ")


def test_a_pattern_chooses_by_path_or_by_method_and_path(tmp_path: Path) -> None:
    for number, (method, path) in enumerate((("GET", "/users/1"), ("PUT", "/users/1"), ("GET", "/orders"))):
        add(tmp_path, str(number), request(method, path))
    index = FolderIndex(tmp_path)
    assert [each.name for each in plan(index, "/users/*")] == ["GET /users/1", "PUT /users/1"]
    assert [each.name for each in plan(index, "GET *")] == ["GET /users/1", "GET /orders"]


def planned_for(folder: Path, *hosts: str) -> Any:
    for number, host in enumerate(hosts):
        add(folder, str(number), request(headers=((b"Host", host.encode()),)))
    return plan(FolderIndex(folder))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1:8000", Address("http", "127.0.0.1", 8000)),
        ("localhost", Address("http", "localhost", 80)),
        ("[::1]:81", Address("http", "::1", 81)),
        ("0.0.0.0:5000", Address("http", "127.0.0.1", 5000)),
    ],
)
def test_requests_go_where_they_went(tmp_path: Path, host: str, address: Address) -> None:
    assert address_of(None, planned_for(tmp_path, host, host)) == address


@pytest.mark.parametrize("host", ["shop.example.com", "127.0.0.1.example.com", "10.0.0.1:8000", "[2001:db8::1]"])
def test_requests_go_to_no_other_machine_unasked(tmp_path: Path, host: str) -> None:
    planned = planned_for(tmp_path, host)
    with pytest.raises(ConfigurationError, match=rf"went to {re.escape(host)}, which is not this machine"):
        address_of(None, planned)
    assert str(address_of("https://shop.example.com/", planned)) == "https://shop.example.com:443"


def test_several_addresses_ask_for_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the recordings name several \(localhost:1, localhost:2\)"):
        address_of(None, planned_for(tmp_path, "localhost:2", "localhost:1"))


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://a", "http://", "http://a:port", "http://a/path", "http://a:0"]
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--url: .* is not allowed. Allowed: http://HOST:PORT"):
        address_of(url, [])
