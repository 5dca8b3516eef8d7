"""Functions that libraries declare by module, replaced while a replay is guarded."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Generic, TypeVar

import wrapt

from timetracer_otel.base.module_names import look_for
from timetracer_otel.base.patching import Seams, Undoable
from timetracer_otel.base.rebinding import Rebound

__all__ = ["DeclaredSeams"]

D = TypeVar("D")


class DeclaredSeams(ABC, Generic[D]):
    """Not safe from several threads at once: the guard calls it under its lock.

    Most of the declared modules are never imported, and each session of a block begins and ends the guard. So those
    modules cost nothing but a look whether they are there.
    """

    def __init__(self) -> None:
        self._is_wanted = False
        self._seams: dict[str, Seams] = {}
        self._without_hook: list[str] = []
        """The modules whose import is not heard of yet."""
        self._installed: list[Seams] = []
        self._not_looked_for: dict[str, D] = {}
        """By module: what is declared of it, as long as the names of its functions were not looked for."""

    @abstractmethod
    def _patches(self, declared: D, module: ModuleType) -> list[Undoable]:
        """What is replaced in a module."""

    def _declare(self, declared: Mapping[str, D]) -> None:
        """Add modules with such functions. A module that is known already stays as it is."""
        for module, functions in declared.items():
            if module not in self._seams:
                self._seams[module] = Seams("guard", (module,), partial(self._patches, functions))
                self._not_looked_for[module] = functions
                self._without_hook.append(module)

    def install(self) -> None:
        """Replace the functions, now or when their module is imported; harmless when repeated."""
        imported = [*filter(sys.modules.__contains__, self._not_looked_for)]
        if imported:
            look_for(
                patch.original
                for name in imported
                for patch in self._patches_now(self._not_looked_for.pop(name), sys.modules[name])
                if isinstance(patch, Rebound)
            )
        self._is_wanted = True
        for name in [*filter(sys.modules.__contains__, self._seams)]:
            self._install(self._seams[name])
        while self._without_hook:
            wrapt.register_post_import_hook(self._imported, self._without_hook.pop())

    def _install(self, seams: Seams) -> None:
        if seams not in self._installed:
            self._installed.append(seams)
        seams.install()

    def _imported(self, module: ModuleType) -> None:
        """Called in the thread that imports the module, at any time. It must wait for nobody who may import."""
        if not self._is_wanted:
            return
        # The module's own name may be another one than it was imported by.
        for name, seams in list(self._seams.items()):
            if sys.modules.get(name) is module:
                self._install(seams)
                if not self._is_wanted:
                    # They were removed meanwhile.
                    seams.remove()

    def _patches_now(self, declared: D, module: ModuleType) -> list[Undoable]:
        try:
            return self._patches(declared, module)
        except Exception:
            # The module is another one than was declared. Its seams say so.
            return []

    def remove(self) -> None:
        """Put the originals back; harmless when repeated."""
        self._is_wanted = False
        while self._installed:
            self._installed.pop().remove()
