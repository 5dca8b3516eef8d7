"""`open_cassette`: events that are decoded when they are asked for, and are as `read_cassette` gives them."""

from __future__ import annotations

import copy
import pickle
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cassette.hostile_files import cassette_file, hostile_files
from timetracer_otel.cassette import open_cassette, pack, read_cassette, reader
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette

GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("*.msgpack*"))
EVENT: dict[str, Any] = {
    "eid": 7,
    "type": "custom",
    "start_ms": 0.0,
    "duration_ms": 1.0,
    "signature": {"lib": "x", "method": "GET", "query": {"a": ["1", "2"]}, "body_hash": "0f"},
    "result": {"status": 200},
    "call": {"body": {"captured": True, "data": b"sent"}},
}


@pytest.fixture(autouse=True)
def _none_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "DECODED_AT_ONCE", 0)


def opened(folder: Path, data: bytes) -> Cassette:
    (folder / "x.msgpack").write_bytes(data)
    return open_cassette(folder / "x.msgpack")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_an_opened_cassette_equals_one_that_was_read(path: Path) -> None:
    assert open_cassette(path) == read_cassette(path)


@pytest.mark.parametrize("path", [path for path in GOLDEN if "app" in path.name or path.name == "v1.msgpack"])
def test_each_part_of_an_event_can_be_the_first_that_is_asked_for(path: Path) -> None:
    for name in ("result", "call", "span", "within", "signature", "may_hold_body"):
        for event, whole in zip(open_cassette(path).events, read_cassette(path).events, strict=True):
            if name != "may_hold_body":
                assert getattr(event, name) == getattr(whole, name)
            elif whole.call is not None and whole.call.body is not None:
                assert event.may_hold_body
            assert event == whole


def test_an_event_is_decoded_when_its_answer_is_asked_for_and_no_other_with_it(tmp_path: Path) -> None:
    first, second = opened(tmp_path, cassette_file(EVENT, {**EVENT, "eid": 8})).events
    assert [first.lacks(name) for name in ("signature", "path", "result", "call")] == [False, False, True, True]
    assert first.call is not None
    assert first.call.body is not None
    assert first.call.body.data == b"sent"
    assert first.lacks("result")
    assert first.result.status == 200
    assert first.lacks("span")
    assert first.span is None
    assert first.within == []
    assert second.lacks("result")
    assert second.lacks("call")
    with pytest.raises(AttributeError, match="no_such_field"):
        first.no_such_field  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="no_such_field"):
        second.no_such_field  # type: ignore[attr-defined]  # noqa: B018


