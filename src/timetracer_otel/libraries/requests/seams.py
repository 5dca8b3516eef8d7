"""Where requests is patched: ``HTTPAdapter.send``, and adapters of the user's with functions of their own.

`KeptPatch` also reaches callers that took ``HTTPAdapter.send`` before it was patched. Example: `responses` saves it
at import, for the calls that it lets pass.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls, let_out
from timetracer_otel.calls.flow import flow, run
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.requests.adapters import BUILD, LIB, SEND, AdapterSeams, of_session, was_recorded
from timetracer_otel.libraries.requests.call import ForeignHop, Hop, call_above
from timetracer_otel.session import ReplaySession

__all__ = ["patches"]


def patches(module: ModuleType) -> list[Patch]:
    """The patches of requests."""
    excluded = ExcludedUrls().of(LIB)

    def wants(url: Any) -> bool:
        return excluded is None or excluded.search(str(url)) is None

    def seam(original: Function) -> Function:
        def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            session = get_current_session()
            if session is None:
                return original(self, request, *args, **kwargs)
            if not wants(request.url):
                with let_out(LIB, session):
                    return original(self, request, *args, **kwargs)
            return run(flow(Hop(original, self, request, args, kwargs, of_session.take()), session))

        return send

    def foreign_seam(original: Function) -> Function:
        def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            session = get_current_session()
            if session is None:
                return original(self, request, *args, **kwargs)
            if not wants(request.url):
                with let_out(LIB, session):
                    return original(self, request, *args, **kwargs)
            if isinstance(session, ReplaySession) and not was_recorded(self, session):
                return original(self, request, *args, **kwargs)
            return run(flow(ForeignHop(original, self, request, args, kwargs, of_session.take()), session))

        return send

    return [
        KeptPatch(module.adapters.HTTPAdapter, SEND, seam),
        AdapterSeams(module, {SEND: foreign_seam, BUILD: _building_seam}),
    ]


def _building_seam(original: Function) -> Function:
    def build_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        hop = call_above.get()
        if hop is not None and len(args) > 1:
            try:
                hop.enters(*args[:2])
            except Exception as fault:
                faults.contain(f"{LIB}.record", fault)
        return original(self, *args, **kwargs)

    return build_response
