"""`Catalog`: what the cassettes of a folder are listed and found by, without reading their events."""

from __future__ import annotations

import os
import re
from operator import attrgetter
from pathlib import Path
from typing import Final

from timetracer_otel.cassette import CassetteStore, StoredCassette
from timetracer_otel.cassette.codec import DECODE_ERRORS, describe
from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError
from timetracer_otel.match.kept_heads import KeptHeads, Looked

__all__ = ["Catalog", "is_id"]

SHORTEST_ID: Final = 4
"""The fewest characters that an id may be shortened to."""
_ID: Final = re.compile(f"[0-9a-f][0-9a-f-]{{{SHORTEST_ID - 1},35}}", re.IGNORECASE)


class Catalog:
    """The rows of a folder of cassettes and of all folders below it.

    Args:
        directory: The folder.
        looked: Told how many files have been looked at, and of how many, where no kept index spares it.

    Raises:
        CassetteNotFoundError: There is no such folder.

    Attributes:
        rows: One for each file, oldest first. Parts, which are the files of recordings under way, are among them.
            Files that cannot be read stand at the end, with the reason.
    """

    def __init__(self, directory: str | os.PathLike[str], looked: Looked | None = None) -> None:
        self.directory: str = os.fspath(directory)
        if not Path(self.directory).is_dir():
            raise CassetteNotFoundError(self.directory)
        absolute = str(Path(self.directory).absolute())
        self._kept = KeptHeads(absolute, looked)
        below = self.directory if self.directory.endswith(os.sep) else self.directory + os.sep
        try:
            found = [head.row(below) for head in self._kept.heads]
        except (*DECODE_ERRORS, AttributeError):
            # Somebody else has written the file in which the heads are kept.
            self._kept.look_anew()
            found = [head.row(below) for head in self._kept.heads]
        found += [_unreadable(fault, absolute, below) for fault in self._kept.broken]
        found += CassetteStore(self.directory).parts()
        self.rows: list[StoredCassette] = sorted(found, key=attrgetter("by_age"))

    def with_id(self, text: str) -> list[StoredCassette]:
        """The cassettes whose session or trace has an id, or an id that begins with the text; oldest first.

        Args:
            text: The id or its beginning, with or without the dashes of a session's id.
        """
        sought = _plain(text)
        return [
            row
            for row in self.rows
            if row.error is None
            and (_plain(row.session_id).startswith(sought) or _plain(row.trace_id).startswith(sought))
        ]


def is_id(text: str) -> bool:
    """Whether a text can be an id or the beginning of one, by its characters alone."""
    return _ID.fullmatch(text) is not None


def _plain(text: str) -> str:
    return text.replace("-", "").lower()


def _unreadable(fault: CassetteError, absolute: str, below: str) -> StoredCassette:
    path = fault.path or ""
    size = 0
    try:
        size = Path(path).stat().st_size
    except OSError:
        pass  # It has gone since, or nobody may look at it.
    shown = below + path[len(absolute) :].lstrip(os.sep) if path.startswith(absolute) else path
    return StoredCassette(shown, size, error=describe(fault).replace(path, shown) if path else describe(fault))
