"""Where httpx and httpx2 are patched: the request methods of their network transports.

`KeptPatch` also reaches callers that took the method from its class before it was patched.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls, left_out
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Begin, guarded, guarded_async
from timetracer_otel.libraries.httpx.call import LIB, AsyncHop, SyncHop, module_of
from timetracer_otel.session import BaseSession

__all__ = ["patches"]


def patches(module: ModuleType) -> list[Patch]:
    """The patches of ``httpx`` or ``httpx2``."""
    ours = module_of(module)
    excluded = ExcludedUrls().of(LIB)

    def steps_of(hop: type[SyncHop | AsyncHop], original: Function) -> Begin:
        def begin(session: BaseSession, transport: Any, request: Any) -> Any:
            if excluded is not None and excluded.search(str(request.url)):
                return left_out(LIB, session, AppStep(original, transport, request))
            return flow(hop(ours, request, original, transport), session)

        return begin

    def sync_seam(original: Function) -> Function:
        return guarded(LIB, original, steps_of(SyncHop, original))

    def async_seam(original: Function) -> Function:
        return guarded_async(LIB, original, steps_of(AsyncHop, original))

    return [
        KeptPatch(module.HTTPTransport, "handle_request", sync_seam),
        KeptPatch(module.AsyncHTTPTransport, "handle_async_request", async_seam),
        *ours.reads,
    ]
