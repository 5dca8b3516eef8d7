"""Files that are there whole or not at all, and the error where one cannot be written."""

from __future__ import annotations

import errno
import os
import random
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from timetracer_otel.exceptions import CassetteError

__all__ = ["TEMPORARY", "appearing", "cannot_delete", "cannot_write", "remove", "write_all", "write_new"]

TEMPORARY: Final = re.compile(r"\..*\.[0-9a-f]{12}\.tmp")
"""Names of files that are being written, or that somebody left who was killed while he wrote."""

_WRITE_BYTES = 1 << 18

# Not asked of the system each time: in a busy process, whoever asks it anything waits milliseconds for the
# interpreter's lock afterwards, and a file is written by half a dozen such steps.
_chance = random.Random()  # noqa: S311 (nobody is kept from guessing it)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_chance.seed)


@contextmanager
def appearing(path: str) -> Generator[Path, None, None]:
    """Where to write a file that takes its name, in the place of an older one, when the block ends without an error.

    Raises:
        CassetteError: The file system refuses.
    """
    target = Path(path)
    # Beside the file, so that the rename stays in one file system; short, whatever the name's length; by chance,
    # since in containers the number of the process is the same each time, and a killed one leaves its file.
    temp = target.parent / f".{target.name[:40]}.{_chance.getrandbits(48):012x}.tmp"
    try:
        try:
            yield temp
            temp.replace(target)
        except BaseException:
            remove(temp)
            raise
    except (OSError, ValueError) as fault:
        raise cannot_write(path, fault) from fault


def write_new(path: Path, pieces: Iterator[bytes]) -> int:
    """Write a file that must not be there, with the permissions that the umask gives; gives its length.

    Folders above it are made, where there are none.
    """
    try:
        handle = _opened(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _opened(path)
    total = 0
    try:
        waiting: list[bytes] = []
        waiting_bytes = 0
        for piece in pieces:
            waiting.append(piece)
            waiting_bytes += len(piece)
            if waiting_bytes >= _WRITE_BYTES:
                total += write_all(handle, b"".join(waiting))
                waiting, waiting_bytes = [], 0
        return total + write_all(handle, b"".join(waiting))
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def write_all(handle: int, data: bytes) -> int:
    """Write every byte to an open file; gives their number."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    return len(data)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, where that can be done."""
    try:
        Path(path).unlink()
    except OSError:
        return  # It was never made, or the folder let go of: the error that led here is the one to show.


_CURES = {
    errno.ENOSPC: "Free some space, or record elsewhere (TIMETRACER_DIR)",
    errno.EACCES: "Make its folder writable for this user, or record elsewhere (TIMETRACER_DIR)",
    errno.EISDIR: "It is a folder: name a file",
    errno.ENAMETOOLONG: "Give it a shorter name",
    errno.ENOTDIR: "A part of its path is a file: name another folder (TIMETRACER_DIR)",
}
_CURES[errno.EPERM] = _CURES[errno.EROFS] = _CURES[errno.EACCES]
_CURES[errno.EEXIST] = _CURES[errno.ENOTDIR]
if hasattr(errno, "EDQUOT"):
    _CURES[errno.EDQUOT] = _CURES[errno.ENOSPC]


def cannot_write(path: str, fault: OSError | ValueError) -> CassetteError:
    """The error of a cassette that could not be written, with the cure."""
    number = fault.errno if isinstance(fault, OSError) else None
    cure = _CURES.get(number or 0, "Record elsewhere (TIMETRACER_DIR)")
    reason = (fault.strerror if isinstance(fault, OSError) else None) or str(fault)
    return CassetteError(f"Cannot write cassette {path}: {reason}. {cure}.", path=path)


def cannot_delete(path: str, fault: OSError) -> CassetteError:
    """The error of a cassette that could not be deleted, with the cure."""
    return CassetteError(
        f"Cannot delete cassette {path}: {fault.strerror or fault}. Make its folder writable for this user.",
        path=path,
    )
