"""``timetracer-otel git-setup``: let git show cassettes as text."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Let git show cassettes as text in this repository: write its .gitattributes, and how to make the text."
USAGE = "[FOLDER]"

_SUFFIXES = (".msgpack", ".msgpack.gz", ".msgpack.zst")
_DRIVER = "timetracer"
_ATTRIBUTES = f"-text diff={_DRIVER} merge=binary"
"""The bytes of a cassette must stay as they are (``-text``), and no two of them can be merged line by line."""
_CALL_LINE = "^[^ ].*$"
"""What git shows beside the number of a line: the call that the line belongs to."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.options import path_argument

    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", default=".", type=path_argument, help="a folder of the repository"
    )


def run(args: argparse.Namespace) -> int:
    """Write both, and say what was written. Harmless when repeated."""
    if not Path(args.folder).is_dir():
        raise CommandError(f"FOLDER: {args.folder} is no folder. Name one of a git repository.")
    top = Path(_git(args.folder, "rev-parse", "--show-toplevel"))
    path = top / ".gitattributes"
    added = _added_to(path)
    # The interpreter by its path: git runs the command wherever and whenever it shows a difference, and another
    # environment may be active then, or none.
    command = shlex.join([sys.executable, "-m", "timetracer_otel", "show", "--textconv"])
    _git(top, "config", f"diff.{_DRIVER}.textconv", command)
    _git(top, "config", f"diff.{_DRIVER}.xfuncname", _CALL_LINE)
    print(f"{one_line(str(path))}: {'cassettes are shown as text' if added else 'has its lines already'}")
    print(f"git config diff.{_DRIVER}.textconv: {one_line(command)}")
    if added:
        print("Commit .gitattributes. The configuration is of this clone: run git-setup in each.")
    return 0


def _added_to(path: Path) -> bool:
    """Add the lines that a file of attributes lacks. False where it lacks none."""
    before = path.read_bytes() if path.exists() else b""
    known = {tuple(line.split()) for line in before.decode("utf-8", "surrogateescape").splitlines()}
    lines = [f"*{suffix} {_ATTRIBUTES}" for suffix in _SUFFIXES]
    lacking = [line for line in lines if tuple(line.split()) not in known]
    if not lacking:
        return False
    end = b"\n" if before and not before.endswith(b"\n") else b""
    path.write_bytes(before + end + "".join(f"{line}\n" for line in lacking).encode())
    return True


def _git(folder: str | Path, *arguments: str) -> str:
    command: Sequence[str] = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - git is asked
    except FileNotFoundError:
        raise CommandError("there is no git. Install it, or add it to PATH.") from None
    if done.returncode:
        said = done.stderr.strip().removeprefix("fatal: ").partition("\n")[0]
        raise CommandError(f"git {arguments[0]} failed in {folder}: {said}.")
    return done.stdout.rstrip("\n")
