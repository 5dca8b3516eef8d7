"""Where a cassette lies in a folder: ``<folder>/<YYYY-MM-DD>/<METHOD>_<route>_<HHMMSS>_<session>.msgpack[.gz|.zst]``.

Names are ASCII, hold no character that Windows forbids, and have a bounded length.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from timetracer_otel.base.private_files import FILE_MODE, make_private_folder
from timetracer_otel.cassette.compression import compressor
from timetracer_otel.cassette.whole_files import cannot_write
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette

__all__ = ["SUFFIXES", "cassette_name", "cassette_path", "check_writable", "claimed_path", "free_path"]

SUFFIXES: Final = {
    CompressionType.NONE: ".msgpack",
    CompressionType.GZIP: ".msgpack.gz",
    CompressionType.ZSTD: ".msgpack.zst",
}
"""The suffix for each compression. It is for people and patterns; readers go by the first bytes of a file."""

_MAX_ROUTE: Final = 80
_MAX_WORD: Final = 40
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]+")
_DOTS: Final = re.compile(r"\.{2,}")

_claims: Final[dict[str, object]] = {}
"""The absolute paths that threads of this process are writing to just now. Each key is taken by ``dict.setdefault``,
which is atomic: a lock that another thread holds while the process forks would never be released in the child."""


def cassette_name(
    cassette: Cassette, compression: CompressionType = CompressionType.NONE, *, pid: int | None = None
) -> str:
    """The name of a cassette below its folder, date included, with ``/`` between the parts.

    A cassette without a root request (no method) is named after its service and process:
    ``process_<service>_<pid>_<HHMMSS>_<session>``. Times are UTC.

    Args:
        cassette: The cassette to name, by its session and request.
        compression: Its compression, which decides the suffix.
        pid: Id of the process that made the recording; this process by default.
    """
    session, request = cassette.session, cassette.request
    when = _recorded_at(session.recorded_at)
    if request.method:
        route = _safe(request.route_template or request.path, _MAX_ROUTE) or "root"
        stem = f"{_safe(request.method, _MAX_WORD).upper() or 'REQUEST'}_{route}"
    else:
        stem = f"process_{_safe(session.service, _MAX_WORD) or 'service'}_{os.getpid() if pid is None else pid}"
    number = _safe(session.id[:8], 8) or "session"
    return f"{when:%Y-%m-%d}/{stem}_{when:%H%M%S}_{number}{SUFFIXES[compression]}"


def free_path(directory: str, name: str) -> str:
    """The path of a name below a folder; with a number before the suffix where a file of that name is there."""
    return next(path for path in _paths(directory, name) if not os.path.lexists(path))


@contextmanager
def claimed_path(directory: str, name: str) -> Generator[str, None, None]:
    """`free_path`, kept from the other threads of this process until the block ends, by when the file is there.

    Other processes are kept from it by the name alone, which ends with the session's id.
    """
    mine = object()
    for path in _paths(directory, name):
        key = path if os.path.isabs(path) else str(Path(path).absolute())
        if _claims.setdefault(key, mine) is not mine:
            continue
        try:
            # Looked for only now: whoever had the claim before may have made the file.
            if not os.path.lexists(path):
                yield path
                return
        finally:
            del _claims[key]


def _paths(directory: str, name: str) -> Iterator[str]:
    """The paths that a name may get, in order: ``x.msgpack``, ``x-2.msgpack``, and so on."""
    path = os.path.join(directory, *name.split("/"))
    stem, dot, suffix = path.rpartition(".msgpack")
    yield path
    for number in itertools.count(2):
        yield f"{stem}-{number}{dot}{suffix}"


def cassette_path(cassette: Cassette, directory: str, compression: CompressionType = CompressionType.NONE) -> str:
    """The path that a cassette gets in a folder of cassettes. There is no file of that name yet."""
    return free_path(directory, cassette_name(cassette, compression))


def check_writable(path: str | os.PathLike[str], compression: CompressionType = CompressionType.NONE) -> None:
    """Check that a cassette can be written at a path, before anything is recorded. Missing folders are made.

    Raises:
        CassetteError: The cassette cannot be written; the text has the path and the cure.
    """
    target = os.fspath(path)
    try:
        kind = os.stat(target).st_mode
        # A regular file that is there will be replaced; nothing else can be.
        if stat.S_ISDIR(kind):
            raise CassetteError(f"{target}: is a folder. Give the name of a file in it.", path=target)
        if not stat.S_ISREG(kind):
            raise CassetteError(f"{target}: is a device or a pipe. Give the name of a file.", path=target)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as fault:
        raise cannot_write(target, fault) from fault
    compressor(compression, target)
    try:
        _try_folder(os.path.dirname(target) or os.curdir)
    except OSError as error:
        raise CassetteError(
            f"{target}: cannot be written ({error.strerror or error}). "
            "Name a folder that this user may write to (TIMETRACER_DIR, or the path argument).",
            path=target,
        ) from error


def _try_folder(folder: str) -> None:
    """Make a file without a name in a folder, which is made where it is missing.

    Permissions are not enough to tell. A read-only mount, a quota or the rights of root show only by trying.

    Raises:
        OSError: The file system refuses.
    """
    try:
        os.close(os.open(folder, os.O_WRONLY | os.O_TMPFILE, FILE_MODE))
    except (AttributeError, OSError):
        # The folder is not there, or this system or file system has no such files; or none can be made, as follows.
        make_private_folder(Path(folder))
        with tempfile.TemporaryFile(dir=folder):
            pass


def _safe(text: str, length: int) -> str:
    return _DOTS.sub(".", _UNSAFE.sub("_", text)).strip("_.-")[:length].rstrip("_.-")


def _recorded_at(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        when = datetime.now(timezone.utc)
    return when.astimezone(timezone.utc) if when.tzinfo is not None else when
