"""`FolderIndex`: a folder of cassettes, from which it chooses the recording for a request that comes in.

Of each cassette only the facts that it is chosen by are kept in memory. Events are read when a cassette is chosen.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from heapq import heapify, heapreplace
from pathlib import Path
from typing import TypeAlias

from timetracer_otel.cassette import CassetteStore, Store, open_cassette
from timetracer_otel.cassette.codec import DECODE_ERRORS
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError
from timetracer_otel.match.kept_heads import Head, KeptHeads, redactor_of
from timetracer_otel.match.process_recordings import join
from timetracer_otel.match.roots import RootFacts, fits_route, request_differences, root_facts
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.shown import without_known_forms
from timetracer_otel.types import Cassette, RequestSnapshot

__all__ = ["FolderIndex", "FolderEntry"]

MAX_CACHED_BYTES = 64 * 1024 * 1024
"""Total size of the files whose events are kept in memory, for the next request that they are chosen for."""

_CANDIDATES = 3
_MOST_DIFFERENCES = 8
_NEAR = 0.5
"""The least likeness (`difflib.SequenceMatcher.ratio`) of a recorded request that an error shows as near."""


@dataclass(slots=True, eq=False)
class FolderEntry:
    """The facts of one cassette of the folder that it is chosen by."""

    path: str
    session_id: str
    recorded_at: str
    route: str | None
    facts: RootFacts
    redactor: Redactor
    uses: int = 0
    """The number of requests that it was chosen for."""

    @property
    def request(self) -> str:
        """``GET /users/7``."""
        return f"{self.facts.method} {self.facts.path}"


class _Equals:
    """Recordings of one query and one body. The one that was chosen least often comes first, then the oldest.

    To look which one that is does not take longer the more there are.
    """

    __slots__ = ("_by_uses", "entries")

    def __init__(self) -> None:
        self.entries: list[FolderEntry] = []
        self._by_uses: list[tuple[int, int]] | None = None
        """A heap of the entries by how often they were chosen, as far as that was noted, and by their places."""

    def first(self) -> FolderEntry:
        """The one that comes first. To be called with the index's lock held."""
        if self._by_uses is None:
            self._by_uses = [(entry.uses, at) for at, entry in enumerate(self.entries)]
            heapify(self._by_uses)
        while True:
            uses, at = self._by_uses[0]
            entry = self.entries[at]
            if entry.uses == uses:
                return entry
            heapreplace(self._by_uses, (entry.uses, at))

    def forget(self) -> None:
        """Look at all again: one of them was chosen less often than was noted."""
        self._by_uses = None


class _Place:
    """The recordings of one method, and of one path or route, by what is compared of a request. The oldest one comes
    first.
    """

    __slots__ = ("bodies", "by_query", "entries", "redactors")

    def __init__(self, entries: Sequence[FolderEntry]) -> None:
        self.entries = entries
        self.redactors: dict[int, Redactor] = {}
        """By identity."""
        self.bodies: set[str | None] = set()
        self.by_query: dict[tuple[int, _Query], dict[str | None, _Equals]] = {}
        """By the identity of the redactor and the query, and then by the body."""
        for entry in entries:
            self.redactors[id(entry.redactor)] = entry.redactor
            self.bodies.add(entry.facts.body)
            of_query = self.by_query.setdefault((id(entry.redactor), entry.facts.query), {})
            of_query.setdefault(entry.facts.body, _Equals()).entries.append(entry)

    def facts_of(self, request: RequestSnapshot) -> dict[int, RootFacts]:
        """The facts of a request by the rules of each redactor."""
        return {name: root_facts(request, redactor) for name, redactor in self.redactors.items()}

    def equals(self, facts: dict[int, RootFacts]) -> list[_Equals]:
        """The recordings that have the query and the body of a request; all of its query where its body is not known.
        No other recording is more like it.
        """
        found: list[_Equals] = []
        for name, now in facts.items():
            of_query = self.by_query.get((name, now.query), {})
            if now.body is None:
                found += of_query.values()
            elif now.body in of_query:
                found.append(of_query[now.body])
        return found

    def equals_of(self, entry: FolderEntry) -> _Equals:
        """The recordings that are as a recording of this place."""
        return self.by_query[id(entry.redactor), entry.facts.query][entry.facts.body]


