"""What every store has to do, as one class of tests.

A test file for a store is a subclass, named ``Test…``, with two methods: `make` gives an empty store, and
`break_bytes` damages what the store keeps of one cassette.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.golden.make_golden import golden
from tests.unit.cassette.same import same
from timetracer_otel.base.settings import KeptBounds
from timetracer_otel.cassette import Store, keep_within
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError
from timetracer_otel.types import Cassette

_AT_ONCE = 8


def cassette_of(session_id: str) -> Cassette:
    """A cassette with events, of a session with this id."""
    cassette = golden()
    cassette.session = replace(cassette.session, id=session_id)
    return cassette


def heads_of(store: Store) -> dict[str | None, Cassette | CassetteError]:
    """The heads of a store by name; fails where two have the same."""
    found = list(store.heads())
    by_name = {head.path: head for head in found}
    assert len(by_name) == len(found)
    return by_name


class StoreContract(ABC):
    """The tests; inherit them, and say how to make a store."""

    @abstractmethod
    def make(self, folder: Path) -> Store:
        """An empty store, which may keep files in a folder of the test; a second call opens the same store."""

    @abstractmethod
    def break_bytes(self, store: Store, name: str) -> None:
        """Change what the store keeps of a cassette so that neither it nor its head can be read."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return self.make(tmp_path)

    def test_the_oldest_ones_are_deleted_beyond_the_bounds(self, store: Store) -> None:
        assert keep_within(store, KeptBounds(number=1)) == []
        names = [store.put(cassette_of(f"{number}" * 8)) for number in range(3)]
        entries = {entry.name: entry for entry in store.entries()}
        assert entries.keys() == set(names)
        assert all(entry.size_bytes > 100 for entry in entries.values())
        assert keep_within(store, KeptBounds(age_s=1e12, number=3, size_bytes=1 << 30)) == []
        assert len(keep_within(store, KeptBounds(number=2))) == 1
        total = sum(entry.size_bytes for entry in store.entries())
        (deleted,) = keep_within(store, KeptBounds(size_bytes=total - 1))
        with pytest.raises(CassetteNotFoundError):
            store.get(deleted)
        assert store.head(deleted) is None
        (left,) = store.entries()
        head = store.head(left.name)
        assert isinstance(head, Cassette)
        assert (head.path, head.request) == (left.name, store.get(left.name).request)
        assert len(keep_within(store, KeptBounds(age_s=-1))) == 1
        assert list(store.entries()) == []

    def test_what_was_put_is_got_with_exact_types(self, store: Store) -> None:
        name = store.put(golden())
        got = store.get(name)
        assert got.path == name
        assert same(replace(got, path=None), golden())

    def test_what_was_put_is_there_for_another_process(self, store: Store, tmp_path: Path) -> None:
        name = store.put(golden())
        later = self.make(tmp_path)
        assert later is not store
        assert same(replace(later.get(name), path=None), golden())
        assert list(heads_of(later)) == [name]

    def test_equal_cassettes_are_kept_side_by_side(self, store: Store) -> None:
        names = [store.put(golden()) for _ in range(3)]
        assert len(set(names)) == 3
        assert set(heads_of(store)) == set(names)

    def test_heads_have_everything_but_the_events(self, store: Store) -> None:
        name = store.put(golden())
        (head,) = store.heads()
        assert isinstance(head, Cassette)
        assert same(head, replace(golden(), events=[], path=name))

    def test_an_empty_store_has_no_heads(self, store: Store) -> None:
        assert list(store.heads()) == []

    def test_a_name_that_is_not_there_is_not_found(self, store: Store) -> None:
        name = store.put(golden())
        store.delete(name)
        for missing in (name, "2024-02-29/none.msgpack"):
            with pytest.raises(CassetteNotFoundError) as raised:
                store.get(missing)
            assert str(raised.value.path).endswith(missing)

    def test_a_deleted_cassette_is_gone_and_its_neighbours_stay(self, store: Store) -> None:
        kept, gone = store.put(cassette_of("a" * 10)), store.put(cassette_of("b" * 10))
        store.delete(gone)
        assert list(heads_of(store)) == [kept]
        assert store.get(kept).session.id == "a" * 10
        # Somebody else may have deleted it first.
        store.delete(gone)

    def test_a_broken_cassette_is_an_error_beside_good_ones(self, store: Store) -> None:
        names = [store.put(cassette_of(letter * 10)) for letter in "abc"]
        self.break_bytes(store, names[1])
        found = heads_of(store)
        assert set(found) == set(names)
        assert [isinstance(found[name], CassetteError) for name in names] == [False, True, False]
        assert [isinstance(store.head(name), CassetteError) for name in names] == [False, True, False]
        with pytest.raises(CassetteError) as raised:
            store.get(names[1])
        assert not isinstance(raised.value, CassetteNotFoundError)
        assert raised.value.path == names[1]
        assert store.get(names[2]).session.id == "c" * 10

    def test_a_broken_cassette_can_be_deleted(self, store: Store) -> None:
        name = store.put(golden())
        self.break_bytes(store, name)
        store.delete(name)
        assert list(store.heads()) == []

    def test_cassettes_put_at_once_are_all_kept(self, store: Store) -> None:
        barrier = threading.Barrier(_AT_ONCE)

        def put(_: int) -> str:
            barrier.wait()
            return store.put(golden())

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            names = list(pool.map(put, range(_AT_ONCE)))
        assert len(set(names)) == _AT_ONCE
        assert set(heads_of(store)) == set(names)
        assert all(same(replace(store.get(name), path=None), golden()) for name in names)

    def test_a_cassette_deleted_while_heads_are_read_is_no_broken_one(self, store: Store) -> None:
        names = [store.put(golden()) for _ in range(3)]
        reading = store.heads()
        first = next(reading)
        for name in names:
            store.delete(name)
        assert [head for head in (first, *reading) if isinstance(head, CassetteError)] == []

    def test_a_cassette_put_or_deleted_beside_a_reader_breaks_nothing(self, store: Store) -> None:
        kept = store.put(cassette_of("k" * 10))
        ended = threading.Event()

        def change() -> None:
            try:
                for _ in range(20):
                    store.delete(store.put(golden()))
            finally:
                ended.set()

        with ThreadPoolExecutor(1) as pool:
            changing = pool.submit(change)
            while not ended.is_set():
                found = heads_of(store)
                assert kept in found
                assert [head for head in found.values() if isinstance(head, CassetteError)] == []
            changing.result()
        assert list(heads_of(store)) == [kept]

    def test_the_text_of_a_store_says_where_it_is(self, store: Store) -> None:
        assert str(store)
        assert "object at 0x" not in str(store)
