"""`save_cassette` and `AppendWriter`: whole or not at all, and nothing finished is lost."""

from __future__ import annotations

import errno
import http
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.golden.make_golden import golden, golden_renamed
from tests.unit.cassette.same import same
from timetracer_otel.cassette import (
    AppendWriter,
    cassette_from_bytes,
    cassette_to_bytes,
    read_cassette,
    save_cassette,
    writer,
)
from timetracer_otel.cassette.codec import pack_map, unpack
from timetracer_otel.cassette.costs import Account, OwnCosts
from timetracer_otel.cassette.model import (
    _EVENT,
    _encode_footer_in_part,
    _encode_header_in_part,
    encode_event,
    encode_footer,
    encode_header,
    event_from,
)
from timetracer_otel.cassette.stores.files import head_of
from timetracer_otel.constants import CompressionType, EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import (
    AppliedPolicies,
    BodySnapshot,
    CallSnapshot,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    HeaderMap,
    LogEntry,
    RecordedError,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
    SpanFacts,
)

KINDS = list(CompressionType)


def event(eid: int, **fields: Any) -> DependencyEvent:
    return DependencyEvent(
        **{
            "eid": eid,
            "event_type": EventType.CUSTOM,
            "start_offset_ms": 1.0,
            "duration_ms": 1.0,
            "signature": EventSignature("lib", "call"),
            "result": EventResult(),
            **fields,
        }
    )


def cassette(*events: DependencyEvent, **fields: Any) -> Cassette:
    session = SessionMeta(id="s", recorded_at="2024-01-01T00:00:00+00:00", service="svc", env="test")
    return Cassette("1", session, RequestSnapshot("GET", "/"), ResponseSnapshot(200), list(events), **fields)


def read(path: str | Path) -> Cassette:
    return replace(read_cassette(path), path=None)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_read(tmp_path: Path, kind: CompressionType) -> None:
    path = save_cassette(golden(), tmp_path / "deep" / "er" / "name of any kind", kind)
    assert path == str(tmp_path / "deep" / "er" / "name of any kind")
    assert same(read(path), golden())
    assert files(tmp_path) == ["deep/er/name of any kind"]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_cassettes_are_equal_files(tmp_path: Path, kind: CompressionType) -> None:
    one, two = (Path(save_cassette(golden(), tmp_path / name, kind)).read_bytes() for name in "ab")
    assert one == two


def test_events_stand_in_order_of_start(tmp_path: Path) -> None:
    path = save_cassette(cassette(event(3), event(1), event(2)), tmp_path / "a")
    data = Path(path).read_bytes()
    assert [data[at + 4] for at in _all(data, b"\xa3eid")] == [1, 2, 3]


def _all(data: bytes, part: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(part, at)]


def test_defaults_stay_out_of_the_file_and_empty_values_that_are_none_of_them_stay_in(tmp_path: Path) -> None:
    plain = event(1)
    empty = event(
        2,
        result=EventResult(headers=HeaderMap(), reply={}, body=BodySnapshot(captured=True, data=b"")),
        call=CallSnapshot(args=[]),
    )
    path = save_cassette(cassette(plain, empty), tmp_path / "a")
    assert same(read(path).events, [plain, empty])
    assert Path(path).read_bytes().count(b"headers") == 1
    assert b"not_replayable" not in Path(path).read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_files_and_new_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    old = os.umask(0)
    try:
        path = Path(save_cassette(cassette(), tmp_path / "new" / "er" / "a"))
        with AppendWriter(tmp_path / "new" / "b", cassette()) as appending:
            appending.append(event(1))
    finally:
        os.umask(old)
    modes = [
        stat.S_IMODE(place.stat().st_mode) for place in (path, tmp_path / "new" / "b", path.parent, tmp_path / "new")
    ]
    assert modes == [0o600, 0o600, 0o700, 0o700]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_value_without_encoding_makes_its_event_not_replayable_and_loses_nothing_else(tmp_path: Path) -> None:
    bad = event(1, result=EventResult(status=200, reply={"rows": [object()]}, body=BodySnapshot(True, data=b"kept")))
    found = read(save_cassette(cassette(bad, event(2)), tmp_path / "a"))
    assert [one.eid for one in found.events] == [1, 2]
    assert found.events[0].result == EventResult(status=200, body=BodySnapshot(True, data=b"kept"))
    assert "result.reply: value['rows'][0]: builtins.object has no encoding" in str(found.events[0].not_replayable)
    assert found.events[1].not_replayable is None
    assert found.stats.dropped == {"event.result.reply: no faithful encoding": 1}


