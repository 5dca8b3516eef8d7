"""`Store`: what every place that keeps cassettes can do. A folder of files is one such place.

A new kind of store (a database, object storage) is a subclass with the four methods. The tests that every store
has to pass stand in tests/unit/cassette/store_contract.py; docs/how-to-add-a-store.md shows one whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from timetracer_otel.cassette.writer import cassette_to_bytes
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError
from timetracer_otel.types import Cassette

__all__ = ["Store", "StoredEntry"]


class StoredEntry(NamedTuple):
    """What `Store.entries` says about one cassette."""

    name: str
    recorded_s: float
    """When it was recorded: seconds since the epoch."""
    size_bytes: int


class Store(ABC):
    """Keeps whole cassettes by name: put, get, heads, delete. ``str(store)`` says where it is, for messages.

    A name is a text that the store makes in `put`. Nobody but the store may conclude anything from it.

    Threads: every method may be called from any thread, and several at once. A cassette that is being put is not
    seen by `get` and `heads` until it is there as a whole.

    Errors: whatever goes wrong is a `CassetteError` whose ``path`` is the name of the cassette and whose text has
    the cure. What a store holds is untrusted: reading it imports and runs nothing.
    """

    @abstractmethod
    def put(self, cassette: Cassette) -> str:
        """Keep a cassette under a new name, and give the name. No other cassette is ever replaced.

        Raises:
            CassetteError: The store refuses, or cannot be reached; nothing of the cassette is kept then.
        """

    @abstractmethod
    def get(self, name: str) -> Cassette:
        """The cassette of a name that `put` or `heads` gave.

        Raises:
            CassetteNotFoundError: The store has no cassette of that name.
            CassetteSchemaError: The format of the cassette is newer than this release.
            CassetteError: The cassette is damaged, or the store cannot be reached.
        """

    @abstractmethod
    def heads(self) -> Iterator[Cassette | CassetteError]:
        """All cassettes without their events, in any order, each read when the iterator is asked for it.

        ``path`` of each is its name. For a cassette that cannot be read, the error stands in its place, and the
        iterator goes on. A cassette that is put or deleted meanwhile may be among them or not.

        A store should keep the heads so that it need not read the events: a folder of ten thousand cassettes is
        searched this way whenever a replay begins.

        Raises:
            CassetteError: The store itself cannot be reached. A store that holds nothing yet gives nothing.
        """

    def head(self, name: str) -> Cassette | CassetteError | None:
        """What `heads` gives for one cassette; None where there is none of that name.

        This one reads the events as well. A store that keeps heads should give the one that it keeps.
        """
        try:
            return self.get(name)
        except CassetteNotFoundError:
            return None
        except CassetteError as fault:
            return fault

    @abstractmethod
    def delete(self, name: str) -> None:
        """Forget the cassette of a name. Harmless where there is none: two callers may delete at once.

        Raises:
            CassetteError: The store refuses, or the name is none of its own. The cassette is still there then.
        """

    def entries(self, *, sized: bool = True) -> Iterator[StoredEntry]:
        """Each cassette's name, time and size, for the setting ``keep``, which deletes the oldest ones.

        This one reads every cassette. A store that knows times and sizes should give them without reading any.

        Args:
            sized: Whether sizes are wanted; otherwise they may be 0.

        Raises:
            CassetteError: The store itself cannot be reached.
        """
        for head in self.heads():
            if isinstance(head, CassetteError) or not head.path:
                continue
            try:
                recorded_s = datetime.fromisoformat(head.session.recorded_at.replace("Z", "+00:00")).timestamp()
                size = len(cassette_to_bytes(self.get(head.path))) if sized else 0
            except (CassetteError, ValueError):
                continue  # Another process has deleted it, or it does not say when it was recorded.
            yield StoredEntry(head.path, recorded_s, size)

    @abstractmethod
    def __str__(self) -> str: ...
