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


def decode_body(data: bytes, encoding: str) -> bytes | None:
    """The body without its content encoding, as far as it goes; None where it cannot be decoded here.

    A body that breaks off gives what could be decoded of it.
    """
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
    decompressor = zlib.decompressobj(window_bits)
    decoded = decompressor.decompress(data, MAX_DECODED_BYTES)
    return None if decompressor.unconsumed_tail else decoded


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
    return bytes(_brotli().Decompressor().process(data))


def _unzstd(data: bytes) -> bytes | None:
    import zstandard

    decompressor = zstandard.ZstdDecompressor().decompressobj()
    return bytes(decompressor.decompress(data))


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
