"""uvicorn: the part of an ASGI scope's path that the server has added, and that no client sent."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

__all__ = ["added_prefix"]

_UVICORN_ADDS = (0, 26)
"""From this version on, uvicorn puts the path of ``--root-path`` in front of what stood in the request line."""


def added_prefix(scope: Any, receive: object, send: object) -> str:
    """The beginning of the scope's path that did not stand in the request line; empty for most servers.

    A root path says where the app is mounted. Most servers (hypercorn, daphne) leave the path as the proxy before
    them sent it, with or without the root path. uvicorn puts the root path before every path. The scope does not name
    its server. The objects that ``receive`` and ``send`` are methods of do, unless a middleware has wrapped both.
    """
    # In a mounted app, `root_path` also has the part of the path that the mount took off. Starlette keeps the root
    # path that the server gave in `app_root_path`.
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
