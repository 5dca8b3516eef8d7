"""The plugins: each captures and replays the calls of one library.

`enable_x` and `disable_x` switch one on and off for the whole process. A library is imported only by its own
plugin, and only when that is used.
"""

from timetracer_otel.plugins.httpx_plugin import disable_httpx, enable_httpx
from timetracer_otel.plugins.requests_plugin import disable_requests, enable_requests

__all__ = ["disable_httpx", "disable_requests", "enable_httpx", "enable_requests"]