def test_what_is_only_shown_is_left_out_and_counted(tmp_path: Path) -> None:
    shown = event(1, call=CallSnapshot(args=object(), body=BodySnapshot(True, data=b"x")))
    found = read(save_cassette(cassette(shown), tmp_path / "a"))
    assert found.events[0].not_replayable is None
    assert found.events[0].call == CallSnapshot(body=BodySnapshot(True, data=b"x"))
    assert found.stats.dropped == {"event.call.args: no faithful encoding": 1}


def test_fields_of_hand_written_plugins_are_stored_as_their_values(tmp_path: Path) -> None:
    class Name(str):
        __slots__ = ()

    loose = event(
        1,
        event_type="custom",
        start_offset_ms=3,
        signature=EventSignature(Name("lib"), Name("GET")),
        result=EventResult(status=http.HTTPStatus.CREATED),
    )
    found = read(save_cassette(cassette(loose), tmp_path / "a"))
    assert same(
        found.events,
        [event(1, start_offset_ms=3.0, signature=EventSignature("lib", "GET"), result=EventResult(status=201))],
    )
    assert found.stats.dropped == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"duration_ms": Decimal(1)},
        {"duration_ms": None},
        {"event_type": "smoke signal"},
        {"signature": None},
        {"signature": EventSignature(None, object())},  # type: ignore[arg-type]
        {"result": {"status": 200}},
        {"result": EventResult(status="200")},  # type: ignore[arg-type]
        {"result": EventResult(headers={"a": 1})},  # type: ignore[dict-item]
        {"result": EventResult(body=BodySnapshot(True, chunks=((1.0,),)))},  # type: ignore[arg-type]
        {"result": EventResult(body=BodySnapshot(True, end="never"))},  # type: ignore[arg-type]
        {"path": 7},
        {"not_replayable": 7},
    ],
    ids=lambda fields: re.sub(r" at 0x\w+", "", str(fields)),
)
def test_fields_of_a_wrong_type_never_make_a_file_that_cannot_be_read(tmp_path: Path, fields: Any) -> None:
    found = read(save_cassette(cassette(event(1, **fields), event(2)), tmp_path / "a"))
    assert found.complete
    assert [one.eid for one in found.events] == [1, 2]
    assert "no faithful encoding" in str(found.events[0].not_replayable)
    assert found.stats.dropped


def test_header_and_footer_with_odd_values_are_written_without_them(tmp_path: Path) -> None:
    odd = cassette(event(1), error_info={"type": object()})
    odd.request.body = BodySnapshot(True, data=object())
    odd.request.headers = {"a": 1}  # type: ignore[dict-item]
    odd.session.service = None  # type: ignore[assignment]
    odd.response.status = "no"  # type: ignore[assignment]
    odd.stats.dropped = {"buffer full": 1}
    found = read(save_cassette(odd, tmp_path / "a"))
    assert found.request.body == BodySnapshot(True)
    assert found.session.service == ""
    assert found.response.status == 0
    assert found.error_info is None
    assert found.stats.dropped == {
        "buffer full": 1,
        **dict.fromkeys(
            (
                f"{place}: no faithful encoding"
                for place in (
                    "request.body.data",
                    "request.headers",
                    "session.service",
                    "response.status",
                    "error_info",
                )
            ),
            1,
        ),
    }


class Full:
    """Takes so many bytes, and then says what a full disk says."""

    def __init__(self, room: int, number: int = errno.ENOSPC) -> None:
        self.room, self.number, self.write = room, number, os.write

    def __call__(self, handle: int, data: Any) -> int:
        if self.room <= 0:
            raise OSError(self.number, os.strerror(self.number))
        written = self.write(handle, bytes(data[: self.room]))
        self.room -= written
        return written


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: CompressionType
) -> None:
    path = save_cassette(cassette(), tmp_path / "a")
    monkeypatch.setattr(os, "write", Full(1000))
    with pytest.raises(CassetteError, match="Free some space") as caught:
        save_cassette(golden(), path, kind)
    assert caught.value.path == path
    assert files(tmp_path) == ["a"]
    assert read(path) == cassette()


def test_an_interrupt_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "encode_event", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_cassette(golden(), tmp_path / "a")
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CassetteError, match=r"writable.*TIMETRACER_DIR") as caught:
        save_cassette(cassette(), tmp_path / "a")
    assert str(tmp_path / "a") in str(caught.value)


