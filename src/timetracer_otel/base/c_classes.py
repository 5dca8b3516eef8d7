"""Replacing methods of classes that are written in C, in place.

Where the class is replaced by another one (`base.rebinding`), objects that exist already are left out. Here they are
not. Python refuses to set attributes of such a class by one bit of its flags, ``Py_TPFLAGS_IMMUTABLETYPE``. That bit
is cleared while the attribute is set, so that Python itself updates all that follows from it: the slots of the class
and of those derived from it, and the caches. Example of who needs it: ``confluent_kafka.Producer``, which apps make
once for their whole life.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

from timetracer_otel.base.patching import Patch

__all__ = ["InPlace", "can_be_changed"]

_IMMUTABLE: Final = 1 << 8
"""``Py_TPFLAGS_IMMUTABLETYPE``."""
_WORDS_BEFORE: Final = 18
"""How many words of ``PyTypeObject`` stand between its head and its ``tp_flags``
(https://docs.python.org/3/c-api/typeobj.html)."""


def can_be_changed(owner: type[Any]) -> bool:
    """Whether the flags of a class stand where they are looked for: in CPython, as far as we know it."""
    return (
        sys.implementation.name == "cpython"
        and find_spec("_ctypes") is not None
        and _flags(owner).value == owner.__flags__
    )


def _flags(owner: type[Any]) -> Any:
    # Imported here: it costs milliseconds, and few apps have such a class.
    import ctypes

    word = ctypes.sizeof(ctypes.c_void_p)
    # The head is that of any object, and the size that objects of variable size have.
    return ctypes.c_ulong.from_address(id(owner) + object.__basicsize__ + word * (1 + _WORDS_BEFORE))


@contextmanager
def _open(owner: type[Any]) -> Generator[None, None, None]:
    flags = _flags(owner)
    flags.value &= ~_IMMUTABLE
    try:
        yield
    finally:
        # Nothing but this bit: Python has changed others, which say that its caches are out of date.
        flags.value |= _IMMUTABLE


class InPlace(Patch):
    """One method of a class in C, replaced. Arguments as for `Patch`."""

    def apply(self) -> None:
        """Put the replacement in; harmless when repeated."""
        with _open(self.owner):
            super().apply()

    def undo(self) -> None:
        """Restore the original; harmless when repeated."""
        with _open(self.owner):
            super().undo()
