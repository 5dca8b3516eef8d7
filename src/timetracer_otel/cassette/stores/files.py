"""`CassetteStore`, the store that is a folder of files, and `write_cassette` for sessions."""

from __future__ import annotations

import builtins
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Protocol, TypeVar

from timetracer_otel.cassette.codec import DECODE_ERRORS, describe
from timetracer_otel.cassette.frames import BOUNDARIES_KEY, FOOTER_KEY, BreakError, footer_start, objects
from timetracer_otel.cassette.model import HeaderParts, from_maps, header_parts
from timetracer_otel.cassette.reader import check_start, lay_out, load, read_cassette
from timetracer_otel.cassette.sources import Source
from timetracer_otel.cassette.stores.base import Store, StoredEntry
from timetracer_otel.cassette.stores.parts import is_part, is_running, recover
from timetracer_otel.cassette.stores.places import SUFFIXES, cassette_name, claimed_path
from timetracer_otel.cassette.whole_files import cannot_delete
from timetracer_otel.cassette.writer import save_cassette
from timetracer_otel.cassette.written_events import WrittenEvents
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette

__all__ = ["CassetteStore", "StoredCassette", "head_of", "stored_cassette", "write_cassette"]


_T = TypeVar("_T")


class _Recorded(Protocol):
    def to_cassette(self) -> Cassette: ...


def write_cassette(session: _Recorded, config: TraceConfig) -> str:
    """Write what a session recorded to a new file in ``config.cassette_dir``, and give the file's absolute path.

    Raises:
        CassetteError: The file cannot be written.
    """
    directory = str(Path(config.spool_dir).absolute())
    return CassetteStore(directory, config.compression).put(session.to_cassette())


