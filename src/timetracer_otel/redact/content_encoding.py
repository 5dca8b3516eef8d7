"""Content encodings (RFC 9110 section 8.4): decoding a body to find secrets in it, and encoding it again.

A few bytes may stand for gigabytes. So bodies are decoded in small steps, each of which has a bound for what it may
give, and a body that is longer than `decoded_bound` when decoded is opaque: nobody can say what is in it.
"""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["GZIP_MAGIC", "OpaqueError", "decode_body", "decoded_bound", "encode_body", "known_encodings", "look_into"]

_MOST_DECODED_BYTES: Final = 256 << 20
_FREE_BYTES: Final = 1 << 20
_RATIO: Final = 64
_MOST_ENCODINGS: Final = 8
"""As many as anybody stacks. A header has room for thousands."""
_PIECE_BYTES: Final = 1024
_STEP_BYTES: Final = 1 << 16
"""The most that one step gives."""


class OpaqueError(Exception):
    """A body cannot be looked into. The text is the end of a sentence about it."""


def decoded_bound(encoded_bytes: int) -> int:
    """How long a body of this size may be when decoded."""
    return min(_MOST_DECODED_BYTES, _FREE_BYTES + _RATIO * encoded_bytes)


def known_encodings(encoding: str) -> str:
    """The encodings among these that can be decoded here. HTTP clients, too, ignore names that they do not know."""
    return ", ".join(name for name in _names(encoding) if name in _DECODERS)


def decode_body(data: bytes, encoding: str, *, damaged_too: bool = False) -> bytes | None:
    """`look_into` where it does not matter why a body cannot be decoded: None for an opaque one too."""
    try:
        return look_into(data, encoding, damaged_too=damaged_too)
    except OpaqueError:
        return None


def look_into(data: bytes, encoding: str, *, damaged_too: bool = False, bound: int | None = None) -> bytes | None:
    """The decoded body; None where it is damaged.

    Of a body that is cut off, the part that can be decoded.

    Args:
        data: The body.
        encoding: The value of its ``content-encoding``; empty for none.
        damaged_too: Of a damaged body, give the part before the damage. None where there is no such part.
        bound: How long it may be when decoded; without it, as `decoded_bound` says.

    Raises:
        OpaqueError: It is longer than that when decoded, or the package that decodes it is missing.
    """
    names = _names(encoding)
    if len(names) > _MOST_ENCODINGS:
        raise OpaqueError(f"has more than {_MOST_ENCODINGS} content encodings")
    bound = decoded_bound(len(data)) if bound is None else bound
    for name in reversed(names):
        decoded = _decoded(data, name, damaged_too, bound)
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


def _decoded(data: bytes, name: str, damaged_too: bool, bound: int) -> bytes | None:
    decoder = _DECODERS.get(name)
    if decoder is None:
        return None
    pieces: list[bytes] = []
    left = bound
    try:
        for piece in decoder(data):
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise OpaqueError(f"is longer than {bound} bytes when decoded ({name})")
    except ImportError:
        raise OpaqueError(f"cannot be decoded here ({name})") from None
    except OpaqueError:
        raise
    except Exception:
        # The body is kept as it is. In a replay the app gets the same bytes, and fails in the same way.
        if not damaged_too or left == bound:
            return None
    return b"".join(pieces)


_Feed = Callable[[bytes], Iterator[bytes]]
"""Takes more input, and gives what it decodes to, in steps of a bounded size."""


def _piecewise(data: bytes, begin: Callable[[], _Feed], piece_bytes: int = _PIECE_BYTES) -> Iterator[bytes]:
    """Decode piece by piece; a damaged piece byte by byte, up to the damage: of it as a whole, a decoder would give
    nothing.
    """
    feed = begin()
    for position in range(0, len(data), piece_bytes):
        piece = data[position : position + piece_bytes]
        given = 0
        try:
            for step in feed(piece):
                given += len(step)
                yield step
        except OpaqueError:
            raise
        except Exception:
            again = begin()
            for _ in again(data[:position]):
                pass
            for byte in piece:
                for step in again(bytes((byte,))):
                    yield step[given:]
                    given = max(0, given - len(step))
            raise


