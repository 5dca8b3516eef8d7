"""Replies as the library's parser gives them: copied when they come, and given back with the same types."""

from __future__ import annotations

from typing import Any, Final

from timetracer_otel.libraries.redis.errors import rebuilt_error, recorded_error
from timetracer_otel.libraries.redis.internals import Decoding
from timetracer_otel.types import RecordedError

__all__ = ["PLAIN_TEXT", "Copier", "restored"]

PLAIN_TEXT: Final = frozenset({bytes, str})
"""Types of replies that need no copy, whose size is their length."""
_FIXED = frozenset({int, float, bool, type(None)})


class Copier:
    """Copies replies, and adds up how long they are.

    A copy is needed: response callbacks, and the app, may change a list in place.

    Attributes:
        size_bytes: Bytes of text and binary data copied so far, and a few for each other value.
        saw_error: Whether there were errors among them.
    """

    __slots__ = ("saw_error", "size_bytes")

    def __init__(self) -> None:
        self.size_bytes = 0
        self.saw_error = False

    def __call__(self, reply: Any) -> Any:
        """A copy of one reply; errors in it become `RecordedError`, values of unknown types stay what they are."""
        kind = type(reply)
        if kind is bytes or kind is str:
            self.size_bytes += len(reply)
            return reply
        self.size_bytes += 8
        if kind in _FIXED:
            return reply
        if kind is list or kind is tuple or kind is set or kind is frozenset:
            return kind(map(self, reply))
        if kind is dict:
            return {self(name): self(item) for name, item in reply.items()}
        if isinstance(reply, BaseException):
            self.saw_error = True
            return recorded_error(reply)
        if isinstance(reply, list):
            # What the server pushes is of a class of hiredis's own, which redis-py reads like any list.
            return list(map(self, reply))
        return reply


def restored(reply: Any, recorded: Decoding, wanted: Decoding) -> Any:
    """A recorded reply for the client that asks now, whose decoding may be another one.

    Raises:
        CassetteError: An error within cannot be rebuilt.
        ValueError: The text does not decode, or the bytes that were decoded cannot be told any more.
    """
    if recorded is not None and recorded != wanted and recorded[1] != "strict":
        raise ValueError(f"it was decoded with errors={recorded[1]!r}, which keeps not every byte")
    return _restored(reply, recorded, wanted)


def _restored(reply: Any, recorded: Decoding, wanted: Decoding) -> Any:
    kind = type(reply)
    if kind in _FIXED:
        return reply
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return kind(_restored(item, recorded, wanted) for item in reply)
    if kind is dict:
        return {_restored(name, recorded, wanted): _restored(item, recorded, wanted) for name, item in reply.items()}
    if kind is RecordedError:
        return rebuilt_error(reply)
    if recorded != wanted:
        if kind is str and recorded is not None:
            reply = reply.encode(recorded[0])
        if type(reply) is bytes and wanted is not None:
            return reply.decode(*wanted)
    return reply
