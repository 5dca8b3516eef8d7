"""Where aiohttp is patched: a client middleware of ours, and the three places beneath it that the call must see.

The middleware decides about a call. Beneath it, the connector gives the call its connection, the connection's handler
its parser, and the request writes its body: each of these asks which call it works for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import Any

from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector

from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls, let_out
from timetracer_otel.calls.flow import flow, pass_or_refuse, run_async
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.aiohttp.answer import Answer
from timetracer_otel.libraries.aiohttp.call import LIB, Hop, call_above

__all__ = ["patches"]

_NEXT_STEP = "Let the class inherit from aiohttp.ClientRequest."


def patches(module: ModuleType) -> list[Patch]:
    """The patches of aiohttp."""
    excluded = ExcludedUrls().of("aiohttp_client")
    write_bytes: list[Function] = []

    async def innermost(request: Any, handler: Callable[[Any], Any]) -> Any:
        session = get_current_session()
        if session is None:
            return await handler(request)
        hop, is_excluded = None, False
        try:
            is_excluded = excluded is not None and excluded.search(str(request.url)) is not None
            if not is_excluded:
                hop = Hop(request, handler, write_bytes[0])
        except Exception as fault:
            # A `request_class` of the app's own need not have what a call is made of.
            kind = f"{type(request).__module__}.{type(request).__qualname__}"
            refusal = pass_or_refuse(LIB, f"a request of {kind} cannot be seen: {fault!r}", _NEXT_STEP, session)
            if refusal is not None:
                raise refusal from fault
        if hop is None:
            with let_out(LIB, session) if is_excluded else nullcontext():
                return await handler(request)
        value = await run_async(flow(hop, session))
        return await hop.replay(value) if isinstance(value, Answer) else value

    def request_seam(original: Function) -> Function:
        # A plain function: a coroutine of our own would shift the frames that warnings count.
        def _request(self: Any, *arguments: Any, middlewares: Any = None, **keywords: Any) -> Any:
            if get_current_session() is None:
                return original(self, *arguments, middlewares=middlewares, **keywords)
            outer = self._middlewares if middlewares is None else middlewares
            return original(self, *arguments, middlewares=(*outer, innermost), **keywords)

        return _request

    def connect_seam(original: Function) -> Function:
        async def connect(self: Any, req: Any, *arguments: Any, **keywords: Any) -> Any:
            hop = call_above.get()
            if hop is None or hop.request is not req:
                return await original(self, req, *arguments, **keywords)
            return await hop.connect(original, self, req, *arguments, **keywords)

        return connect

    def parser_seam(original: Function) -> Function:
        def set_response_params(self: Any, **params: Any) -> None:
            original(self, **params)
            hop = call_above.get()
            if hop is not None:
                hop.parser_made(self)

        return set_response_params

    def write_seam(original: Function) -> Function:
        write_bytes[:] = [original]

        async def write(self: Any, writer: Any, *arguments: Any, **keywords: Any) -> Any:
            hop = call_above.get()
            if hop is None or hop.request is not self:
                return await original(self, writer, *arguments, **keywords)
            return await hop.write(writer, *arguments, **keywords)

        return write

    return [
        KeptPatch(module.ClientSession, "_request", request_seam),
        Patch(BaseConnector, "connect", connect_seam),
        Patch(ResponseHandler, "set_response_params", parser_seam),
        Patch(module.ClientRequest, "write_bytes", write_seam),
    ]
