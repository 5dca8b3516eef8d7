"""Runs a command on a terminal of its own, and tells what it wrote there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["on_terminal", "without_colour"]

_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def without_colour(text: str) -> str:
    """What is left where nobody colours it, without spaces at the ends of lines."""
    return "".join(f"{line.rstrip()}\n" for line in _COLOUR.sub("", text).splitlines())


def on_terminal(
    command: Sequence[str], env: Mapping[str, str], folder: Path, columns: int = 80, *, stderr_only: bool = False
) -> str:
    """What a command writes to a terminal.

    Args:
        command: The command and its arguments.
        env: Its environment. ``COLUMNS`` is not needed: the terminal says its width.
        folder: Where it runs.
        columns: The width.
        stderr_only: Whether its standard output is no terminal; what comes there is not told then.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if stderr_only else theirs,
        stderr=theirs,
        env={"TERM": "xterm-256color", **env},
        cwd=folder,
    )
    os.close(theirs)
    pieces = []
    while select.select([ours], [], [], 100)[0]:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # Linux says so where the last one has closed it.
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    assert process.wait(100) in (0, 1, 2)
    return b"".join(pieces).decode().replace("\r\n", "\n")
