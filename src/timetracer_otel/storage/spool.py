"""The local folder that a service records into, as shipping sees it: what is finished, and what is on its way.

What is on its way stands in the *outbox*, a hidden folder of the spool: a pack, its index, and a plan that says of
which files they were made. The plan is written last. So whoever finds a plan has all that is needed to upload the
pack (again) and to remove its files then; and a pack without a plan is rubbish.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from timetracer_otel.base.private_files import make_private_folder, open_private
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.cassette.growing import is_growing
from timetracer_otel.cassette.whole_files import appearing, remove, write_new
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette

__all__ = ["Finished", "Plan", "Spool", "SpooledFile"]

_OUTBOX: Final = ".outbox"
_PASSING: Final = ".shipping.lock"
_SHIPPER: Final = ".shipper.lock"
_PROGRESS: Final = ".shipper.json"


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A file as it was when it was packed: it is removed only while it is still that one."""

    name: str
    """The path below the spool."""
    size_bytes: int
    changed_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A cassette of the spool that nobody writes any more."""

    file: SpooledFile
    path: Path
    head: Cassette
    events: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What the outbox has on its way."""

    name: str
    """Of the pack, without a suffix."""
    url: str
    place: str
    """The folder below the URL."""
    files: list[SpooledFile]


class Spool:
    """One folder. Everything but `locked`, `watched` and `told` is for who holds a lock of it.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder: Path = Path(folder).absolute()
        self.outbox: Path = self.folder / _OUTBOX
        self._store = CassetteStore(self.folder)

    def locked(self) -> AbstractContextManager[bool]:
        """Whether nobody else ships this folder now; nobody else will, until the block ends."""
        return self._hold(_PASSING)

    def watched(self) -> AbstractContextManager[bool]:
        """Whether no other shipper of a recording process looks after this folder, as `locked` does."""
        return self._hold(_SHIPPER)

    @contextmanager
    def _hold(self, name: str) -> Generator[bool, None, None]:
        try:
            handle = open_private(self.folder / name, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            yield False
            return
        try:
            yield _lock(handle)
        finally:
            os.close(handle)

    def finished(self) -> Iterator[Finished | CassetteError]:
        """Each cassette that can go, or why one cannot be read. What is being written is left out."""
        self._store.recover()
        for folder, names in self._store.folders():
            if Path(folder) == self.outbox:
                continue
            for name in sorted(names):
                path = Path(folder, name)
                file = self._look(path)
                found = self._store.look(path) if file is not None else None
                if file is None or found is None:
                    continue  # It was deleted meanwhile: by the setting ``keep``, for example.
                if isinstance(found, CassetteError):
                    yield found
                elif found[0].complete or not is_growing(path):
                    yield Finished(file, path, *found)

    def waiting(self) -> tuple[int, int]:
        """How many cassettes are in the folder, those among them that are being written, and how many bytes."""
        sizes = [entry.size_bytes for entry in self._store.entries()]
        return len(sizes), sum(sizes)

    def tell(self, of: str, document: dict[str, Any]) -> None:
        """Say how far a shipper has come that looks after this folder; ``of`` is the name that it was given."""
        with appearing(str(self.folder / _PROGRESS)) as temp:
            write_new(temp, iter([json.dumps({**document, "of": of}).encode()]))

    def told(self, of: str) -> dict[str, Any] | None:
        """What the shipper of this name has told last; None where it has not, or another one has since."""
        try:
            found: dict[str, Any] = json.loads((self.folder / _PROGRESS).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if found.get("of") == of else None

    def plans(self) -> list[Plan]:
        """What a shipper that died has left on its way. What it had not finished packing is removed."""
        if not self.outbox.is_dir():
            return []
        names = sorted(each.name for each in self.outbox.iterdir())
        found = [plan for name in names if name.endswith(".json") and (plan := self._read_plan(name)) is not None]
        known = {f"{plan.name}{suffix}" for plan in found for suffix in (".json", ".pack", ".parquet")}
        for name in names:
            if name not in known:
                remove(self.outbox / name)
        return found

    def begin(self) -> None:
        """Make the outbox, which only its owner may read, as all of the spool."""
        make_private_folder(self.outbox)

    def commit(self, plan: Plan) -> None:
        """Say that a pack and its index are in the outbox."""
        text = json.dumps(
            {
                "url": plan.url,
                "place": plan.place,
                "files": [[each.name, each.size_bytes, each.changed_ns, each.inode] for each in plan.files],
            }
        )
        with appearing(str(self.outbox / f"{plan.name}.json")) as temp:
            write_new(temp, iter([text.encode()]))

    def drop(self, plan: Plan) -> None:
        """Forget a plan, as its files are shipped or will go another way. Its own file goes first."""
        for suffix in (".json", ".pack", ".parquet"):
            remove(self.outbox / f"{plan.name}{suffix}")

    def remove_shipped(self, plan: Plan) -> int:
        """Remove the files of a plan that are still as they were packed, and give their number.

        Raises:
            CassetteError: The file system refuses.
        """
        removed = 0
        for each in plan.files:
            path = self.folder / each.name
            if self._look(path) == each:
                self._store.delete(path)
                removed += 1
        for folder in {(self.folder / each.name).parent for each in plan.files} - {self.folder}:
            with suppress(OSError):
                folder.rmdir()  # Only an empty one goes.
        return removed

    def _read_plan(self, plan: str) -> Plan | None:
        stem = plan.removesuffix(".json")
        if not all((self.outbox / f"{stem}{suffix}").is_file() for suffix in (".pack", ".parquet")):
            return None
        try:
            found: dict[str, Any] = json.loads((self.outbox / plan).read_text("utf-8"))
            files = [SpooledFile(str(name), *map(int, facts)) for name, *facts in found["files"]]
            return Plan(stem, str(found["url"]), str(found["place"]), files)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _look(self, path: Path) -> SpooledFile | None:
        try:
            facts = path.stat()
        except OSError:
            return None
        name = path.relative_to(self.folder).as_posix()
        return SpooledFile(name, facts.st_size, facts.st_mtime_ns, facts.st_ino)


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
