"""Where requests is patched: ``HTTPAdapter.send``, and adapters of the user's with functions of their own.

`KeptPatch` also reaches callers that took ``HTTPAdapter.send`` before it was patched. Example: `responses` saves it
at import, for the calls that it lets pass.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls, left_out
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Flow, guarded, only
from timetracer_otel.libraries.kits.urllib3.noted import library_above
from timetracer_otel.libraries.requests.adapters import BUILD, LIB, SEND, AdapterSeams, of_session, was_recorded
from timetracer_otel.libraries.requests.call import ForeignHop, Hop, call_above
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]


def patches(module: ModuleType) -> list[Patch]:
    """The patches of requests."""
    excluded = ExcludedUrls().of(LIB)
    excludes = excluded.search if excluded is not None else None

    def seam(original: Function) -> Function:
        def begin(session: BaseSession, self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            if excludes is not None and excludes(str(request.url)) is not None:
                return _excluded(session, AppStep(original, self, request, *args, **kwargs))
            hop = Hop(original, self, request, args, kwargs)
            if isinstance(session, ReplaySession):
                hop.timed = of_session.take()
            return flow(hop, session)

        return guarded(LIB, original, begin)

    def foreign_seam(original: Function) -> Function:
        def begin(session: BaseSession, self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            if excludes is not None and excludes(str(request.url)) is not None:
                return _excluded(session, AppStep(original, self, request, *args, **kwargs))
            if isinstance(session, ReplaySession) and not was_recorded(self, session):
                return None
            hop = ForeignHop(original, self, request, args, kwargs)
            if isinstance(session, ReplaySession):
                hop.timed = of_session.take()
            return flow(hop, session)

        return guarded(LIB, original, begin)

    return [
        KeptPatch(module.adapters.HTTPAdapter, SEND, seam),
        AdapterSeams(module, {SEND: foreign_seam, BUILD: _building_seam}),
    ]


def _excluded(session: BaseSession, live: AppStep) -> Flow:
    """The steps of a call whose URL the user has excluded: nor is what it asks urllib3 for a call of the app's."""
    before = library_above.get()
    library_above.set(LIB)
    try:
        return (yield from left_out(LIB, session, live) or only(live))
    finally:
        library_above.set(before)


def _building_seam(original: Function) -> Function:
    def begin(session: BaseSession | None, self: Any, *args: Any, **kwargs: Any) -> None:
        hop = call_above.get()
        if hop is not None and len(args) > 1:
            hop.enters(*args[:2])

    return guarded(LIB, original, begin, outside=True)
