"""gzip and zstd, as streams that can be cut anywhere. No other module knows the libraries for them.

Every flush ends a block. A reader gets everything that was flushed, also from a file whose writer was killed.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from timetracer_otel.cassette.costs import stream_allowance
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError

__all__ = [
    "MAX_STREAM_BYTES",
    "Compressor",
    "check_compression",
    "compression_of",
    "compressor",
    "expand",
]

MAX_STREAM_BYTES: Final = 1 << 32
"""Longest stream that is read, uncompressed."""

_PIECE_BYTES: Final = 1 << 16
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW_LOG: Final = 23
"""8 MiB, what RFC 8878 section 3.1.1.1.2 asks every decoder to support."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_NO_ZSTD: Final = 'zstd needs another package: pip install "timetracer-otel[zstd]"'


class Compressor(Protocol):
    """A stream that is being compressed. Each method gives the compressed bytes that are ready to be written."""

    def write(self, data: bytes) -> bytes:
        """Compress more data. The compressor may keep bytes back until the block ends."""
        ...

    def flush(self) -> bytes:
        """End a block, so that a reader can expand everything written so far."""
        ...

    def finish(self) -> bytes:
        """End the stream; nothing may be written after it."""
        ...


class _Plain:
    def write(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""

    finish = flush


class _Flushing:
    def __init__(self, engine: Any, block: tuple[Any, ...], end: tuple[Any, ...]) -> None:
        self._engine, self._block, self._end = engine, block, end

    def write(self, data: bytes) -> bytes:
        return bytes(self._engine.compress(data))

    def flush(self) -> bytes:
        return bytes(self._engine.flush(*self._block))

    def finish(self) -> bytes:
        return bytes(self._engine.flush(*self._end))


def check_compression(kind: CompressionType) -> None:
    """Check that cassettes can be compressed in this way, before anything is recorded.

    Raises:
        CassetteError: The package for it is missing; the text has the line that installs it.
    """
    compressor(kind, "cassettes")


def compressor(kind: CompressionType, path: str) -> Compressor:
    """A compressor for one new stream; ``path`` stands in the text of the error.

    Raises:
        CassetteError: The package for it is missing; the text has the line that installs it.
    """
    if kind is CompressionType.GZIP:
        # zlib's own gzip header holds no time: equal cassettes are equal files.
        return _Flushing(zlib.compressobj(6, zlib.DEFLATED, _GZIP), (zlib.Z_SYNC_FLUSH,), (zlib.Z_FINISH,))
    if kind is CompressionType.ZSTD:
        zstandard = _zstandard()
        if zstandard is not None:
            engine = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
            return _Flushing(engine, (zstandard.COMPRESSOBJ_FLUSH_BLOCK,), (zstandard.COMPRESSOBJ_FLUSH_FINISH,))
        if sys.version_info >= (3, 14):
            from compression import zstd

            own = zstd.ZstdCompressor(options={zstd.CompressionParameter.checksum_flag: 1})
            return _Flushing(own, (own.FLUSH_BLOCK,), (own.FLUSH_FRAME,))
        raise CassetteError(f"Cannot write {path}: {_NO_ZSTD}, or set TIMETRACER_COMPRESSION=gzip.", path=path)
    return _Plain()


def compression_of(data: bytes) -> CompressionType:
    """The compression of a file, found by its first bytes and not by its name."""
    if data.startswith(_GZIP_MAGIC):
        return CompressionType.GZIP
    return CompressionType.ZSTD if data.startswith(_ZSTD_MAGIC) else CompressionType.NONE


def expand(data: bytes, path: str, dictionary: bytes = b"") -> bytes:
    """The stream in a file, expanded. Of a file that was cut, everything that can be expanded.

    Args:
        data: The bytes of the file.
        path: Stands in the texts of errors.
        dictionary: The one that it was compressed with, which has a part of its bytes; only zstd has such.

    Raises:
        CassetteError: The file is damaged, expands to more than `stream_allowance`, or the package for its
            compression is missing.
    """
    kind = compression_of(data)
    if kind is CompressionType.NONE:
        return data
    limit = min(MAX_STREAM_BYTES, stream_allowance(len(data) + len(dictionary)))
    parts: list[bytes] = []
    total = 0
    pieces = _gunzip(data) if kind is CompressionType.GZIP else _unzstd(data, path, limit, dictionary)
    try:
        for piece in pieces:
            total += len(piece)
            if total > limit:
                raise CassetteError(
                    f"Cassette {path} expands to more than {limit} bytes from {len(data)}: it is no cassette "
                    "of ours, or one of an early release. If you trust it, expand it first (gunzip, unzstd).",
                    path=path,
                    offset=limit,
                )
            parts.append(piece)
    except _DamagedError as fault:
        raise CassetteError(
            f"Cassette {path} is damaged: the {kind.value} data breaks behind offset {total} of the stream "
            f"({fault}). Record it again.",
            path=path,
            offset=total,
        ) from None
    return b"".join(parts)


class _DamagedError(Exception):
    pass


def _gunzip(data: bytes) -> Iterator[bytes]:
    engine = zlib.decompressobj(_GZIP)
    try:
        # In small inputs, since what is left of an input is copied with each output.
        for start in range(0, len(data), _PIECE_BYTES):
            rest = data[start : start + _PIECE_BYTES]
            while rest and not engine.eof:
                yield engine.decompress(rest, _PIECE_BYTES)
                rest = engine.unconsumed_tail
            if engine.eof:
                if start + _PIECE_BYTES < len(data):
                    raise _DamagedError("bytes behind its end")
                break
        while piece := engine.decompress(b"", _PIECE_BYTES):  # zlib may hold output when its input is used up.
            yield piece
    except zlib.error as fault:
        raise _DamagedError(str(fault)) from None
    _nothing_behind(engine)


def _unzstd(data: bytes, path: str, limit: int, dictionary: bytes) -> Iterator[bytes]:
    # One call expands all of its input, to at most 128 KiB for each 4 bytes. Small inputs bound the memory.
    bite = max(4, min(1 << 10, limit >> 17))
    zstandard = _zstandard()
    if zstandard is not None:
        known = {"dict_data": zstandard.ZstdCompressionDict(dictionary)} if dictionary else {}
        engine = zstandard.ZstdDecompressor(max_window_size=1 << _ZSTD_WINDOW_LOG, **known).decompressobj()
        return _pull(engine, data, bite, engine.decompress, zstandard.ZstdError)
    if sys.version_info >= (3, 14):
        from compression import zstd

        options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        own = zstd.ZstdDecompressor(zstd.ZstdDict(dictionary) if dictionary else None, options=options)
        return _pull(own, data, bite, own.decompress, zstd.ZstdError)
    raise CassetteError(f"Cannot read {path}: {_NO_ZSTD}", path=path)


def _pull(
    engine: Any, data: bytes, bite: int, decompress: Callable[[bytes], bytes], error: type[Exception]
) -> Iterator[bytes]:
    try:
        for start in range(0, len(data), bite):
            yield decompress(data[start : start + bite])
            if engine.eof:
                if start + bite < len(data):
                    raise _DamagedError("bytes behind its end")
                break
    except error as fault:
        raise _DamagedError(str(fault)) from None
    _nothing_behind(engine)


def _nothing_behind(engine: Any) -> None:
    if engine.eof and engine.unused_data:
        raise _DamagedError("bytes behind its end")


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard
