"""Documents within values: pickles, packed values, and JSON in base64.

Caches and brokers of task queues are given such values. A name in them tells of a secret as it does in plain JSON.
Nothing is unpickled. The texts of a pickle are found by its opcodes, and edited in place.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import pickletools
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.content_encoding import OpaqueError, decoded_bound, encode_body, unpacked
from timetracer_otel.redact.splice import Edit, apply_edits

__all__ = [
    "PICKLE",
    "holds_digest",
    "base64_like",
    "inflated",
    "json_in_base64",
    "may_have_packed_base64",
    "packed_in_base64",
    "packed_runs",
    "with_content_changed",
    "with_texts_of_pickle",
]

PICKLE: Final = b"\x80"
"""What a pickle begins with, since protocol 2."""

Change: TypeAlias = Callable[["str | bytes", "str | bytes | None"], "str | bytes"]
"""Gives what takes the place of a text, by the text that stands before it; the same object where it stays."""


def inflated(value: bytes) -> bytes | None:
    """What a value holds that is a packed file, or such a file in another one; None for any other.

    Raises:
        OpaqueError: It packs so well that nobody can look into it, or the package that unpacks it is missing.
    """
    found = unpacked(value)
    return found.content if found.layers else None


def with_content_changed(value: bytes, change: Callable[[bytes], bytes]) -> bytes | None:
    """A packed value with other content, packed as its own was; the same object where that stays.

    Nobody knows what stands in a value that packs too well to be looked into. A damaged one cannot be packed again
    when its content changes. A digest takes the place of both: a call that sends it is compared by that. What a call
    returned is no answer then (`holds_digest`).

    Returns:
        None for a value that is not packed.
    """
    try:
        found = unpacked(value)
        if not found.layers:
            return None
        made = change(found.content)
        if made == found.content:
            return value
        packed = encode_body(made, found.encoding)
    except OpaqueError:
        return _digest_of(value)
    # Otherwise nobody could look into it again.
    return packed if not found.is_damaged and len(made) <= decoded_bound(len(packed)) else _digest_of(value)


def _digest_of(value: bytes) -> bytes:
    return _DIGEST + hashlib.sha256(value).hexdigest().encode()


def holds_digest(raw: Iterable[bytes]) -> bool:
    """Whether the digest of a value stands in one of these in place of the value."""
    return any(_DIGEST in one for one in raw)


_DIGEST: Final = f"{REDACTED} compressed, and cannot be looked into: sha256 ".encode()


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


def may_have_packed_base64(text: str) -> bool:
    """Whether a packed file may stand in base64 in a text, each byte of which is a character."""
    # To look for one character takes a tenth of the time of two, and most texts have few large letters.
    return (
        ("J" in text and "eJ" in text)
        or ("N" in text and "eN" in text)
        or ("A" in text and ("eA" in text or "XQAA" in text or "/Td6WFoA" in text))
        or ("F" in text and "eF" in text)
        or ("H" in text and "H4sI" in text)
        or ("Q" in text and "Qlpo" in text)
        or ("K" in text and "KLUv" in text)
        or ("B" in text and "BCJN" in text)
    )


def packed_runs(data: bytes) -> Iterator[tuple[int, int]]:
    """The places of texts that may be a packed file in base64."""
    return (found.span() for found in _BASE64_PACKED.finditer(data))


def packed_in_base64(text: bytes) -> bytes | None:
    """The packed file that a text is the base64 of; None for any other text. Celery packs its messages so, where its
    setting ``task_compression`` says it.
    """
    if _BASE64_PACKED.fullmatch(text) is None:
        return None
    try:
        data = base64.b64decode(text, b"-_" if b"-" in text or b"_" in text else None, validate=True)
    except (ValueError, binascii.Error):
        return None
    try:
        return data if unpacked(data).layers else None
    except OpaqueError:
        return data


def base64_like(text: bytes, data: bytes) -> bytes:
    """Bytes in base64, in the alphabet of another text. A digest that takes their place is written as it is, so that
    `holds_digest` finds it.
    """
    if data.startswith(_DIGEST):
        return data
    return base64.b64encode(data, b"-_" if b"-" in text or b"_" in text else None)


_BASE64_PACKED: Final = re.compile(
    rb"(?<![A-Za-z0-9+/_-])(?:eJ[w-z]|eA[E-H]|eF[4-7]|eN[o-r]|H4sI|Qlpo|/Td6WFoA|XQAA|KLUv/|BCJNG)"
    rb"(?:[A-Za-z0-9+/]{8,}|[A-Za-z0-9_-]{8,})={0,2}(?![A-Za-z0-9+/_=-])"
)
"""How packed files begin in base64: zlib by its levels, gzip, bzip2, xz, lzma, zstd, lz4."""

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
