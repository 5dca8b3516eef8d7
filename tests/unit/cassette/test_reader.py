"""`read_cassette` on files from strangers: `CassetteError` with path, offset and cure, and nothing else."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import textwrap
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples, sampled
from tests.golden.make_golden import golden
from timetracer_otel.cassette import (
    AppendWriter,
    Unencodable,
    cassette_from_bytes,
    cassette_to_bytes,
    compression,
    pack,
    read_cassette,
    save_cassette,
    unpack,
)
from timetracer_otel.cassette.frames import seal
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError, CassetteSchemaError
from timetracer_otel.types import BodySnapshot, Cassette, EventResult

HEADER: dict[str, Any] = {
    "format": "timetracer-cassette",
    "version": 1,
    "session": {"id": "1", "recorded_at": "2024-01-01T00:00:00+00:00", "service": "s", "env": "e"},
    "request": {"method": "GET", "path": "/"},
}
EVENT: dict[str, Any] = {
    "eid": 1,
    "type": "http.client",
    "start_ms": 0.0,
    "duration_ms": 1.0,
    "signature": {"lib": "httpx", "method": "GET"},
    "result": {"status": 200},
}
FOOTER: dict[str, Any] = {"footer": 1, "stats": {"total": 1}, "response": {"status": 200}}


def stream(*events: Any, header: Any = HEADER, footer: dict[str, Any] | None = FOOTER) -> bytes:
    """A stream made by hand; values that are bytes stand in it as they are."""
    data = b"".join(part if type(part) is bytes else pack(part) for part in (header, *events))
    return data + seal(footer, len(data), zlib.crc32(data)) if footer is not None else data


def read(folder: Path, data: bytes) -> Cassette:
    file = folder / "a.msgpack"
    file.write_bytes(data)
    return read_cassette(file)


def refused(folder: Path, data: bytes) -> CassetteError:
    with pytest.raises(CassetteError) as caught:
        read(folder, data)
    assert str(folder / "a.msgpack") in str(caught.value)
    assert caught.value.path == str(folder / "a.msgpack")
    return caught.value


def test_a_minimal_stream_has_the_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, stream(EVENT))
    assert found.complete
    assert found.schema_version == "1"
    assert found.events[0].result == EventResult(status=200)
    assert found.request.headers == {}
    assert found.policies.sample_rate == 1.0


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    more = {"new": [1, {"deep": True}]}
    event = {
        **EVENT,
        **more,
        "signature": {**EVENT["signature"], **more},
        "result": {"body": {"captured": True, **more}},
    }
    found = read(tmp_path, stream(event, header={**HEADER, **more}, footer={**FOOTER, **more}))
    assert found.events[0].result.body == BodySnapshot(captured=True)


def test_whole_numbers_do_for_numbers_and_nil_for_what_is_missing(tmp_path: Path) -> None:
    found = read(tmp_path, stream({**EVENT, "duration_ms": 7, "span": None, "path": None}))
    assert found.events[0].duration_ms == 7.0
    assert type(found.events[0].duration_ms) is float


def test_events_come_in_order_of_start(tmp_path: Path) -> None:
    found = read(tmp_path, stream({**EVENT, "eid": 2}, EVENT, footer={**FOOTER, "footer": 2}))
    assert [event.eid for event in found.events] == [1, 2]


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (7, "event is int, not a map"),
        ([], "event is list, not a map"),
        ({}, "event has no 'eid'"),
        ({**EVENT, "eid": "1"}, "event.eid is str, not int"),
        ({**EVENT, "eid": True}, "event.eid is bool, not int"),
        ({**EVENT, "eid": None}, "event has no 'eid'"),
        ({**EVENT, "type": "smoke signal"}, "event.type"),
        ({**EVENT, "signature": []}, "event.signature is list, not a map"),
        ({**EVENT, "result": {"body": {}}}, "event.result.body has no 'captured'"),
        ({**EVENT, "result": {"headers": {"a": 1}}}, "event.result.headers"),
        ({**EVENT, "result": {"headers": {1: "a"}}}, "event.result.headers"),
        ({**EVENT, "result": {"exception": {}}}, "event.result.exception is dict, not an error"),
        ({**EVENT, "result": {"body": {"captured": True, "chunks": [[1]]}}}, "event.result.body.chunks"),
        ({**EVENT, "result": {"body": {"captured": True, "chunks": [[True, 1]]}}}, "event.result.body.chunks"),
        ({**EVENT, "result": {"body": {"captured": True, "end": "never"}}}, "event.result.body.end"),
        ({**EVENT, "path": ["a", 1]}, "event.path"),
        ({**EVENT, "duration_ms": 1 << 2000}, "event.duration_ms|too large"),
        (b"\xc1", "0xc1 begins no object"),
        (b"\x81\xa1a\xc1", "0xc1 begins no object"),
        (b"\x81\xa1a\xd4\x7f\x00", "unknown extension type 127"),
        (b"\x81\xa1a\xa1\xff", "utf-8"),
        (b"\x81\x90\x00", "unhashable"),
        (b"\x91" * 2000 + b"\xc0", "more than 1024 levels"),
        (b"\xdd\xff\xff\xff\xff", "a length of 4294967295, more than any cassette holds"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "a length of 4294967295, more than any cassette holds"),
        (b"\xdb\x00\xff\xff\xff", "16777215 bytes are claimed"),
    ],
)
def test_what_is_no_event_is_refused_with_its_offset(tmp_path: Path, event: Any, says: str) -> None:
    fault = refused(tmp_path, stream(event))
    assert fault.offset is not None
    assert len(pack(HEADER)) <= fault.offset <= len(stream(event))
    assert f"offset {fault.offset}" in str(fault)
    assert any(part in str(fault) for part in says.split("|")), fault


@pytest.mark.parametrize("event", [b"\xdd\xff\xff\xff\xff\x00", b"\x81\xa1a\xc6\x40\x00\x00\x01abc"])
def test_lengths_beyond_a_gibibyte_are_refused_in_cut_files_too(tmp_path: Path, event: bytes) -> None:
    assert "more than any cassette holds" in str(refused(tmp_path, stream(EVENT, event, footer=None)))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({**HEADER, "session": None}, "session is NoneType"),
        ({**HEADER, "session": {**HEADER["session"], "id": 1}}, "session.id is int"),
        ({**HEADER, "request": {"method": "GET"}}, "request has no 'path'"),
        ({**HEADER, "policies": {"errors_only": 1}}, "policies.errors_only is int"),
        ({**HEADER, "versions": {"a": 1}}, "session.versions"),
    ],
)
def test_wrong_headers_are_refused(tmp_path: Path, header: Any, says: str) -> None:
    assert says in str(refused(tmp_path, stream(EVENT, header=header)))


@pytest.mark.parametrize(
    ("footer", "says"),
    [
        ({**FOOTER, "footer": 2}, "counts 2 events where 1 stand"),
        ({**FOOTER, "footer": True}, "counts a bool as its events"),
        ({**FOOTER, "response": None}, "response is NoneType"),
        ({**FOOTER, "stats": 1}, "stats is int"),
        ({**FOOTER, "dropped": {"a": "b"}}, "stats.dropped"),
        ({**FOOTER, "error_info": 1}, "error_info"),
    ],
)
def test_wrong_footers_are_refused(tmp_path: Path, footer: Any, says: str) -> None:
    assert says in str(refused(tmp_path, stream(EVENT, footer=footer)))


def test_a_footer_without_a_seal_is_refused(tmp_path: Path) -> None:
    assert "seal" in str(refused(tmp_path, stream(EVENT, FOOTER, footer=None)))


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    data = stream(EVENT)
    assert "checksum" in str(refused(tmp_path, data[:-1] + bytes([data[-1] ^ 1])))


def test_a_newer_version_is_a_schema_error_whatever_else_it_holds(tmp_path: Path) -> None:
    data = stream(EVENT, header={**HEADER, "version": 2})
    for damaged in (data, data[:40], data.replace(b"session", b"\xc1\xc1\xc1\xc1\xc1\xc1\xc1")):
        fault = refused(tmp_path, damaged)
        assert isinstance(fault, CassetteSchemaError)
        assert (fault.expected_version, fault.actual_version) == ("1", "2")


def test_a_header_without_a_version_is_a_schema_error(tmp_path: Path) -> None:
    assert isinstance(refused(tmp_path, pack({"format": "timetracer-cassette", "session": {}})), CassetteSchemaError)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it is empty"),
        (b'{"schema_version": "1.0"}', "looks like JSON"),
        (b"\xef\xbb\xbf [1]", "looks like JSON"),
        (b"interactions:\n- request:\n", "looks like YAML"),
        (b"---\na: 1\n", "looks like YAML"),
        (b"Hello", "looks like text"),
        (b"\x80", "was cut within its header"),
        (b"\x86\xa6format\xb3timetr", "was cut within its header"),
        (b"\x00\x01\x02", "no msgpack stream of ours"),
        (msgpack.packb({"a": 1}), "no msgpack stream of ours"),
        (gzip.compress(b"{}", mtime=0), "looks like JSON"),
        (b"\x1f\x8b\x08garbage-garbage", "gzip data breaks"),
        (b"\x28\xb5\x2f\xfdgarbage-garbage", "zstd data breaks"),
        (b"SQLite format 3\x00", "no msgpack stream of ours|looks like text"),
    ],
)
def test_what_is_no_cassette_is_told_by_its_looks(tmp_path: Path, data: bytes, says: str) -> None:
    fault = refused(tmp_path, data)
    assert any(part in str(fault) for part in says.split("|")), fault


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "no.msgpack", tmp_path / "no" / "no.msgpack"):
        with pytest.raises(CassetteNotFoundError, match="Record it first"):
            read_cassette(path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CassetteNotFoundError):
        read_cassette(tmp_path / "file" / "below")


def test_a_folder_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(CassetteError, match="it is a folder"):
        read_cassette(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CassetteError, match="no regular file"):
        read_cassette(tmp_path / "pipe")


def test_an_impossible_path_is_a_cassette_error() -> None:
    with pytest.raises(CassetteError):
        read_cassette("a\x00b")


def test_a_file_without_permission_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr("timetracer_otel.cassette.reader.open", refuse, raising=False)
    with pytest.raises(CassetteError, match="permission to read"):
        read_cassette(tmp_path / "a")


@given(st.binary(max_size=400))
@examples(150)
def test_arbitrary_bytes_raise_nothing_but_cassette_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for content in (
        data,
        pack(HEADER) + data,
        stream(data),
        gzip.compress(pack(HEADER) + data),
        b"\x1f\x8b\x08" + data,
    ):
        try:
            read(folder, content)
        except CassetteError:
            pass


def test_a_recorded_cassette_within_a_cassette_does_not_hide_a_cut(tmp_path: Path) -> None:
    inner = stream(EVENT)
    event = {**EVENT, "eid": 2, "result": {"body": {"captured": True, "data": inner}, "reply": "behind"}}
    whole = stream(EVENT, event, footer={**FOOTER, "footer": 2})
    at = whole.index(inner) + len(inner)
    for length in range(len(pack(HEADER)), len(whole)):
        found = read(tmp_path, whole[:length])
        assert not found.complete
        assert len(found.events) == (length >= len(pack(HEADER)) + len(pack(EVENT))) + (
            length >= len(stream(EVENT, event, footer=None))
        )
    assert at < len(stream(EVENT, event, footer=None))
    assert read(tmp_path, whole).complete


def test_bytes_lost_within_a_finished_file_do_not_make_it_a_cut_one(tmp_path: Path) -> None:
    whole = stream({**EVENT, "result": {"body": {"captured": True, "data": b"x" * 1000}}})
    at = whole.index(b"xxx")
    for data in (whole[:at] + whole[at + 1 :], whole[:at] + b"x" + whole[at:]):
        assert refused(tmp_path, data).offset is not None


@pytest.mark.parametrize("kind", [CompressionType.GZIP, CompressionType.ZSTD])
def test_a_decompression_bomb_is_refused_and_can_be_read_when_it_is_expanded(
    tmp_path: Path, kind: CompressionType
) -> None:
    cassette = golden()
    cassette.events[0].result.body = BodySnapshot(captured=True, data=bytes(4 << 20))
    plain = cassette_to_bytes(cassette)
    squeeze = compression.compressor(kind, "")
    file = tmp_path / "a"
    file.write_bytes(squeeze.write(plain) + squeeze.finish())
    with pytest.raises(CassetteError, match="expands to more than") as caught:
        read_cassette(file)
    assert caught.value.path == str(file)
    file.write_bytes(plain)
    assert read_cassette(file).complete


DENSE = {
    "zeros": bytes(4 << 20),
    "empty maps": [{} for _ in range(1 << 17)],
    "a map of numbers": {number: number for number in range(1 << 15)},
    "rows": [("name", number % 7, None) for number in range(1 << 14)],
}


@pytest.mark.sweep
@pytest.mark.parametrize(("name", "kind"), sampled([(name, kind) for name in DENSE for kind in CompressionType], 3))
def test_what_packs_like_a_bomb_is_stored_so_that_it_can_be_read(
    tmp_path: Path, kind: CompressionType, name: str
) -> None:
    cassette = golden()
    cassette.events[0].result.body = BodySnapshot(captured=True, data=DENSE[name])
    whole = cassette_to_bytes(cassette, kind)
    assert replace(cassette_from_bytes(whole, "a"), path=None) == cassette
    assert whole == cassette_to_bytes(cassette, kind)
    plain = len(cassette_to_bytes(cassette))
    assert len(whole) < plain * 2
    if kind is not CompressionType.NONE and name == "zeros":
        assert len(whole) < plain / 10
    with AppendWriter(tmp_path / "appended", cassette, kind) as writer:
        for event in cassette.events:
            writer.append(event)
            # Behind the event that packs like a bomb, and behind the last one: to read it takes long.
            if writer.events in (1, len(cassette.events)):
                assert len(read_cassette(writer.path).events) == writer.events
        writer.finish(cassette)
    assert replace(read_cassette(writer.path), path=None) == cassette


def test_a_zstd_window_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    # Frame header: no single segment, window descriptor of 2 GiB.
    assert "zstd" in str(refused(tmp_path, b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00" * 10))


HOSTILE = {
    "arrays within arrays that all claim the rest": b"\xdd\x00\x10\x00\x00" * (1 << 18),
    "maps within maps that all claim the rest": (b"\xdf\x00\x08\x00\x00\x01") * (1 << 17),
    "a long text": b"\xdb\x3f\xff\xff\xff" + b"x" * 100,
    "the same within an extension": b"\xc9\x00\x10\x00\x00\x02"
    + b"\xdd\x00\x03\x33\x33" * ((1 << 20) // 5)
    + b"\x00",
}


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory by RLIMIT_AS")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lengths_allocate_in_proportion_to_the_file(tmp_path: Path, name: str) -> None:
    for footer in (FOOTER, None):
        (tmp_path / "a.msgpack").write_bytes(stream(EVENT, HOSTILE[name], footer=footer))
        script = """
            import resource, sys
            from timetracer_otel.cassette import read_cassette
            from timetracer_otel.exceptions import CassetteError
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (96 << 20),) * 2)
            try:
                sys.exit(0 if not read_cassette(sys.argv[1]).complete else 3)
            except CassetteError:
                pass
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a.msgpack")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e300, 10**18, 10**400])
@pytest.mark.parametrize("place", ["start_ms", "duration_ms", "end_ms", "chunks"])
def test_a_time_that_is_none_is_refused(tmp_path: Path, place: str, number: float) -> None:
    body = {"captured": True, "encoding": "bytes", "data": b"a"}
    event = {**EVENT, "result": {"status": 200, "body": body}}
    if place == "chunks":
        body["chunks"] = [[number, 1]]
    else:
        (body if place == "end_ms" else event)[place] = number
    assert place in str(refused(tmp_path, stream(event)))


def test_a_number_longer_than_python_writes_is_refused_both_ways(tmp_path: Path) -> None:
    longest = 2 ** (8 * 1785 - 1) - 1
    assert unpack(pack([longest, -longest])) == [longest, -longest]
    assert len(str(longest)) <= 4300
    event = {**EVENT, "result": {"reply": msgpack.ExtType(1, b"\x7f" * 1786)}}
    assert "more than 1785 bytes" in str(refused(tmp_path, stream(msgpack.packb(event))))
    with pytest.raises(Unencodable, match="1786 bytes"):
        pack(longest + 1)


def test_zstd_without_its_package_is_answered_with_the_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_cassette(golden(), tmp_path / "a.zst", CompressionType.ZSTD)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setattr(sys, "version_info", (3, 13))
    for attempt in (lambda: read_cassette(path), lambda: save_cassette(golden(), path, CompressionType.ZSTD)):
        with pytest.raises(CassetteError) as caught:
            attempt()
        assert 'pip install "timetracer-otel[zstd]"' in str(caught.value)
