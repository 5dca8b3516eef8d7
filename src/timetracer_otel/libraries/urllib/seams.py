"""Where `http.client` is patched: what a connection sends, the response that it gives, and where it connects.

A class of connections may have a ``connect`` of its own. Example: httplib2's connects through SOCKS proxies. The
plugin finds such classes when it is switched on, and when a connection is made.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls import hooks
from timetracer_otel.calls.exclusions import ExcludedUrls, left_out
from timetracer_otel.calls.flow import answer, flow, records, replays
from timetracer_otel.calls.guarded import ASK, AppStep, Flow, Noted, guarded, only, raising
from timetracer_otel.calls.noting import noting
from timetracer_otel.libraries.kits.http.bodies import BodyLimits
from timetracer_otel.libraries.kits.http.request_bodies import teed_body
from timetracer_otel.libraries.kits.http1.file_bodies import WireTap
from timetracer_otel.libraries.kits.http1.sent_requests import SentRequest
from timetracer_otel.libraries.urllib.call import Connecting, Exchange
from timetracer_otel.libraries.urllib.connections import (
    LIB,
    connection_above,
    exchanges,
    over,
    put_in,
    take_out,
)
from timetracer_otel.libraries.urllib.internals import is_logging, is_of_urllib3, url_of
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = ["patches"]


def patches(module: ModuleType) -> list[Patch]:
    """The patches of `http.client`."""
    connection = module.HTTPConnection
    return [
        Patch(connection, "send", _send),
        Patch(connection, "getresponse", _getresponse),
        Patch(connection, "close", _close),
        _ConnectSeams(connection),
    ]


def _unless_urllib3(connection: Any) -> Any:
    """Nothing where urllib3 asks: that is its own call. It is asked first, since that costs less than ``begin``."""
    # Most are urllib3's own classes, which this costs least to see: each of its calls asks three times.
    if type(connection).__module__ == "urllib3.connection" or is_of_urllib3(type(connection)):
        return None
    return ASK


def _send(original: Function) -> Function:
    excluded = ExcludedUrls().of(LIB)
    excludes = excluded.search if excluded is not None else None

    def begin(session: BaseSession | None, connection: Any, data: Any) -> Any:
        if connection_above.get() is connection:
            return None
        exchange: Exchange | None = exchanges.get(connection)
        if exchange is not None:
            if exchange.recording is None:
                return _collected(exchange, connection, AppStep(original, connection, data))
            return _more_sent(exchange, original, connection, data)
        if session is None or (connection.sock is None and not connection.auto_open):
            return None
        limits = session.limits if isinstance(session, TraceSession) else BodyLimits()
        request = SentRequest.begun(data, limits)
        if request is None or hooks.carries_telemetry() or is_logging():
            return None
        if excludes is not None and excludes(url_of(connection, request.target)) is not None:
            return _excluded(session, connection, AppStep(original, connection, data))
        exchange = Exchange(original, connection, data, request)
        if not replays(LIB, session, lambda: exchange.url):
            return flow(exchange, session)
        assert isinstance(session, ReplaySession)
        exchange.replayed_in(session)
        exchanges[connection] = exchange
        put_in(connection).sends_to = exchange.takes
        return _collected(exchange, connection, AppStep(original, connection, data))

    # What began in a session goes on as it began, also where another one is current by now.
    return guarded(LIB, original, begin, outside=True, quick=_unless_urllib3)


def _getresponse(original: Function) -> Function:
    def begin(session: BaseSession, connection: Any) -> Any:
        exchange: Exchange | None = exchanges.get(connection)
        if exchange is None:
            return None
        if exchange.recording is not None:
            exchange.answering = True
            return _Answering(exchange, connection)
        return _answered(exchange, connection, AppStep(original, connection))

    return guarded(LIB, original, begin, outside=True, quick=_unless_urllib3)


def _close(original: Function) -> Function:
    def begin(session: BaseSession | None, connection: Any) -> None:
        exchange: Exchange | None = exchanges.get(connection)
        if exchange is None or exchange.answering or connection_above.get() is connection:
            return
        # The app has not asked for the response, and never will.
        over(connection)
        if exchange.recording is not None:
            exchange.recording.close()

    return guarded(LIB, original, begin, outside=True, quick=_unless_urllib3)


def _excluded(session: BaseSession, connection: Any, live: AppStep) -> Flow:
    """The steps of a request whose URL the user has excluded: nor is the tunnel that it needs a call of the app's."""
    with connection_above.making(connection):
        return (yield from left_out(LIB, session, live) or only(live))


# A recording


class _Sending(Noted):
    """Notes whether more of a request could be sent."""

    __slots__ = ("_connection", "_exchange")

    def __init__(self, exchange: Exchange, connection: Any) -> None:
        self._exchange = exchange
        self._connection = connection

    def came(self, value: Any) -> Any:
        self._exchange.sendings += 1
        return value

    def raised(self, error: BaseException) -> None:
        over(self._connection)
        self._exchange.failed(error)


class _Answering(_Sending):
    """Notes the response of a request."""

    __slots__ = ()

    def came(self, value: Any) -> Any:
        over(self._connection)
        self._exchange.responded(value, self._connection)
        return value

    def raised(self, error: BaseException) -> None:
        self._exchange.answering = False
        # The app has asked too early: a response before this one was not read.
        if not isinstance(error, http.client.ResponseNotReady):
            over(self._connection)
            self._exchange.no_response(error)


