"""What requests and urllib3 do not promise in their manuals, and we rely upon.

Seen in requests 2.31 to 2.34, urllib3 1.26 and 2.0 to 2.8:

- an answer's ``raw`` is a urllib3 response (`kits.urllib3.responses`);
- urllib3's errors hold pools and connections;
- a session of requests asks for the adapter, sends, sets ``elapsed`` and calls the hooks, in this order.

The table of these names is in `private_names`: the plugin's declaration reads it, and must not load `http.client`
(with ``ssl`` and ``email``) into programs that make no call.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from requests.structures import CaseInsensitiveDict

__all__ = [
    "add_headers",
    "header_items",
    "new_connection",
    "pool_of",
    "target_of",
]


def pool_of(adapter: Any, request: Any, options: dict[str, Any]) -> Any:
    """The urllib3 pool that a call goes through, as the adapter finds it; one for its URL where it has none."""
    proxies = options.get("proxies")
    try:
        if hasattr(adapter, "get_connection_with_tls_context"):
            return adapter.get_connection_with_tls_context(
                request, options.get("verify", True), proxies=proxies, cert=options.get("cert")
            )
        if hasattr(adapter, "get_connection"):
            return adapter.get_connection(request.url, proxies)
    except Exception:  # the adapter may be anybody's, and what it raises is not the recorded answer
        return None
    from urllib3 import connection_from_url

    return connection_from_url(request.url)


def header_items(headers: Any) -> list[tuple[Any, Any]]:
    """The headers of a request, in order. Those of requests' own class are taken from the place where it keeps them:
    its ``items`` calls three functions for each.
    """
    if type(headers) is CaseInsensitiveDict:
        store = getattr(headers, "_store", None)
        if type(store) is OrderedDict:
            return list(store.values())
    return list(headers.items())


def target_of(adapter: Any, request: Any, options: dict[str, Any]) -> str:
    """What stands behind the method on the wire: a whole URL for a proxy, a path otherwise."""
    find = getattr(adapter, "request_url", None)
    target: str = find(request, options.get("proxies")) if find is not None else request.path_url
    return target


def add_headers(adapter: Any, request: Any, options: dict[str, Any]) -> None:
    """What an adapter does to a request before it is sent."""
    add = getattr(adapter, "add_headers", None)
    if add is not None:
        add(request, **{"stream": False, "timeout": None, "verify": True, "cert": None, "proxies": None, **options})


def new_connection(pool: Any) -> Any:
    """A connection of a pool that is not connected; None where there is no pool."""
    return pool._new_conn() if pool is not None else None
