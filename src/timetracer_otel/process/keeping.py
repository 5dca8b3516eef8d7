"""Deleting the oldest cassettes of the folder that a process records into: the setting ``keep``."""

from __future__ import annotations

import math
import time

from timetracer_otel.base import faults
from timetracer_otel.base.settings import kept_bounds
from timetracer_otel.cassette import Store, keep_within
from timetracer_otel.exceptions import CassetteError

__all__ = ["Keeper"]

_INTERVAL_S = 10.0
"""How long at least from one look at the folder to the next: each looks at every file."""


class Keeper:
    """Looks after one folder. `note_written` is for any thread, all else is for the writer's.

    Args:
        store: The folder.
        keep: The setting.
    """

    def __init__(self, store: Store, keep: str) -> None:
        self._store = store
        self.bounds = kept_bounds(keep)
        # At the start as well: the processes before this one may have had other settings, or were killed.
        self._is_due = bool(self.bounds)
        self._due_s = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nothing was written since the last look."""
        return not self._is_due

    def note_written(self) -> None:
        """Take note that there is one more cassette."""
        self._is_due = bool(self.bounds)

    def wait_s(self) -> float:
        """Seconds until `tick` is due."""
        return max(0.0, self._due_s - time.monotonic()) if self._is_due else math.inf

    def tick(self) -> None:
        """Delete what the folder need not keep, where that is due."""
        if self._is_due and time.monotonic() >= self._due_s:
            self._is_due = False
            self._look()
            self._due_s = time.monotonic() + _INTERVAL_S

    def close(self) -> None:
        """Look at the folder for the last time."""
        if self._is_due:
            self._is_due = False
            self._look()

    def _look(self) -> None:
        try:
            keep_within(self._store, self.bounds)
        except CassetteError as error:
            faults.warn_once(f"keep:{self._store}", f"{error} The folder may hold more than TIMETRACER_KEEP says.")
