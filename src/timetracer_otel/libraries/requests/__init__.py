"""requests (2.31 and newer): the calls of its adapters, one by one.

The seam is ``HTTPAdapter.send``, once for each hop: redirects, cookies, auth, hooks and decoding run for real in
replay, and retries mounted on an adapter happen beneath it, within one event. An adapter of the user's with a
``send`` of its own is known by what comes of it: one that hands its calls on to an ``HTTPAdapter`` is recorded
there, one that asks a server through urllib3 itself is recorded where it is, one that answers in process is left
alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.calls.flow import Recording, Site, Step, flow, rebuilt, run
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.context import get_current_session
from timetracer_otel.libraries.kits.http.bodies import BodyLimits, BodyTap, RecordedBody
from timetracer_otel.libraries.kits.http.request_bodies import read_body, teed_body, whole_body
from timetracer_otel.libraries.kits.http1.file_bodies import WireTap
from timetracer_otel.libraries.requests import internals
from timetracer_otel.libraries.requests.adapters import (
    ADAPTER_ATTRIBUTE,
    BUILD,
    BUILDERS,
    LIB,
    SEND,
    AdapterSeams,
    adapter_name,
    of_session,
    was_recorded,
)
from timetracer_otel.libraries.requests.private_names import ENTRY_POINTS, RELIED_UPON
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, HeaderMap, RecordedError, header_pairs

__all__ = ["disable_requests", "enable_requests", "plugin"]

_OPTIONS = ("stream", "timeout", "verify", "cert", "proxies")

_beneath: ContextVar[list[str] | None] = ContextVar("timetracer-requests-beneath", default=None)
"""Collects the calls that are recorded within the call of an adapter of the user's."""

_building: ContextVar[_Hop | None] = ContextVar("timetracer-requests-building", default=None)
"""The call that is recorded, while its adapter may build a response in a way of its own."""


class _Hop(Site):
    """One request on its way through an adapter (a `Site`)."""

    lib = LIB
    adapter_name: str | None = None
    _recording: Recording | None = None

    def __init__(
        self, send: Function, adapter: Any, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timed: bool
    ) -> None:
        self._send = send
        self._adapter = adapter
        self._request = request
        self._args = args
        self._kwargs = kwargs
        self._timed = timed
        self._method: str = request.method
        self._url: str = request.url
        self._headers: list[tuple[Any, Any]] | None = None
        self._body = whole_body(request.body)
        self._sent: BodyTap | None = None
        self._received: WireTap | None = None
        self._limits = BodyLimits(0)
        self._status = 0
        self._response_headers: list[tuple[Any, Any]] = []
        self._facts: dict[str, Any] = {}

    def live(self) -> Any:
        request = self._request
        if self._sent is None:
            return self._send(self._adapter, request, *self._args, **self._kwargs)
        body = request.body
        request.body = teed = teed_body(body, self._sent)
        try:
            return self._send(self._adapter, request, *self._args, **self._kwargs)
        finally:
            if request.body is teed:
                request.body = body

    def observe(self, session: TraceSession) -> None:
        self._limits = session.limits
        # An auth flow may change the same request and send it again.
        self._headers = list(self._request.headers.items())
        if self._body is None:
            self._sent = BodyTap(self._limits)
        elif self._body:
            self._limits.hold(len(self._body))
        beneath = _beneath.get()
        if beneath is not None:
            beneath.append(self._url)
        if type(self._adapter) in BUILDERS:
            self._send = partial(self._send_and_build, self._send)

    def call(self) -> Call:
        body, end, too_long = self._body, BodyEnd.COMPLETE, None
        if self._sent is not None:
            body, end, too_long = self._sent.as_sent()
        elif body is None:
            end = BodyEnd.CUT
        headers = _pairs(self._headers if self._headers is not None else self._request.headers.items())
        return Call(LIB, EventType.HTTP_CLIENT, self._method, self._url, headers, body, end, too_long)

    def _send_and_build(self, send: Function, *args: Any, **kwargs: Any) -> Any:
        token = _building.set(self)
        try:
            return send(*args, **kwargs)
        finally:
            _building.reset(token)

    def enters(self, request: Any, raw: Any) -> None:
        """Note an answer before its adapter makes a response of it, which may well be of another one.

        So do caches: for a server's "not modified" they give the response that they kept.
        """
        if request is self._request:
            self._note(raw, self._ended)

    def _note(self, raw: Any, on_end: Callable[[], None]) -> str | None:
        """Note an answer as it is read, or say why that cannot be done."""
        original = internals.http_response_of(raw)
        if original is None:
            return f"its body comes from a {internals.source_of(raw)}, not from http.client"
        self._status = original.status
        self._response_headers = original.msg.items()
        self._facts = internals.response_facts(raw, original, self._adapter)
        if original.status == 101:
            return "the connection was upgraded to another protocol"
        self._received = internals.tee(raw, original, self._limits, on_end)
        return None if self._received is not None else "its adapter had read from its body before it could be noted"

    def returned(self, value: Any, recording: Recording) -> Any:
        if self._received is None:
            self._status = value.status_code
            recording.not_replayable = self._note(value.raw, recording.close)
        else:
            self._recording = recording
        # Neither the request nor the adapter is kept alive by its recording.
        self._request = self._adapter = self._send = None  # type: ignore[assignment]
        self._args, self._kwargs = (), {}
        if self._received is None or self._received.end is not None:
            recording.close()
        return value

    def _ended(self) -> None:
        # What ends before the call does is closed when that returns; and of several answers the last one counts.
        if self._recording is not None and self._received is not None and self._received.end is not None:
            self._recording.close()

    def result(self, recording: Recording) -> EventResult:
        assert recording.returned_s is not None
        received = self._received
        reply = {**self._facts, "head_ms": (recording.returned_s - recording.started_s) * 1000}
        if self.adapter_name is not None:
            reply["adapter"] = self.adapter_name
        if received is not None:
            told = {
                "bad_line": received.bad_line,
                "ran_out": received.ran_out or None,
                "open_chunk": received.open_chunk,
            }
            reply.update({name: fact for name, fact in told.items() if fact is not None})
        return EventResult(
            status=self._status,
            headers=HeaderMap(_pairs(self._response_headers)),
            body=received.snapshot(recording.started_s) if received is not None else None,
            reply=reply,
        )

    @property
    def read_request(self) -> Step | None:
        return self._read if self._body is None else None

    def _read(self) -> None:
        self._body = read_body(self._request.body)

    def again(self) -> bool:
        if self._body is not None and whole_body(self._request.body) is None:
            self._request.body = self._body
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        reply = event.result.reply
        self._add_headers()
        raw = internals.replayed_raw(
            self._method,
            internals.target_of(self._adapter, self._request, self._options),
            event.result.status or 0,
            header_pairs(event.result.headers),
            reply,
            RecordedBody(event, session, partial(rebuilt, self, event, session)),
            getattr(self._adapter, "max_retries", None),
            self._restore,
        )
        if event.result.body is not None and event.result.body.end is BodyEnd.FAILED:
            raw._pool = self._pool()
        response = internals.build_response(self._adapter, self._request, raw)
        if self._timed:
            internals.set_elapsed(self._request, response, reply["head_ms"])
        return response

    def record_error(self, error: BaseException) -> RecordedError:
        """Pools, connections and requests in an error are stood in for."""
        recorded = internals.record(error)
        if self.adapter_name is not None:
            recorded.attributes[ADAPTER_ATTRIBUTE] = self.adapter_name
        return recorded

    def rebuild_error(self, error: RecordedError) -> BaseException:
        exc = internals.rebuild(error, self._restore)
        if internals.is_of_network(exc):
            self._add_headers()
        return exc

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def _restore(self, error: RecordedError) -> RecordedError:
        error = internals.with_stand_ins(error, self._live_object)
        error.attributes.pop(ADAPTER_ATTRIBUTE, None)
        return error

    def _live_object(self, kind: str) -> Any:
        if kind == "request":
            return self._request
        pool = self._pool()
        return internals.new_connection(pool) if kind == "connection" else pool

    def _add_headers(self) -> None:
        internals.add_headers(self._adapter, self._request, self._options)

    def _pool(self) -> Any:
        return internals.pool_of(self._adapter, self._request, self._options)

    @property
    def _options(self) -> dict[str, Any]:
        return {**dict(zip(_OPTIONS, self._args, strict=False)), **self._kwargs}


