"""Secrets in msgpack: caches and services write it in place of JSON, with the same names.

A value is edited in place, so that all else stays as it was written: a number in more bytes than it needs, a float of
32 bits. Maps and lists say how many items they have, and not how long these are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final

import msgpack  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.redact.splice import Edit

__all__ = ["MSGPACK", "is_msgpack", "msgpack_edits"]

_MAPS: Final = frozenset((*range(0x81, 0x90), 0xDE, 0xDF))
_LISTS: Final = frozenset((*range(0x91, 0xA0), 0xDC, 0xDD))
MSGPACK: Final = frozenset(bytes((code,)) for code in _MAPS | _LISTS)
"""What a map or a list begins with that is not empty. No text in UTF-8 begins with most of them."""
_DEEPEST: Final = 100
_LEAVES: Final = frozenset({str, bytes, int})


def is_msgpack(media: bytes) -> bool:
    """Whether a media type, in lower case and without parameters, is that of msgpack."""
    return media.rpartition(b"/")[2].rpartition(b"+")[2].removeprefix(b"x-").removeprefix(b"vnd.") == b"msgpack"


def msgpack_edits(
    data: bytes,
    leaf: Callable[[Any], Any],
    names: Collection[str] = (),
    secret: Callable[[Any, str], Any] | None = None,
) -> list[Edit]:
    """The edits of a value in msgpack; none where it is no such value from its beginning to its end.

    Args:
        data: The value.
        leaf: Gives what takes the place of a text, of bytes or of a whole number that stands under no secret name.
        names: Of secrets, in lower case.
        secret: Gives what takes the place of a value of any type, by the secret name that it stands under.
    """
    walk = _Walk(data, leaf, names, secret)
    try:
        walk.value(0)
    except Exception:
        # msgpack has an error of its own for each way of damage, and UTF-8 has others. It is no msgpack.
        return []
    return walk.edits if walk.at == len(data) else []


class _Walk:
    """One walk through a value."""

    def __init__(
        self,
        data: bytes,
        leaf: Callable[[Any], Any],
        names: Collection[str],
        secret: Callable[[Any, str], Any] | None,
    ) -> None:
        self.edits: list[Edit] = []
        self._data, self._leaf, self._names, self._secret = data, leaf, names, secret
        # Old writers have bytes where texts are.
        self._reader: Any = msgpack.Unpacker(
            strict_map_key=False, unicode_errors="surrogateescape", max_buffer_size=max(1, len(data))
        )
        self._reader.feed(data)

    @property
    def at(self) -> int:
        """How far it has come."""
        return int(self._reader.tell())

    def value(self, depth: int) -> None:
        """Go through one value.

        Raises:
            ValueError: It is nested too deep. The reader raises other errors for what is damaged.
        """
        if depth > _DEEPEST:
            raise ValueError("nested too deep")
        reader, start = self._reader, self.at
        code = self._data[start]
        if code in _MAPS:
            for _ in range(reader.read_map_header()):
                key = reader.unpack()
                name = key.decode("latin-1") if type(key) is bytes else key
                if self._secret is not None and type(name) is str and name.lower() in self._names:
                    self._edit(reader.tell(), partial(self._under, name.lower()))
                else:
                    self.value(depth + 1)
        elif code in _LISTS:
            for _ in range(reader.read_array_header()):
                self.value(depth + 1)
        else:
            self._edit(start, lambda item: self._leaf(item) if type(item) in _LEAVES else item)

    def _under(self, name: str, item: Any) -> Any:
        return item if item is None or self._secret is None else self._secret(item, name)

    def _edit(self, start: int, change: Callable[[Any], Any]) -> None:
        item = self._reader.unpack()
        made = change(item)
        if made is not item and made != item:
            packed = msgpack.packb(made, unicode_errors="surrogateescape") or b""
            self.edits.append(Edit(start, self.at, packed))
