"""What urllib3 does not promise in its manual, and this plugin relies upon (1.26 and 2.0 to 2.8).

A pool's ``urlopen`` takes a connection, asks a proxy for a tunnel where one is needed (``_prepare_proxy``), and makes
one attempt by ``_make_request``. Since 2.0 that gives urllib3's own response, whose body it has read where the app
asked for that (``preload_content``); before, it gave the one of `http.client`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["attach", "new_connection", "preload", "url_of"]

_PORTS = {"http": 80, "https": 443}


def url_of(pool: Any, target: str) -> str:
    """The URL of an attempt, from what stands behind its method on the wire."""
    if not target.startswith("/"):
        # A proxy is asked for the whole URL, and ``*`` is one of OPTIONS.
        return target if "://" in target else f"{_origin(pool)}/{target}"
    return _origin(pool) + target


def _origin(pool: Any) -> str:
    scheme, host, port = pool.scheme, pool.host, pool.port
    if host is not None and ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{scheme}://{host}" if port in (None, _PORTS.get(scheme)) else f"{scheme}://{host}:{port}"


def preload(response: Any, decode: bool) -> None:
    """Read a body, as urllib3 (2.0 and newer) does it when it makes a response.

    At that time a response knows neither its pool nor its connection.
    """
    held = response._pool, response._connection, response.retries
    response._pool = response._connection = response.retries = None
    try:
        response._body = response.read(decode_content=decode)
    finally:
        response._pool, response._connection, response.retries = held


def attach(response: Any, pool: Any, connection: Any, retries: Any) -> None:
    """Let a response know whose it is, as ``_make_request`` does it."""
    response.retries = retries
    response._connection = connection
    response._pool = pool


def new_connection(pool: Any) -> Any:
    """A connection of a pool that is not connected."""
    return pool._new_conn()
