"""Writes the corpus that fuzzing begins with: the golden files, and a small one of each shape and fault.

``python -m tests.fuzz.make_corpus`` after a change of the format; the files are committed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import brotli
import msgpack  # type: ignore[import-untyped,unused-ignore]

from tests.unit.cassette.hostile_files import hostile_files
from timetracer_otel.cassette import pack, record_error
from timetracer_otel.cassette.frames import objects

__all__ = ["main"]

FOLDER = Path(__file__).parent / "corpus"
_LARGEST = 1024
"""Mutations of large inputs are large, and take long: what a large file has in it stands in small ones."""
_RAW, _EVENTS, _SEALED, _ARGS, _REPLY, _ERROR, _ATTRIBUTES, _QUERY, _BODY = SHAPES = range(9)
_TARGETS = 5


def main() -> None:
    """Write each input under the name of its hash: one that can be read once for each target."""
    golden = [file.read_bytes() for file in sorted((Path(__file__).parents[1] / "golden").glob("v1*"))]
    inputs = [(_RAW, data) for data in golden]
    inputs += [(_EVENTS, data[begin:end]) for data in golden[:1] for begin, end in list(objects(data))[1:-1]]
    inputs += [(_RAW, make()) for make in hostile_files(1 << 8).values()]
    inputs += [(_ARGS, pack(value)) for value in ([1, (2, {3}), {"a": b"x"}], range(9), {1: 2.5, None: "\ud800"})]
    inputs += [(_REPLY, pack({"head_ms": 1.0, "reason_phrase": b"OK"})), (_QUERY, pack({"a": ["1", "2"]}))]
    inputs += [
        (_ERROR, pack(record_error(error))) for error in (OSError(2, "no"), UnicodeDecodeError("a", b"", 0, 1, "r"))
    ]
    inputs += [(_ATTRIBUTES, pack({"url.full": "http://h/"}))]
    event = {"eid": 1, "type": "redis", "start_ms": 0, "duration_ms": 1, "signature": {"lib": "r", "method": "GET"}}
    inputs += [(_EVENTS, msgpack.packb({**event, "result": {}})), (_SEALED, msgpack.packb({**event, "result": {}}))]
    inputs += [(_BODY, bytes([coding]) + b"utf-8   " + brotli.compress(b'{"a":1}')) for coding in range(5)]
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for shape, data in inputs:
        for target in range(_TARGETS if shape != _RAW else 1):
            whole = bytes([target * len(SHAPES) + shape]) + data
            if len(whole) <= _LARGEST:
                (FOLDER / hashlib.sha256(whole).hexdigest()[:16]).write_bytes(whole)


if __name__ == "__main__":
    main()
