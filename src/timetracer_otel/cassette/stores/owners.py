"""Which process a part belongs to, and whether that process still runs. A lock on a file tells it.

A process id would not tell: another process may have the same id by now, or the id may be one of another container.
The operating system releases a lock on a file when the process that holds it ends, in whatever way it ends.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from timetracer_otel.base.private_files import make_private_folder, open_private
from timetracer_otel.cassette.whole_files import cannot_write, remove

__all__ = ["Owner", "forget", "is_alive", "owners"]

_LOCK_FILE = re.compile(r"\.([0-9a-f]{8})\.lock")

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, *, shared: bool) -> None:
        # msvcrt has no shared locks. If two processes ask at the same moment, one of them may take a dead owner
        # for a living one.
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int, *, shared: bool) -> None:
        # flock, not POSIX's record locks: a process loses those as soon as it closes any handle of the file.
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


class Owner:
    """This process as the owner of parts in a folder. A forked child has to `abandon` the owner of its parent.

    Args:
        folder: The folder of cassettes; it is made where it is missing.

    Attributes:
        name: Eight random hexadecimal digits, which stand in the names of the owner's parts.

    Raises:
        CassetteError: The folder cannot be written to, or its file system has no locks.
    """

    def __init__(self, folder: str) -> None:
        self.name: str = ""
        self._handle = -1
        try:
            make_private_folder(Path(folder))
            while self._handle < 0:
                self._claim(folder)
        except OSError as fault:
            raise cannot_write(folder, fault) from fault

    def _claim(self, folder: str) -> None:
        self.name = os.urandom(4).hex()
        self._path = _lock_path(folder, self.name)
        handle = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            if self._hold(handle):
                self._handle = handle
        finally:
            if self._handle < 0:
                os.close(handle)

    def _hold(self, handle: int) -> bool:
        try:
            _lock(handle, shared=False)
        except BlockingIOError:
            return False  # Another process holds the lock for a moment, to see whether this owner is alive.
        except OSError:
            remove(self._path)
            raise
        # A process that looked before the lock was taken saw a dead owner, and has removed the file.
        return _is_file(handle, self._path)

    def release(self) -> None:
        """Remove the lock and its file, when no part belongs to this owner any more."""
        self.abandon()
        remove(self._path)

    def abandon(self) -> None:
        """Close the handle of the lock, but keep the lock's file.

        A forked child inherits the handle. As long as the child keeps it open, the lock is held, and the parent would
        seem to be alive after its death. Example: a worker of gunicorn that outlives the process that started it.
        """
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def owners(folder: str | os.PathLike[str]) -> list[str]:
    """The names of all owners that a folder has, living and dead. Empty if there is no such folder."""
    try:
        return [found[1] for file in Path(folder).iterdir() if (found := _LOCK_FILE.fullmatch(file.name))]
    except OSError:
        return []


def is_alive(folder: str | os.PathLike[str], name: str) -> bool:
    """Whether the process of an owner still runs. True if that cannot be found out."""
    try:
        handle = os.open(_lock_path(folder, name), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        _lock(handle, shared=True)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def forget(folder: str | os.PathLike[str], name: str) -> None:
    """Remove the lock file of a dead owner."""
    remove(_lock_path(folder, name))


def _lock_path(folder: str | os.PathLike[str], name: str) -> Path:
    return Path(folder, f".{name}.lock")


def _is_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
