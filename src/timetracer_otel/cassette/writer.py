"""Writing cassettes: a whole one at once (`save_cassette`), or event by event as they come (`AppendWriter`)."""

from __future__ import annotations

import os
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from operator import attrgetter
from types import TracebackType
from typing import Final

from timetracer_otel.cassette.boundaries import standing_alone
from timetracer_otel.cassette.compression import compressor
from timetracer_otel.cassette.costs import Account, OwnCosts, allowance, file_bytes_for, padding
from timetracer_otel.cassette.frames import padded
from timetracer_otel.cassette.growing import hold
from timetracer_otel.cassette.model import encode_event, encode_footer, encode_header
from timetracer_otel.cassette.whole_files import appearing, cannot_write, write_all, write_new
from timetracer_otel.cassette.written_events import WrittenEvents
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette, DependencyEvent

__all__ = ["AppendWriter", "cassette_to_bytes", "save_cassette"]


def save_cassette(
    cassette: Cassette,
    path: str | os.PathLike[str],
    compression: CompressionType = CompressionType.NONE,
    written: WrittenEvents | None = None,
) -> str:
    """Write a finished cassette. The file appears whole, or not at all. Missing folders above it are made.

    An older file of that name is replaced. Values without a faithful encoding are left out: their events say that
    they cannot be replayed, and the footer counts them. A cassette that packs so well that a reader would take it for
    a decompression bomb gets bytes that do not pack.

    Args:
        cassette: What to write; its events are put in order of ``eid``.
        path: The file; its suffix is not looked at.
        compression: How to compress it.
        written: What its part has of its events, where it has one.

    Returns:
        The path.

    Raises:
        CassetteError: The file cannot be written; the text has the path and the cure.
    """
    name = _text(path)
    pieces = _Pieces(cassette, name, written)
    with appearing(name) as temp, written.opened() if written is not None else nullcontext():
        lacking = pieces.lacking_of(write_new(temp, pieces.packed(compression)))
        if lacking:
            os.unlink(temp)
            write_new(temp, pieces.packed(compression, lacking))
    return name


def cassette_to_bytes(cassette: Cassette, compression: CompressionType = CompressionType.NONE) -> bytes:
    """What `save_cassette` would write to a file, for stores that keep no files.

    Args:
        cassette: Its events are put in order of ``eid``.
        compression: How to compress it.

    Raises:
        CassetteError: The package for the compression is missing.
    """
    pieces = _Pieces(cassette, "cassette")
    data = b"".join(pieces.packed(compression))
    lacking = pieces.lacking_of(len(data))
    return b"".join(pieces.packed(compression, lacking)) if lacking else data


class _Pieces:
    """The bytes of one cassette, piece by piece, so that a file is written without the whole in memory."""

    def __init__(self, cassette: Cassette, name: str, written: WrittenEvents | None = None) -> None:
        self._cassette, self._name, self._written = cassette, name, written
        self._weight = _Weight(compresses=False)

    def packed(self, compression: CompressionType, pad_bytes: int = 0) -> Iterator[bytes]:
        self._weight = _Weight(compresses=compression is not CompressionType.NONE)
        squeeze = compressor(compression, self._name)
        for part, own in _stream(self._cassette, padding(pad_bytes, 0), self._written):
            self._weight.add(part, own)
            yield squeeze.write(part)
        yield squeeze.finish()

    def lacking_of(self, file_bytes: int) -> int:
        return self._weight.lacking(file_bytes)


