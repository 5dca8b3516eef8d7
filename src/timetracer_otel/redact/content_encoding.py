"""Content encodings (RFC 9110 section 8.4), and packed files within bodies and values: decoding them to find secrets,
and encoding them again.

A few bytes may stand for gigabytes. So bodies are decoded in small steps, each of which has a bound for what it may
give, and a body that is longer than `decoded_bound` when decoded is opaque: nobody can say what is in it.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

__all__ = [
    "PACKED",
    "OpaqueError",
    "Unpacked",
    "decode_body",
    "decoded_bound",
    "encode_body",
    "known_encodings",
    "look_into",
    "unpacked",
]

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


class Unpacked(NamedTuple):
    """What a value holds that is a packed file, or such a file in another one."""

    content: bytes
    """The value itself, where it is no such file."""
    layers: tuple[bytes, ...]
    """How each of these files begins, the outermost first."""
    is_damaged: bool = False
    """Whether ``content`` is what stands before the damage."""

    @property
    def encoding(self) -> str:
        """The layers as a content encoding."""
        return ", ".join(_PACKINGS[mark] for mark in reversed(self.layers))


def unpacked(value: bytes, bound: int | None = None) -> Unpacked:
    """Take the packed files off a value.

    Args:
        value: Any bytes.
        bound: How long the content may be; without it, as `decoded_bound` says.

    Raises:
        OpaqueError: The content is longer than that, or the package that unpacks it is missing.
    """
    bound = decoded_bound(len(value)) if bound is None else bound
    layers: list[bytes] = []
    while len(value) >= _SHORTEST_FILE and value.startswith(PACKED):
        if len(layers) == _MOST_ENCODINGS:
            raise OpaqueError(f"is packed more than {_MOST_ENCODINGS} times")
        mark = next(mark for mark in PACKED if value.startswith(mark))
        content = look_into(value, _PACKINGS[mark], bound=bound)
        if content is None:
            content = look_into(value, _PACKINGS[mark], damaged_too=True, bound=bound)
            # Other values, too, may begin like such a file.
            return Unpacked(content, (*layers, mark), True) if content else Unpacked(value, tuple(layers))
        layers.append(mark)
        value = content
    return Unpacked(value, tuple(layers))


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
        if not _GZIP.startswith(self._behind[:2]):
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


def _unpack(begin: Callable[[], Any]) -> Callable[[bytes], Iterator[bytes]]:
    """A decoder of files that the standard library or lz4 unpacks. Several streams may follow one another. It ignores
    what else stands behind one.
    """

    def begin_feed() -> _Feed:
        engine = begin()
        ended = False

        def feed(piece: bytes) -> Iterator[bytes]:
            nonlocal engine, ended
            while piece:
                if engine.eof:
                    engine, ended = begin(), True
                try:
                    yield engine.decompress(piece, _STEP_BYTES)
                    while not engine.eof and not engine.needs_input:
                        yield engine.decompress(b"", _STEP_BYTES)
                except lzma.LZMAError as fault:
                    if "limit" in str(fault):
                        raise OpaqueError(f"needs more than {_XZ_BYTES} bytes to be decoded (xz)") from None
                    if not ended:
                        raise
                    return
                except (OSError, RuntimeError):
                    if not ended:
                        raise
                    return
                piece = (engine.unused_data or b"") if engine.eof else b""

        return feed

    return lambda data: _piecewise(data, begin_feed)


def _lz4() -> Any:
    # `lz4.block` gives bare blocks, which have no mark of their own.
    return importlib.import_module("lz4.frame")


_XZ_BYTES: Final = 96 << 20
"""What the highest preset of ``xz`` takes, and half as much again. A few bytes may ask for gigabytes."""

_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "identity": lambda data: iter((data,)),
    "gzip": _inflate,
    "x-gzip": _inflate,
    "deflate": _inflate_either,
    "br": _unbrotli,
    "zstd": _unzstd,
    # These are no content encodings of HTTP.
    "xz": _unpack(lambda: lzma.LZMADecompressor(memlimit=_XZ_BYTES)),
    "lzma": _unpack(lambda: lzma.LZMADecompressor(memlimit=_XZ_BYTES)),
    "bzip2": _unpack(bz2.BZ2Decompressor),
    "lz4": _unpack(lambda: _lz4().LZ4FrameDecompressor()),
    **dict.fromkeys(("zlib 1", "zlib 5", "zlib 6", "zlib 9"), _inflate_either),
}
_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "x-gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": lambda data: bytes(_brotli().compress(data)),
    "zstd": _zstd,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "lz4": lambda data: bytes(_lz4().compress(data)),
    **{f"zlib {level}": partial(zlib.compress, level=level) for level in (1, 5, 6, 9)},
}
_GZIP: Final = b"\x1f\x8b"
"""RFC 1952 section 2.3.1."""
_PACKINGS: Final = {
    _GZIP: "gzip",
    # RFC 1950 section 2.2: the second byte says how well it is packed.
    b"x\x01": "zlib 1",
    b"x^": "zlib 5",
    b"x\x9c": "zlib 6",
    b"x\xda": "zlib 9",
    b"(\xb5/\xfd": "zstd",  # RFC 8878 section 3.1.1
    b"\xfd7zXZ\0": "xz",
    b"]\0\0": "lzma",  # The format before xz, as all its presets write it.
    b"BZh": "bzip2",
    b'\x04"M\x18': "lz4",  # The frame format, which `lz4.frame` and the command write.
}
PACKED: Final = tuple(_PACKINGS)
"""What a packed file begins with."""
_SHORTEST_FILE: Final = 8
