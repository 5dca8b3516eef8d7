"""Random numbers of our own.

An app may seed Python's global generator, or put a mock in the place of `uuid.uuid4`. What the app draws must be the
same with and without a recorder, so nothing of ours draws from there.
"""

from __future__ import annotations

import os
import random
from typing import Final

__all__ = ["chance", "random_uuid"]

# Not `os.urandom` for each number: a system call lets go of the interpreter's lock, and in a busy process it takes
# milliseconds to get the lock again.
chance: Final = random.Random()  # noqa: S311 - no secret depends on it
"""Seeded by the system, anew in each forked child. Safe from any thread."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=chance.seed)


def random_uuid() -> str:
    """A random UUID (version 4), as text."""
    digits = f"{chance.getrandbits(128) & _RANDOM_BITS | _VERSION_4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_RANDOM_BITS: Final = ~(0xC000 << 48 | 0xF000 << 64)
_VERSION_4: Final = 0x8000 << 48 | 4 << 76
"""The variant and the version of such a UUID (RFC 9562, section 5.4), in the place of six random bits."""
