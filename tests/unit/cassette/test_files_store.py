"""The folder of files as a store, and what it alone promises."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.golden.make_golden import golden
from tests.unit.cassette.store_contract import StoreContract
from timetracer_otel.cassette import CassetteStore, Store, save_cassette
from timetracer_otel.cassette.stores import files
from timetracer_otel.cassette.stores.places import claimed_path
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette


class TestFolder(StoreContract):
    compression = CompressionType.NONE

    def make(self, folder: Path) -> Store:
        return CassetteStore(folder / "cassettes", self.compression)

    def break_bytes(self, store: Store, name: str) -> None:
        Path(name).write_bytes(b"\xc1" + Path(name).read_bytes()[1:])


class TestFolderOfGzip(TestFolder):
    compression = CompressionType.GZIP


class TestFolderOfZstd(TestFolder):
    compression = CompressionType.ZSTD


def test_a_cassette_is_deleted_by_the_name_below_the_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = CassetteStore("c")
    for short in (False, True):
        path = Path(store.put(golden()))
        store.delete(path.relative_to("c") if short else path)
        assert not path.exists()


def test_nothing_but_its_own_cassettes_is_deleted(tmp_path: Path) -> None:
    store = CassetteStore(tmp_path / "c")
    store.put(golden())
    outside = Path(save_cassette(golden(), tmp_path / "elsewhere" / "a.msgpack"))
    (tmp_path / "c" / "link").symlink_to(tmp_path / "elsewhere")
    notes, lock = tmp_path / "c" / "notes.txt", tmp_path / "c" / ".0a1b2c3d.lock"
    for file in (notes, lock):
        file.write_bytes(b"x")
    for name in (outside, "../elsewhere/a.msgpack", "link/a.msgpack", notes, lock, "", "."):
        with pytest.raises(CassetteError, match="no cassette of"):
            store.delete(name)
    assert outside.exists()
    assert notes.exists()
    assert lock.exists()


def test_a_link_is_deleted_and_not_what_it_leads_to(tmp_path: Path) -> None:
    target = Path(save_cassette(golden(), tmp_path / "elsewhere" / "a.msgpack"))
    store = CassetteStore(tmp_path / "c")
    (tmp_path / "c").mkdir()
    link = tmp_path / "c" / "a.msgpack"
    link.symlink_to(target)
    store.delete("a.msgpack")
    assert not link.is_symlink()
    assert target.exists()


def test_what_the_file_system_refuses_to_delete_is_named_with_the_cure(tmp_path: Path) -> None:
    folder = tmp_path / "a.msgpack"
    folder.mkdir()
    with pytest.raises(CassetteError, match=r"Cannot delete .*a\.msgpack: .*Make its folder writable"):
        CassetteStore(tmp_path).delete(folder)


def test_two_threads_never_write_to_one_path(tmp_path: Path) -> None:
    name = "2024-02-29/GET_a.msgpack"
    found: list[str] = []

    def claim() -> None:
        with claimed_path(str(tmp_path), name) as path:
            found.append(path)

    with claimed_path(str(tmp_path), name) as first:
        other = threading.Thread(target=claim)
        other.start()
        other.join()
    claim()
    assert [Path(path).name for path in (first, *found)] == ["GET_a.msgpack", "GET_a-2.msgpack", "GET_a.msgpack"]


def test_a_claim_ends_with_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with suppress(OSError), claimed_path(str(tmp_path), "a.msgpack") as path:
            assert Path(path).name == "a.msgpack"
            raise OSError("the disk is full")


@pytest.mark.parametrize("put_back", [True, False])
def test_a_cassette_that_is_replaced_while_it_is_read_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put_back: bool
) -> None:
    store = CassetteStore(tmp_path / "c")
    store.put(golden())
    looks: list[Path] = []

    def replaced(file: Path) -> tuple[Cassette, int]:
        looks.append(file)
        if len(looks) == 1:
            store.delete(file)
            if put_back:
                assert store.put(golden()) == str(file)
            raise FileNotFoundError(file)
        return head(file)

    head = files._head
    monkeypatch.setattr(files, "_head", replaced)
    assert [type(found) for found in store.heads()] == [Cassette] * put_back
    assert len(looks) == 1 + put_back
