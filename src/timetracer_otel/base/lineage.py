"""Which process this is: a random identifier for each process, and those of the processes that it was forked from.

An operating system's process id would not tell: it is given out again, and every container has a process 1.
"""

from __future__ import annotations

import os

__all__ = ["lineage"]

_pid = 0
_ids: tuple[str, ...] = ()


def lineage() -> tuple[str, ...]:
    """The identifiers of the processes that this one comes from, its own last.

    A process has an identifier since it was first asked for here. A child that is forked before that knows of no
    parent. Safe from any thread: two threads that ask at once may make two identifiers, and the later one counts.
    """
    global _pid, _ids
    if _pid != os.getpid():
        _ids, _pid = (*_ids, os.urandom(6).hex()), os.getpid()
    return _ids