def test_an_event_that_was_not_decoded_can_be_copied_pickled_and_replaced(tmp_path: Path) -> None:
    data = cassette_file(EVENT)
    whole = read_cassette(Path(opened(tmp_path, data).path or "")).events[0]
    for do in (copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event)), repr, replace):
        found: Any = do(opened(tmp_path, data).events[0])
        assert found == (repr(whole) if do is repr else whole)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"result": {"status": "two hundred"}}, "event 7: event.result.status is str, not int"),
        ({"result": {"body": {}}}, "event 7: event.result.body has no 'captured'"),
        ({"call": {"headers": 1}}, "event 7: event.call.headers is int, not headers or a map of text to text"),
        ({"result": {"reply": b"\xc7\x00\x7f"}}, "event 7: unknown extension type 127"),
    ],
)
def test_a_part_that_is_not_as_the_format_says_is_an_error_that_names_the_event(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    packed = pack({**EVENT, **changes})
    for value in [change for part in changes.values() for change in part.values() if type(change) is bytes]:
        packed = packed.replace(pack(value), value)
    event = opened(tmp_path, cassette_file(packed)).events[0]
    name = next(iter(changes))
    for _ in range(2):
        with pytest.raises(CassetteError, match=reason) as caught:
            getattr(event, name)
        assert caught.value.offset is not None
        assert caught.value.offset > 0
        assert caught.value.path == str(tmp_path / "x.msgpack")


@pytest.mark.parametrize(
    "changes",
    [
        {"result": 1},
        {"result": None},
        {"call": []},
        {"within": {}},
        {"signature": {"lib": "x"}},
        {"eid": "1"},
        {"type": 1},
        {"path": [1]},
    ],
)
def test_what_an_event_is_found_by_is_checked_when_the_events_are_asked_for(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    cassette = opened(tmp_path, cassette_file(EVENT, {**EVENT, **changes}))
    for _ in range(2):
        with pytest.raises(CassetteError, match="is damaged at offset"):
            cassette.events  # noqa: B018
    later = cassette.later_events
    assert later is not None
    with pytest.raises(CassetteError, match="is damaged at offset"):
        later.with_text(b"signature", 2)


def test_a_cassette_whose_events_were_not_read_can_be_copied_pickled_and_replaced(tmp_path: Path) -> None:
    data = cassette_file(EVENT, {**EVENT, "eid": 3})
    whole = read_cassette(Path(opened(tmp_path, data).path or ""))
    for do in (copy.copy, copy.deepcopy, lambda cassette: pickle.loads(pickle.dumps(cassette)), repr, replace):
        found: Any = do(opened(tmp_path, data))
        assert found == (repr(whole) if do is repr else whole)
    cassette = opened(tmp_path, data)
    with pytest.raises(AttributeError, match="no_such_field"):
        cassette.no_such_field  # type: ignore[attr-defined]  # noqa: B018
    assert cassette.later_events is not None
    assert [event.eid for event in cassette.events] == [3, 7]
    assert cassette.later_events is None


def test_an_unusual_event_is_decoded_at_once_and_the_others_are_not(tmp_path: Path) -> None:
    unusual = {**EVENT, "eid": 8, "signature": {"lib": "x", "method": "GET", "query": {"a": [["1"]] * 20}}}
    events = opened(tmp_path, cassette_file(EVENT, unusual, {**EVENT, "eid": 9})).events
    assert [event.lacks("result") for event in events] == [True, False, True]
    path = tmp_path / "x.msgpack"
    assert events == read_cassette(path).events


def test_events_are_found_by_a_text_in_their_bytes(tmp_path: Path) -> None:
    urls = ["/a", "/a/b", "/ab", "/a", "/é/a"]
    made = [
        {**EVENT, "eid": 9 - at, "signature": {"lib": "x", "method": "GET", "url": url}}
        for at, url in enumerate(urls)
    ]
    later = opened(tmp_path, cassette_file(*made)).later_events
    assert later is not None

    def found(text: str, most: int, *, is_whole: bool = True) -> list[int] | None:
        events = later.with_text(text.encode(), most, is_whole=is_whole)
        return None if events is None else [event.eid for event in events]

    assert found("/a", 9) == [5, 6, 9]
    assert found("/a", 9, is_whole=False) == [5, 6, 7, 8, 9]
    assert found("/a", 2) is None
    assert found("/nothing", 0) == []
    assert found("/a/b", 1) == [8]
    one = later.with_text(b"/a/b", 1)
    assert one is not None
    assert any(one[0] is event for event in later.all())


def test_the_events_of_a_recorder_that_died_are_decoded_at_once(tmp_path: Path) -> None:
    data = cassette_file(EVENT, sealed=False)
    assert not opened(tmp_path, data).events[0].lacks("result")
    with pytest.raises(CassetteError, match="damaged"):
        opened(tmp_path, cassette_file({**EVENT, "result": {"status": ""}}, sealed=False))


@pytest.mark.parametrize("name", hostile_files(1 << 12))
def test_a_hostile_file_that_cannot_be_read_cannot_be_opened_and_asked_either(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(hostile_files(1 << 12)[name]())

    def text_of(read: Any) -> str:
        try:
            return repr(read(tmp_path / "x").events)
        except CassetteError:
            return "refused"

    assert text_of(open_cassette) == text_of(read_cassette)


def test_threads_that_ask_at_the_same_time_get_the_same_answer(tmp_path: Path) -> None:
    events = opened(tmp_path, cassette_file(*[{**EVENT, "eid": eid} for eid in range(1, 300)])).events
    found: list[list[Any]] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait()
        found.append([(event.call, event.result) for event in events])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for one in zip(*found, strict=True):
        assert all(call is one[0][0] and result is one[0][1] for call, result in one)


def test_a_checksum_that_does_not_fit_is_an_error_at_once(tmp_path: Path) -> None:
    data = bytearray(cassette_file(EVENT))
    data[data.index(b"sent")] ^= 1
    assert zlib.crc32(bytes(data))
    with pytest.raises(CassetteError, match="the checksum does not fit"):
        opened(tmp_path, bytes(data))


def test_few_events_are_decoded_when_the_cassette_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = cassette_file(EVENT, {**EVENT, "eid": 8})
    monkeypatch.setattr(reader, "DECODED_AT_ONCE", 2)
    assert not opened(tmp_path, data).events[0].lacks("result")
    monkeypatch.setattr(reader, "DECODED_AT_ONCE", 1)
    assert opened(tmp_path, data).events[0].lacks("result")
