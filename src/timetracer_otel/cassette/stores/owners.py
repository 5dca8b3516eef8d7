"""Which process a file belongs to, and whether that process is still there: by a lock that dies with it.

A number would not tell: another process may have it by now, or it may be one of another container. The system
lets go of a lock on a file when its holder ends, however it ends.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from timetracer_otel.cassette.whole_files import cannot_write, remove

__all__ = ["Owner", "forget", "is_alive", "owners"]

_LOCK_FILE = re.compile(r"\.([0-9a-f]{8})\.lock")

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, *, shared: bool) -> None:
        # There are no shared ones: who asks at the same moment as another may take a dead owner for a living one.
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int, *, shared: bool) -> None:
        # flock, not POSIX's record locks: those are gone as soon as any handle of the file is closed.
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


class Owner:
    """This process, as one that files below a folder belong to. Not for a forked child: see `abandon`.

    Args:
        folder: Made where it is missing.

    Attributes:
        name: Eight hexadecimal digits, by chance.

    Raises:
        CassetteError: The folder cannot be written to, or its file system has no locks.
    """

    def __init__(self, folder: str) -> None:
        self.name, self._handle = "", -1
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            while self._handle < 0:
                self._claim(folder)
        except OSError as fault:
            raise cannot_write(folder, fault) from fault

    def _claim(self, folder: str) -> None:
        self.name = os.urandom(4).hex()
        self._path = _lock_path(folder, self.name)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
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
            return False  # Somebody looks whether we are alive.
        except OSError:
            remove(self._path)
            raise
        # Who looked before the lock was taken saw a dead owner, and removed its file.
        return _is_file(handle, self._path)

    def release(self) -> None:
        """Nothing belongs to this owner any more."""
        self.abandon()
        remove(self._path)

    def abandon(self) -> None:
        """Let go of the lock as a forked child must: it holds a second handle of it, and may outlive its parent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def owners(folder: str | os.PathLike[str]) -> list[str]:
    """The names of all owners of a folder, living and dead; none where there is no such folder."""
    try:
        return [found[1] for file in Path(folder).iterdir() if (found := _LOCK_FILE.fullmatch(file.name))]
    except OSError:
        return []


def is_alive(folder: str | os.PathLike[str], name: str) -> bool:
    """Whether the process of an owner still runs; True where that cannot be told."""
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
    """Remove what a dead owner left of itself."""
    remove(_lock_path(folder, name))


def _lock_path(folder: str | os.PathLike[str], name: str) -> Path:
    return Path(folder, f".{name}.lock")


def _is_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
