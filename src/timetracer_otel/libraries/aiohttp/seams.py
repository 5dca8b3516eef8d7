"""Where aiohttp is patched: a client middleware of ours, and the three places beneath it that the call must see.

The middleware decides about a call. Beneath it, the connector gives the call its connection, the connection's handler
its parser, and the request writes its body: each of these asks which call it works for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector

from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls, left_out
from timetracer_otel.calls.flow import pass_or_refuse
from timetracer_otel.calls.guarded import AppStep, Flow, guarded, guarded_async, only
from timetracer_otel.libraries.aiohttp.call import LIB, Hop, call_above
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_NEXT_STEP = "Let the class inherit from aiohttp.ClientRequest."


def patches(module: ModuleType) -> list[Patch]:
    """The patches of aiohttp."""
    excluded = ExcludedUrls().of("aiohttp_client")
    write_bytes: list[Function] = []

    def begin_call(session: BaseSession, request: Any, handler: Callable[[Any], Any]) -> Flow | None:
        live = AppStep(handler, request)
        if excluded is not None and excluded.search(str(request.url)) is not None:
            return left_out(LIB, session, live)
        try:
            hop = Hop(request, live, write_bytes[0])
        except Exception as fault:
            # A `request_class` of the app's own need not have what a call is made of.
            kind = f"{type(request).__module__}.{type(request).__qualname__}"
            refusal = pass_or_refuse(LIB, f"a request of {kind} cannot be seen: {fault!r}", _NEXT_STEP, session)
            if refusal is not None:
                raise refusal from fault
            return None
        return hop.through(session)

    innermost = guarded_async(LIB, lambda request, handler: handler(request), begin_call)

    def request_seam(original: Function) -> Function:
        def begin(session: BaseSession, self: Any, *arguments: Any, middlewares: Any = None, **keywords: Any) -> Flow:
            outer = self._middlewares if middlewares is None else middlewares
            return only(AppStep(original, self, *arguments, middlewares=(*outer, innermost), **keywords))

        # Not as a coroutine function: a coroutine of our own would shift the frames that warnings count.
        return guarded(LIB, original, begin)

    def connect_seam(original: Function) -> Function:
        def begin(_: Any, self: Any, req: Any, *arguments: Any, **keywords: Any) -> Flow | None:
            hop = call_above.get()
            if hop is None or hop.request is not req:
                return None
            return hop.connect(AppStep(original, self, req, *arguments, **keywords))

        return guarded_async(LIB, original, begin, outside=True, give_up=_give_up)

    def parser_seam(original: Function) -> Function:
        def begin(_: Any, self: Any, **params: Any) -> Flow | None:
            hop = call_above.get()
            return hop.parser_made(self, AppStep(original, self, **params)) if hop is not None else None

        return guarded(LIB, original, begin, outside=True, give_up=_give_up)

    def write_seam(original: Function) -> Function:
        write_bytes[:] = [original]

        def begin(_: Any, self: Any, writer: Any, *arguments: Any, **keywords: Any) -> Flow | None:
            hop = call_above.get()
            if hop is None or hop.request is not self or not hop.is_written_otherwise:
                return None
            return hop.write(writer, *arguments, **keywords)

        return guarded_async(LIB, original, begin, outside=True, give_up=_give_up)

    return [
        KeptPatch(module.ClientSession, "_request", request_seam),
        Patch(BaseConnector, "connect", connect_seam),
        Patch(ResponseHandler, "set_response_params", parser_seam),
        Patch(module.ClientRequest, "write_bytes", write_seam),
    ]


def _give_up(fault: Exception, *_: Any) -> None:
    """A fault struck beneath a call: what arrives for it may be noted only in part."""
    hop = call_above.get()
    if hop is not None:
        hop.give_up(fault)
