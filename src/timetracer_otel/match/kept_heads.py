"""What a folder of cassettes is searched and listed by, in a file beside it, so that not every one need be opened.

The file is named ``.<folder>.timetracer-index`` and only its owner can read it. It says which cassette to open, and
what lists show of it: a call is answered by what stands in the cassette. It is used as long as no folder has
changed, as each tells by the time of its last change; then the files that are new or changed are looked at, and it is
written anew. Who does not want it can delete it at any time.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from msgpack import packb, unpackb  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette import CassetteStore, StoredCassette
from timetracer_otel.cassette.codec import DECODE_ERRORS
from timetracer_otel.cassette.stores.files import stored_cassette
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.match.roots import RootFacts, root_facts
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import AppliedPolicies, Cassette

__all__ = ["Head", "KeptHeads", "Looked", "forget_above", "redactor_of"]

Looked: TypeAlias = Callable[[int, int], object]
"""Told how far a long look at files has come: how many were looked at, and of how many."""

LEAST_FILES: Final = 256
"""Of fewer cassettes no file is kept: to look at each takes less than a tenth of a second."""
_MOST_BYTES: Final = 64 << 20
_MAGIC: Final = b"timetracer-otel folder index 3\n"
"""The number goes up where `Head` or `root_facts` changes, so that what an older release kept is not used."""
_SETTLED_NS: Final = 2 * 10**9
"""How long a folder has not changed before it is trusted to tell its next change. File systems count time in steps of
up to two seconds."""
_BETWEEN: Final = "\0"
_NO_BODY_KNOWN: Final = "-"


class Head(NamedTuple):
    """What one cassette is chosen by, and what lists show of it."""

    name: str
    """The path below the folder."""
    stamp: str
    """Tells whether the file has changed."""
    session_id: str
    recorded_at: str
    route: str
    """Empty where it is not known."""
    method: str
    """Empty for what was recorded outside any request."""
    path: str
    query: str
    """As JSON; empty where there is none."""
    body: str
    rules: str
    """By which rules it was redacted, as JSON."""
    about: str
    """What lists show of it besides, as JSON: see `row`."""

    @classmethod
    def of(cls, cassette: Cassette, events: int, name: str, stamp: str) -> Head:
        """That of a cassette, which need not have its events, and their number."""
        policies, request = cassette.policies, cassette.request
        rules = json.dumps([policies.redaction_mode, policies.redaction_rules, policies.pseudonymised])
        facts = root_facts(request, redactor_of(rules)) if request.method else RootFacts("", "")
        return cls(
            name,
            stamp,
            cassette.session.id,
            cassette.session.recorded_at,
            request.route_template or "",
            facts.method,
            facts.path,
            json.dumps(facts.query) if facts.query else "",
            _NO_BODY_KNOWN if facts.body is None else facts.body,
            rules,
            _about(stored_cassette(cassette, events, name, 0)),
        )

    def row(self, below: str) -> StoredCassette:
        """The row of the cassette in a list; raises `DECODE_ERRORS` as `facts` does.

        Args:
            below: The path of the folder, with a separator at its end.
        """
        texts, numbers, flags, counts = json.loads(self.about)
        trace_id, service, env, *process = map(str, texts)
        status, events, duration_ms = numbers
        failed, complete = map(bool, flags)
        kinds, without_plugin, connections = counts
        return StoredCassette(
            path=below + self.name,
            size_bytes=int(self.stamp.split("-")[1]),
            recorded_at=self.recorded_at,
            session_id=self.session_id,
            trace_id=trace_id,
            service=service,
            env=env,
            method=self.method,
            request_path=self.route or self.path,
            status=int(status),
            failed=failed,
            events=int(events),
            kinds=_counts(kinds),
            without_plugin=_counts(without_plugin),
            connections={str(name): _counts(each) for name, each in connections.items()},
            duration_ms=float(duration_ms),
            complete=complete,
            process=tuple(process),
        )

    @property
    def facts(self) -> RootFacts:
        """The facts of the request; raises `DECODE_ERRORS` where somebody else wrote the file."""
        query = tuple((str(name), str(value)) for name, value in json.loads(self.query)) if self.query else ()
        return RootFacts(self.method, self.path, query, None if self.body == _NO_BODY_KNOWN else self.body)


def _about(row: StoredCassette) -> str:
    texts = [row.trace_id, row.service, row.env, *row.process]
    numbers = [row.status, row.events, row.duration_ms]
    connections = {name: dict(each) for name, each in row.connections.items()}
    counts = [dict(row.kinds), dict(row.without_plugin), connections]
    return json.dumps([texts, numbers, [row.failed, row.complete], counts], separators=(",", ":"))


def _counts(found: dict[str, int]) -> dict[str, int]:
    return {str(name): int(number) for name, number in found.items()}


def redactor_of(rules: str) -> Redactor:
    """The redactor of rules as `Head.rules` has them; raises `DECODE_ERRORS` as `Head.facts` does."""
    mode, names, pseudonymised = json.loads(rules)
    return Redactor.from_policies(
        AppliedPolicies(
            redaction_mode=str(mode), redaction_rules=list(map(str, names)), pseudonymised=bool(pseudonymised)
        )
    )


_COLUMNS: Final = 3 + len(Head._fields)
"""The folders, their stamps, the broken files, and the fields of the heads."""


class KeptHeads:
    """The heads of all cassettes of a folder, from the kept file where that is up to date.

    Args:
        directory: The folder, as an absolute path.
        looked: Told how many files have been looked at, and of how many, where the kept file is not up to date.

    Attributes:
        heads: In any order.
        broken: The errors of files that cannot be read.
    """

    def __init__(self, directory: str, looked: Looked | None = None) -> None:
        self.heads: list[Head] = []
        self.broken: list[CassetteError] = []
        self._looked = looked
        self._below = directory if directory.endswith(os.sep) else directory + os.sep
        self._file = _file_of(Path(directory))
        self._store = CassetteStore(directory)
        kept = self._read()
        if kept is not None:
            folders, heads, broken = kept
            if all(_stamp(self._below + name) == stamp for name, stamp in folders):
                self.heads = heads
                for name in broken:
                    self._look(name)
                return
        self._look_through({head.name: head for head in kept[1]} if kept is not None else {})

    def look_anew(self) -> None:
        """Look at each cassette, as the kept file is not what we write."""
        self.forget()
        self.heads, self.broken = [], []
        self._look_through({})

    def forget(self) -> None:
        """Delete the kept file, as a cassette is not what it says."""
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink()

    def _look(self, name: str) -> None:
        """Look at one cassette."""
        stamp = _stamp(self._below + name)
        found = self._store.look(name)
        if isinstance(found, CassetteError):
            self.broken.append(found)
        elif found is not None:
            self.heads.append(Head.of(*found, name, stamp))

    def _look_through(self, known: dict[str, Head]) -> None:
        began_ns = time.monotonic_ns()
        folders: list[tuple[str, str]] = []
        newest_ns = done = 0
        all_folders = list(self._store.folders())
        total = sum(len(names) for _, names in all_folders)
        for path, names in all_folders:
            stamp = _stamp(path)
            newest_ns = max(newest_ns, int(stamp.partition("-")[0] or 0))
            folder = path[len(self._below) :]
            folders.append((folder or os.curdir, stamp))
            for file in names:
                name = f"{folder}{os.sep}{file}" if folder else file
                head = known.get(name)
                if head is not None and head.stamp and head.stamp == _stamp(self._below + name):
                    self.heads.append(head)
                else:
                    self._look(name)
                if self._looked is not None:
                    done += 1
                    self._looked(done, total)
        if len(self.heads) >= LEAST_FILES:
            took_ns = time.monotonic_ns() - began_ns
            with suppress(OSError):  # Nothing can be written beside the folder. It is only slower then.
                self._write(folders, newest_ns + took_ns)

    def _write(self, folders: list[tuple[str, str]], changed_ns: int) -> None:
        if self._file is None:
            return
        broken = [(error.path or "")[len(self._below) :] for error in self.broken]
        columns = [*zip(*folders, strict=True), broken, *zip(*self.heads, strict=True)]
        texts = list(chain.from_iterable(columns))
        if any(_BETWEEN in text for text in texts) or not all(broken):
            return
        try:
            data = bytes(packb([_BETWEEN.join(column) for column in columns]) or b"")
        except UnicodeEncodeError:  # A name that is no UTF-8 cannot be kept.
            return
        descriptor, made = tempfile.mkstemp(dir=self._file.parent, prefix=self._file.name)
        try:
            with open(descriptor, "wb") as file:
                file.write(_MAGIC + zlib.crc32(data).to_bytes(4, "big") + data)
                file.flush()
                # By the clock of the file system, which need not be ours.
                now_ns = os.fstat(descriptor).st_mtime_ns
            if now_ns - changed_ns > _SETTLED_NS:
                Path(made).replace(self._file)
        finally:
            Path(made).unlink(missing_ok=True)

    def _read(self) -> tuple[list[tuple[str, str]], list[Head], list[str]] | None:
        """What the kept file says: the folders with their stamps, the heads, and which files are broken. None where
        there is no such file, or no usable one.
        """
        data = self._bytes()
        if data is None or not data.startswith(_MAGIC):
            return None
        start = len(_MAGIC) + 4
        packed = data[start:]
        if zlib.crc32(packed) != int.from_bytes(data[len(_MAGIC) : start], "big"):
            return None
        try:
            # Nothing but an array of texts: anything else would take more memory than its bytes.
            parts = unpackb(packed, max_array_len=_COLUMNS, max_map_len=0, max_bin_len=0, max_ext_len=0)
        except DECODE_ERRORS:
            return None
        if type(parts) is not list or set(map(type, parts)) != {str} or len(parts) != _COLUMNS:
            return None
        folders, stamps, broken, *columns = (part.split(_BETWEEN) if part else [] for part in parts)
        if len({*map(len, columns)}) != 1 or len(folders) != len(stamps) or not folders:
            return None
        if not all(map(_is_below, chain(folders, broken, columns[0]))):
            return None
        return list(zip(folders, stamps, strict=True)), list(map(Head._make, zip(*columns, strict=True))), broken

    def _bytes(self) -> bytes | None:
        if self._file is None:
            return None
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(self._file, flags | getattr(os, "O_BINARY", 0))
            with open(descriptor, "rb") as file:
                facts = os.fstat(descriptor)
                is_ours = not hasattr(os, "geteuid") or facts.st_uid == os.geteuid()
                if not stat.S_ISREG(facts.st_mode) or facts.st_size > _MOST_BYTES or not is_ours:
                    return None
                return file.read(_MOST_BYTES)
        except OSError:
            return None


def forget_above(path: str) -> None:
    """Delete what is kept of all folders that a cassette stands in: it may say what the cassette says no more."""
    for folder in Path(path).absolute().parents:
        file = _file_of(folder)
        if file is not None:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _file_of(folder: Path) -> Path | None:
    """Where the heads of a folder are kept; None for the root of all."""
    return folder.parent / f".{folder.name}.timetracer-index" if folder.name else None


def _is_below(name: str) -> bool:
    """Whether a name leads to nothing outside the folder."""
    is_absolute = name.startswith(("/", os.sep)) or ":" in name[:2]
    return not is_absolute and (".." not in name or ".." not in Path(name).parts)


def _stamp(path: str) -> str:
    """Tells whether a file or a folder has changed; empty where it is not there."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - asked of each of many files
    except OSError:
        return ""
    return f"{facts.st_mtime_ns}-{facts.st_size}-{facts.st_ino}"
