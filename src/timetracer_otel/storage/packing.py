"""Packs: files of many cassettes, each of which is a frame of Zstandard that one ranged read gives.

A pack is these frames, one behind the other, and nothing else. Each expands to the stream of a cassette as
docs/cassette-format.md has it. Where cassettes are small, what they have in common is most of their bytes: then the
frames share a dictionary, trained from a sample of them, that stands in each row of the index.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from timetracer_otel.cassette import cassette_from_bytes
from timetracer_otel.cassette.compression import expand
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.storage.rows import Row
from timetracer_otel.types import Cassette

__all__ = ["PackWriter", "cassette_of", "expanded", "sampled", "stream_of", "trained"]

_LEVEL: Final = 3
_DICTIONARY_BYTES: Final = 32 << 10
_LEAST_SAMPLES: Final = 64
"""Of fewer cassettes a dictionary costs more than it spares."""
_MOST_SAMPLES: Final = 512
_SAMPLE_BYTES: Final = 16 << 10
"""A dictionary is for beginnings: what a longer cassette has in common with itself needs none."""


def trained(samples: Iterable[bytes]) -> bytes:
    """A dictionary for streams like these; empty where it would spare nothing.

    Args:
        samples: Streams of cassettes, not compressed.
    """
    import zstandard

    given: list[Any] = [sample[:_SAMPLE_BYTES] for sample in samples]
    if len(given) < _LEAST_SAMPLES:
        return b""
    every = max(1, len(given) // _MOST_SAMPLES)
    try:
        dictionary = zstandard.train_dictionary(_DICTIONARY_BYTES, given[::every], level=_LEVEL)
    except zstandard.ZstdError:
        return b""  # The samples have nothing in common, or are too short to tell.
    with_it, without = (
        sum(len(engine.compress(sample)) for sample in given[::8])
        for engine in (_engine(dictionary.as_bytes()), _engine(b""))
    )
    return dictionary.as_bytes() if with_it < without * 0.95 else b""


def stream_of(file: Path) -> bytes:
    """The stream of a local cassette, expanded.

    Raises:
        CassetteError: The file is damaged.
        OSError: It cannot be read.
    """
    return expand(file.read_bytes(), str(file))


class PackWriter:
    """A pack that is being written to an open file.

    Args:
        output: The file, whose position is its beginning.
        dictionary: What `trained` gave.
    """

    def __init__(self, output: io.BufferedWriter, dictionary: bytes) -> None:
        self._output = output
        self._engine = _engine(dictionary)
        self._hash = hashlib.sha256()
        self.size_bytes: int = 0

    def add(self, stream: bytes) -> tuple[int, int]:
        """Add the stream of a cassette, and give where its frame begins and how long it is."""
        frame = self._engine.compress(stream)
        return self.add_frame(frame)

    def add_frame(self, frame: bytes) -> tuple[int, int]:
        """Add a frame as it stood in another pack."""
        at = self.size_bytes
        self._output.write(frame)
        self._hash.update(frame)
        self.size_bytes += len(frame)
        return at, len(frame)

    @property
    def name(self) -> str:
        """What the pack is named after: its bytes. So the same pack has the same name however often it is made."""
        return self._hash.hexdigest()[:32]


def cassette_of(data: bytes, row: Row, url: str) -> Cassette:
    """The cassette in a range of a pack.

    Raises:
        CassetteError: It is damaged.
    """
    return cassette_from_bytes(expanded(data, row, url), f"{url}/{row.pack}#{row.session_id}")


def expanded(data: bytes, row: Row, url: str) -> bytes:
    """The stream of a cassette in a range of a pack.

    Raises:
        CassetteError: It is damaged.
    """
    where = f"{url}/{row.pack}#{row.session_id}"
    stream = expand(data, where, row.dictionary)
    if len(stream) != row.size_bytes:
        raise CassetteError(
            f"Cassette {where} is damaged: it expands to {len(stream)} bytes, and its index says {row.size_bytes}.",
            path=where,
        )
    return stream


def _engine(dictionary: bytes) -> Any:
    import zstandard

    known: Any = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    return zstandard.ZstdCompressor(level=_LEVEL, dict_data=known, write_checksum=True)


def sampled(files: Sequence[Path]) -> list[Path]:
    """Files from which a dictionary is trained: evenly from all."""
    return list(files[:: max(1, len(files) // _MOST_SAMPLES)])[:_MOST_SAMPLES]