@dataclass(frozen=True, slots=True)
class StoredCassette:
    """What `CassetteStore.list` says about one file."""

    path: str
    size_bytes: int
    recorded_at: str = ""
    session_id: str = ""
    trace_id: str = ""
    """Empty where nothing was traced."""
    service: str = ""
    env: str = ""
    method: str = ""
    """Empty where the recording had no root request."""
    request_path: str = ""
    """The route where one is known, the path otherwise."""
    status: int = 0
    failed: bool = False
    """Whether the app raised, or its answer had a status of 500 or more."""
    events: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    """How many events there are of each kind, by `EventType`. Empty for a recording that was cut off."""
    without_plugin: Mapping[str, int] = field(default_factory=dict)
    """How many of them no plugin captured, by library: no replay can answer these."""
    connections: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How many connections of clients without a plugin, and without spans, were noted, by library and address."""
    duration_ms: float = 0.0
    complete: bool = False
    running: bool = False
    """Whether the file is a part (a recording under way) whose process still runs."""
    error: str | None = None
    """Why the file cannot be read; None where it can. With an error, only path and size are filled in."""
    process: tuple[str, ...] = ()
    """Identifiers of the process that recorded, last, and before it of those that it was forked from."""

    @property
    def by_age(self) -> tuple[bool, str, str]:
        """What lists of rows are sorted by: oldest first, and at the end those that cannot be read."""
        return self.error is not None, self.recorded_at, self.path


class CassetteStore(Store):
    """A folder of cassettes, with a folder for each date below it. The name of a cassette is its path.

    A file appears by a rename, so that readers in other processes never see half of one. `list` and `recover` are
    about files alone: they also see the parts of recordings that are under way (see `stores.parts`).
    """

    def __init__(
        self, directory: str | os.PathLike[str], compression: CompressionType = CompressionType.NONE
    ) -> None:
        """Name the folder; it need not exist.

        Args:
            directory: The folder.
            compression: How to compress what is put in. Whatever lies there is read, however it is compressed.
        """
        self.directory: str = os.fspath(directory)
        self.compression = compression

    def __str__(self) -> str:
        return self.directory

    def put(self, cassette: Cassette, written: WrittenEvents | None = None) -> str:
        """Write a cassette to a new file, named after its date, request and session, and give the file's path.

        Args:
            cassette: The cassette.
            written: What its part has of its events, where it has one.

        Raises:
            CassetteError: The file cannot be written.
        """
        with claimed_path(self.directory, cassette_name(cassette, self.compression)) as path:
            return save_cassette(cassette, path, self.compression, written)

    def get(self, name: str | os.PathLike[str]) -> Cassette:
        """Read a cassette by its path below the folder, or by the path that `put`, `heads` and `list` give.

        Raises:
            CassetteError: As for `read_cassette`.
        """
        return read_cassette(self._path_of(name))

    def delete(self, name: str | os.PathLike[str]) -> None:
        """Remove a cassette's file, by the same names as for `get`. The folder of its date stays.

        Raises:
            CassetteError: The name is no cassette of this folder, or the file system refuses.
        """
        path = self._path_of(name)
        # By the real folders: neither ``..`` nor a link may lead to a file elsewhere.
        is_inside = path.parent.resolve().is_relative_to(Path(self.directory).resolve())
        if not is_inside or not _is_cassette(path.name):
            raise CassetteError(
                f"Cannot delete {path}: it is no cassette of {self.directory}. Name one that lies there.",
                path=str(path),
            )
        try:
            path.unlink(missing_ok=True)
        except OSError as fault:
            raise cannot_delete(str(path), fault) from fault

    def list(self) -> builtins.list[StoredCassette]:
        """A row for each file of the folder, oldest first. Files that cannot be read come last, with the reason.

        The parts of recordings that are under way, or whose process died, are listed as well.
        """
        found = (stored for file in self._files(with_parts=True) for stored in _summaries(file))
        return sorted(found, key=attrgetter("by_age"))

    def heads(self) -> Iterator[Cassette | CassetteError]:
        """Each cassette of the folder without its events, or the error that says why it cannot be read.

        Of an uncompressed file only the beginning and the end are read. Parts are left out.
        """
        for file in self._files():
            found = self.head(file)
            if found is not None:
                yield found

    def head(self, name: str | os.PathLike[str]) -> Cassette | CassetteError | None:
        """What `heads` gives for one file, by its path or that below the folder; None where it has gone."""
        found = self.look(name)
        return found[0] if isinstance(found, tuple) else found

    def look(self, name: str | os.PathLike[str]) -> tuple[Cassette, int] | CassetteError | None:
        """As `head`, with the number of the file's events."""
        file = self._path_of(name)
        found = _look(file, _head)
        return _as_cassette_error(found, file) if isinstance(found, Exception) else found

    def parts(self) -> builtins.list[StoredCassette]:
        """A row for each part: a recording that is under way, or whose process died. In any order."""
        found: builtins.list[StoredCassette] = []
        for folder, _, names in os.walk(self.directory):
            for name in names:
                if is_part(name) and not name.startswith("."):
                    found += _summaries(Path(folder, name))
        return found

    def folders(self) -> Iterator[tuple[str, builtins.list[str]]]:
        """The folder and those below it, each with the names of the cassettes in it. No file is opened."""
        for folder, _, names in os.walk(self.directory):
            yield folder, [name for name in names if _is_cassette(name)]

    def entries(self, *, sized: bool = True) -> Iterator[StoredEntry]:
        """Each finished cassette's path, size, and time of the last change; no file is opened."""
        for file in self._files():
            try:
                facts = file.stat()
            except OSError:
                continue  # It was deleted since its folder was listed.
            yield StoredEntry(str(file), facts.st_mtime, facts.st_size)

    def recover(self) -> int:
        """Make cassettes, without a footer, of the parts that dead processes left, and give their number."""
        return recover(self.directory)

    def _files(self, *, with_parts: bool = False) -> Iterator[Path]:
        for folder, _, names in os.walk(self.directory):
            for name in names:
                if _is_cassette(name) or (with_parts and is_part(name) and not name.startswith(".")):
                    yield Path(folder, name)

    def _path_of(self, name: str | os.PathLike[str]) -> Path:
        below = Path(self.directory, name)
        return below if os.path.lexists(below) or not os.path.lexists(name) else Path(name)


def _is_cassette(name: str) -> bool:
    """Whether a file of this name is taken for a finished cassette; hidden ones are temporary files and locks."""
    return name.endswith(tuple(SUFFIXES.values())) and not name.startswith(".")


