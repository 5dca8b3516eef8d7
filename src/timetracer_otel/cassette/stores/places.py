"""Where a recording is going to lie, and whether it may."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from timetracer_otel.cassette.compression import compressor
from timetracer_otel.cassette.stores.naming import cassette_name, free_path
from timetracer_otel.cassette.whole_files import cannot_write
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import Cassette

__all__ = ["cassette_path", "check_writable"]


def cassette_path(cassette: Cassette, directory: str, compression: CompressionType = CompressionType.NONE) -> str:
    """The file that a cassette gets in a folder of cassettes; no file of that name is there yet."""
    return free_path(directory, cassette_name(cassette, compression))


def check_writable(path: str | os.PathLike[str], compression: CompressionType = CompressionType.NONE) -> None:
    """See that a cassette can be written at a path, before anything is recorded; makes the folders above it.

    Raises:
        CassetteError: It cannot; the text has the path and the cure.
    """
    target = Path(path)
    try:
        kind = target.stat().st_mode
        # The finished file takes the place of what is there.
        if stat.S_ISDIR(kind):
            raise CassetteError(f"{target}: is a folder. Give the name of a file in it.", path=str(target))
        if not stat.S_ISREG(kind):
            raise CassetteError(f"{target}: is a device or a pipe. Give the name of a file.", path=str(target))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as fault:
        raise cannot_write(str(target), fault) from fault
    compressor(compression, str(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Permissions alone do not tell: read-only mounts, quotas and root's own rights only show by trying.
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise CassetteError(
            f"{target}: cannot be written ({error.strerror or error}). "
            "Name a folder that this user may write to (TIMETRACER_DIR, or the path argument).",
            path=str(target),
        ) from error
