"""Documents within values: pickles, compressed values, and JSON in base64.

Caches and brokers of task queues are given such values. A name in them tells of a secret as it does in plain JSON.
Nothing is unpickled. The texts of a pickle are found by its opcodes, and edited in place.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import pickletools
import re
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.content_encoding import GZIP_MAGIC, OpaqueError, decoded_bound, look_into
from timetracer_otel.redact.splice import Edit, apply_edits

__all__ = [
    "COMPRESSED",
    "PICKLE",
    "holds_digest",
    "inflated",
    "json_in_base64",
    "with_content_changed",
    "with_texts_of_pickle",
]

PICKLE: Final = b"\x80"
"""What a pickle begins with, since protocol 2."""
_LEVELS: Final = {b"x\x01": 1, b"x^": 5, b"x\x9c": 6, b"x\xda": 9}
"""What zlib's format begins with, by how well it is packed (RFC 1950 section 2.2)."""
COMPRESSED: Final = (*_LEVELS, GZIP_MAGIC)
"""What a compressed value begins with."""
_SHORTEST: Final = 8
_MOST_LAYERS: Final = 8

Change: TypeAlias = Callable[["str | bytes", "str | bytes | None"], "str | bytes"]
"""Gives what takes the place of a text, by the text that stands before it; the same object where it stays."""


def inflated(value: bytes) -> bytes | None:
    """What a value holds that is a whole file of zlib or gzip, or such a file in another one; None for any other.

    Raises:
        OpaqueError: It packs so well that nobody can look into it.
    """
    content, layers = _without_layers(value)
    return content if layers else None


def _without_layers(value: bytes) -> tuple[bytes, list[bytes]]:
    """The content, and how each of the files begins that it was packed in, the outermost first."""
    bound = decoded_bound(len(value))
    layers: list[bytes] = []
    while len(value) >= _SHORTEST and value.startswith(COMPRESSED):
        if len(layers) == _MOST_LAYERS:
            raise OpaqueError(f"is packed more than {_MOST_LAYERS} times")
        content = look_into(value, "gzip" if value.startswith(GZIP_MAGIC) else "deflate", bound=bound)
        if content is None:
            break
        layers.append(value[:2])
        value = content
    return value, layers


def with_content_changed(value: bytes, change: Callable[[bytes], bytes]) -> bytes | None:
    """A compressed value with other content, compressed as its own was; the same object where that stays.

    Nobody knows what stands in a value that packs too well to be looked into. Its digest takes its place: a call that
    sends it is compared by that. What a call returned is no answer then (`holds_digest`).

    Returns:
        None for a value that is not compressed.
    """
    try:
        content, layers = _without_layers(value)
        if not layers:
            return None
        made = change(content)
        if made == content:
            return value
    except OpaqueError:
        return _digest_of(value)
    packed = made
    for mark in reversed(layers):
        level = _LEVELS.get(mark)
        packed = gzip.compress(packed, mtime=0) if level is None else zlib.compress(packed, level)
    # Otherwise nobody could look into it again.
    return packed if len(made) <= decoded_bound(len(packed)) else _digest_of(value)


def _digest_of(value: bytes) -> bytes:
    return _DIGEST + hashlib.sha256(value).hexdigest().encode()


def holds_digest(raw: Iterable[bytes]) -> bool:
    """Whether the digest of a value stands in one of these in place of the value."""
    return any(_DIGEST in one for one in raw)


_DIGEST: Final = f"{REDACTED} compressed, and too long to be looked into: sha256 ".encode()


def json_in_base64(text: bytes) -> tuple[bytes, bytes | None] | None:
    """A document of JSON that a text is the base64 of, and the two characters besides letters and digits that it is
    written with (None for those of RFC 4648 section 4); None for any other text.
    """
    if _BASE64_JSON.fullmatch(text) is None:
        return None
    bare = text.rstrip(b"=")
    altchars = b"-_" if b"-" in bare or b"_" in bare else None
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars, validate=True), altchars
    except (ValueError, binascii.Error):
        return None


_BASE64_JSON: Final = re.compile(rb"(?:eyJ|eyA|ew|W[1-3y])[A-Za-z0-9+/_-]{12,}={0,2}")
"""How ``{`` and ``[`` begin, with what may stand behind them."""

_HEADS: Final = {
    "SHORT_BINUNICODE": 2,
    "BINUNICODE": 5,
    "BINUNICODE8": 9,
    "SHORT_BINBYTES": 2,
    "BINBYTES": 5,
    "BINBYTES8": 9,
}
"""The opcodes of texts and bytes, with how much stands before what they push."""
_BESIDE: Final = frozenset({"MEMOIZE", "BINPUT", "LONG_BINPUT"})
_AGAIN: Final = frozenset({"BINGET", "LONG_BINGET"})


def with_texts_of_pickle(data: bytes, change: Change) -> bytes:
    """A pickle with other texts. The same object where none is changed.

    Args:
        data: The pickle; one that is damaged is read up to the damage.
        change: Called with each text, and with the text before it where the two may be name and value.
    """
    edits: list[Edit] = []
    frames: list[int] = []
    memo: dict[int, str | bytes | None] = {}
    name: str | bytes | None = None
    pushed: str | bytes | None = None
    try:
        for opcode, argument, at in pickletools.genops(data):
            if at is None:
                break
            head = _HEADS.get(opcode.name)
            if head is not None:
                text: str | bytes = argument  # type: ignore[assignment]
                made = change(text, name)
                if made is not text:
                    length = len(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
                    edits.append(Edit(at, at + head + length, _packed(data[at], made)))
                # Names and values take turns.
                name, pushed = (text if name is None else None), text
            elif opcode.name in _AGAIN:
                pushed = memo.get(int(argument or 0))
                name = pushed if name is None else None
            elif opcode.name in _BESIDE:
                memo[len(memo) if opcode.name == "MEMOIZE" else int(argument or 0)] = pushed
            else:
                if opcode.name == "FRAME":
                    frames.append(at)
                name = pushed = None
    except (ValueError, IndexError, KeyError, EOFError):
        pass
    if not edits:
        return data
    longer = sum(len(edit.text) - (edit.stop - edit.start) for edit in edits)
    if longer and len(frames) == 1:
        start = frames[0] + 1
        size = struct.unpack_from("<Q", data, start)[0] + longer
        edits.insert(0, Edit(start, start + 8, struct.pack("<Q", max(0, size))))
    return apply_edits(data, edits)


def _packed(code: int, made: str | bytes) -> bytes:
    """An opcode that pushes another text."""
    content = made if isinstance(made, bytes) else made.encode("utf-8", "surrogatepass")
    opcode = bytes((code,))
    short, long = (b"\x8c", b"X") if opcode in b"\x8cX\x8d" else (b"C", b"B")
    if opcode == short and len(content) < 256:
        return opcode + bytes((len(content),)) + content
    if opcode in (b"\x8d", b"\x8e"):
        return opcode + struct.pack("<Q", len(content)) + content
    return long + struct.pack("<I", len(content)) + content
