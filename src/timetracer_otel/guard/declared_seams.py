"""Functions that libraries declare by module, replaced while a replay is guarded."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Generic, TypeVar

from timetracer_otel.base.module_names import look_for
from timetracer_otel.base.patching import Seams, Undoable
from timetracer_otel.base.rebinding import Rebound

__all__ = ["DeclaredSeams"]

D = TypeVar("D")


class DeclaredSeams(ABC, Generic[D]):
    """Not safe from several threads at once: the guard calls it under its lock."""

    def __init__(self) -> None:
        self._seams: dict[str, Seams] = {}
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

    def install(self) -> None:
        """Replace the functions, now or when their module is imported; harmless when repeated."""
        imported = [name for name in self._not_looked_for if name in sys.modules]
        if imported:
            look_for(
                patch.original
                for name in imported
                for patch in self._patches_now(self._not_looked_for.pop(name), sys.modules[name])
                if isinstance(patch, Rebound)
            )
        for seams in self._seams.values():
            seams.install()

    def _patches_now(self, declared: D, module: ModuleType) -> list[Undoable]:
        try:
            return self._patches(declared, module)
        except Exception:
            # The module is another one than was declared. Its seams say so.
            return []

    def remove(self) -> None:
        """Put the originals back; harmless when repeated."""
        for seams in self._seams.values():
            seams.remove()
