"""Temporary folders of a test run, whose names say whose they are: the next run removes what a killed one left.

A folder is called ``KIND-USER-PROCESS-…``, by the numbers of the user and of the process that removes it at its end.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

__all__ = ["made", "remove_leftovers"]

_KINDS = ("db", "forks", "servers")
_NAME = re.compile(rf"(?:{'|'.join(_KINDS)})-(\d+)-(\d+)-\w+")


def made(kind: str, within: Path | None = None) -> Path:
    """A new folder of this process.

    Args:
        kind: One of ``db``, ``forks`` and ``servers``.
        within: The folder that it is made in; that for temporary files where there is none.
    """
    assert kind in _KINDS
    return Path(tempfile.mkdtemp(prefix=f"{kind}-{os.geteuid()}-{os.getpid()}-", dir=within))


def remove_leftovers(*places: Path) -> list[Path]:
    """Remove the folders of this user whose process is gone; gives those that were found.

    Args:
        places: What may hold such folders.
    """
    found = []
    for path in {path for place in places for path in place.iterdir()}:
        name = _NAME.fullmatch(path.name)
        if name is not None and int(name[1]) == os.geteuid() and not _lives(int(name[2])):
            found.append(path)
            # Another run may be at it as well.
            shutil.rmtree(path, ignore_errors=True)
    return found


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
