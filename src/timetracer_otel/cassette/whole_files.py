"""Writing files that appear whole or not at all, and the errors of files that cannot be written or deleted."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from timetracer_otel.base.chance import chance
from timetracer_otel.base.private_files import make_private_folder, open_private
from timetracer_otel.exceptions import CassetteError

__all__ = [
    "TEMPORARY",
    "appearing",
    "cannot_delete",
    "cannot_write",
    "remove",
    "why_unwritten",
    "write_all",
    "write_new",
]

TEMPORARY: Final = re.compile(r"\..*\.[0-9a-f]{12}\.tmp")
"""Names of temporary files: those being written now, and those whose writer was killed."""

_WRITE_BYTES = 1 << 18


@contextmanager
def appearing(path: str) -> Generator[str, None, None]:
    """Give a temporary path to write to. When the block ends without an error, the file is renamed to ``path``.

    A file of that name is replaced. After an error, nothing is left.

    Raises:
        CassetteError: The file system refuses.
    """
    folder, name = os.path.split(path)
    if not name:  # It ends with a separator.
        path = str(Path(path))
        folder, name = os.path.split(path)
    # The temporary file stands beside the file, so that the rename stays in one file system. Its name is short,
    # however long the file's name is. It holds random digits and not the process id: in containers that id is the
    # same each time, and the file of a killed process would be in the way.
    temp = os.path.join(folder, f".{name[:40]}.{chance.getrandbits(48):012x}.tmp")
    try:
        try:
            yield temp
            os.replace(temp, path)
        except BaseException:
            remove(temp)
            raise
    except (OSError, ValueError) as fault:
        raise cannot_write(path, fault) from fault


def write_new(path: str, pieces: Iterator[bytes]) -> int:
    """Write a file that must not be there yet, and give its length. Missing folders above it are made.

    The file and the folders that are made belong to their owner alone.
    """
    try:
        handle = _opened(path)
    except FileNotFoundError:
        make_private_folder(Path(path).parent)
        handle = _opened(path)
    total = 0
    try:
        waiting: list[bytes] = []
        waiting_bytes = 0
        for piece in pieces:
            is_large = len(piece) >= _WRITE_BYTES
            if not is_large:
                waiting.append(piece)
                waiting_bytes += len(piece)
            if is_large or waiting_bytes >= _WRITE_BYTES:
                total += write_all(handle, b"".join(waiting))
                waiting, waiting_bytes = [], 0
            if is_large:
                # By itself: to join it would copy it.
                total += write_all(handle, piece)
        return total + write_all(handle, b"".join(waiting))
    finally:
        os.close(handle)


def _opened(path: str) -> int:
    return open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def write_all(handle: int, data: bytes) -> int:
    """Write every byte to an open file, and give their number. ``os.write`` alone may write fewer."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    return len(data)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file; an error is passed over."""
    try:
        Path(path).unlink()
    except OSError:
        return  # The file was never made, or its folder is gone. The error that led here is the one to show.


_CURES = {
    errno.ENOSPC: "Free some space, or record elsewhere (TIMETRACER_DIR)",
    errno.EFBIG: "Raise the limit of file sizes (ulimit -f)",
    errno.EMFILE: "Close what the app leaves open, or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "The whole system has too many: close some, or raise its limit (fs.file-max)",
    errno.EACCES: "Make its folder writable for this user, or record elsewhere (TIMETRACER_DIR)",
    errno.EISDIR: "It is a folder: name a file",
    errno.ENAMETOOLONG: "Give it a shorter name",
    errno.ENOTDIR: "A part of its path is a file: name another folder (TIMETRACER_DIR)",
}
_CURES[errno.EPERM] = _CURES[errno.EROFS] = _CURES[errno.EACCES]
_CURES[errno.EEXIST] = _CURES[errno.ENOTDIR]
_REASONS = {
    errno.ENOSPC: "the disk was full",
    errno.EFBIG: "a file would have been larger than the process may write",
    errno.EMFILE: "too many files were open",
    errno.ENFILE: "too many files were open",
}
if hasattr(errno, "EDQUOT"):
    _CURES[errno.EDQUOT] = _CURES[errno.ENOSPC]
    _REASONS[errno.EDQUOT] = _REASONS[errno.ENOSPC]


def why_unwritten(error: CassetteError) -> str:
    """Why a cassette could not be written, in one of few constant texts: the reason under which it is counted."""
    cause = error.__cause__
    return _REASONS.get((cause.errno if isinstance(cause, OSError) else 0) or 0, "the folder could not be written to")


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
