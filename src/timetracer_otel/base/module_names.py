"""Every name that a module has for a function or a class, for those that cannot be patched in place.

A module that did ``from pycurl import Curl`` has a name of its own for the class. A replay has to find all of these
names when it begins. A test run begins thousands of replays, and a large program has thousands of modules, so each
module is looked through once, when it is first met after its import.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from weakref import ref

__all__ = ["names_of"]

_Place = tuple["ref[ModuleType]", str]
_known: dict[int, tuple[Any, dict[str, ref[ModuleType]], list[_Place]]] = {}
"""By the id of an object, which is kept: the object, the modules that were looked through, and where it was found."""
_lock = threading.RLock()


def names_of(original: Any, replacement: Any = None) -> Iterator[tuple[ModuleType, str]]:
    """The modules that have a name for an object, or for what stands in its place, and that name.

    A module may have something else under the name by now, so the caller has to look. Names that a module was given
    after its import are not found. Safe from any thread.

    Args:
        original: The function or class.
        replacement: What stands in its place at the moment; modules that were imported meanwhile have that.
    """
    with _lock:
        _, seen, places = _known.setdefault(id(original), (original, {}, []))
        for key, module in list(sys.modules.items()):
            met = seen.get(key)
            # A package may put any object there. One of cffi says that it is a module, and is none.
            if (met is not None and met() is module) or not issubclass(type(module), ModuleType):
                continue
            here = ref(module)
            for name, value in list(vars(module).items()):
                if value is original or (value is replacement and replacement is not None):
                    places.append((here, name))
            # The main module gets names for as long as the program runs.
            if key != "__main__" and not getattr(getattr(module, "__spec__", None), "_initializing", False):
                seen[key] = here
        places[:] = dict.fromkeys(place for place in places if place[0]() is not None)
        found = [(there, name) for here, name in places if (there := here()) is not None]
    yield from found
