"""Several messages of Kafka as one request: they come back as they were, but for their secrets, and are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel import record
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.incoming.kafka_batches import as_incoming, given_again
from timetracer_otel.incoming.kafka_messages import GivenRecord, kafka_message
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.report import body_lines
from timetracer_otel.report.page.data import recording_data
from timetracer_otel.report.stable import stable_lines
from timetracer_otel.types import RequestSnapshot, header_pairs
from timetracer_otel.verify.jobs import given_to
from timetracer_otel.verify.planning import plan

_JWT = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodXNoLTEyMzQ1Njc4OTAifQ.dGhpcyBpcyBubyByZWFsIHNpZ25hdHVyZSBhdCBhbGw"


def _message(record: GivenRecord) -> Any:
    place, timestamp = (record.partition, record.offset), (record.timestamp, record.timestamp_type)
    return kafka_message("aiokafka", record.topic, place, timestamp, record.key, record.headers, record.value)


def _request(*records: GivenRecord) -> RequestSnapshot:
    made = as_incoming("aiokafka", [_message(each) for each in records])
    assert made is not None
    return made.request()


def _again(request: RequestSnapshot) -> list[GivenRecord]:
    lines = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in header_pairs(request.headers)]
    assert request.body is not None
    return given_again(request.path, lines, request.body.data.decode("latin-1"))


_BYTES = (
    st.none() | st.binary(max_size=40) | st.sampled_from([b"\r\n\r\n", b"--timetracer-message--\r\n", b" json:1"])
)
_RECORDS = st.builds(
    GivenRecord,
    topic=st.sampled_from(["orders", "tea.cups_2"]),
    partition=st.integers(0, 9),
    offset=st.integers(0, 1 << 60),
    timestamp=st.integers(-1, 1 << 50),
    timestamp_type=st.sampled_from([0, 1]),
    key=_BYTES,
    value=_BYTES | st.just({"made": ["by", 1, "deserializer"]}),
    headers=st.lists(st.tuples(st.text(st.characters(max_codepoint=255), max_size=8), _BYTES), max_size=3),
)


@given(st.lists(_RECORDS, min_size=1, max_size=4))
def test_messages_come_back_as_they_were(records: list[GivenRecord]) -> None:
    request = _request(*records)
    assert request.method == ("MESSAGE" if len(records) == 1 else "MESSAGES")
    assert _again(request) == records


def _recorded(path: Path, *records: GivenRecord) -> tuple[bytes, list[GivenRecord]]:
    """The bytes of a recording of messages, and the messages that it gives again."""
    with record(path) as session:
        session.set_request(_request(*records))
    told = given_to(read_cassette(path))
    return path.read_bytes(), given_again(told["name"], **told["kwargs"])


def test_secrets_of_each_message_are_found_as_in_a_message_that_comes_alone(tmp_path: Path) -> None:
    def made(offset: int, value: Any, *headers: tuple[str, bytes | None]) -> GivenRecord:
        return GivenRecord("orders", 0, offset, 5, 0, b"k", value, [("shop", b"corner"), *headers])

    records = [
        made(0, b'{"password": "hush-5678", "pot": 1}', ("authorization", b"Bearer hush-1234")),
        made(1, b"\x00\x01raw " + _JWT + b"\xff"),
        made(2, None, ("cookie", b"session=hush-4321; theme=dark")),
        made(3, b"<order><password>hush-8765</password><pot>7</pot></order>"),
        made(4, b"password=hush-2468&pot=2", ("content-type", b"application/x-www-form-urlencoded")),
        made(5, b"nothing of that \x00\xff\r\n"),
    ]
    data, found = _recorded(tmp_path / "all.msgpack", *records)
    secrets = (b"hush", _JWT, _JWT[30:60])
    assert not [each for each in secrets if each in data]
    alone = [_recorded(tmp_path / f"{each.offset}.msgpack", each) for each in records]
    assert not [each for each in secrets for recorded, _ in alone if each in recorded]
    assert [len(each.headers) for each in found] == [2, 1, 2, 1, 2, 1]
    for before, after, (_, [single]) in zip(records, found, alone, strict=True):
        # What takes the place of a secret is another one in each recording. Its form is the same.
        assert len(after.value or b"") == len(single.value or b""), (after, single)
        assert [name for name, _ in after.headers] == [name for name, _ in before.headers]
        assert after.headers[0] == ("shop", b"corner")
        assert (after.value == before.value) is (single.value == before.value)
    assert b'"pot": 1}' in found[0].value
    assert found[1].value.startswith(b"\x00\x01raw ")
    assert found[5] == records[5]


def test_each_message_is_shown_by_itself(tmp_path: Path) -> None:
    first = GivenRecord("orders", 0, 7, 5, 0, b"k", b'{"pot": 1}', [("shop", b"corner")])
    second = GivenRecord("orders", 0, 8, 5, 0, None, b"\x00\xff", [])
    third = GivenRecord("tea", 0, 0, 5, 0, None, None, [])
    request = _request(first, second, third)
    assert (request.method, request.path) == ("MESSAGES", "orders,tea")
    lines = body_lines(request.body, request.headers)[1:]
    assert [line for line in lines if line.startswith("part")] == ["part 1:", "part 2:", "part 3:"]
    assert lines[1:4] == ["  kafka-topic: orders", "  kafka-partition: json:0", "  kafka-offset: json:7"]
    assert '  | {"pot": 1}' in lines
    assert any(line.startswith("  | 00000000  00 ff") for line in lines)
    with record(tmp_path / "x.msgpack") as session:
        session.set_request(request)
    cassette = read_cassette(tmp_path / "x.msgpack")
    assert recording_data(cassette)["root"]["request"]["body"][1:] == lines
    assert [line.strip() for line in stable_lines(cassette) if "| {" in line] == ['| {"pot": 1}']


def test_a_batch_that_is_too_large_is_left_out_of_a_verification_with_the_reason(tmp_path: Path) -> None:
    records = [GivenRecord("orders", 0, each, 5, 0, None, b"x" * 800, []) for each in range(2)]
    with record(tmp_path / "x.msgpack", config=TraceConfig(max_body_kb=1)) as session:
        session.set_request(_request(*records))
    (planned,) = plan(FolderIndex(tmp_path))
    assert (planned.name, planned.is_job) == ("MESSAGES orders", False)
    assert (planned.left_out or "").endswith("bytes was not kept (TIMETRACER_MAX_BODY_KB=1)")
