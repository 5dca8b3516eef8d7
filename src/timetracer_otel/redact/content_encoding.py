"""Content encodings (RFC 9110 section 8.4), as far as redaction must look behind them."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["MAX_DECODED_BYTES", "decode_body", "encode_body", "known_encodings"]

MAX_DECODED_BYTES = 256 * 1024 * 1024
"""A body that grows beyond this is taken for a bomb and left undecoded."""

_PIECE_BYTES = 1024


def known_encodings(encoding: str) -> str:
    """The encodings among these that a client may undo; HTTP clients pass over names that they do not know."""
    return ", ".join(name for name in _names(encoding) if name in _DECODERS)


def decode_body(data: bytes, encoding: str, *, damaged_too: bool = False) -> bytes | None:
    """The body without its content encoding, as far as it goes; None where it cannot be decoded here.

    A body that breaks off gives what could be decoded of it.

    Args:
        data: The body.
        encoding: The value of its ``content-encoding``; empty for none.
        damaged_too: A body that is damaged gives what stands before the damage, where that is anything.
    """
    for name in reversed(_names(encoding)):
        decoded = _decoded(data, name, damaged_too)
        if decoded is None:
            return None
        data = decoded
    return data


def encode_body(data: bytes, encoding: str) -> bytes:
    """The body in this content encoding, the same bytes for the same body every time."""
    for name in _names(encoding):
        data = _ENCODERS[name](data)
    return data


def _names(encoding: str) -> list[str]:
    return [name for part in encoding.split(",") if (name := part.strip().lower())]


def _decoded(data: bytes, name: str, damaged_too: bool) -> bytes | None:
    decoder = _DECODERS.get(name)
    if decoder is None:
        return None
    pieces: list[bytes] = []
    left = MAX_DECODED_BYTES
    try:
        for piece in decoder(data):
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                return None
    except Exception:
        # The app gets the same bytes and fails the same way.
        if not damaged_too or left == MAX_DECODED_BYTES:
            return None
    return b"".join(pieces)


def _inflate(data: bytes, window_bits: int = 16 + zlib.MAX_WBITS) -> Iterator[bytes]:
    while data:
        decompressor = zlib.decompressobj(window_bits)
        for position in range(0, len(data), _PIECE_BYTES):
            piece = data[position : position + _PIECE_BYTES]
            try:
                yield decompressor.decompress(piece)
            except zlib.error:
                again = zlib.decompressobj(window_bits)
                again.decompress(data[:position])
                yield from _one_by_one(again.decompress, piece)
                raise
            if decompressor.eof:
                break
        rest = decompressor.unused_data + data[position + _PIECE_BYTES :]
        # gzip may have several members, one behind the other (RFC 1952 section 2.2); clients ignore all else there.
        data = rest if window_bits > zlib.MAX_WBITS and rest.startswith(_GZIP_MAGIC) else b""


def _inflate_either(data: bytes) -> Iterator[bytes]:
    # "deflate" is zlib by the RFC and raw in the wild; clients take both.
    try:
        zlib.decompressobj().decompress(data[:2])
    except zlib.error:
        return _inflate(data, -zlib.MAX_WBITS)
    return _inflate(data, zlib.MAX_WBITS)


def _brotli() -> Any:
    # The two packages that HTTP clients use, with the same functions.
    try:
        return importlib.import_module("brotli")
    except ImportError:
        return importlib.import_module("brotlicffi")


def _unbrotli(data: bytes) -> Iterator[bytes]:
    return _piecewise(data, lambda: _brotli().Decompressor().process)


def _unzstd(data: bytes) -> Iterator[bytes]:
    import zstandard

    return _piecewise(data, lambda: zstandard.ZstdDecompressor().decompressobj().decompress)


def _piecewise(data: bytes, decoder: Callable[[], Callable[[bytes], bytes]]) -> Iterator[bytes]:
    """Decode with a decoder that knows no limit, so little at a time that a bomb is seen before it has grown."""
    decode = decoder()
    for position in range(0, len(data), _PIECE_BYTES):
        piece = data[position : position + _PIECE_BYTES]
        try:
            yield decode(piece)
        except Exception:
            again = decoder()
            again(data[:position])
            yield from _one_by_one(again, piece)
            raise


def _one_by_one(decode: Callable[[bytes], bytes], piece: bytes) -> Iterator[bytes]:
    """What stands before the damage in a piece: a decoder keeps back what it decoded of a piece that it refuses."""
    for byte in piece:
        yield decode(bytes((byte,)))


def _zstd(data: bytes) -> bytes:
    import zstandard

    return bytes(zstandard.ZstdCompressor().compress(data))


_GZIP_MAGIC = b"\x1f\x8b"
_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "identity": lambda data: iter((data,)),
    "gzip": _inflate,
    "x-gzip": _inflate,
    "deflate": _inflate_either,
    "br": _unbrotli,
    "zstd": _unzstd,
}
_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "x-gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": lambda data: bytes(_brotli().compress(data)),
    "zstd": _zstd,
}
