"""A file or folder that a command line names: it is whole, or it is as it was."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from timetracer_otel.cli.bad_input import CommandError

__all__ = ["write_folder", "write_output", "write_pieces"]

_T = TypeVar("_T")


def write_output(path: Path, data: bytes, option: str = "-o") -> None:
    """Write a file in one step, for its owner alone.

    Args:
        path: The file.
        data: What to write.
        option: What names the file on the command line, for errors.

    Raises:
        CommandError: It cannot be written.
    """
    write_pieces(path, [data], option)


def write_pieces(path: Path, pieces: Iterable[bytes], option: str = "-o") -> None:
    """As `write_output`, piece by piece. Where making a piece raises, the file is as it was."""
    if path.exists() and not path.is_file():  # a device or a pipe cannot be replaced
        if path.is_dir():
            raise CommandError(f"{option}: {path} is a folder. Name a file.")
        with open(path, "wb") as device:
            device.writelines(pieces)
        return
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "wb") as file:
            file.writelines(pieces)
        # A temporary file is for its owner alone, and so is what becomes of it.
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        raise CommandError(f"{option}: cannot write {path}: {error.strerror or error}. Name another file.") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_folder(path: Path, fill: Callable[[Path], _T], option: str = "-o") -> _T:
    """Write the files of a folder. They appear when all of them are whole, and replace those of their names.

    Args:
        path: The folder, which need not exist. What else lies in it stays.
        fill: Writes the files into an empty folder.
        option: What names the folder on the command line, for errors.

    Returns:
        What ``fill`` gave.

    Raises:
        CommandError: It cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise CommandError(f"{option}: {path} is a file. Name a folder.")
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        made = fill(temporary)
        path.mkdir(exist_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(path / file.name)
    except OSError as error:
        told = error.strerror or error
        raise CommandError(f"{option}: cannot write {path}: {told}. Name another folder.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return made