class FolderIndex:
    """The cassettes of a folder. Safe from any thread and task.

    A request gets, in this order: the cassette that it names; a cassette of the same method and path; where there is
    none, one of the same method whose recorded route fits the path. Among several: one with an equal query, then with
    an equal body, then with the most parameters in common, then the one that was chosen least often, then the oldest.
    So the query or body of the chosen recording may differ. The choice only decides which recorded calls may answer.
    Each call is then matched by itself, and a call that differs has no answer.

    Args:
        directory: The folder, with all below it.

    Raises:
        CassetteNotFoundError: There is no such folder.
        CassetteError: No cassette in it can be read.

    Attributes:
        broken: The errors of files that cannot be read. These files are left out.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        # Absolute, since the service may change its working directory later.
        self.directory: str = str(Path(directory).absolute())
        if not Path(self.directory).is_dir():
            raise CassetteNotFoundError(self.directory)
        self.broken: list[CassetteError] = []
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[Cassette, int]] = OrderedDict()
        self._entries: list[FolderEntry] = []
        self._outside: list[tuple[str, str]] = []
        self._store: Store = CassetteStore(self.directory)
        self._kept = KeptHeads(self.directory)
        try:
            self._note(self._kept.heads)
        except DECODE_ERRORS:
            self._entries.clear()
            self._outside.clear()
            self._kept.look_anew()
            self._note(self._kept.heads)
        self.broken += self._kept.broken
        if not self._entries and not self._outside:
            raise self._empty()
        self._entries.sort(key=lambda entry: (entry.recorded_at, entry.path))
        self._outside.sort()
        self._by_path: dict[tuple[str, str], list[FolderEntry]] = {}
        self._by_route: dict[tuple[str, str], list[FolderEntry]] = {}
        self._places: dict[int, _Place] = {}
        """By the identity of a list of one of these two: made when a request asks for it."""
        self._by_file: dict[str, FolderEntry] = {entry.path: entry for entry in self._entries}
        self._by_name: dict[str, FolderEntry] | None = None
        """Made when a request names its cassette."""
        for entry in self._entries:
            self._by_path.setdefault((entry.facts.method, entry.facts.path), []).append(entry)
            if entry.route:
                self._by_route.setdefault((entry.facts.method, entry.route), []).append(entry)

    @property
    def entries(self) -> Sequence[FolderEntry]:
        """The recordings of requests, jobs and messages, oldest first."""
        return self._entries

    @property
    def recorded_at(self) -> list[str]:
        """When each recording began, in ISO 8601."""
        return [*(entry.recorded_at for entry in self._entries), *(when for when, _ in self._outside)]

    @property
    def outside_paths(self) -> list[str]:
        """The files with what was recorded outside any request, oldest first."""
        return [path for _, path in self._outside]

    def name_of(self, entry: FolderEntry) -> str:
        """The name of a cassette: its path below the folder, which no other one has."""
        return Path(entry.path).relative_to(self.directory).as_posix()

    def unused(self) -> list[FolderEntry]:
        """The recordings that no request was given up to now."""
        return [entry for entry in self._entries if not entry.uses]

    def has(self, request: RequestSnapshot) -> bool:
        """Whether there is a recording that fits a request."""
        return bool(self._fitting(request))

    def expects_body(self, request: RequestSnapshot) -> bool:
        """Whether the choice for a request depends on its body, so that it must be read first."""
        places = self._fitting(request)
        of_query: set[str | None] = set()
        for place in places:
            for name, facts in place.facts_of(request).items():
                of_query.update(place.by_query.get((name, facts.query), ()))
        return len(of_query or {body for place in places for body in place.bodies}) > 1

    def choose(self, request: RequestSnapshot, name: str | None = None) -> FolderEntry | None:
        """The recording for a request; None where there is none that fits.

        Args:
            request: The request as it came in, not redacted.
            name: The cassette that it asks for: its session id, the first eight characters of that, or its file name.
        """
        if name is not None:
            named = self._named(name)
            best = [named] if named is not None else []
        else:
            places = [(place, place.facts_of(request)) for place in self._fitting(request)]
            equals = [each for place, facts in places for each in place.equals(facts)]
            if equals:
                with self._lock:
                    entry = min((each.first() for each in equals), key=_uses_and_age)
                    entry.uses += 1
                return entry
            ranked = [
                (entry.facts.likeness(facts[id(entry.redactor)]), entry)
                for place, facts in places
                for entry in place.entries
            ]
            first = max((likeness for likeness, _ in ranked), default=None)
            best = [entry for likeness, entry in ranked if likeness == first]
        if not best:
            return None
        with self._lock:
            entry = min(best, key=_uses)
            entry.uses += 1
        return entry

    def withdraw(self, path: str) -> None:
        """Undo the `choose` that gave the cassette at a path, as the same request will be looked up again."""
        entry = self._by_file.get(path)
        if entry is not None:
            with self._lock:
                entry.uses -= 1
                for by, name in ((self._by_path, entry.facts.path), (self._by_route, entry.route)):
                    place = self._places.get(id(by.get((entry.facts.method, name or ""))))
                    if place is not None:
                        place.equals_of(entry).forget()

    def departure(self, entry: FolderEntry, request: RequestSnapshot) -> str | None:
        """The text of a request, redacted, where it differs from the recorded one; None where it does not."""
        now, recorded = root_facts(request, entry.redactor), entry.facts
        other_body = None not in (now.body, recorded.body) and now.body != recorded.body
        if now._replace(body=None) == recorded._replace(body=None) and not other_body:
            return None
        query = "&".join(f"{name}={value}" for name, value in now.query)
        return f"{now.method} {now.path}{'?' if query else ''}{query}{', with another body' if other_body else ''}"

    def read(self, entry: FolderEntry) -> Cassette:
        """A cassette with its events. Callers share the object while it is in memory, and must not change it.

        Raises:
            CassetteError: It cannot be read (any more).
        """
        with self._lock:
            cached = self._cache.get(entry.path)
            if cached is not None:
                self._cache.move_to_end(entry.path)
                return cached[0]
        cassette = open_cassette(entry.path)
        if root_facts(cassette.request, entry.redactor) != entry.facts:
            self._kept.forget()  # The next one who opens the folder looks at each file.
        size_bytes = Path(entry.path).stat().st_size
        with self._lock:
            self._cache[entry.path] = cassette, size_bytes
            while len(self._cache) > 1 and sum(size for _, size in self._cache.values()) > MAX_CACHED_BYTES:
                self._cache.popitem(last=False)
        return cassette

    def outside(self) -> Cassette:
        """All recordings of calls outside any request, of all processes, joined into one cassette.

        It has no events where there is no such recording. A recording with other redaction rules than the latest one
        is left out, and `broken` has an error for it.
        """
        cassettes = []
        for _, path in self._outside:
            try:
                cassettes.append(self._store.get(path))
            except CassetteError as fault:
                self.broken.append(fault)
        return join(cassettes, self.directory, self.broken)

    def nearest(self, request: RequestSnapshot) -> list[str]:
        """The recorded requests most like one without a recording, best first, each with its differences."""
        line = f"{request.method} {request.path}"
        scored = [
            (SequenceMatcher(None, f"{known} {path}", line).ratio(), entries[0])
            for (known, path), entries in self._by_path.items()
        ]
        near = sorted((pair for pair in scored if pair[0] >= _NEAR), key=lambda pair: -pair[0])
        return [self._candidate(entry, request) for _, entry in near[:_CANDIDATES]]

    def _candidate(self, entry: FolderEntry, request: RequestSnapshot) -> str:
        lines = [f"{entry.request} ({Path(entry.path).name})"]
        try:
            cassette = self.read(entry)
        except CassetteError as fault:
            return f"{lines[0]}\n    {fault}"
        found = request_differences(cassette.request, request, entry.redactor)
        shown = [without_known_forms(str(difference), cassette.pseudonyms) for difference in found]
        lines += [f"    {difference}" for difference in shown[:_MOST_DIFFERENCES]]
        return "\n".join(lines)

    def _named(self, name: str) -> FolderEntry | None:
        with self._lock:
            if self._by_name is None:
                self._by_name = {}
                for entry in self._entries:
                    for each in (entry.session_id, entry.session_id[:8], Path(entry.path).name, self.name_of(entry)):
                        self._by_name.setdefault(each, entry)
            return self._by_name.get(name)

    def _note(self, heads: Iterable[Head]) -> None:
        below = self.directory if self.directory.endswith(os.sep) else self.directory + os.sep
        redactors: dict[str, Redactor] = {}
        for head in heads:
            path = below + head.name
            if not head.method:
                self._outside.append((head.recorded_at, path))
                continue
            redactor = redactors.get(head.rules)
            if redactor is None:
                redactor = redactors[head.rules] = redactor_of(head.rules)
            self._entries.append(
                FolderEntry(path, head.session_id, head.recorded_at, head.route or None, head.facts, redactor)
            )

    def _empty(self) -> CassetteError:
        why = f" None of the {len(self.broken)} files in it can be read: {self.broken[0]}" if self.broken else ""
        return CassetteError(
            f"There is no cassette in {self.directory}.{why} Record some with: "
            f"timetracer-otel record --dir {self.directory} -- CMD",
            path=self.directory,
        )

    def _fitting(self, request: RequestSnapshot) -> list[_Place]:
        """The recordings of a request's method and path, or else route."""
        method = request.method.upper()
        there = self._by_path.get((method, request.path))
        found = (
            [there]
            if there is not None
            else [
                entries
                for (known, route), entries in self._by_route.items()
                if known == method and fits_route(route, request.path)
            ]
        )
        return [self._place_of(entries) for entries in found]

    def _place_of(self, entries: list[FolderEntry]) -> _Place:
        with self._lock:
            place = self._places.get(id(entries))
            if place is None:
                place = self._places[id(entries)] = _Place(entries)
            return place


def _uses(entry: FolderEntry) -> int:
    return entry.uses


def _uses_and_age(entry: FolderEntry) -> tuple[int, str, str]:
    return entry.uses, entry.recorded_at, entry.path


_Query: TypeAlias = tuple[tuple[str, str], ...]
