"""What a server puts into an ASGI scope that did not come over the wire."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

__all__ = ["added_prefix"]

_UVICORN_ADDS = (0, 26)
"""From this version on, uvicorn puts the path of ``--root-path`` in front of what stood in the request line."""


def added_prefix(scope: Any, receive: object, send: object) -> str:
    """The beginning of the scope's path that stood in no request line.

    A root path says where the app is mounted. Most servers leave the path as it came, which begins with the root path
    or does not, as the proxy before them likes it (hypercorn, daphne); uvicorn adds it to every path. The scope does
    not say whose it is: what gives the messages and takes them does, where nobody has wrapped both.
    """
    # Behind a mount, `root_path` is longer by what the mount took off; frameworks keep the server's own.
    prefix: str = scope.get("app_root_path", scope.get("root_path")) or ""
    if not prefix or not (_is_uvicorns(receive) or _is_uvicorns(send)) or not _uvicorn_adds():
        return ""
    return prefix if scope["path"].startswith(prefix) else ""


def _is_uvicorns(function: object) -> bool:
    return type(getattr(function, "__self__", None)).__module__.startswith("uvicorn.")


@lru_cache(maxsize=1)
def _uvicorn_adds() -> bool:
    version = str(getattr(sys.modules.get("uvicorn"), "__version__", ""))
    numbers = tuple(int(number) for number in version.split(".")[:2] if number.isdigit())
    return numbers >= _UVICORN_ADDS
