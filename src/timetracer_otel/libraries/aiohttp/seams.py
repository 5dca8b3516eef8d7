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
from timetracer_otel.calls.flow import flow, pass_or_refuse, replays
from timetracer_otel.calls.guarded import ASK, AppStep, Done, Flow, Noted, adding, guarded_async, only, refusal
from timetracer_otel.calls.noting import noting_beneath
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.aiohttp.call import LIB, Hop, call_above
from timetracer_otel.libraries.aiohttp.frames import frame_patches, let_through
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_NEXT_STEP = "Let the class inherit from aiohttp.ClientRequest."


def patches(module: ModuleType) -> list[Patch]:
    """The patches of aiohttp."""
    excluded = ExcludedUrls().of("aiohttp_client")
    write_bytes: list[Function] = []

    def begin_call(session: BaseSession, request: Any, handler: Callable[[Any], Any]) -> Any:
        if excluded is not None and excluded.search(str(request.url)) is not None:
            live = AppStep(handler, request)
            steps = left_out(LIB, session, live)
            return let_through(steps if steps is not None else only(live))
        try:
            hop = Hop(request, handler, write_bytes[0])
        except Exception as fault:
            # A `request_class` of the app's own need not have what a call is made of.
            kind = f"{type(request).__module__}.{type(request).__qualname__}"
            refusal = pass_or_refuse(LIB, f"a request of {kind} cannot be seen: {fault!r}", _NEXT_STEP, session)
            if refusal is not None:
                raise refusal from fault
            return None
        steps = flow(hop, session)
        return steps if isinstance(steps, Noted) else hop.through(steps)

    innermost = guarded_async(LIB, lambda request, handler: handler(request), begin_call)

    def request_seam(original: Function) -> Function:
        def with_ours(self: Any, outer: Any) -> tuple[Any, ...]:
            return *(self._middlewares if outer is None else outer), innermost

        # Not as a coroutine function: a coroutine of our own would shift the frames that warnings count.
        return adding(LIB, original, "middlewares", with_ours)

    def connect_seam(original: Function) -> Function:
        def begin(_: Any, self: Any, req: Any, *arguments: Any, **keywords: Any) -> Done | None:
            hop = call_above.get()
            return Done(hop.connection()) if hop is not None and hop.request is req else None

        return guarded_async(LIB, original, begin, outside=True, quick=_is_replayed, give_up=_give_up)

    def parser_seam(original: Function) -> Function:
        return noting_beneath("aiohttp.connect", original, call_above.get, Hop.parser_made, Hop.give_up)

    def write_seam(original: Function) -> Function:
        write_bytes[:] = [original]

        def begin(_: Any, self: Any, writer: Any, *arguments: Any, **keywords: Any) -> Flow | None:
            hop = call_above.get()
            return hop.write(writer, *arguments, **keywords) if hop is not None and hop.request is self else None

        return guarded_async(LIB, original, begin, outside=True, quick=_is_written_otherwise, give_up=_give_up_body)

    return [
        KeptPatch(module.ClientSession, "_request", request_seam),
        Patch(BaseConnector, "connect", connect_seam),
        Patch(ResponseHandler, "set_response_params", parser_seam),
        Patch(module.ClientRequest, "write_bytes", write_seam),
        *frame_patches(module),
    ]


def _is_replayed(_: Any) -> Any:
    """Lets the connector connect, unless the call gets a connection of ours."""
    hop = call_above.get()
    return None if hop is None or not hop.is_replayed else ASK


def _is_written_otherwise(_: Any) -> Any:
    """Lets a request write its body, unless that is noted or given in other pieces."""
    hop = call_above.get()
    return None if hop is None or not hop.is_written_otherwise else ASK


def _give_up_body(fault: Exception, request: Any, writer: Any = None, connection: Any = None, *_: Any) -> None:
    """A fault struck where a body is to be written. A call that is new to a replay is not written on then: whoever
    waits for its answer gets a miss, since the server waits for the body.
    """
    _give_up(fault)
    hop, protocol = call_above.get(), getattr(connection, "protocol", None)
    if hop is not None and not hop.is_replayed and protocol is not None and replays(LIB, get_current_session()):
        protocol.set_exception(refusal(LIB, None, fault))


def _give_up(fault: Exception, *_: Any) -> None:
    """A fault struck beneath a call: what arrives for it may be noted only in part."""
    hop = call_above.get()
    if hop is not None:
        hop.give_up(fault)
