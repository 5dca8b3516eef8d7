"""Putting our function in the place of a library's, innermost, and taking it out again.

Imports nothing of ours but `_faults`.

Innermost means: beneath whatever wrapped the function with `wrapt` (as OpenTelemetry's instrumentors do), so that we
run inside their span whoever came first.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import wrapt

from timetracer_otel import _faults

__all__ = ["Function", "LatePatch", "Patch", "Seams", "is_replacement"]

Function = Callable[..., Any]

# wrapt 2 gave its proxies a common base of another name; wrapt 1 has ObjectProxy there.
_PROXY: Any = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)


_MARK = "_timetracer_patch"
"""On a replacement: itself (who wraps it copies its attributes), whose it is, and what it replaced."""


class Patch:
    """One replaced function; applied and undone by the same entry. Not safe to apply from two threads at once.

    Args:
        owner: The class or module that has the function, by itself or from a base class.
        name: Its attribute.
        wrap: Makes the replacement from the original.
    """

    def __init__(self, owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
        self.owner = owner
        self.name = name
        self._wrap = wrap
        self._is_inherited = name not in vars(owner)
        self._original: Function | None = None
        self._replacement: Function | None = None

    @property
    def applied(self) -> bool:
        """Whether the replacement stands in its place."""
        return self._replacement is not None

    def apply(self) -> None:
        """Put the replacement in; harmless when repeated."""
        if self._replacement is not None:
            return
        holder, original = self._current()
        replacement = self._make(original)
        self._put(holder, replacement)
        self._original, self._replacement = original, replacement

    def undo(self) -> None:
        """Put the original back, wherever in the chain the replacement is by now; harmless when repeated.

        Where somebody wrapped the replacement in a function that cannot be looked into, it stays, and passes
        every call through for want of a session. So it does where somebody took it out and puts it back later (as
        pytest's ``monkeypatch`` does); whatever is applied then takes its place.
        """
        if self._replacement is None:
            return
        holder, found = self._innermost(lambda function: function is self._replacement)
        if found is self._replacement and holder is None and self._is_inherited:
            delattr(self.owner, self.name)
        elif found is self._replacement and self._original is not None:
            self._put(holder, self._original)
        self._original = self._replacement = None

    def _current(self) -> tuple[Any, Function]:
        """The function that stands in the place, and the innermost proxy around it."""
        holder, found = self._innermost(lambda _: False)
        return holder, _without_leftovers(found)

    def _make(self, original: Any) -> Any:
        kind = type(original) if isinstance(original, (staticmethod, classmethod)) else None
        function = original.__func__ if kind else original
        replacement: Any = functools.wraps(function)(self._wrap(function))
        # The name promises a plain function: `__wrapped__` would let others unwrap us by mistake.
        del replacement.__wrapped__
        setattr(replacement, _MARK, (replacement, self, original))
        return kind(replacement) if kind else replacement

    def _innermost(self, stop: Callable[[Function], bool]) -> tuple[Any, Function]:
        holder: Any = None
        current: Any = vars(self.owner).get(self.name) or getattr(self.owner, self.name)
        while isinstance(current, _PROXY) and not stop(current):
            holder, current = current, current.__wrapped__
        return holder, current

    def _put(self, holder: Any, function: Function) -> None:
        if holder is None:
            setattr(self.owner, self.name, function)
        else:
            holder.__wrapped__ = function


def is_replacement(found: Any) -> bool:
    """Whether a function that was found in its place was put there by a patch."""
    return _mark_of(found) is not None


def _mark_of(found: Any) -> tuple[Any, Any, Any] | None:
    function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    # Not asked for as an attribute: mocks have every one.
    mark: tuple[Any, Any, Any] | None = getattr(function, "__dict__", {}).get(_MARK)
    return mark if mark is not None and mark[0] is function else None


def _without_leftovers(found: Any) -> Any:
    """The function beneath replacements that were undone while they were not in their place."""
    while True:
        mark = _mark_of(found)
        if mark is None:
            return found
        _, patch, original = mark
        if patch._replacement is found:
            return found
        found = original


class LatePatch(Patch):
    """A patch that is put in when it is first needed, and costs nothing where it never is. Safe from any thread."""

    def __init__(self, owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
        super().__init__(owner, name, wrap)
        self.waits = False
        """Whether it may be put in, and was not."""
        self._lock = threading.Lock()

    def apply(self) -> None:
        """Allow `put_in`."""
        with self._lock:
            self.waits = not self.applied

    def put_in(self) -> None:
        """Put the replacement in, unless it is undone by now; harmless when repeated."""
        with self._lock:
            if self.waits:
                self.waits = False
                super().apply()

    def undo(self) -> None:
        with self._lock:
            self.waits = False
            super().undo()


class Seams:
    """The patches of some modules: in place from `install` to `remove`, also in those that are imported in between.

    Safe from any thread.

    Args:
        name: What they are for, in the log.
        modules: Import names.
        patches: Makes the patches of one such module.
    """

    def __init__(self, name: str, modules: Sequence[str], patches: Callable[[ModuleType], list[Patch]]) -> None:
        self.name = name
        self.modules = modules
        self._patches = patches
        self._lock = threading.RLock()
        self._wanted = False
        self._hooked = False
        self._installed: dict[str, list[Patch]] = {}

    def install(self) -> None:
        """Put the patches in, now or when their module is imported; harmless when repeated."""
        with self._lock:
            self._wanted = True
            for name in self.modules:
                module = sys.modules.get(name)
                if module is not None:
                    self._install_in(module)
            if not self._hooked:
                self._hooked = True
                for name in self.modules:
                    if name not in sys.modules:
                        wrapt.register_post_import_hook(self._imported, name)

    def remove(self) -> None:
        """Take the patches out; harmless when repeated."""
        with self._lock:
            self._wanted = False
            while self._installed:
                _, patches = self._installed.popitem()
                for patch in reversed(patches):
                    patch.undo()

    def _imported(self, module: ModuleType) -> None:
        with self._lock:
            if self._wanted:
                self._install_in(module)

    def _install_in(self, module: ModuleType) -> None:
        # An alias (httpx2's `alias_httpx`) is the same module under another name.
        if module.__name__ in self._installed:
            return
        try:
            patches = self._patches(module)
            for patch in patches:
                patch.apply()
        except Exception as error:
            _faults.contain(f"{self.name}.install", error)
            return
        self._installed[module.__name__] = patches
