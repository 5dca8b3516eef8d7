"""What `http.client` does not promise in its manual, and this plugin relies upon (Python 3.10 to 3.14).

A connection sends by its method ``send`` alone, the whole head first and then pieces of the body. It connects there
where it has no ``sock``, and asks a proxy for a tunnel while it connects, by ``send`` as well. A response reads from
the file that ``sock.makefile`` gives.
"""

from __future__ import annotations

import http.client
import sys
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

__all__ = [
    "address_of",
    "is_logging",
    "is_of_urllib3",
    "origin_of",
    "package_of",
    "proxy_headers",
    "set_proxy_headers",
    "url_of",
]

_PORTS = {"http": 80, "https": 443}


_of_urllib3: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def is_of_urllib3(cls: type) -> bool:
    """Whether a class of connections is urllib3's, or derived of one. What these ask is urllib3's call."""
    found = _of_urllib3.get(cls)
    if found is None:
        found = any(base.__module__.partition(".")[0] == "urllib3" for base in cls.__mro__)
        _of_urllib3[cls] = found
    return found


def is_logging() -> bool:
    """Whether a handler of Python's logging asks: records that are sent by HTTP are no call of the app's, as those
    which are sent over a socket are none (see `guard.places`).
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module != http.client.__name__ and not module.startswith("timetracer_otel."):
            return module == "logging.handlers"
        frame = frame.f_back
    return False


def _server_of(connection: Any) -> tuple[str, Any]:
    """Host and port of the server that a connection asks, be it through a tunnel."""
    if connection._tunnel_host:
        host, port = connection._tunnel_host, connection._tunnel_port
    else:
        host, port = connection.host, connection.port
    return (f"[{host}]" if ":" in host and not host.startswith("[") else host), port


def address_of(connection: Any) -> str:
    """The server that a connection asks, as ``host:port``."""
    host, port = _server_of(connection)
    return f"{host}:{port}"


def origin_of(connection: Any) -> str:
    """The server that a connection asks, as a URL without a path."""
    tls = getattr(http.client, "HTTPSConnection", None)
    scheme = "https" if tls is not None and isinstance(connection, tls) else "http"
    host, port = _server_of(connection)
    return f"{scheme}://{host}" if port in (None, _PORTS[scheme]) else f"{scheme}://{host}:{port}"


def url_of(connection: Any, target: str) -> str:
    """The URL of a request, from what stands behind its method on the wire."""
    if target.startswith("/"):
        return origin_of(connection) + target
    # A proxy is asked for the whole URL, and ``*`` is one of OPTIONS.
    return target if "://" in target else f"{origin_of(connection)}/{target}"


def package_of(connection: Any) -> str:
    """The package of a class of connections: errors of its own may come out of its ``connect``."""
    return type(connection).__module__.partition(".")[0]


def proxy_headers(connection: Any) -> list[bytes] | None:
    """What a proxy answered to the request for a tunnel (since Python 3.12); None where there is none."""
    lines = getattr(connection, "_raw_proxy_headers", None)
    return list(lines) if lines else None


def set_proxy_headers(connection: Any, lines: list[bytes]) -> None:
    """Let a connection have the answer of its proxy."""
    connection._raw_proxy_headers = lines
