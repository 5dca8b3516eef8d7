"""The files that an audit and a scrubbing look at: cassettes, parts, and what lies beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from timetracer_otel.cassette import cassette_name
from timetracer_otel.cassette.stores.parts import is_part
from timetracer_otel.cassette.stores.places import SUFFIXES
from timetracer_otel.exceptions import CassetteNotFoundError
from timetracer_otel.types import Cassette

__all__ = ["file_stem", "files_of", "is_cassette"]

_SUFFIXES = tuple(SUFFIXES.values())


def is_cassette(path: Path) -> bool:
    """Whether a file is a cassette, or the part of a recording under way, by its name."""
    return path.name.endswith(_SUFFIXES) or is_part(path.name)


def file_stem(cassette: Cassette) -> str:
    """What the name of a recording's file begins with, where nobody has renamed it."""
    return Path(cassette_name(cassette)).name.partition(".msgpack")[0]


def files_of(path: str) -> Iterator[Path]:
    """A file, or all files of a folder in order, with all folders below. Hidden ones are temporary files and locks.

    Raises:
        CassetteNotFoundError: There is no such file and no such folder.
    """
    if not os.path.lexists(path):
        raise CassetteNotFoundError(path)
    if not Path(path).is_dir():
        yield Path(path)
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder, name)
