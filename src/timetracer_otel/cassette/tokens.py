"""Finds where and why one msgpack object is broken. It is slow, and runs only to make the text of an error."""

from __future__ import annotations

from typing import Final

from timetracer_otel.cassette.codec import MAX_OBJECT_BYTES

__all__ = ["BreakError", "find_break"]

_MAX_LEVELS: Final = 1024
"""The depth of msgpack's own stack."""

# https://github.com/msgpack/msgpack/blob/master/spec.md#formats
_FIXED: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 0),
    **dict.fromkeys((0xCC, 0xD0), 1),
    **dict.fromkeys((0xCD, 0xD1), 2),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), 4),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 8),
    **{0xD4 + power: 1 + (1 << power) for power in range(5)},
}
"""How many bytes follow the first one, where the first byte alone tells it."""
_COUNTED: Final = {
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
}
"""How many bytes the length has, and how many bytes follow it that the length does not count."""
_CONTAINERS: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""How many bytes the count has, and how many objects follow for each that is counted (a map has two)."""


class BreakError(Exception):
    """A place where the bytes of a stream are no longer msgpack.

    Attributes:
        offset: The first byte of the token that broke.
        reason: What is wrong there.
        ran_out: True if the only fault is that the bytes end too early, as in a file that was cut.
    """

    def __init__(self, offset: int, reason: str, *, ran_out: bool) -> None:
        super().__init__(f"{reason} (offset {offset})")
        self.offset = offset
        self.reason = reason
        self.ran_out = ran_out


def find_break(data: bytes, start: int) -> BreakError:
    """Why the object at ``start``, which is known to be broken, is broken."""
    pending = [1]
    at = start
    while pending:
        if pending[-1] == 0:
            pending.pop()
            continue
        pending[-1] -= 1
        if at >= len(data):
            return BreakError(at, "the bytes end within an object", ran_out=True)
        head, behind, inside = _measure(data, at)
        if head < 0:
            return BreakError(at, f"0x{data[at]:02x} begins no object", ran_out=False)
        if max(behind, inside) > MAX_OBJECT_BYTES:
            return BreakError(at, f"a length of {max(behind, inside)}, more than any cassette holds", ran_out=False)
        left = len(data) - at - head
        if behind > left:
            return BreakError(at, f"{behind} bytes are claimed where {max(left, 0)} are left", ran_out=True)
        at += head + behind
        if inside:
            pending.append(inside)
            if len(pending) > _MAX_LEVELS:
                return BreakError(at, f"more than {_MAX_LEVELS} levels", ran_out=False)
    return BreakError(start, "an object that msgpack does not take", ran_out=False)


def _measure(data: bytes, at: int) -> tuple[int, int, int]:
    """Of the token at an offset: bytes of its head, bytes of its data, objects within it; (-1, 0, 0) for no token."""
    first = data[at]
    if first < 0x80 or first >= 0xE0:
        return 1, 0, 0
    if first < 0x90:
        return 1, 0, 2 * (first & 0x0F)
    if first < 0xA0:
        return 1, 0, first & 0x0F
    if first < 0xC0:
        return 1, first & 0x1F, 0
    if first in _FIXED:
        return 1, _FIXED[first], 0
    if first in _COUNTED:
        width, extra = _COUNTED[first]
        return 1 + width + extra, int.from_bytes(data[at + 1 : at + 1 + width], "big"), 0
    if first in _CONTAINERS:
        width, each = _CONTAINERS[first]
        return 1 + width, 0, each * int.from_bytes(data[at + 1 : at + 1 + width], "big")
    return -1, 0, 0
