"""Cassettes to files: whole and at once (`save_cassette`), or event by event as they come (`AppendWriter`)."""

from __future__ import annotations

import errno
import itertools
import os
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from timetracer_otel.cassette._compress import compressor, expansion_limit
from timetracer_otel.cassette._frames import seal
from timetracer_otel.cassette._model import encode_event, encode_header, footer_fields
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette, DependencyEvent

__all__ = ["AppendWriter", "save_cassette"]

_WRITE_BYTES = 1 << 18


def save_cassette(
    cassette: Cassette, path: str | os.PathLike[str], compression: CompressionType = CompressionType.NONE
) -> str:
    """Write a finished cassette: it appears under its name whole, or not at all. Folders above are made.

    An older file of that name is replaced. Values without faithful encoding are left out, their events say
    that they cannot be replayed, and the footer counts them. What packs so well that a reader would take it
    for a decompression bomb is stored uncompressed (readers do not go by the name).

    Args:
        cassette: What to write; its events are put in order of ``eid``.
        path: The file; its suffix is not looked at.
        compression: How to compress it.

    Returns:
        The path.

    Raises:
        CassetteError: The file cannot be written; the text has the path and the cure.
    """
    name = _text(path)
    raw_bytes = 0
    packed_bytes = 0

    def pieces(kind: CompressionType) -> Iterator[bytes]:
        nonlocal raw_bytes, packed_bytes
        squeeze = compressor(kind, name)
        for part in _stream(cassette):
            raw_bytes += len(part)
            yield squeeze.write(part)
        yield squeeze.finish()

    target = Path(name)
    # Beside the file, so that the rename stays in one file system; short, whatever the name's length; by chance,
    # since in containers the number of the process is the same each time, and a killed one leaves its file.
    temp = target.parent / f".{target.name[:40]}.{os.urandom(6).hex()}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            packed_bytes = _write_new(temp, pieces(compression))
            if compression is not CompressionType.NONE and raw_bytes > expansion_limit(packed_bytes):
                temp.unlink()
                _write_new(temp, pieces(CompressionType.NONE))
            temp.replace(target)
        except BaseException:
            _remove(temp)
            raise
    except (OSError, ValueError) as fault:
        raise _cannot_write(name, fault) from fault
    return name


class AppendWriter:
    """A recording that grows while it is made: what was appended is in the file, whatever becomes of the process.

    The file is begun (an older one of that name is replaced) with the header. `append` and `finish` may be
    called from any thread; a forked child may not use its parent's writer. As a context manager it closes at
    the end, without a footer unless `finish` was called.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        cassette_header: Cassette,
        compression: CompressionType = CompressionType.NONE,
    ) -> None:
        """Begin the file.

        Args:
            path: The file; folders above are made.
            cassette_header: Its session, request and policies become the header; the rest is not looked at.
            compression: How to compress the stream.

        Raises:
            CassetteError: The file cannot be written.
        """
        self.path = _text(path)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._squeeze = compressor(compression, self.path)
        self._offset = 0
        self._crc = 0
        self._events = 0
        header, self._left_out = encode_header(cassette_header)
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: nothing may wait in this process when it is killed, nor in a forked child.
            self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115
        except (OSError, ValueError) as fault:
            raise _cannot_write(self.path, fault) from fault
        try:
            self._put(header)
        except BaseException:
            self._file.close()
            _remove(Path(self.path))
            raise

    @property
    def events(self) -> int:
        """How many events were appended."""
        return self._events

    @property
    def closed(self) -> bool:
        """True where nothing more can be appended."""
        return self._file.closed

    def append(self, event: DependencyEvent) -> None:
        """Write one finished event and hand it to the operating system.

        Raises:
            CassetteError: The writer is closed or another process's, or the file cannot be written; what
                was written before can still be read, and the writer is closed.
        """
        data, left_out = encode_event(event)
        with self._lock:
            self._check_open()
            self._put(data)
            self._events += 1
            self._left_out.update(left_out)

    def finish(self, cassette: Cassette) -> str:
        """Write the footer (statistics, response and error of ``cassette``) and close; gives the path.

        Raises:
            CassetteError: As for `append`.
        """
        with self._lock:
            self._check_open()
            self._put(seal(footer_fields(cassette, self._events, self._left_out), self._offset, self._crc), last=True)
            self._file.close()
        return self.path

    def close(self) -> None:
        """Close without a footer: the reader will say that the recording is not complete. Twice is harmless."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> AppendWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._file.closed:
            raise CassetteError(f"Cannot append to cassette {self.path}: it is closed.", path=self.path)
        if os.getpid() != self._pid:
            raise CassetteError(
                f"Cannot append to cassette {self.path}: it belongs to process {self._pid}. "
                "Begin another one in each worker.",
                path=self.path,
            )

    def _put(self, data: bytes, *, last: bool = False) -> None:
        packed = self._squeeze.write(data) + (self._squeeze.finish() if last else self._squeeze.flush())
        try:
            _write_all(self._file.fileno(), packed)
        except OSError as fault:
            self._file.close()  # Half an event stands there now: anything behind it would be garbage.
            raise _cannot_write(self.path, fault) from fault
        self._offset += len(data)
        self._crc = zlib.crc32(data, self._crc)


def _stream(cassette: Cassette) -> Iterator[bytes]:
    offset = crc = 0
    left_out: Counter[str] = Counter()
    ordered = sorted(cassette.events, key=lambda event: event.eid)
    for part, lost in itertools.chain([encode_header(cassette)], map(encode_event, ordered)):
        left_out += lost
        offset += len(part)
        crc = zlib.crc32(part, crc)
        yield part
    yield seal(footer_fields(cassette, len(ordered), left_out), offset, crc)


def _write_new(path: Path, pieces: Iterator[bytes]) -> int:
    """Write a file that must not be there, with the permissions that the umask gives; gives its length."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    total = 0
    try:
        waiting: list[bytes] = []
        waiting_bytes = 0
        for piece in pieces:
            waiting.append(piece)
            waiting_bytes += len(piece)
            if waiting_bytes >= _WRITE_BYTES:
                total += _write_all(handle, b"".join(waiting))
                waiting, waiting_bytes = [], 0
        return total + _write_all(handle, b"".join(waiting))
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> int:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    return len(data)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return  # It was never made, or the folder let go of: the error that led here is the one to show.


def _text(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    return name if isinstance(name, str) else os.fsdecode(name)


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


def _cannot_write(path: str, fault: OSError | ValueError) -> CassetteError:
    number = fault.errno if isinstance(fault, OSError) else None
    cure = _CURES.get(number or 0, "Record elsewhere (TIMETRACER_DIR)")
    reason = (fault.strerror if isinstance(fault, OSError) else None) or str(fault)
    return CassetteError(f"Cannot write cassette {path}: {reason}. {cure}.", path=path)
