"""The progress bar: on the terminal only, and below the lines that are printed meanwhile."""

from __future__ import annotations

import sys

__all__ = ["Progress"]


class Progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=" requests", leave=False, disable=None, mininterval=0, file=sys.stderr)

    def say(self, line: str) -> None:
        """Print a line on standard output, above the bar."""
        self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()

    def step(self) -> None:
        """One more is done."""
        self._bar.update()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
