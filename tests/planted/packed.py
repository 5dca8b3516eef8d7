"""Documents that are no text: how caches, queues and services write what may hold a secret."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import pickle
import zlib
from collections.abc import Callable
from typing import Any, Final

import lz4.frame
import msgpack  # type: ignore[import-untyped,unused-ignore]
import zstandard

__all__ = ["PACKED"]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


PACKED: Final[dict[str, Callable[[Any], bytes]]] = {
    "pickle": pickle.dumps,
    "msgpack": msgpack.packb,
    "json in zlib": lambda value: zlib.compress(_json(value)),
    "json in gzip": lambda value: gzip.compress(_json(value), mtime=0),
    "pickle in zlib": lambda value: zlib.compress(pickle.dumps(("f", (), value))),
    "msgpack in gzip": lambda value: gzip.compress(msgpack.packb([1, value]), mtime=0),
    "gzip in zlib": lambda value: zlib.compress(gzip.compress(_json(value), mtime=0)),
    "json in zstd": lambda value: zstandard.ZstdCompressor().compress(_json(value)),
    "json in xz": lambda value: lzma.compress(_json(value)),
    "pickle in lzma": lambda value: lzma.compress(pickle.dumps(value), lzma.FORMAT_ALONE),
    "msgpack in bzip2": lambda value: bz2.compress(msgpack.packb([1, value])),
    "json in lz4": lambda value: bytes(lz4.frame.compress(_json(value))),
    "zlib in base64": lambda value: _json({"body": base64.b64encode(zlib.compress(_json(value))).decode()}),
    "zstd in gzip": lambda value: gzip.compress(zstandard.ZstdCompressor().compress(_json(value)), mtime=0),
    "json in a pickle": lambda value: pickle.dumps([_json(value).decode(), 1]),
    "json in base64": lambda value: _json({"body": base64.b64encode(_json(value)).decode()}),
    "too well packed": lambda value: zlib.compress(_json({**value, "rest": "0" * (2 << 20)})),
}
"""Ways to write a mapping."""
