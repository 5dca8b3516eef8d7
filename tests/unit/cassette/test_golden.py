"""The golden files of version 1: read as they were meant, cut anywhere, damaged anywhere."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from pathlib import Path

import msgpack  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples, sampled
from tests.golden import make_golden
from tests.unit.cassette.same import same
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cassette.frames import objects
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette

GOLDEN = Path(make_golden.__file__).parent
WHOLE = ["v1.msgpack", "v1.msgpack.gz", "v1.msgpack.zst", "v1-appended.msgpack"]
EXPECTED = make_golden.golden()


def read(data: bytes, folder: Path) -> Cassette:
    file = folder / "cassette"
    file.write_bytes(data)
    return replace(read_cassette(file), path=None)


def is_prefix(found: Cassette) -> bool:
    """Whether a recovered cassette has the header and the first events, and does not claim more."""
    return (
        not found.complete
        and same(found.session, EXPECTED.session)
        and same(found.request, EXPECTED.request)
        and same(found.events, EXPECTED.events[: len(found.events)])
    )


@pytest.mark.parametrize("name", WHOLE)
def test_golden_files_read_as_what_was_written(name: str) -> None:
    found = read_cassette(GOLDEN / name)
    assert found.path == str(GOLDEN / name)
    assert same(replace(found, path=None), EXPECTED)


def test_rows_as_a_server_sent_them_are_read_as_values() -> None:
    (event,) = read_cassette(GOLDEN / "v1-sent-rows.msgpack").events
    assert same(event.result.reply, {"rows": make_golden.SENT_VALUES})


def test_what_later_recorders_say_is_read_and_older_files_say_nothing_of_it() -> None:
    found, older = read_cassette(GOLDEN / "v1-renamed.msgpack"), read_cassette(GOLDEN / "v1.msgpack")
    assert same(replace(found, path=None), make_golden.golden_renamed())
    assert [each.replaced for each in found.scrubbed] == [3, 0]
    chance = random.Random()
    assert found.session.random_state is not None
    chance.setstate(found.session.random_state)
    assert (older.pseudonyms, older.scrubbed, older.events[0].pseudonyms) == ((), (), ())
    assert (older.session.hash_seed, older.session.random_state, older.session.process) == (None, None, [])
    assert older.policies.pseudonymised is False
    header = _plain((GOLDEN / "v1-renamed.msgpack").read_bytes())[0]
    assert header["pseudonyms"] == list(found.pseudonyms)
    assert {"at", "timetracer", "mode", "rules", "replaced"} >= set(header["scrubbed"][0])  # type: ignore[index]


def test_the_cut_golden_file_gives_its_whole_events() -> None:
    found = read_cassette(GOLDEN / "v1-cut.msgpack")
    assert is_prefix(found)
    assert len(found.events) == 3
    assert found.stats.total_events == 3
    assert found.stats.event_counts == {"http.client": 2, "db.query": 1}


def test_golden_files_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_golden, "HERE", tmp_path)
    assert make_golden.main() == 0
    kept = tmp_path / "v1.msgpack"
    assert kept.read_bytes() == (GOLDEN / "v1.msgpack").read_bytes()
    kept.write_bytes((GOLDEN / "v1-cut.msgpack").read_bytes())
    assert make_golden.main() == 1
    assert kept.read_bytes() == (GOLDEN / "v1-cut.msgpack").read_bytes()


def test_golden_files_are_what_would_be_written_today(tmp_path: Path) -> None:
    make_golden.write_all(tmp_path)
    for name in ("v1.msgpack", "v1-appended.msgpack", "v1-cut.msgpack", "v1-renamed.msgpack"):
        assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_any_msgpack_reader_reads_the_stream_as_the_specification_says() -> None:
    data = (GOLDEN / "v1.msgpack").read_bytes()
    parts = _plain(data)
    header, events, footer = parts[0], parts[1:-1], parts[-1]
    assert (header["format"], header["version"]) == ("timetracer-cassette", 1)
    assert list(header)[:2] == ["format", "version"]
    assert [event["eid"] for event in events] == [1, 2, 3, 4]
    assert footer["footer"] == len(events)
    assert list(footer)[-2:] == ["offset", "crc32"]
    assert data[-5] == 0xCE
    assert footer["crc32"] == zlib.crc32(data[:-4])
    assert next(iter(_plain(data[int(str(footer["offset"])) :]))) == footer


def _plain(data: bytes) -> list[dict[str, object]]:
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
    unpacker.feed(data)
    return list(unpacker)


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["v1.msgpack", "v1.msgpack.gz", "v1.msgpack.zst"])
def test_a_file_cut_at_any_byte_gives_every_whole_event(name: str, tmp_path: Path) -> None:
    data = (GOLDEN / name).read_bytes()
    plain = (GOLDEN / "v1.msgpack").read_bytes()
    ends = [end for _, end in objects(plain)]
    seen = set()
    # Of the plain file also the bytes at which an event ends, so that each number of whole events is seen.
    edges = [] if name != "v1.msgpack" else [length for end in ends[:-1] for length in (end, end + 1)]
    for length in sorted({*sampled(range(len(data)), 150), *edges}):
        try:
            found = read(data[:length], tmp_path)
        except CassetteError as fault:
            refused = str(fault)
        else:
            refused = ""
        if refused:
            assert "header" in refused or "empty" in refused or length < 4, (length, refused)
            assert name != "v1.msgpack" or length < ends[0]
            continue
        if found.complete:  # Of a compressed file the last bytes are only the compression's own.
            assert name != "v1.msgpack"
            assert same(found, EXPECTED)
            continue
        assert is_prefix(found), length
        if name == "v1.msgpack":
            assert len(found.events) == sum(end <= length for end in ends[1:-1])
        seen.add(len(found.events))
    assert name != "v1.msgpack" or seen == {0, 1, 2, 3, 4}


def _check_damaged(data: bytes, folder: Path) -> bool:
    """Whether a damaged file is refused; anything else than the very same content fails."""
    try:
        found = read(data, folder)
    except CassetteError as fault:
        named = str(folder) in str(fault)
    else:
        assert same(found, EXPECTED), "a damaged file was read as something else"
        return False
    assert named
    return True


@pytest.mark.sweep
@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_no_single_changed_byte_of_a_finished_file_is_read_silently(flip: int, tmp_path: Path) -> None:
    data = bytearray((GOLDEN / "v1.msgpack").read_bytes())
    for at in sampled(range(len(data)), 200):
        data[at] ^= flip
        assert _check_damaged(bytes(data), tmp_path), at
        data[at] ^= flip


@given(data=st.data())
@examples(50)
def test_no_byte_of_any_golden_file_can_be_changed_silently(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = bytearray((GOLDEN / data.draw(st.sampled_from(WHOLE))).read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda value: value != raw[at]))
    _check_damaged(bytes(raw), tmp_path_factory.getbasetemp())


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["v1.msgpack.gz", "v1.msgpack.zst"])
def test_no_changed_byte_of_a_compressed_file_is_read_as_something_else(name: str, tmp_path: Path) -> None:
    data = bytearray((GOLDEN / name).read_bytes())
    for at in sampled(range(len(data)), 200):
        data[at] ^= 0x01
        _check_damaged(bytes(data), tmp_path)
        data[at] ^= 0x01


@pytest.mark.parametrize("name", WHOLE)
def test_bytes_behind_the_end_are_refused(name: str, tmp_path: Path) -> None:
    data = (GOLDEN / name).read_bytes()
    for more in (b"\x00", b"\xc1", b"\xc0" * 3000, data):
        assert _check_damaged(data + more, tmp_path)


@pytest.mark.parametrize("name", WHOLE)
def test_a_missing_stretch_within_a_finished_file_is_refused(name: str, tmp_path: Path) -> None:
    data = (GOLDEN / name).read_bytes()
    for start in range(0, len(data) - 40, 97):
        assert _check_damaged(data[:start] + data[start + 20 :], tmp_path)
