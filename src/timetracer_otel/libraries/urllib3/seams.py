"""Where urllib3 is patched: the attempts of its pools, and the tunnels that they ask proxies for."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from urllib3 import connection

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls import hooks
from timetracer_otel.calls.exclusions import ExcludedUrls, left_out
from timetracer_otel.calls.flow import flow, records, replays
from timetracer_otel.calls.guarded import ASK, AppStep, Done, Flow, guarded, raising
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.libraries.kits.urllib3.noted import library_above
from timetracer_otel.libraries.urllib3.call import LIB, Attempt, Tunnel
from timetracer_otel.libraries.urllib3.internals import Connected, asked_of, connecting, own_span_id, url_of
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = ["patches"]


def patches(module: ModuleType) -> list[Patch]:
    """The patches of ``urllib3.connectionpool``, and of where its connections make TLS."""
    return [
        Patch(module.HTTPConnectionPool, "urlopen", _asking),
        Patch(module.HTTPConnectionPool, "_make_request", _attempt),
        Patch(module.HTTPSConnectionPool, "_prepare_proxy", _tunnel),
        Patch(connection, "create_urllib3_context", _context),
        Patch(connection, "ssl_wrap_socket", _handshake),
    ]


def _context(original: Function) -> Function:
    """A connection of a replay makes its context, and reads no certificates: those may be missing there."""

    def begin(_: BaseSession, *args: Any, **options: Any) -> Flow | None:
        return _then_connected(AppStep(original, *args, **options)) if connecting.get() is not None else None

    return guarded(LIB, original, begin)


def _then_connected(step: AppStep) -> Flow:
    yield step
    raise Connected


def _handshake(original: Function) -> Function:
    """A connection of a replay whose context is the app's shakes no hands."""

    def begin(_: BaseSession, *__: Any, **___: Any) -> AppStep | None:
        return raising(Connected()) if connecting.get() is not None else None

    return guarded(LIB, original, begin)


def _attempt(original: Function) -> Function:
    excluded = ExcludedUrls().of(LIB)
    excludes = excluded.search if excluded is not None else None

    def begin(session: BaseSession, pool: Any, connection: Any, method: str, target: str, **options: Any) -> Any:
        if library_above.get() is not None:
            return _takes_span(session)
        if hooks.carries_telemetry():
            return None
        if excludes is not None and excludes(url_of(pool, target)) is not None:
            return left_out(LIB, session, AppStep(original, pool, connection, method, target, **options))
        attempt = Attempt(original, pool, connection, method, target, options)
        return answered(attempt, session) if isinstance(session, ReplaySession) else flow(attempt, session)

    def answered(attempt: Attempt, session: BaseSession) -> Flow:
        """The answer of a replay, as the pool reads one; before an error, what the pool did before it."""
        try:
            answer = yield from flow(attempt, session)
        except Warning:
            raise
        except Exception:
            yield from attempt.failing()
            raise
        if attempt.answer is None:
            # It was made for real.
            return answer
        return (yield from attempt.answering())

    return guarded(LIB, original, begin, quick=_unless_beneath)


def _unless_beneath(_: Any) -> Any:
    """Nothing where a library above makes a call by urllib3, unless a span of urllib3 stands around it. It is asked
    first, as it costs a third of ``begin``.
    """
    return None if library_above.get() is not None and not own_span_id() else ASK


def _takes_span(session: BaseSession) -> None:
    """A library above makes its call by urllib3: the span of urllib3 around it is of no call of its own.

    OpenTelemetry makes no such span where it instruments requests as well.
    """
    recording = session.recorder if isinstance(session, ReplaySession) else session
    if isinstance(recording, TraceSession):
        recording.client_span_is_known(own_span_id())


_asked: CallAbove[dict[str, Any]] = CallAbove("urllib3-asked")
"""What a pool with a proxy is asked for now: a tunnel that cannot be had is the outcome of an attempt."""


def _asking(original: Function) -> Function:
    def begin(session: BaseSession, pool: Any, *args: Any, **options: Any) -> Flow | None:
        if not records(LIB, session):
            return None
        return _asked.around(asked_of(pool, *args, **options), AppStep(original, pool, *args, **options))

    return guarded(LIB, original, begin, quick=_with_proxy)


def _with_proxy(pool: Any) -> Any:
    return None if getattr(pool, "proxy", None) is None else ASK


def _tunnel(original: Function) -> Function:
    """A pool asks its proxy for a tunnel. A replay needs none, and a recording notes the errors of asking."""

    def begin(session: BaseSession, pool: Any, connection: Any) -> Any:
        if library_above.get() is not None:
            return _takes_span(session)
        if hooks.carries_telemetry():
            return None
        if replays(LIB, session, lambda: url_of(pool, "/")):
            return Done(None)
        asked = _asked.get()
        if asked is None or not records(LIB, session):
            return None
        if excludes is not None and excludes(url_of(pool, asked["target"])) is not None:
            return None
        return flow(Tunnel(original, pool, connection, **asked), session)

    excluded = ExcludedUrls().of(LIB)
    excludes = excluded.search if excluded is not None else None

    return guarded(LIB, original, begin, quick=_unless_beneath)
