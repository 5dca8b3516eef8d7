"""Names of files, and `CassetteStore`: put, get, list."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import timetracer_otel.cassette
from tests.golden.make_golden import golden
from timetracer_otel.cassette import (
    AppendWriter,
    CassetteStore,
    StoredCassette,
    cassette_name,
    read_cassette,
    save_cassette,
    write_cassette,
)
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError
from timetracer_otel.types import BodySnapshot, Cassette

KINDS = list(CompressionType)


def named(method: str = "GET", path: str = "/", route: str | None = None, **session: Any) -> Cassette:
    cassette = golden()
    cassette.request.method, cassette.request.path, cassette.request.route_template = method, path, route
    cassette.session = replace(cassette.session, **session)
    return cassette


@pytest.mark.parametrize(
    ("cassette", "name"),
    [
        (golden(), "2024-02-29/GET_users_id_123015_3f2b8c1d.msgpack"),
        (named("post", "/a//b/"), "2024-02-29/POST_a_b_123015_3f2b8c1d.msgpack"),
        (named(), "2024-02-29/GET_root_123015_3f2b8c1d.msgpack"),
        (named(path="/../../etc/passwd"), "2024-02-29/GET_etc_passwd_123015_3f2b8c1d.msgpack"),
        (named(path="/ä€/x.json?"), "2024-02-29/GET_x.json_123015_3f2b8c1d.msgpack"),
        (named("", service="my service"), "2024-02-29/process_my_service_42_123015_3f2b8c1d.msgpack"),
        (named("", service="/"), "2024-02-29/process_service_42_123015_3f2b8c1d.msgpack"),
        (named(recorded_at="2024-03-01T01:00:00+02:00"), "2024-02-29/GET_root_230000_3f2b8c1d.msgpack"),
        (named(recorded_at="2024-03-01T01:00:00Z"), "2024-03-01/GET_root_010000_3f2b8c1d.msgpack"),
        (named(id="../x"), "2024-02-29/GET_root_123015_x.msgpack"),
        (named(id=""), "2024-02-29/GET_root_123015_session.msgpack"),
    ],
)
def test_files_are_named_after_date_request_time_and_session(cassette: Cassette, name: str) -> None:
    assert cassette_name(cassette, pid=42) == name


def test_a_process_recording_names_its_process() -> None:
    assert f"_{os.getpid()}_" in cassette_name(named(""))


def test_suffixes_say_how_a_file_is_compressed() -> None:
    suffixes = [cassette_name(golden(), kind).partition(".")[2] for kind in KINDS]
    assert suffixes == ["msgpack", "msgpack.gz", "msgpack.zst"]


@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_any_name_is_safe_everywhere(method: str, path: str, service: str, number: str, when: str) -> None:
    name = cassette_name(named(method, path, service=service, id=number, recorded_at=when), pid=1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/[A-Za-z0-9_.-]{1,180}\.msgpack", name)
    assert ".." not in name
    assert not name.split("/")[1].startswith((".", "-"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_is_written_where_the_configuration_says(
    tmp_path: Path, kind: CompressionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        def to_cassette(self) -> Cassette:
            return golden()

    path = write_cassette(Session(), TraceConfig(cassette_dir=str(tmp_path / "c"), compression=kind))
    assert path == str(tmp_path / "c" / cassette_name(golden(), kind))
    assert replace(read_cassette(path), path=None) == golden()
    monkeypatch.chdir(tmp_path)
    assert write_cassette(Session(), TraceConfig(cassette_dir="d", compression=kind)).startswith(f"{tmp_path}/d/")


def test_a_cassette_never_takes_the_place_of_another(tmp_path: Path) -> None:
    store = CassetteStore(tmp_path)
    paths = [store.put(golden()) for _ in range(3)]
    assert [Path(path).name for path in paths] == [
        "GET_users_id_123015_3f2b8c1d.msgpack",
        "GET_users_id_123015_3f2b8c1d-2.msgpack",
        "GET_users_id_123015_3f2b8c1d-3.msgpack",
    ]
    assert len(store.list()) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_tells_what_is_in_each_file(tmp_path: Path, kind: CompressionType) -> None:
    store = CassetteStore(tmp_path, kind)
    path = store.put(golden())
    assert store.list() == [
        StoredCassette(
            path=path,
            size_bytes=Path(path).stat().st_size,
            recorded_at="2024-02-29T12:30:15.000000+00:00",
            session_id="3f2b8c1d9e",
            service="users",
            env="test",
            method="GET",
            request_path="/users/{id}",
            status=500,
            failed=True,
            trace_id=golden().session.trace_id or "",
            events=4,
            kinds=golden().stats.event_counts,
            duration_ms=45.5,
            complete=True,
        )
    ]


def test_a_list_of_large_headers_and_footers_is_right_too(tmp_path: Path) -> None:
    cassette = golden()
    cassette.request.body = BodySnapshot(captured=True, data=bytes(100_000))
    cassette.response.body = BodySnapshot(captured=True, data=bytes(100_000))
    CassetteStore(tmp_path).put(cassette)
    (stored,) = CassetteStore(tmp_path).list()
    assert (stored.events, stored.complete, stored.error) == (4, True, None)


def test_recordings_that_are_not_complete_are_listed_with_what_they_have(tmp_path: Path) -> None:
    with AppendWriter(tmp_path / "a.msgpack", golden()) as writer:
        writer.append(golden().events[0])
    (stored,) = CassetteStore(tmp_path).list()
    assert (stored.events, stored.complete, stored.status, stored.service) == (1, False, 0, "users")


def test_files_that_cannot_be_read_are_listed_with_the_reason_at_the_end(tmp_path: Path) -> None:
    save_cassette(golden(), tmp_path / "z.msgpack")
    (tmp_path / "a.msgpack").write_bytes(b"{}")
    (tmp_path / "b.msgpack.gz").write_bytes(b"")
    (tmp_path / "c.msgpack").symlink_to(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".z.msgpack").write_text("not looked at")
    stored = CassetteStore(tmp_path).list()
    assert [Path(one.path).name for one in stored] == ["z.msgpack", "a.msgpack", "b.msgpack.gz", "c.msgpack"]
    assert stored[0].error is None
    assert "JSON" in str(stored[1].error)
    assert "empty" in str(stored[2].error)
    assert stored[3].error


def test_a_damaged_end_is_listed_as_an_error(tmp_path: Path) -> None:
    path = Path(save_cassette(golden(), tmp_path / "a.msgpack"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\xa8response", b"\xc1response"))
    assert CassetteStore(tmp_path).list()[0].error


def test_a_missing_folder_lists_nothing(tmp_path: Path) -> None:
    assert CassetteStore(tmp_path / "none").list() == []


def test_a_cassette_is_got_by_the_name_below_the_folder_or_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = CassetteStore("c")
    path = store.put(golden())
    assert store.get(path).events == golden().events
    assert store.get(Path(path).relative_to("c")).events == golden().events
    assert store.get(Path(path).absolute()).events == golden().events
    with pytest.raises(CassetteNotFoundError):
        store.get("none.msgpack")


def test_the_error_of_a_folder_that_cannot_be_made_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CassetteError, match="TIMETRACER_DIR"):
        CassetteStore(tmp_path / "file").put(golden())


def test_the_room_offers_exactly_what_it_names() -> None:
    room = timetracer_otel.cassette
    names = {
        name
        for name, value in vars(room).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(room.__name__)
    }
    assert set(room.__all__) == names


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.msgpack")
    store = CassetteStore(str(tmp_path))
    assert "no regular file" in str(store.list()[0].error)
    assert ["no regular file" in str(fault) for fault in store.heads()] == [True]
