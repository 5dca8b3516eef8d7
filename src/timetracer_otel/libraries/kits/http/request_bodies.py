"""Request bodies of clients that take files, iterables and bytes: whole, read, or noted while they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import wrapt

from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.kits.http.bodies import BodyTap

__all__ = ["is_stream", "joined", "pieces_of", "teed_body", "whole_body"]

_BLOCK_BYTES = 16384
"""How much urllib3 and http.client take of a file at once."""

if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    # Generic only for type checkers, and not in wrapt 1.
    _Proxy = wrapt.ObjectProxy


def whole_body(body: Any) -> bytes | None:
    """A request body that was given as a whole; None where it is a stream."""
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    try:
        return memoryview(body).tobytes()
    except TypeError:
        return None


def is_stream(body: Any) -> bool:
    """Whether a request body that was not given as a whole can be read. The client refuses what can not."""
    return hasattr(body, "read") or hasattr(body, "__iter__") or hasattr(body, "__getitem__")


def pieces_of(body: Any) -> Any:
    """A request body that is a stream, to be read in the way and in the pieces in which urllib3 sends it."""
    return iter(lambda: body.read(_BLOCK_BYTES) or None, None) if hasattr(body, "read") else body


def joined(pieces: list[Any]) -> bytes:
    """What was read of such a body, as one."""
    return b"".join(map(_bytes, pieces))


def teed_body(body: Any, tap: BodyTap, encoding: str = "utf-8") -> Any:
    """A proxy of a request body that is a stream; what is read of it, to be sent, is noted.

    Args:
        body: The stream.
        tap: What notes it.
        encoding: How the client encodes text.
    """
    return (_TeedReader if hasattr(body, "read") else _TeedIterable)(body, tap, encoding)


def _bytes(piece: Any, encoding: str = "utf-8") -> bytes:
    return piece.encode(encoding, "surrogatepass") if isinstance(piece, str) else bytes(piece)


class _TeedIterable(_Proxy):
    def __init__(self, wrapped: Any, tap: BodyTap, encoding: str) -> None:
        super().__init__(wrapped)
        self._self_tap = tap
        self._self_encoding = encoding

    # Its methods are guards (see `calls.guarded`): a fault of ours does not change what is sent.

    def __iter__(self) -> Iterator[Any]:
        tap = self._self_tap
        try:
            for piece in self.__wrapped__:
                tap.noting(_note_piece, tap, piece, self._self_encoding)
                yield piece
        except BaseException as error:
            tap.noting(tap.failed, error)
            raise
        tap.noting(tap.finish, BodyEnd.COMPLETE)


class _TeedReader(_TeedIterable):
    def read(self, *args: Any, **kwargs: Any) -> Any:
        tap = self._self_tap
        try:
            piece = self.__wrapped__.read(*args, **kwargs)
        except BaseException as error:
            tap.noting(tap.failed, error)
            raise
        if piece:
            tap.noting(_note_piece, tap, piece, self._self_encoding)
        else:
            tap.noting(tap.finish, BodyEnd.COMPLETE)
        return piece

    def seek(self, *args: Any, **kwargs: Any) -> Any:
        # A retry sends the file again from where it stood.
        self._self_tap.noting(self._self_tap.restart)
        return self.__wrapped__.seek(*args, **kwargs)


def _note_piece(tap: BodyTap, piece: Any, encoding: str) -> None:
    tap.chunk(_bytes(piece, encoding))
