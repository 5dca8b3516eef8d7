"""Where httpx and httpx2 are patched: the request methods of their network transports.

`KeptPatch` also reaches callers that took the method from its class before it was patched.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls, let_out
from timetracer_otel.calls.flow import flow, run, run_async
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.httpx.call import LIB, AsyncHop, SyncHop, module_of

__all__ = ["patches"]


def patches(module: ModuleType) -> list[Patch]:
    """The patches of ``httpx`` or ``httpx2``."""
    ours = module_of(module)
    excluded = ExcludedUrls().of(LIB)

    def sync_seam(original: Function) -> Function:
        def handle_request(self: Any, request: Any) -> Any:
            session = get_current_session()
            if session is None:
                return original(self, request)
            if excluded is not None and excluded.search(str(request.url)):
                with let_out(LIB, session):
                    return original(self, request)
            return run(flow(SyncHop(ours, request, original, self), session))

        return handle_request

    def async_seam(original: Function) -> Function:
        async def handle_async_request(self: Any, request: Any) -> Any:
            session = get_current_session()
            if session is None:
                return await original(self, request)
            if excluded is not None and excluded.search(str(request.url)):
                with let_out(LIB, session):
                    return await original(self, request)
            return await run_async(flow(AsyncHop(ours, request, original, self), session))

        return handle_async_request

    return [
        KeptPatch(module.HTTPTransport, "handle_request", sync_seam),
        KeptPatch(module.AsyncHTTPTransport, "handle_async_request", async_seam),
        *ours.reads,
    ]