class AppendWriter:
    """A cassette that grows while it is recorded. What was appended is in the file, even if the process is killed.

    The file begins with the header; an older file of that name is replaced. `append` and `finish` may be called from
    any thread. A forked child may not use its parent's writer. As a context manager, the writer closes the file at
    the end of the block, without a footer unless `finish` was called.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        cassette_header: Cassette,
        compression: CompressionType = CompressionType.NONE,
    ) -> None:
        """Begin the file.

        Args:
            path: The file; missing folders above it are made.
            cassette_header: A cassette whose session, request and policies become the header. The rest is not
                looked at.
            compression: How to compress the stream.

        Raises:
            CassetteError: The file cannot be written.
        """
        self.path: str = _text(path)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._squeeze = compressor(compression, self.path)
        self._compresses = compression is not CompressionType.NONE
        self._weight = _Weight(compresses=self._compresses)
        self._file_bytes = 0
        self._offset = 0
        self._crc = 0
        self._events = 0
        own = OwnCosts()
        header, left_out = encode_header(cassette_header, own)
        self._left_out = Counter(left_out)
        # The file gets its name when the header is in it. So it has one, whenever this process is killed.
        with appearing(self.path) as temp:
            write_new(temp, iter([self._packed(self._heavy_enough(header, own))]))
        try:
            # Unbuffered, since a buffer is lost when the process is killed, and written twice by a forked child.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
            hold(self._file.fileno())
        except OSError as fault:
            raise cannot_write(self.path, fault) from fault

    @property
    def events(self) -> int:
        """How many events were appended."""
        return self._events

    @property
    def closed(self) -> bool:
        """Whether the file is closed, so that nothing more can be appended."""
        return self._file.closed

    @property
    def size_bytes(self) -> int:
        """How many bytes were written up to now, before they were compressed."""
        return self._offset

    @property
    def is_gone(self) -> bool:
        """Whether somebody has deleted the file. What is appended then is lost."""
        try:
            return os.fstat(self._file.fileno()).st_nlink == 0
        except (OSError, ValueError):
            return False

    def append(self, event: DependencyEvent) -> None:
        """Write one finished event and hand it to the operating system.

        Raises:
            CassetteError: The writer is closed or belongs to another process, or the file cannot be written. The
                writer is closed then, and what was written before can still be read.
        """
        own = OwnCosts()
        data, left_out = encode_event(event, own)
        with self._lock:
            self._check_open()
            self._put(self._heavy_enough(data, own))
            self._events += 1
            self._left_out.update(left_out)

    def finish(self, cassette: Cassette) -> str:
        """Write the footer (statistics, response and error of ``cassette``), close the file, and give its path.

        Raises:
            CassetteError: As for `append`.
        """
        with self._lock:
            self._check_open()
            own = OwnCosts()
            plain = encode_footer(cassette, self._events, self._left_out, self._offset, self._crc, own=own)
            pad = self._pad_for(plain, own)
            if pad:
                plain = encode_footer(cassette, self._events, self._left_out, self._offset, self._crc, pad)
            self._put(plain, last=True)
            self._file.close()
        return self.path

    def close(self) -> None:
        """Close the file without a footer. A reader will say that the recording is not complete. Harmless twice."""
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

    def _heavy_enough(self, part: bytes, own: OwnCosts | None = None) -> bytes:
        return padded(part, self._pad_for(part, own))

    def _pad_for(self, part: bytes, own: OwnCosts | None = None) -> bytes:
        """What a header, event or footer is filled up with, so that the file up to it can be read."""
        self._weight.add(part, own)
        lacking = self._weight.lacking(self._file_bytes + (0 if self._compresses else len(part)))
        if lacking and self._compresses and len(part) > _QUICK_BYTES:
            # How well it packs is known when it is written, and cannot be changed then. What a quick packer cannot do
            # here, the next part makes good.
            lacking = self._weight.lacking(self._file_bytes + len(zlib.compress(part, 1)) // 2)
        return padding(lacking, self._offset)

    def _put(self, data: bytes, *, last: bool = False) -> None:
        packed = self._packed(data, last=last)
        try:
            write_all(self._file.fileno(), packed)
        except OSError as fault:
            self._file.close()  # The file may end in half an event now. Nothing behind that could be read.
            raise cannot_write(self.path, fault) from fault

    def _packed(self, data: bytes, *, last: bool = False) -> bytes:
        self._offset += len(data)
        self._crc = zlib.crc32(data, self._crc)
        packed = self._squeeze.write(data) + (self._squeeze.finish() if last else self._squeeze.flush())
        self._file_bytes += len(packed)
        return packed


_QUICK_BYTES: Final = 1 << 14


class _Weight:
    """What a reader will have to spend on a stream, and how large its file must be for that."""

    __slots__ = ("_account", "_compresses", "_stream_bytes")

    def __init__(self, *, compresses: bool) -> None:
        self._account = Account()
        self._compresses = compresses
        self._stream_bytes = 0

    def add(self, part: bytes, own: OwnCosts | None) -> None:
        """Add a header, event or footer, and what its extension types cost where that is known."""
        self._stream_bytes += len(part)
        if own is not None and own.known:
            # A bound will do for as long as the bytes that are there anyway pay for it.
            bound = self._account.spent + own.spent
            if bound <= (allowance(0) // 2 if self._compresses else allowance(self._stream_bytes)):
                self._account.spent = bound
                return
        self._account.charge(part, 0, len(part))

    def lacking(self, file_bytes: int) -> int:
        """How many bytes that do not pack a file of this size must have in addition; 0 for none."""
        lacking = file_bytes_for(self._account.spent, self._stream_bytes) - file_bytes
        # They cost something themselves.
        return lacking + lacking // 8 + 1024 if lacking > 0 else 0


def _stream(cassette: Cassette, pad: bytes, written: WrittenEvents | None) -> Iterator[tuple[bytes, OwnCosts]]:
    own = OwnCosts()
    header, left_out = encode_header(cassette, own)
    yield header, own
    offset, crc = len(header), zlib.crc32(header)
    alone = standing_alone(sorted(cassette.events, key=attrgetter("eid")))
    for event in alone:
        part = written.packed(event, own) if written is not None else None
        if part is None:
            part, lost = encode_event(event, own)
            if lost:
                left_out = left_out + lost
        offset += len(part)
        crc = zlib.crc32(part, crc)
        yield part, own
    boundaries = len(cassette.events) - len(alone)
    yield encode_footer(cassette, len(alone), left_out, offset, crc, pad, boundaries, own), own


def _text(path: str | os.PathLike[str]) -> str:
    return os.fsdecode(path)