@pytest.mark.parametrize("write", [save_cassette, lambda one, path: AppendWriter(path, one)])
def test_paths_that_cannot_be_files_are_cassette_errors(tmp_path: Path, write: Any) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    for path, cure in (
        (tmp_path / "file" / "below", "name another folder"),
        (tmp_path / "folder", "name a file"),
        (tmp_path / ("x" * 300), "shorter name"),
        ("a\x00b", "Record elsewhere"),
    ):
        with pytest.raises(CassetteError, match=cure):
            write(cassette(), path)
    assert files(tmp_path) == ["file"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_appended_event_can_be_read_at_once(tmp_path: Path, kind: CompressionType) -> None:
    whole = golden()
    writer = AppendWriter(tmp_path / "new" / "a", whole, kind)
    assert read(writer.path).events == []
    for number, one in enumerate(whole.events, start=1):
        writer.append(one)
        found = read(writer.path)
        assert not found.complete
        assert same(found.events, whole.events[:number])
    assert writer.events == 4
    assert writer.finish(whole) == str(tmp_path / "new" / "a")
    assert writer.closed
    assert same(read(writer.path), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_loses_no_finished_event(tmp_path: Path, kind: CompressionType) -> None:
    script = f"""
        import os, signal
        from tests.golden.make_golden import golden, golden_renamed
        from timetracer_otel.cassette import AppendWriter
        from timetracer_otel.constants import CompressionType
        writer = AppendWriter({str(tmp_path / "a")!r}, golden(), CompressionType({kind.value!r}))
        for event in golden().events:
            writer.append(event)
        os.kill(os.getpid(), {int(getattr(signal, "SIGKILL", signal.SIGTERM))})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, cwd=_root())
    assert done.returncode != 0
    found = read(tmp_path / "a")
    assert not found.complete
    assert same(found.events, golden().events)


def _root() -> Path:
    return Path(__file__).parents[3]


def test_events_appended_by_many_threads_are_all_there(tmp_path: Path) -> None:
    writer = AppendWriter(tmp_path / "a", cassette(), CompressionType.GZIP)

    def work(first: int) -> None:
        for step in range(50):
            writer.append(event(first + 8 * step))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.finish(cassette())
    assert [one.eid for one in read(tmp_path / "a").events] == list(range(1, 401))


def test_closing_leaves_an_incomplete_recording_and_ends_the_writer(tmp_path: Path) -> None:
    with AppendWriter(tmp_path / "a", cassette()) as writer:
        writer.append(event(1))
    writer.close()
    assert not read(tmp_path / "a").complete
    for attempt in (lambda: writer.append(event(2)), lambda: writer.finish(cassette())):
        with pytest.raises(CassetteError, match="it is closed"):
            attempt()


def test_a_full_disk_while_appending_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = AppendWriter(tmp_path / "a", cassette())
    writer.append(event(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Full(10))
        with pytest.raises(CassetteError, match="Free some space"):
            writer.append(event(2))
    with pytest.raises(CassetteError, match="it is closed"):
        writer.append(event(3))
    found = read(tmp_path / "a")
    assert not found.complete
    assert [one.eid for one in found.events] == [1]


def test_a_header_that_does_not_fit_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", Full(10))
    with pytest.raises(CassetteError):
        AppendWriter(tmp_path / "a", cassette())
    assert files(tmp_path) == []


def test_a_forked_child_does_not_write_into_its_parents_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = AppendWriter(tmp_path / "a", cassette())
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(CassetteError, match="belongs to process"):
            writer.append(event(1))
    writer.append(event(1))
    writer.finish(cassette())
    assert len(read(tmp_path / "a").events) == 1


def test_appended_events_without_encoding_are_counted_in_the_footer(tmp_path: Path) -> None:
    with AppendWriter(tmp_path / "a", cassette()) as writer:
        writer.append(event(1, result=EventResult(reply=object())))
        writer.append(event(2, result=EventResult(reply=object())))
        writer.finish(cassette())
    assert read(tmp_path / "a").stats.dropped == {"event.result.reply: no faithful encoding": 2}


def test_an_event_that_is_too_long_as_a_whole_keeps_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timetracer_otel.cassette.codec.MAX_OBJECT_BYTES", 1000)
    long = event(1, result=EventResult(error="x" * 700, error_type="y" * 700))
    found = read(save_cassette(cassette(long, event(2)), tmp_path / "a"))
    assert [one.eid for one in found.events] == [1, 2]
    assert "longer than" in str(found.events[0].not_replayable)
    assert found.events[0].signature == long.signature


@pytest.mark.parametrize("kind", CompressionType)
def test_a_cassette_as_bytes_is_what_its_file_would_be(tmp_path: Path, kind: CompressionType) -> None:
    path = Path(save_cassette(golden(), tmp_path / "a.msgpack", kind))
    assert cassette_to_bytes(golden(), kind) == path.read_bytes()
    assert cassette_from_bytes(path.read_bytes(), str(path)) == read_cassette(path)


def test_bytes_that_are_no_cassette_are_refused_by_the_name_they_have() -> None:
    for data in (b"", b"{}", b"\xc1", cassette_to_bytes(golden())[:-1] + b"x", b"\x1f\x8bno gzip"):
        with pytest.raises(CassetteError, match="row 7") as raised:
            cassette_from_bytes(data, "row 7")
        assert raised.value.path == "row 7"


def test_the_pseudonyms_of_a_whole_cassette_stand_in_its_header(tmp_path: Path) -> None:
    written = cassette(event(1), pseudonyms=("sk-abc", "hunter2"), policies=AppliedPolicies(pseudonymised=True))
    path = save_cassette(written, tmp_path / "a.msgpack")
    assert same(read(path), replace(written, stats=read(path).stats))
    head = head_of(path)
    assert (head.pseudonyms, head.policies.pseudonymised) == (("sk-abc", "hunter2"), True)


def test_the_pseudonyms_of_an_appended_cassette_come_with_its_events(tmp_path: Path) -> None:
    path = tmp_path / "a.msgpack"
    with AppendWriter(path, cassette(pseudonyms=("noon",))) as appending:
        appending.append(event(2, pseudonyms=("second", "both", "abc")))
        appending.append(event(1, pseudonyms=("first",)))
    found = read(path)
    assert (found.complete, found.pseudonyms) == (False, ("noon", "first", "second", "both"))


@pytest.mark.parametrize("names", [("one",), ("ü", "x" * 300, ""), tuple(map(str, range(70_000))), ("\udc80",)])
def test_an_event_with_pseudonyms_is_packed_as_all_else_is(names: tuple[str, ...]) -> None:
    for written in (event(1, pseudonyms=names), *(replace(one, pseudonyms=names) for one in golden().events)):
        own, account = OwnCosts(), Account()
        for _ in range(2):
            packed, left_out = encode_event(written, own)
            assert (packed, left_out) == (pack_map(_EVENT.to_map(written)), Counter())
        account.charge(packed, 0, len(packed))
        assert own.spent >= account.spent or not own.known


_NESTED: dict[str, Any] = {"a": [1, [2, {"b": (3, None)}]], "c": [[1.5, 2], ["x", b"y"]], "d": {1: [], "": {}}}
_CHUNKS: list[Any] = [(b"xy", ((0.5, 1), (1, 1))), ({"a": [_NESTED]}, ()), (b"x", [(0.0, 1)])]
"""Bodies and their chunks, as a plugin written by hand may give them."""


@pytest.mark.parametrize(
    "fields",
    [
        {"result": EventResult(http.HTTPStatus.OK, reply=value)}
        for value in ([], {}, (), "\udc80", 1 << 70, bytearray(b"x"), _NESTED, [[1], []], [[1], 2], {"a": Decimal(1)})
    ]
    + [
        {"result": EventResult(200, headers)}
        for headers in ({}, {"a": "b"}, HeaderMap(), HeaderMap([(b"A", b"\xff"), (b"a", b"")]))
    ]
    + [{"result": EventResult(body=BodySnapshot(True, "bytes", data, chunks=chunks))} for data, chunks in _CHUNKS]
    + [
        {"result": EventResult(exception=RecordedError("a:B", "b", (1, _NESTED), {"c": [1] * 40}))},
        {"span": SpanFacts("0" * 32, "1" * 16, attributes={"a": ["b"] * 9, "c": True}), "path": ("a", "b")},
        {"within": [SpanFacts("0" * 32, "1" * 16, attributes=_NESTED), SpanFacts("0" * 32, "2" * 16)], "path": []},
        {"call": CallSnapshot({"a": "b"}, BodySnapshot(True, data=""), args=_NESTED)},
    ],
)
def test_an_event_is_surveyed_and_made_a_map_as_its_table_says(fields: dict[str, Any]) -> None:
    written = event(1, **fields)
    own, account = OwnCosts(), Account()
    packed, left_out = encode_event(written, own)
    assert (packed, left_out) == (pack_map(_EVENT.to_map(written)), Counter())
    account.charge(packed, 0, len(packed))
    assert own.spent >= account.spent or not own.known


def test_pseudonyms_that_are_no_texts_are_left_out() -> None:
    for names in ((1,), (["a"],), 7):
        packed, left_out = encode_event(event(1, pseudonyms=names))
        assert left_out == Counter({"event.pseudonyms: no faithful encoding": 1})
        assert event_from(unpack(packed)).pseudonyms == ()
    # A list is no tuple, but has the texts.
    assert event_from(unpack(encode_event(event(1, pseudonyms=["a"]))[0])).pseudonyms == ("a",)


def test_a_header_whose_pseudonyms_are_no_texts_is_refused(tmp_path: Path) -> None:
    AppendWriter(tmp_path / "a.msgpack", cassette(pseudonyms=("one",))).close()
    data = (tmp_path / "a.msgpack").read_bytes()
    with pytest.raises(CassetteError, match="pseudonyms"):
        cassette_from_bytes(data.replace(b"\x91\xa3one", b"\x91\x93\x01\x02\x03"), "a")


def ends_of_cassettes() -> list[Cassette]:
    """Cassettes whose headers and footers differ in what may stand in them."""
    plain = cassette()
    secret = replace(plain, pseudonyms=("sk-proj-4hZq",), error_info={"type": "ValueError", "message": "ö", "n": [1]})
    return [
        golden(),
        golden_renamed(),
        plain,
        secret,
        replace(plain, session=replace(plain.session, versions={"httpx": "0.28.1", "ö": "1"}, trace_id="0af7")),
        replace(plain, policies=replace(plain.policies, sample_rate=0.5)),
        # Equal to the default, and of another type, which the file tells apart.
        replace(plain, policies=replace(plain.policies, sample_rate=1)),
        # What has no encoding, or one of another kind than its field.
        replace(plain, policies=replace(plain.policies, redaction_rules=["ok", 7])),  # type: ignore[list-item]
        replace(plain, policies=replace(plain.policies, max_body_kb=http.HTTPStatus.OK)),
        replace(plain, session=replace(plain.session, service="\ud800", versions={"a": "\ud800"})),
        replace(plain, session=replace(plain.session, versions={"a": 1})),  # type: ignore[dict-item]
        replace(plain, pseudonyms=("\ud800",)),
        replace(plain, error_info={"type": object()}),
        replace(plain, error_info={1: 2}),  # type: ignore[dict-item]
        replace(
            plain, logs=(LogEntry(1.5, "INFO", 20, "app", "begun"), LogEntry(2, "ERROR", 40, "app", "", "x", "7"))
        ),
        replace(plain, logs=(LogEntry(1.5, "INFO", 20, "app", "\ud800"), LogEntry(2.5, "INFO", 20, "app", "ended"))),
        replace(plain, logs=(LogEntry(1.5, "INFO", 20, "app", object()),)),  # type: ignore[arg-type]
        replace(
            plain, request=RequestSnapshot("GET", "/", headers=HeaderMap([(b"a", b"b")]), query={"q": [1, (2, 3)]})
        ),
        replace(plain, response=ResponseSnapshot(200, body=BodySnapshot(True, "bytes", b"x" * 500))),
        replace(plain, response=ResponseSnapshot(object())),  # type: ignore[arg-type]
        replace(
            plain, stats=replace(golden().stats, dropped={"spans over the limit": 3}, connections={"a": {"b": 1}})
        ),
        replace(plain, stats=replace(golden().stats, dropped={"x": "y"})),  # type: ignore[dict-item]
    ]


@pytest.mark.parametrize("whole", ends_of_cassettes())
def test_header_and_footer_are_those_that_are_made_field_by_field_and_cost_no_more_than_is_said(
    whole: Cassette,
) -> None:
    for _ in range(2):  # The second time, what is equal in all headers is known.
        of_header, of_footer = OwnCosts(), OwnCosts()
        header, left_out = encode_header(whole, of_header)
        assert (header, Counter(left_out)) == _encode_header_in_part(whole)
        left_out = Counter({"event.call: no faithful encoding": 2})
        for pad in (b"", b"\x00" * 300):
            boundaries = len(pad)
            footer = encode_footer(whole, 3, left_out, 1000, 77, pad, boundaries, of_footer)
            assert footer == _encode_footer_in_part(whole, 3, left_out, 1000, 77, pad, boundaries)
            for data, own in ((header, of_header), (footer, of_footer)):
                account = Account()
                account.charge(data, 0, len(data))
                assert not own.known or own.spent >= account.spent
    assert encode_header(whole, of_header) == encode_header(whole)
