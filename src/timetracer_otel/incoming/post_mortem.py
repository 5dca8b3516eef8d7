"""`PostMortem`: pdb where a request fails, at the deepest line of the app's own code that the exception passed."""

from __future__ import annotations

import logging
import pdb  # noqa: T100 - to enter it is the purpose
import sysconfig
from types import FrameType, TracebackType

from timetracer_otel.base import faults

__all__ = ["PostMortem"]


class PostMortem:
    """Enters pdb where a request fails. The request waits meanwhile."""

    def failed(self, line: str, error: BaseException | None) -> None:
        """Enter pdb for a request that fails.

        Args:
            line: The request, as ``GET /users/7``.
            error: The exception; None where the app answers a failure without one.
        """
        if error is None or error.__traceback__ is None:
            faults.say(logging.WARNING, f"{line} fails without an exception: the app answers so itself")
            return
        faults.say(logging.WARNING, f"{line} fails: {type(error).__name__}: {error}")
        found = _AtOwnCode()
        found.reset()
        found.interaction(None, error.__traceback__)


class _AtOwnCode(pdb.Pdb):
    """pdb that begins at the deepest frame of the app's own code, and not in a library that it calls."""

    def get_stack(self, f: FrameType | None, t: TracebackType | None) -> tuple[list[tuple[FrameType, int]], int]:
        stack, at = super().get_stack(f, t)
        own = [index for index, (frame, _) in enumerate(stack) if index <= at and _is_own(frame)]
        return stack, own[-1] if own else at


_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_own(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return not name.startswith((*_LIBRARIES, "<"))
