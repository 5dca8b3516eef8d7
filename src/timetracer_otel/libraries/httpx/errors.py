"""Exceptions of httpx, httpx2 and what they stand on, rebuilt in the classes of the module that was called."""

from __future__ import annotations

import re
from dataclasses import replace

from timetracer_otel.cassette import rebuild_error
from timetracer_otel.types import RecordedError

__all__ = ["family_of", "rebuilt_in"]


def family_of(module: str) -> dict[str, str]:
    """The packages whose exceptions a module raises: by the name in either generation, the name to use here.

    Example: for ``httpx2`` the family has ``httpcore`` and ``httpcore2``, and both stand for ``httpcore2``. So a
    recording that was made with httpx replays under httpx2.
    """
    suffix = "2" if module == "httpx2" else ""
    family = {name + old: name + suffix for name in ("httpx", "httpcore") for old in ("", "2")}
    # What httpcore speaks HTTP and waits with: their errors are arguments and causes of its own.
    return family | {name: name for name in ("h11", "h2", "anyio", "trio", "exceptiongroup")}


def rebuilt_in(family: dict[str, str], error: RecordedError) -> BaseException:
    """A recorded exception again.

    Raises:
        CassetteError: It cannot be rebuilt.
    """
    return rebuild_error(_renamed(error, family), {*family.values(), *_BELOW})


_BELOW = ("h11._util", "h2.exceptions", "hpack.exceptions", "hyperframe.exceptions", "socksio.exceptions")
"""Modules of errors that a replay may have to import: what uses them runs only where there is a network."""


def _renamed(error: RecordedError, family: dict[str, str]) -> RecordedError:
    package = re.split(r"[.:]", error.cls, maxsplit=1)[0]
    cause = _renamed(error.cause, family) if error.cause is not None else None
    if cause is not None and cause.unfaithful is not None:
        # httpcore's HTTP/2 errors hold events of h2, which have no encoding. The app catches the error in front of
        # them, which is whole; of the cause its class and text remain.
        cause = replace(cause, args=(cause.message,), unfaithful=None)
    return replace(error, cls=family.get(package, package) + error.cls[len(package) :], cause=cause)
