"""Functions that libraries declare by module, replaced while a replay is guarded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Generic, TypeVar

from timetracer_otel.base.patching import Seams, Undoable

__all__ = ["DeclaredSeams"]

D = TypeVar("D")


class DeclaredSeams(ABC, Generic[D]):
    """Not safe from several threads at once: the guard calls it under its lock."""

    def __init__(self) -> None:
        self._seams: dict[str, Seams] = {}

    @abstractmethod
    def _patches(self, declared: D, module: ModuleType) -> list[Undoable]:
        """What is replaced in a module."""

    def _declare(self, declared: Mapping[str, D]) -> None:
        """Add modules with such functions. A module that is known already stays as it is."""
        for module, functions in declared.items():
            if module not in self._seams:
                self._seams[module] = Seams("guard", (module,), partial(self._patches, functions))

    def install(self) -> None:
        """Replace the functions, now or when their module is imported; harmless when repeated."""
        for seams in self._seams.values():
            seams.install()

    def remove(self) -> None:
        """Put the originals back; harmless when repeated."""
        for seams in self._seams.values():
            seams.remove()