class _Feeding:
    """Notes a part of a body that http.client reads from a file or an iterable: a tap for `teed_body`."""

    def __init__(self, tap: WireTap) -> None:
        self.noting = tap.noting
        self.chunk = tap.feed

    def finish(self, *_: Any) -> None:
        """More may follow."""

    failed = restart = finish


def _more_sent(exchange: Exchange, original: Function, connection: Any, data: Any) -> Any:
    sending = _Sending(exchange, connection)
    tap = exchange.request.body
    try:
        piece = memoryview(data)
    except TypeError:
        feeding: Any = _Feeding(tap)
        return _noted(sending, AppStep(original, connection, teed_body(data, feeding, "iso-8859-1")))
    tap.noting(exchange.request.feed, piece if type(data) is not bytes else data)
    return sending


def _noted(noted: Noted, step: AppStep) -> Flow:
    try:
        value = yield step
    except BaseException as error:
        noted.raised(error)
        raise
    return noted.came(value)


# A replay


def _collected(exchange: Exchange, connection: Any, step: AppStep) -> Flow:
    """Let `http.client` send to what stands for the socket, and look for the event once enough was sent."""
    if exchange.raises_now():
        yield from _raised(exchange, connection)
    value = yield step
    if not exchange.is_found and exchange.is_enough():
        yield from _found(exchange)
        if exchange.recording is not None:
            return value
        if exchange.raises_now():
            yield from _raised(exchange, connection)
    exchange.sendings += 1
    return value


def _found(exchange: Exchange) -> Flow:
    """Look for the event of a request. An error that was raised later is kept for then."""
    assert exchange.replay is not None
    try:
        yield from flow(exchange, exchange.replay)
    except BaseException as error:
        if error is not exchange.error:
            raise
    exchange.found()


def _raised(exchange: Exchange, connection: Any) -> Flow:
    exchanges.pop(connection, None)
    take_out(connection)
    assert exchange.error is not None
    yield raising(exchange.error)


def _answered(exchange: Exchange, connection: Any, step: AppStep) -> Flow:
    """Let `http.client` read the response from what stands for the socket."""
    if not exchange.is_found:
        exchange.request.finish()
        yield from _found(exchange)
        if exchange.recording is not None:
            return (yield from _noted(_Answering(exchange, connection), step))
    put_in(connection).answer = exchange.answer(connection)
    exchange.answering = True
    try:
        response = yield step
    except http.client.ResponseNotReady:
        exchange.answering = False
        raise
    except BaseException:
        over(connection)
        raise
    over(connection)
    return response


# Connecting


class _ConnectSeams(Patch):
    """The seam in each ``connect``: that of `http.client`'s classes, and that of classes which have their own."""

    def __init__(self, base: type) -> None:
        super().__init__(base, "__init__", self._init)
        self._base: Any = base
        self._patches: dict[type, Patch] = {}
        self._covered: set[type] = set()
        self._lock = threading.Lock()

    def apply(self) -> None:
        """Put the seams into all classes of connections; harmless when repeated."""
        super().apply()
        for cls in _with_subclasses(self._base):
            self._cover(cls)

    def undo(self) -> None:
        """Put the original functions of all classes back."""
        super().undo()
        with self._lock:
            self._covered.clear()
            for patch in self._patches.values():
                patch.undo()

    def _init(self, original: Function) -> Function:
        return noting(f"{LIB}.init", original, before=lambda connection, *_: self._cover(type(connection)))

    def _cover(self, cls: type) -> None:
        if cls in self._covered:
            return
        with self._lock:
            for owner in cls.__mro__:
                if isinstance(owner.__dict__.get("connect"), FunctionType) and not is_of_urllib3(owner):
                    self._patches.setdefault(owner, Patch(owner, "connect", _connect)).apply()
            self._covered.add(cls)


def _with_subclasses(base: Any) -> Iterator[type]:
    yield base
    for cls in base.__subclasses__():
        yield from _with_subclasses(cls)


def _connect(original: Function) -> Function:
    def begin(session: BaseSession, connection: Any, *args: Any, **kwargs: Any) -> Any:
        if connection_above.get() is connection or hooks.carries_telemetry() or is_logging():
            return None
        if not (isinstance(session, ReplaySession) or records(LIB, session)):
            return None
        site = Connecting(AppStep(original, connection, *args, **kwargs), connection, session)
        if not isinstance(session, ReplaySession):
            return flow(site, session)
        if replays(LIB, session, lambda: site.url):
            return _stood_in(site, connection, session)
        return _let_out(connection, site.live)

    return guarded(LIB, original, begin, quick=_unless_urllib3)


def _stood_in(site: Connecting, connection: Any, session: ReplaySession) -> Flow:
    where = hooks.whereabouts(None)
    event = session.find(site.redacted(session), where.path())
    if event is not None:
        yield from answer(site, session, event, where.span)
    if session.recorder is not None and not _is_known(site.url, session):
        yield from flow(site, session.recorder)
        return
    site.succeeded()
    put_in(connection)


def _is_known(url: str, session: ReplaySession) -> bool:
    """Whether the cassette still has an answer of a server, given by the beginning of its URLs."""
    return any(
        event.signature.lib == LIB and (event.signature.url or "").startswith(url)
        for event in session.get_unconsumed_events()
    )


def _let_out(connection: Any, live: AppStep) -> Flow:
    """The steps of a connection that is made for real in a replay. The request is counted."""
    with hooks.let_out(), connection_above.making(connection):
        return (yield live)
