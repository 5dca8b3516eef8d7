"""A file that a command line names: it is whole, or it is as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

from timetracer_otel.cli.bad_input import CommandError

__all__ = ["write_output"]


def write_output(path: Path, data: bytes, option: str = "-o") -> None:
    """Write a file in one step, for its owner alone.

    Args:
        path: The file.
        data: What to write.
        option: What names the file on the command line, for errors.

    Raises:
        CommandError: It cannot be written.
    """
    if path.exists() and not path.is_file():  # a device or a pipe cannot be replaced
        if path.is_dir():
            raise CommandError(f"{option}: {path} is a folder. Name a file.")
        path.write_bytes(data)
        return
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(data)
        # A temporary file is for its owner alone, and so is what becomes of it.
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise CommandError(f"{option}: cannot write {path}: {error.strerror or error}. Name another file.") from error
