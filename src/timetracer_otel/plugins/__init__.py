"""The plugins, under the names that the public contract promises: each captures and replays the calls of one library.

`enable_x` and `disable_x` switch the plugin of x on and off for the whole process. `function_plugin` makes a plugin
for a library that has none here. A library is imported only by its own plugin, and only when that plugin is enabled.
"""

from timetracer_otel.calls import hooks
from timetracer_otel.calls.functions import function_plugin
from timetracer_otel.guard import network_guard
from timetracer_otel.libraries.aiohttp import disable_aiohttp, enable_aiohttp
from timetracer_otel.libraries.httpx import disable_httpx, enable_httpx
from timetracer_otel.libraries.psycopg import disable_psycopg, enable_psycopg
from timetracer_otel.libraries.redis import disable_redis, enable_redis
from timetracer_otel.libraries.requests import disable_requests, enable_requests
from timetracer_otel.libraries.sqlalchemy import disable_sqlalchemy, enable_sqlalchemy
from timetracer_otel.libraries.sqlite3 import disable_sqlite3, enable_sqlite3
from timetracer_otel.libraries.urllib3 import disable_urllib3, enable_urllib3

__all__ = [
    "disable_aiohttp",
    "disable_httpx",
    "disable_psycopg",
    "disable_redis",
    "disable_requests",
    "disable_sqlalchemy",
    "disable_sqlite3",
    "disable_urllib3",
    "enable_aiohttp",
    "enable_httpx",
    "enable_psycopg",
    "enable_redis",
    "enable_requests",
    "enable_sqlalchemy",
    "enable_sqlite3",
    "enable_urllib3",
    "function_plugin",
]


def _watch_spans() -> None:
    """Attach the span processor when a plugin is enabled by hand, before any session."""
    from timetracer_otel.process.runtime import runtime

    runtime().watch_spans()


hooks.watch_spans = _watch_spans
# A plugin that is enabled by hand and cannot install its seams: replays that come later refuse its library's calls.
hooks.closed_replays = network_guard.ClosedReplays