class _ForeignHop(_Hop):
    """One request on its way through an adapter with a ``send`` of its own."""

    may_disown = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.adapter_name = adapter_name(type(self._adapter))
        self._calls: list[str] = []

    def live(self) -> Any:
        token = _beneath.set(self._calls)
        try:
            return super().live()
        finally:
            _beneath.reset(token)

    def _add_headers(self) -> None:
        """What such an adapter does to a request is not known."""

    def disowns(self, outcome: Any) -> bool:
        """Whether the call was recorded beneath this one already, or never left the process."""
        if self._calls:
            return True
        if self._received is not None:
            return False
        if isinstance(outcome, BaseException):
            return not internals.is_of_network(outcome)
        original = internals.http_response_of(getattr(outcome, "raw", None))
        return original is None or internals.is_teed(original)


def _pairs(items: Any) -> list[tuple[bytes, bytes]]:
    return [(_line(name), _line(value)) for name, value in items]


def _line(text: Any) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return str(text).encode("latin-1")
    except UnicodeEncodeError:
        return str(text).encode("utf-8", "surrogatepass")


def _patches(module: ModuleType) -> list[Patch]:
    excluded = ExcludedUrls().of(LIB)

    def wants(url: Any) -> bool:
        return excluded is None or excluded.search(str(url)) is None

    def seam(original: Function) -> Function:
        def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            session = get_current_session()
            if session is None or not wants(request.url):
                return original(self, request, *args, **kwargs)
            return run(flow(_Hop(original, self, request, args, kwargs, of_session.take()), session))

        return send

    def foreign_seam(original: Function) -> Function:
        def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            session = get_current_session()
            if session is None or not wants(request.url):
                return original(self, request, *args, **kwargs)
            if isinstance(session, ReplaySession) and not was_recorded(self, session):
                return original(self, request, *args, **kwargs)
            return run(flow(_ForeignHop(original, self, request, args, kwargs, of_session.take()), session))

        return send

    return [
        KeptPatch(module.adapters.HTTPAdapter, SEND, seam),
        AdapterSeams(module, {SEND: foreign_seam, BUILD: _building_seam}),
    ]


def _building_seam(original: Function) -> Function:
    def build_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        hop = _building.get()
        if hop is not None and len(args) > 1:
            try:
                hop.enters(*args[:2])
            except Exception as fault:
                faults.contain(f"{LIB}.record", fault)
        return original(self, *args, **kwargs)

    return build_response


plugin = LibraryPlugin(
    name=LIB,
    group="http",
    modules=("requests",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    entry_points={"requests": ENTRY_POINTS},
    instrumentors=("opentelemetry.instrumentation.requests:RequestsInstrumentor",),
)


def enable_requests() -> None:
    """Let sessions record and replay calls of requests, also of its sessions that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own requests instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: requests is not installed.
    """
    plugin.enable()


def disable_requests() -> None:
    """Undo `enable_requests`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
