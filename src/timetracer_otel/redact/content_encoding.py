"""Content encodings (RFC 9110 section 8.4): decoding a body to find secrets in it, and encoding it again."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["GZIP_MAGIC", "MAX_DECODED_BYTES", "decode_body", "encode_body", "known_encodings"]

MAX_DECODED_BYTES = 256 * 1024 * 1024
"""A body that is longer than this when decoded is taken for a decompression bomb, and stays undecoded."""

_PIECE_BYTES = 1024


def known_encodings(encoding: str) -> str:
    """The encodings among these that can be decoded here. HTTP clients, too, ignore names that they do not know."""
    return ", ".join(name for name in _names(encoding) if name in _DECODERS)


def decode_body(data: bytes, encoding: str, *, damaged_too: bool = False) -> bytes | None:
    """The decoded body; None where it cannot be decoded here.

    Of a body that is cut off, the part that can be decoded.

    Args:
        data: The body.
        encoding: The value of its ``content-encoding``; empty for none.
        damaged_too: Of a damaged body, give the part before the damage. None where there is no such part.
    """
    for name in reversed(_names(encoding)):
        decoded = _decoded(data, name, damaged_too)
        if decoded is None:
            return None
        data = decoded
    return data


def encode_body(data: bytes, encoding: str) -> bytes:
    """The body in this content encoding. Equal bodies give equal bytes."""
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
        # The body is kept as it is. In a replay the app gets the same bytes, and fails in the same way.
        if not damaged_too or left == MAX_DECODED_BYTES:
            return None
    return b"".join(pieces)


def _inflate(data: bytes, window_bits: int = 16 + zlib.MAX_WBITS) -> Iterator[bytes]:
    while data:
        decompressor, position = zlib.decompressobj(window_bits), 0
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
        # gzip may have several members, one after the other (RFC 1952 section 2.2). Clients ignore any other bytes
        # there.
        data = rest if window_bits > zlib.MAX_WBITS and rest.startswith(GZIP_MAGIC) else b""


def _inflate_either(data: bytes) -> Iterator[bytes]:
    # "deflate" means the zlib format by the RFC. Some servers send raw deflate, and clients accept both.
    try:
        zlib.decompressobj().decompress(data[:2])
    except zlib.error:
        return _inflate(data, -zlib.MAX_WBITS)
    return _inflate(data, zlib.MAX_WBITS)


def _brotli() -> Any:
    # HTTP clients use either of these two packages, which have the same functions.
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
    """Decode in small pieces with a decoder that has no limit, so that a bomb is noticed before it fills the
    memory.
    """
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
    """Decode a damaged piece byte by byte, up to the damage: of a piece as a whole, a decoder would give nothing."""
    for byte in piece:
        yield decode(bytes((byte,)))


def _zstd(data: bytes) -> bytes:
    import zstandard

    return bytes(zstandard.ZstdCompressor().compress(data))


GZIP_MAGIC = b"\x1f\x8b"
"""What a gzip file begins with (RFC 1952 section 2.3.1)."""
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
