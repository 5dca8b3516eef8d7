"""Parts: files with what a recording under way has so far. They are what is left when the process is killed.

A part is a cassette without a footer. It stands in the folder of the finished cassette, and is called
``<name of the cassette>.<owner>.part``. The owner is the process that records (see `owners`).

A part is not compressed, whatever its cassette will be: a compressor keeps nearly a megabyte, and a service may have
a thousand requests under way. A compressed one is recovered all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from timetracer_otel.base.real_time import time_s
from timetracer_otel.cassette.costs import OwnCosts
from timetracer_otel.cassette.model import encode_event, encode_header
from timetracer_otel.cassette.reader import read_cassette
from timetracer_otel.cassette.stores import owners
from timetracer_otel.cassette.stores.places import SUFFIXES, cassette_path, free_path
from timetracer_otel.cassette.whole_files import TEMPORARY, appearing, cannot_write, remove, write_all, write_new
from timetracer_otel.cassette.written_events import WrittenEvents
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette, DependencyEvent

__all__ = ["PartWriter", "is_part", "is_running", "recover"]

_PART = re.compile(r"(?P<cassette>.+\.msgpack(?:\.gz|\.zst)?)\.(?P<owner>[0-9a-f]{8})\.part")
_SESSION = re.compile(r"_(\d{6}_[A-Za-z0-9.-]{1,8})(?:-\d+)?\.msgpack")
"""Time and session at the end of a cassette's name. What stands before may differ between a part and its cassette,
since the route may be known only later."""
_VALUE = re.compile(r"(?<=/)(?:(?=[^/]*\d)(?=[^/]*[A-Za-z])[^/]{8,}|[^/]{20,})")
"""A step of a path that is no word: letters with digits, or long."""
_ABANDONED_S = 3600.0
"""No process takes so long to write one cassette. An older temporary file was left by a process that died."""


class PartWriter:
    """One part that grows. Its file is open only while events are appended, since there may be a thousand parts.

    Only one thread may use a writer at a time. A forked child may not use its parent's.

    Args:
        head: A cassette whose session, request and policies become the header.
        events: The events that have ended by now.
        folder: The folder of cassettes.
        owner: The name of the `Owner` in that folder.

    Attributes:
        written: The events in it, for the cassette that is written in the end.

    Raises:
        CassetteError: The file cannot be written.
    """

    __slots__ = ("_size_bytes", "path", "written")

    def __init__(self, head: Cassette, events: Iterable[DependencyEvent], folder: str, owner: str) -> None:
        self.path: str = f"{cassette_path(_with_plain_path(head), folder)}.{owner}.part"
        self.written: WrittenEvents = WrittenEvents(self.path)
        header, _ = encode_header(head)
        self._size_bytes = len(header)
        with appearing(self.path) as temp:
            write_new(temp, iter([header, *self._packed(events)]))

    def append(self, events: Iterable[DependencyEvent]) -> None:
        """Add finished events, if there are any.

        Raises:
            CassetteError: The events cannot be written. The part can still be read, but nothing may be added to it.
        """
        data = b"".join(self._packed(events))
        if not data:
            return
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
            try:
                write_all(handle, data)
            finally:
                os.close(handle)
        except OSError as fault:
            raise cannot_write(self.path, fault) from fault

    def remove(self) -> None:
        """Remove the part, when the whole cassette was written or none is wanted."""
        remove(self.path)

    def keep(self) -> None:
        """Rename the part to a cassette without a footer, when no whole cassette will be written."""
        _keep(Path(self.path))

    def _packed(self, events: Iterable[DependencyEvent]) -> Iterator[bytes]:
        own = OwnCosts()
        for event in events:
            data, _ = encode_event(event, own)
            self.written.add(event, self._size_bytes, len(data), own)
            self._size_bytes += len(data)
            yield data


def _with_plain_path(head: Cassette) -> Cassette:
    """The head by which a part is named. What of the request's path may be a value is left out: it may turn out to be
    a secret, when the part has its name already.
    """
    request = head.request
    if request.route_template or not _VALUE.search(request.path):
        return head
    return replace(head, request=replace(request, path=_VALUE.sub("value", request.path)))


def is_part(name: str) -> bool:
    """Whether a file of this name is a part."""
    return _PART.fullmatch(name) is not None


def is_running(path: Path) -> bool:
    """Whether the process that writes this part still runs."""
    found = _PART.fullmatch(path.name)
    # Parts lie in a folder of their date. The lock file of the owner lies in the folder above.
    return found is not None and owners.is_alive(path.parent.parent, found["owner"])


def recover(folder: str | os.PathLike[str]) -> int:
    """Rename the parts of dead processes to cassettes, and give their number.

    Several processes may do this at once. If no process has died, it only lists the folder.
    """
    dead = {name for name in owners.owners(folder) if not owners.is_alive(folder, name)}
    if not dead:
        return 0
    recovered = 0
    for place, _, names in os.walk(folder):
        for name in names:
            found = _PART.fullmatch(name)
            if found is not None and found["owner"] in dead:
                part = Path(place, name)
                if _was_finished(part, names):
                    remove(part)
                else:
                    recovered += _keep(part)
            elif TEMPORARY.fullmatch(name):
                _remove_abandoned(Path(place, name))
    # The owners are forgotten last. If this process dies before, another process does everything again.
    for name in dead:
        owners.forget(folder, name)
    return recovered


def _was_finished(part: Path, names: Iterable[str]) -> bool:
    """Whether the whole cassette is there too: the process died between writing it and removing the part."""
    mark = _SESSION.search(part.name)
    if mark is None:
        return False
    suffixes = tuple(SUFFIXES.values())
    for name in names:
        if mark[1] in name and name.endswith(suffixes) and not name.startswith("."):
            with suppress(CassetteError):
                if read_cassette(part).session.id == read_cassette(part.with_name(name)).session.id:
                    return True
    return False


def _keep(part: Path) -> bool:
    found = _PART.fullmatch(part.name)
    assert found is not None
    try:
        part.rename(free_path(str(part.parent), found["cassette"]))
    except OSError:
        return False  # Another process was quicker, or may write here and this one may not. `list` shows the part.
    return True


def _remove_abandoned(file: Path) -> None:
    with suppress(OSError):
        if time_s() - file.stat().st_mtime > _ABANDONED_S:
            file.unlink()
