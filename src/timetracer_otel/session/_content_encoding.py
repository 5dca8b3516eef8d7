"""Content encodings (RFC 9110 section 8.4), as far as redaction must look behind them."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Callable
from typing import Any

__all__ = ["MAX_DECODED_BYTES", "decode_body", "encode_body"]

MAX_DECODED_BYTES = 256 * 1024 * 1024
"""A body that grows beyond this is taken for a bomb and left undecoded."""

_PIECE_BYTES = 1024


def decode_body(data: bytes, encoding: str) -> bytes | None:
    """The body without its content encoding, as far as it goes; None where it cannot be decoded here.

    A body that breaks off gives what could be decoded of it.
    """
    if not encoding:
        return data
    for name in reversed([part.strip() for part in encoding.split(",")]):
        decoder = _DECODERS.get(name)
        try:
            decoded = decoder(data) if decoder else None
        except Exception:
            # The app gets the same bytes and fails the same way; there is nothing to look into.
            return None
        if decoded is None:
            return None
        data = decoded
    return data


def encode_body(data: bytes, encoding: str) -> bytes:
    """The body in this content encoding, the same bytes for the same body every time."""
    for name in [part.strip() for part in encoding.split(",")]:
        data = _ENCODERS[name](data)
    return data


def _inflate(data: bytes, window_bits: int) -> bytes | None:
    pieces = []
    left = MAX_DECODED_BYTES
    while data:
        # gzip may have several members, one behind the other (RFC 1952 section 2.2).
        decompressor = zlib.decompressobj(window_bits)
        pieces.append(decompressor.decompress(data, left))
        left -= len(pieces[-1])
        if decompressor.unconsumed_tail or left <= 0:
            return None
        data = decompressor.unused_data if window_bits > zlib.MAX_WBITS else b""
    return b"".join(pieces)


def _inflate_either(data: bytes) -> bytes | None:
    # "deflate" is zlib by the RFC and raw in the wild; clients take both.
    try:
        return _inflate(data, zlib.MAX_WBITS)
    except zlib.error:
        return _inflate(data, -zlib.MAX_WBITS)


def _brotli() -> Any:
    # The two packages that HTTP clients use, with the same functions.
    try:
        return importlib.import_module("brotli")
    except ImportError:
        return importlib.import_module("brotlicffi")


def _unbrotli(data: bytes) -> bytes | None:
    return _piecewise(data, _brotli().Decompressor().process)


def _unzstd(data: bytes) -> bytes | None:
    import zstandard

    return _piecewise(data, zstandard.ZstdDecompressor().decompressobj().decompress)


def _piecewise(data: bytes, decode: Callable[[bytes], bytes]) -> bytes | None:
    """Decode with a decoder that knows no limit, so little at a time that a bomb is seen before it has grown."""
    pieces = []
    size_bytes = 0
    for position in range(0, len(data), _PIECE_BYTES):
        pieces.append(decode(data[position : position + _PIECE_BYTES]))
        size_bytes += len(pieces[-1])
        if size_bytes > MAX_DECODED_BYTES:
            return None
    return b"".join(pieces)


def _zstd(data: bytes) -> bytes:
    import zstandard

    return bytes(zstandard.ZstdCompressor().compress(data))


_DECODERS: dict[str, Callable[[bytes], bytes | None]] = {
    "identity": lambda data: data,
    "gzip": lambda data: _inflate(data, 16 + zlib.MAX_WBITS),
    "x-gzip": lambda data: _inflate(data, 16 + zlib.MAX_WBITS),
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
