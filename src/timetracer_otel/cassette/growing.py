"""Whether a process still appends to a cassette: a lock on the file tells it. Parts have an owner instead.

The recording of a process has its final name from the beginning, and no footer before its end. So has one whose
process was killed, and who takes files away has to tell the two apart.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from timetracer_otel.base.real_time import time_s

__all__ = ["hold", "is_growing"]

_YOUNG_S = 2.0
"""The lock is taken a moment after the file has its name."""
_OLD_S = 86_400.0
"""Where there are no locks, a file that has not changed for a day has no writer."""

if sys.platform == "win32":

    def hold(handle: int) -> None:
        """Nothing: a lock of Windows would keep readers out."""

    def is_growing(file: Path) -> bool:
        """Whether a process may still append to an unfinished cassette. True where that cannot be found out."""
        try:
            return time_s() - file.stat().st_mtime < _OLD_S
        except OSError:
            return True

else:
    import fcntl

    def hold(handle: int) -> None:
        """Tell others that this process appends to the file, until it is closed or the process ends."""
        with suppress(OSError):  # The file system has no locks.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_growing(file: Path) -> bool:
        """Whether a process may still append to an unfinished cassette. True where that cannot be found out."""
        try:
            handle = os.open(file, os.O_RDONLY)
        except OSError:
            return True
        try:
            if time_s() - os.fstat(handle).st_mtime < _YOUNG_S:
                return True
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False