class _Inflater:
    """zlib, gzip and raw deflate. gzip may have several members, one after the other (RFC 1952 section 2.2). Clients
    ignore any other bytes there.
    """

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._engine: Any = zlib.decompressobj(window_bits)
        self._behind = b""
        """What has come of the next member, while that is too short to tell whether it is one."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        while True:
            if self._engine is None or self._engine.eof:
                piece = self._next_member(piece)
                if not piece:
                    return
            engine: Any = self._engine
            step = engine.decompress(piece, _STEP_BYTES)
            yield step
            if engine.eof:
                piece = engine.unused_data
            elif engine.unconsumed_tail or len(step) >= _STEP_BYTES:
                piece = engine.unconsumed_tail
            else:
                return

    def _next_member(self, piece: bytes) -> bytes:
        """The beginning of one more member; empty where there is none, or not yet."""
        if self._engine is None or self._window_bits <= zlib.MAX_WBITS:
            return b""
        self._behind += piece
        if not GZIP_MAGIC.startswith(self._behind[:2]):
            self._engine = None  # Whatever comes is ignored.
        if self._engine is None or len(self._behind) < 2:
            return b""
        piece, self._behind = self._behind, b""
        self._engine = zlib.decompressobj(self._window_bits)
        return piece


def _inflate(data: bytes, window_bits: int = 16 + zlib.MAX_WBITS) -> Iterator[bytes]:
    return _piecewise(data, lambda: _Inflater(window_bits).feed)


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
    module = _brotli()
    if hasattr(module.Decompressor, "can_accept_more_data"):
        return _piecewise(data, lambda: _unbrotling(module.Decompressor()))
    # Before version 1.2 a step has no bound. One byte ends at most one block, which is of 16 MiB at most.
    return _piecewise(data, lambda: _in_one_step(module.Decompressor().process), piece_bytes=1)


def _unbrotling(decompressor: Any) -> _Feed:
    def feed(piece: bytes) -> Iterator[bytes]:
        step = decompressor.process(piece, output_buffer_limit=_STEP_BYTES)
        yield step
        # It may take more input, and hold output that went over the limit.
        while step or not decompressor.can_accept_more_data():
            step = decompressor.process(b"", output_buffer_limit=_STEP_BYTES)
            yield step

    return feed


def _in_one_step(decode: Callable[[bytes], bytes]) -> _Feed:
    def feed(piece: bytes) -> Iterator[bytes]:
        yield decode(piece)

    return feed


def _unzstd(data: bytes) -> Iterator[bytes]:
    import zstandard

    def begin() -> _Feed:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        engine = decompressor.decompressobj(write_size=1 << 14)

        def feed(piece: bytes) -> Iterator[bytes]:
            nonlocal engine
            # Four bytes may stand for a block of 128 KiB.
            for position in range(0, len(piece), _ZSTD_BITE_BYTES):
                rest = piece[position : position + _ZSTD_BITE_BYTES]
                while rest:
                    if engine.eof:  # RFC 8878 section 3: frames may follow one another.
                        engine = decompressor.decompressobj(write_size=1 << 14)
                    try:
                        yield engine.decompress(rest)
                    except zstandard.ZstdError as fault:
                        if "too much memory" in str(fault):
                            raise OpaqueError(
                                f"has a window of more than {_ZSTD_WINDOW_BYTES} bytes (zstd)"
                            ) from None
                        raise
                    rest = engine.unused_data if engine.eof else b""

        return feed

    return _piecewise(data, begin)


_ZSTD_BITE_BYTES: Final = 16
_ZSTD_WINDOW_BYTES: Final = 8 << 20
"""What RFC 9659 allows for HTTP."""


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