def _look(file: Path, how: Callable[[Path], _T]) -> _T | Exception | None:
    """What ``how`` finds in a file or the error that it meets; None where the file has gone since it was listed.

    A cassette that was deleted, and another one of its name that has come meanwhile, are no broken file: it is
    looked at again.
    """
    before = _identity(file)
    while True:
        try:
            return how(file)
        except (CassetteError, *DECODE_ERRORS) as fault:
            now = _identity(file)
            if now is None or now == before:
                return fault if now else None
            before = now


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        facts = file.lstat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _as_cassette_error(fault: Exception, file: Path) -> CassetteError:
    if isinstance(fault, CassetteError):
        return fault
    return CassetteError(f"Cannot read cassette {file}: {describe(fault)}.", path=str(file))


def head_of(path: str | os.PathLike[str]) -> Cassette:
    """A cassette without its events. Of an uncompressed file only the beginning and the end are read.

    Raises:
        CassetteError: It cannot be read.
    """
    file = Path(path)
    try:
        return _head(file)[0]
    except (CassetteError, *DECODE_ERRORS) as fault:
        raise _as_cassette_error(fault, file) from fault


def _head(file: Path) -> tuple[Cassette, int]:
    """A cassette without its events, and the number of events in the file."""
    path = str(file)
    facts = file.stat()
    # The quick look opens the file. A named pipe would wait for its writer then, so it goes to the full look, which
    # refuses whatever is no regular file without opening it.
    quick = _quick_look(path, facts.st_size) if stat.S_ISREG(facts.st_mode) else None
    header, footer, events = quick or _full_look(path)
    boundaries = footer.get(BOUNDARIES_KEY) if type(footer) is dict else None
    return from_maps(header, [], footer, path), events + (boundaries if type(boundaries) is int else 0)


def _summaries(file: Path) -> Iterator[StoredCassette]:
    """The row of one file; none where it has gone since: a part becomes a cassette, and a cassette may be deleted."""
    found = _look(file, _summary)
    if isinstance(found, Exception):
        try:
            size = file.stat().st_size
        except OSError:
            size = 0
        yield StoredCassette(str(file), size, error=describe(found))
    elif found is not None:
        yield found


def _summary(file: Path) -> StoredCassette:
    size = file.stat().st_size
    cassette, events = _head(file)
    return stored_cassette(cassette, events, str(file), size, running=is_running(file))


def stored_cassette(
    cassette: Cassette, events: int, path: str, size_bytes: int, *, running: bool = False
) -> StoredCassette:
    """The row of a cassette, which need not have its events."""
    session, request = cassette.session, cassette.request
    return StoredCassette(
        path=path,
        size_bytes=size_bytes,
        recorded_at=session.recorded_at,
        session_id=session.id,
        trace_id=session.trace_id or "",
        service=session.service,
        env=session.env,
        method=request.method,
        request_path=request.route_template or request.path,
        status=cassette.response.status,
        failed=cassette.error_info is not None or cassette.response.status >= 500,
        events=events,
        kinds=cassette.stats.event_counts,
        without_plugin=cassette.stats.without_plugin,
        connections=cassette.stats.connections,
        duration_ms=cassette.response.duration_ms,
        complete=cassette.complete,
        running=running,
        process=tuple(session.process),
    )


_HEAD_BYTES = 1 << 16
_Look = tuple[HeaderParts, object, int]


def _quick_look(path: str, size: int) -> _Look | None:
    """Header, footer and number of events of an uncompressed, finished file; None for other files.

    The end of the file says where the footer begins, so that nothing between header and footer is read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(max(0, size - _HEAD_BYTES))
        tail = file.read()
    before_tail = max(0, size - len(tail))
    start = footer_start(tail)
    if head[:1] < b"\x80" or head[:1] > b"\x8f" or start is None or not before_tail <= start < size:
        return None
    check_start(head, path)
    try:
        end = next(objects(head))[1]
    except (BreakError, StopIteration):
        return None
    footer = Source(path, tail, size).object_at(start - before_tail, len(tail), start)
    events = footer.get(FOOTER_KEY) if type(footer) is dict else None
    if type(events) is not int:
        return None
    return header_parts(Source(path, head, size).object_at(0, end)), footer, events


def _full_look(path: str) -> _Look:
    source = load(path)
    layout = lay_out(source)
    return header_parts(source.object_at(*layout.header)), layout.footer, layout.count
