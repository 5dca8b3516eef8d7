"""Every name of aiohttp that the plugin relies upon, and that a release may rename.

They are apart from `internals` for the weight of imports: the declaration reads them, also where aiohttp is not
installed, and internals imports it.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from timetracer_otel.calls.relied_upon import missing_names

__all__ = ["ENTRY_POINTS", "NOT_IN_ALL", "RELIED_UPON", "missing"]

RELIED_UPON = (
    "aiohttp:ClientSession._middlewares",
    "aiohttp:ClientSession._request(middlewares)",
    "aiohttp:ClientRequest.write_bytes",
    "aiohttp:ClientRequest.body",
    "aiohttp:ClientRequest._continue",
    "aiohttp:ClientRequest._timer",
    "aiohttp:ClientWebSocketResponse._response",
    "aiohttp:ClientWebSocketResponse.receive",
    "aiohttp:ClientWebSocketResponse.send_frame",
    "aiohttp:RequestInfo",
    "aiohttp:StreamReader._cursor",
    "aiohttp:StreamReader._protocol",
    "aiohttp:StreamReader._timer",
    "aiohttp:StreamReader._wait",
    "aiohttp:StreamReader._waiter",
    "aiohttp.abc:AbstractStreamWriter",
    "aiohttp.client_proto:ResponseHandler._loop",
    "aiohttp.client_proto:ResponseHandler._parser",
    "aiohttp.client_proto:ResponseHandler._payload",
    "aiohttp.client_proto:ResponseHandler._reading_paused",
    "aiohttp.client_proto:ResponseHandler.connection_lost",
    "aiohttp.client_proto:ResponseHandler.set_parser",
    "aiohttp.client_proto:ResponseHandler.set_response_params",
    "aiohttp.client_proto:ResponseHandler.start_timeout",
    "aiohttp.client_reqrep:_CONNECTION_CLOSED_EXCEPTION",
    "aiohttp.client_reqrep:ConnectionKey",
    "aiohttp.compression_utils:ZLibCompressor",
    "aiohttp.connector:BaseConnector.connect",
    "aiohttp.connector:Connection",
    "aiohttp.helpers:set_exception",
    "aiohttp.helpers:set_result",
    "aiohttp.http:HttpVersion",
    "aiohttp.http:RawResponseMessage",
    "aiohttp.http_parser:RawResponseMessagePy",
    "aiohttp.http_writer:StreamWriter",
    "aiohttp.payload:BytesPayload._value",
    "aiohttp.payload:Payload",
)
"""Names that the plugin cannot do without."""

NOT_IN_ALL = {
    "aiohttp:ClientRequest._upload_tracker": "before 3.14.4 there are no trackers of uploads",
    "aiohttp:ClientRequest._upload_gen": "the same",
    "aiohttp.client_reqrep:UploadTracker._attempt_started": "the same",
    "aiohttp.client_reqrep:UploadTracker._attempt_failed": "the same",
    "aiohttp:TCPConnector._update_proxy_auth_header_and_build_proxy_req": "we make the proxy's request ourselves",
}
"""Names that a release may lack, and what is done without them."""

ENTRY_POINTS = (
    (
        "aiohttp:ClientSession._request",
        "aiohttp:ClientSession.request get options head post put patch delete ws_connect",
    ),
)
"""Where calls are refused in a replay if the plugin cannot see them."""

_OURS = ("internals", "answer", "errors", "frames", "call", "seams")


def missing(_: ModuleType) -> Iterable[str]:
    """What is not there.

    Raises:
        Exception: Our modules that are made of aiohttp's classes cannot be made of those of this release.
    """
    names = missing_names(RELIED_UPON)
    if not names:
        # So that what fails, fails here, where recordings then pass calls through and replays refuse them.
        for name in _OURS:
            import_module(f"timetracer_otel.libraries.aiohttp.{name}")
    return names
