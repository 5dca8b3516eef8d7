"""Files and folders that only their owner may read. A recording holds what a service answers, and whom it answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["FILE_MODE", "make_private_folder", "open_private"]

FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_BINARY: Final = getattr(os, "O_BINARY", 0)


def make_private_folder(path: Path) -> None:
    """Make a folder, and the missing ones above it. One that exists stays as it is.

    Raises:
        OSError: The file system refuses.
    """
    # `Path.mkdir` gives its mode only to the last folder.
    if not path.is_dir():
        if path.parent != path:
            make_private_folder(path.parent)
        path.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file with these flags, of ``os.open``. One that is made by this belongs to its owner alone."""
    return os.open(path, flags | _BINARY, FILE_MODE)
