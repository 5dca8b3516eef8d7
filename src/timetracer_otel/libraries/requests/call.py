"""How a call of an adapter becomes a `Call`, and what is noted of its answer.

A *hop* is one request that goes through an adapter: a call of the app that is redirected twice has three.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.libraries.kits.http.bodies import BodyTap, RecordedBody
from timetracer_otel.libraries.kits.http.request_bodies import joined, pieces_of, teed_body, whole_body
from timetracer_otel.libraries.kits.urllib3.errors import HeldErrors, is_of_network, with_stand_ins
from timetracer_otel.libraries.kits.urllib3.noted import NOT_COMPARED, NotedBeneath, header_lines, library_above
from timetracer_otel.libraries.kits.urllib3.responses import http_response_of, is_teed
from timetracer_otel.libraries.requests.adapters import ADAPTER_ATTRIBUTE, BUILDERS, LIB, adapter_name
from timetracer_otel.libraries.requests.answer import build_response, replayed_raw, set_elapsed
from timetracer_otel.libraries.requests.internals import (
    add_headers,
    header_items,
    new_connection,
    pool_of,
    target_of,
)
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, RecordedError, header_pairs

__all__ = ["ForeignHop", "Hop", "call_above"]

_ERRORS = HeldErrors(("requests", "urllib3"), lambda: [("request", import_module("requests").PreparedRequest)])
_OPTIONS = ("stream", "timeout", "verify", "cert", "proxies")

call_above: CallAbove[Hop] = CallAbove("requests")
"""Set while an adapter sends that builds responses in a way of its own; see `Hop.enters`."""
_foreign_call_above: CallAbove[ForeignHop] = CallAbove("requests-foreign-adapter")
"""Set while an adapter with a ``send`` of its own sends."""


class Hop(NotedBeneath):
    """One request on its way through an adapter (a `Site`)."""

    lib = LIB
    as_called = True
    # What urllib3 is asked for meanwhile is part of this call. (Partial functions become methods in Python 3.14.)
    lend: Any = staticmethod(partial(library_above.lend, LIB))
    errors = _ERRORS
    adapter_name: str | None = None
    _recording: Recording | None = None
    # The defaults stand in the class: an object is made for each hop, and few of them set all.
    _headers: list[tuple[Any, Any]] | None = None
    timed = False
    """Whether a session of requests makes the call: in a replay, it finds in ``elapsed`` what was recorded."""

    def __init__(
        self, send: Function, adapter: Any, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._send: Any = send
        self._adapter: Any = adapter
        self._request: Any = request
        self._args: Any = args
        self._kwargs: Any = kwargs
        self._method: str = request.method
        self._url: str = request.url
        self.rule = getattr(adapter, "max_retries", None)
        body = request.body
        if body is None:
            self._body: bytes | None = b""
        else:
            self._body = whole_body(body)
            self.sends_stream = self._body is None

    @property
    def live(self) -> AppStep:
        """The adapter's own function. Made when it is asked for: most recorded calls need no step."""
        return AppStep(self._send, self._adapter, self._request, *self._args, **self._kwargs)

    def observe(self, session: TraceSession) -> None:
        """Note the headers, and get ready to note a body that is a stream."""
        self._limits = session.limits
        # An auth flow may change the same request and send it again.
        self._headers = header_items(self._request.headers)
        if self._body is None:
            self.sent = BodyTap(self._limits)
        elif self._body:
            self._limits.hold(len(self._body))
        above = _foreign_call_above.get()
        if above is not None:
            above.has_parts = True
        if self.sent is not None:
            self.lend = self._lend_tee
        elif type(self._adapter) in BUILDERS:
            self.lend = self._lend_self

    def call(self) -> Call:
        """The request as it is known by now; its body once it was sent."""
        body, end, too_long = self._body, BodyEnd.COMPLETE, None
        if self.sent is not None:
            body, end, too_long = self.sent.as_sent()
        elif body is None:
            end = BodyEnd.CUT
        headers = header_lines(self._headers if self._headers is not None else header_items(self._request.headers))
        return Call(LIB, EventType.HTTP_CLIENT, self._method, self._url, headers, body, end, too_long)

    def as_it_is(self) -> tuple[str, str, bytes, Any] | None:
        """The call, without the headers on which nothing depends."""
        body = self._body
        if body is None:
            return None
        headers = [item for item in header_items(self._request.headers) if item[0] not in NOT_COMPARED]
        return self._method, self._url, body, headers

    def _lend_tee(self) -> Callable[[], None]:
        """Let the request have a body that is noted as it is sent."""
        assert self.sent is not None
        request, body = self._request, self._request.body
        teed = teed_body(body, self.sent)
        take_back = self._lend_self()
        request.body = teed

        def undo() -> None:
            take_back()
            if request.body is teed:
                request.body = body

        return undo

    def _lend_self(self) -> Callable[[], Any]:
        """Let an adapter that builds responses in a way of its own find this call."""
        take_back = library_above.lend(LIB)
        if type(self._adapter) not in BUILDERS:
            return take_back
        take_self_back = call_above.lend(self)

        def undo() -> None:
            take_self_back()
            take_back()

        return undo

    def enters(self, request: Any, raw: Any) -> None:
        """Note an answer before its adapter makes a response of it, which may well be of another one.

        So do caches: for a server's "not modified" they give the response that they kept.
        """
        if request is self._request:
            self.note(raw, self._ended)

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note the answer, unless its adapter let us see it before (`enters`)."""
        if self.received is None:
            self._status = value.status_code
            hears = recording.session.call_ended is not None
            reason = self.note(value.raw, recording.close if hears else None)
            if reason is not None:
                recording.not_replayable = reason
        else:
            self._recording = recording
        # Neither the request nor the adapter is kept alive by its recording.
        self._request = self._adapter = self._send = self._args = self._kwargs = None
        self.__dict__.pop("lend", None)
        self.noted(recording)
        return value

    def _ended(self) -> None:
        # What ends before the call does is closed when that returns; and of several answers the last one counts.
        if self._recording is not None and self.received is not None and self.received.end is not None:
            self._recording.close()

    def more_facts(self) -> dict[str, Any]:
        """The class of an adapter that was recorded by itself."""
        return {} if self.adapter_name is None else {"adapter": self.adapter_name}

    def read_request(self) -> Flow:
        """Join the pieces of the request's body."""
        self._body = joined((yield AppStep(list, pieces_of(self._request.body))))
        self.sends_stream = False

    def again(self) -> bool:
        """Always: a body that was read is sent as a whole."""
        if self._body is not None and whole_body(self._request.body) is None:
            self._request.body = self._body
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The response, as the adapter builds one of a server."""
        reply = event.result.reply
        self._add_headers()
        raw = replayed_raw(
            self._method,
            target_of(self._adapter, self._request, self._options),
            event.result.status or 0,
            header_pairs(event.result.headers),
            reply,
            RecordedBody(event, session, self),
            self.rule,
            lambda error: _ERRORS.rebuilt(error, self._restore),
        )
        if event.result.body is not None and event.result.body.end is BodyEnd.FAILED:
            raw._pool = self._pool()
        response = build_response(self._adapter, self._request, raw)
        if self.timed:
            set_elapsed(self._request, response, reply["head_ms"])
        return response

    def record_error(self, error: BaseException) -> RecordedError:
        """Pools, connections and requests in an error are stood in for."""
        recorded = _ERRORS.recorded(error)
        if self.adapter_name is not None:
            recorded.attributes[ADAPTER_ATTRIBUTE] = self.adapter_name
        return recorded

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The recorded error, about the request that is made now."""
        exc = _ERRORS.rebuilt(error, self._restore)
        if is_of_network(exc):
            self._add_headers()
        return exc

    def pause(self, seconds: float) -> None:
        """Block for so many seconds."""
        time.sleep(seconds)

    def _restore(self, error: RecordedError) -> RecordedError:
        error = with_stand_ins(error, self._live_object)
        error.attributes.pop(ADAPTER_ATTRIBUTE, None)
        return error

    def _live_object(self, kind: str) -> Any:
        if kind == "request":
            return self._request
        pool = self._pool()
        return new_connection(pool) if kind == "connection" else pool

    def _add_headers(self) -> None:
        add_headers(self._adapter, self._request, self._options)

    def _pool(self) -> Any:
        return pool_of(self._adapter, self._request, self._options)

    @property
    def _options(self) -> dict[str, Any]:
        return {**dict(zip(_OPTIONS, self._args, strict=False)), **self._kwargs}


class ForeignHop(Hop):
    """One request on its way through an adapter with a ``send`` of its own."""

    may_disown = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.adapter_name = adapter_name(type(self._adapter))
        self.has_parts = False
        """Whether calls that it made were recorded by themselves: then it is not recorded, and they stay."""

    def observe(self, session: TraceSession) -> None:
        """As for `Hop`; a hop that is recorded beneath says so in `has_parts`."""
        super().observe(session)
        self.lend = partial(self._lend_all, self.lend)

    def _lend_all(self, lend: Callable[[], Callable[[], Any]]) -> Callable[[], None]:
        take_back = _foreign_call_above.lend(self)
        try:
            undo = lend()
        except BaseException:
            take_back()
            raise

        def undo_all() -> None:
            take_back()
            undo()

        return undo_all

    def _add_headers(self) -> None:
        """What such an adapter does to a request is not known."""

    def disowns(self, outcome: Any) -> bool:
        """Whether the call was recorded beneath this one already, or never left the process."""
        if self.has_parts:
            return True
        if self.received is not None:
            return False
        if isinstance(outcome, BaseException):
            return not is_of_network(outcome)
        original = http_response_of(getattr(outcome, "raw", None))
        return original is None or is_teed(original)
