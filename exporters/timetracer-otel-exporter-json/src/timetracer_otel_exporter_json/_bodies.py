"""Bodies: timetracer keeps JSON as its value, and of any body a hash of its bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["NOTHING", "Found", "body_of", "digest", "kept", "text_of"]

_SPACES: Final[tuple[dict[str, Any], ...]] = (
    {"separators": (",", ":")},
    {},
    {"indent": 2},
    {"indent": 4},
)
_ESCAPES: Final[tuple[dict[int, str], ...]] = (
    {},
    {ord("/"): "\\/"},  # PHP's json_encode
    {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"},  # Go's encoding/json
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a file has of a body."""

    data: bytes = b""
    is_exact: bool = True
    """Whether these are the bytes that came. Else they are the same JSON, written anew."""
    missing: str | None = None
    """Why there is no data though the body was not empty. A part of a sentence."""
    size_bytes: int | None = None
    """How long it was, where the file says so."""


NOTHING: Final = Found()
"""An empty body."""


def body_of(body: dict[str, Any]) -> Found:
    """A body of an answer, or of the request that came in."""
    size, value = body.get("size_bytes"), body.get("data")
    size = size if isinstance(size, int) else None
    if not body.get("_captured"):
        return Found(missing="was not kept", size_bytes=size)
    if body.get("truncated"):
        return Found(missing="was cut", size_bytes=size)
    encoding = body.get("encoding")
    if encoding == "json":
        return _written_again(value, body.get("hash"), size)
    if isinstance(value, str) and encoding == "text":
        data = value.encode("utf-8", "surrogatepass")
        return Found(data, body.get("hash") in (None, digest(data)), None, size)
    return Found(missing="is no JSON, of which timetracer keeps a hash alone", size_bytes=size)


def _written_again(value: Any, recorded: Any, size: int | None) -> Found:
    for data in _spellings(value) if isinstance(recorded, str) else ():
        if digest(data) == recorded:
            return Found(data, True, None, size)
    return Found(json.dumps(value).encode(), False, None, size)  # As a replay of timetracer gives it.


def _spellings(value: Any) -> Iterator[bytes]:
    """The forms in which encoders write JSON, without changes to the order of names."""
    for spaces in _SPACES:
        for only_ascii in (False, True):
            text = json.dumps(value, ensure_ascii=only_ascii, **spaces)
            for escapes in _ESCAPES:
                data = text.translate(escapes).encode("utf-8", "surrogatepass")
                yield data
                yield data + b"\n"


def digest(data: bytes) -> str:
    """A hash as timetracer notes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def kept(text: str, data: bytes) -> dict[str, Any]:
    """A body in the form from which timetracer makes the same bytes again.

    Args:
        text: The body.
        data: Its bytes.
    """
    value = _written_as_json(text)
    is_json = value is not None
    return {
        "_captured": True,
        "encoding": "json" if is_json else "text",
        "data": value if is_json else text,
        "size_bytes": len(data),
        "hash": digest(data),
    }


def text_of(data: bytes) -> str | None:
    """A body as text; None where it is no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _written_as_json(text: str) -> Any:
    """The value of a text that is what ``json.dumps`` makes of it. None for any other, and for ``null``, which
    timetracer takes for no body.
    """
    try:
        value: Any = json.loads(text)
        return value if json.dumps(value) == text else None
    except (ValueError, RecursionError):
        return None
