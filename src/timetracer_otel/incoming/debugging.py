"""The debugger of ``timetracer-otel reproduce``, in the process of the service.

``--debug`` enters pdb where a request fails (see `post_mortem`). ``--attach`` lets debugpy wait for an editor before
the app is loaded.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from timetracer_otel.base import faults
from timetracer_otel.config import ATTACH, PDB, debugger

__all__ = ["FailureListener", "active", "attach", "start"]


class FailureListener(Protocol):
    """Is told of requests that fail."""

    def failed(self, line: str, error: BaseException | None) -> None:
        """A request fails: which one, and by which exception, where there is one."""
        ...


active: FailureListener | None = None
"""What is told of requests that fail; None where nobody debugs."""


def start() -> None:
    """Debug the requests of this process from now on, if its environment asks for that."""
    global active
    if debugger() == PDB:
        # Imported here: pdb takes some milliseconds, which nobody else should wait for.
        from timetracer_otel.incoming.post_mortem import PostMortem

        active = PostMortem()


def attach() -> None:
    """Wait for an editor, if the environment of this process asks for that. To be called before the app is loaded."""
    wanted = debugger()
    if wanted is None or not wanted.startswith(ATTACH):
        return
    try:
        debugpy: Any = __import__("debugpy")
        where = ("127.0.0.1", int(wanted.removeprefix(ATTACH)))
        debugpy.listen(where)
        faults.say(logging.WARNING, f"waiting for a debugger at {where[0]}:{where[1]}")
        debugpy.wait_for_client()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        # A second process of the service: the port is the first one's.
        faults.logger.warning("timetracer-otel: no debugger can attach to this process: %s", error)
