"""Every name that a module has for a function or a class, for those that cannot be patched in place.

A module that did ``from pycurl import Curl`` has a name of its own for the class. A replay has to find all of these
names when it begins. A test run begins thousands of replays, and a large program has thousands of modules. So each
module is looked through once, when it is first met after its import, and each object is once looked for in all of
them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any
from weakref import ref

__all__ = ["forget", "look_for", "names_of"]

_identity: Callable[[object], int] = object.__hash__
"""A number that no other object has while this one is there, whatever its class says of its hash.

Not `id`, of which Python tells every audit hook, and a replay has one. A large program has hundreds of thousands of
names to look at, and to tell the hook of each takes several times as long."""


class _Names:
    """One object, and the names that were found for it."""

    def __init__(self, original: Any) -> None:
        self.original = original
        self.replacements: list[Any] = []
        """What stands in its place now."""
        self.places: dict[tuple[ref[ModuleType], str], None] = {}
        """Without those in the main module, which gets names for as long as the program runs."""

    def in_main(self) -> Iterator[tuple[ModuleType, str]]:
        """The places in the main module."""
        main: Any = sys.modules.get("__main__")
        if _is_module(main):
            wanted = {_identity(self.original), *map(_identity, self.replacements)}
            if not wanted.isdisjoint(map(_identity, list(vars(main).values()))):
                for name, value in vars(main).copy().items():
                    if _identity(value) in wanted:
                        yield main, name


_lock = threading.RLock()
_looked_for: dict[int, _Names] = {}
"""By the identity of an object, and of what stands in its place."""
_seen: dict[str, ref[ModuleType]] = {}
_state: tuple[int, str] | None = None
"""How many modules there were, and which came last, when all had been looked through."""


def names_of(original: Any, replacement: Any = None) -> list[tuple[ModuleType, str]]:
    """The modules that have a name for an object, or for what stands in its place, and that name.

    A module may have something else under the name by now, so the caller has to look. Names that a module was given
    after its import are not found, except in the main module. A module that was put in the place of another one of
    the same name is found when the next module has been imported. Safe from any thread.

    Args:
        original: The function or class.
        replacement: What stands in its place from now on, until `forget`: modules that are imported meanwhile have
            that.
    """
    with _lock:
        look_for((original,))
        names = _looked_for[_identity(original)]
        if replacement is not None and _looked_for.get(_identity(replacement)) is not names:
            names.replacements.append(replacement)
            _looked_for[_identity(replacement)] = names
        _look_for_new_modules()
        found = [(there, name) for here, name in list(names.places) if (there := here()) is not None]
        # The main module may be there by another name as well: processes of `multiprocessing` have it twice.
        return [*found, *(place for place in names.in_main() if place not in found)]


def look_for(originals: Iterable[Any]) -> None:
    """Look for several objects at once, so that `names_of` finds each of them at hand: it takes the time of one.

    Safe from any thread.

    Args:
        originals: Functions or classes.
    """
    global _state
    with _lock:
        new = {_identity(one): _Names(one) for one in originals if _identity(one) not in _looked_for}
        if not new:
            return
        _looked_for.update(new)
        # Those that nobody has looked through yet are looked through for all objects, by `names_of`.
        for key, module in _modules():
            if _is_seen(key, module):
                _look_through(module, new)
            else:
                _state = None


def forget(replacement: Any) -> None:
    """Nothing stands in the place of an object any more; harmless when repeated."""
    with _lock:
        names = _looked_for.get(_identity(replacement))
        if names is not None and names.original is not replacement:
            del _looked_for[_identity(replacement)]
            names.replacements = [other for other in names.replacements if other is not replacement]


def _look_for_new_modules() -> None:
    global _state
    state = len(sys.modules), next(reversed(sys.modules), "")
    if state == _state:
        return
    is_whole = True
    for key, module in _modules():
        if _is_seen(key, module):
            continue
        _look_through(module, _looked_for)
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            is_whole = False
        else:
            _seen[key] = ref(module)
    for names in _looked_for.values():
        names.places = {place: None for place in names.places if place[0]() is not None}
    _state = state if is_whole else None


def _look_through(module: ModuleType, looked_for: dict[int, _Names]) -> None:
    # Most modules have none. To find that out here takes a quarter of the time that a loop over the names would.
    if looked_for.keys().isdisjoint(map(_identity, list(vars(module).values()))):
        return
    for name, value in vars(module).copy().items():
        names = looked_for.get(_identity(value))
        if names is not None:
            names.places[(ref(module), name)] = None


def _modules() -> list[tuple[str, ModuleType]]:
    # Other threads import meanwhile. A copy is made in one step, a list of pairs is not.
    found: dict[str, Any] = sys.modules.copy()
    return [(key, module) for key, module in found.items() if key != "__main__" and _is_module(module)]


def _is_seen(key: str, module: ModuleType) -> bool:
    met = _seen.get(key)
    return met is not None and met() is module


def _is_module(value: Any) -> bool:
    # A package may put any object among the modules. One of cffi says that it is a module, and is none.
    return issubclass(type(value), ModuleType)
