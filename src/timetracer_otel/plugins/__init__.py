"""The plugins: each captures and replays the calls of one library.

`enable_x` and `disable_x` switch one on and off for the whole process; `function_plugin` makes one for a library that
has none here. A library is imported only by its own plugin, and only when that is used.
"""

from timetracer_otel.plugins._functions import function_plugin
from timetracer_otel.plugins.aiohttp_plugin import disable_aiohttp, enable_aiohttp
from timetracer_otel.plugins.httpx_plugin import disable_httpx, enable_httpx
from timetracer_otel.plugins.redis_plugin import disable_redis, enable_redis
from timetracer_otel.plugins.requests_plugin import disable_requests, enable_requests
from timetracer_otel.plugins.sqlalchemy_plugin import disable_sqlalchemy, enable_sqlalchemy

__all__ = [
    "disable_aiohttp",
    "disable_httpx",
    "disable_redis",
    "disable_requests",
    "disable_sqlalchemy",
    "enable_aiohttp",
    "enable_httpx",
    "enable_redis",
    "enable_requests",
    "enable_sqlalchemy",
    "function_plugin",
]
