"""Django: the middlewares go around its WSGI and ASGI handlers, and the route is noted when Django resolves it.

`serve` is for a middleware that the app names in its settings. Such a one stands inside the handler, and is given
Django's own request and response. Django's test client calls it, and no handler of a server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Seams
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.noting import looked, noting
from timetracer_otel.constants import BodyEnd
from timetracer_otel.incoming import asgi, wsgi
from timetracer_otel.incoming.guarded import around, around_async, refused_stream
from timetracer_otel.incoming.receiver import RequestReceiver
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope, current_scope, note_raised
from timetracer_otel.incoming.seams import asgi_seam, on, wsgi_seam

__all__ = ["SEAMS", "serve", "serve_async"]

_RESPONSE = "django.response"
_END = object()


def _bare(get_response: Function, request: Any, decider: RequestReceiver) -> Any:
    return get_response(request)


async def _bare_async(get_response: Function, request: Any, decider: RequestReceiver) -> Any:
    return await get_response(request)


def _begin(_: None, get_response: Function, request: Any, decider: RequestReceiver) -> Flow | None:
    return _served(get_response, request, decider) if decider.takes_requests else None


serve = around("django", _bare, _begin)
"""Let the rest of the app answer a request, with the request's session around that and around its streamed response.

Args:
    get_response: The next middleware or the view, as Django gives it to a middleware.
    request: Django's own.
    decider: Decides on the session.
"""
serve_async = around_async("django", _bare_async, _begin)
"""The same where ``get_response`` is a coroutine function."""


def _served(get_response: Function, request: Any, decider: RequestReceiver) -> Flow:
    incoming = _incoming(request)
    if decider.reads_body_first(incoming):
        # Django gives a body that was read as often as it is asked for it.
        incoming = replace(incoming, body=request.body)
    scope = decider.request_began(incoming)
    if scope is None:
        return (yield AppStep(get_response, request))
    goes_on = False
    try:
        _note_body(request, scope)
        with scope:
            try:
                response = yield AppStep(get_response, request)
            except BaseException as error:
                scope.failed_with(error)
                raise
        # A stream comes first: in a replay its calls must not go out, whatever becomes of what is only noted.
        try:
            goes_on = response.streaming and _note_stream(response, scope)
        except Exception as fault:
            yield from refused_stream(_RESPONSE, scope.session, fault)
            raise
        looked(_RESPONSE, _note_response, request, response, scope)
        return response
    finally:
        if not goes_on:
            scope.end()


def _incoming(request: Any) -> IncomingRequest:
    environ = getattr(request, "environ", None)
    if environ is not None:
        return wsgi.incoming_request(environ, "django")
    return asgi.incoming_request(request.scope, "django")


def _note_body(request: Any, scope: RequestScope) -> None:
    """Note what is read of the body: Django's own properties read it by these two methods."""
    length = request.META.get("CONTENT_LENGTH") or ""
    noted = wsgi.NotedInput(request, scope, int(length) if length.isascii() and length.isdigit() else None)
    read, readline = noted.read, noted.readline
    request.read, request.readline = read, readline


def _headers(response: Any) -> Iterator[tuple[bytes, bytes]]:
    for name, value in response.items():
        yield name.encode("latin-1"), value.encode("latin-1")
    for cookie in response.cookies.values():
        yield b"Set-Cookie", cookie.output(header="").strip().encode("latin-1")


def _note_stream(response: Any, scope: RequestScope) -> bool:
    """Note the chunks of a streamed response; whether the request ends with the last of them."""
    if getattr(response, "file_to_stream", None) is not None:
        # A response that is given another iterator is one of a file no more, for which servers have faster ways.
        return False
    noted = _NotedChunks if getattr(response, "is_async", False) else wsgi.NotedResponse
    response.streaming_content = noted(response.streaming_content, scope)
    return True


def _note_response(request: Any, response: Any, scope: RequestScope) -> None:
    scope.routed(lambda: _route_of(getattr(request, "resolver_match", None)))
    scope.response_began(response.status_code, _headers(response))
    if not response.streaming:
        scope.response_chunk(response.content)
        scope.response_body.finish(BodyEnd.COMPLETE)
    elif getattr(response, "file_to_stream", None) is not None:
        scope.response_left_to("Django (a file)")


class _NotedChunks:
    """The chunks of an asynchronous response, noted as they are sent. The session is current while the app makes
    each.
    """

    def __init__(self, chunks: AsyncIterator[Any], scope: RequestScope) -> None:
        self._chunks = chunks
        self._scope = scope

    def __aiter__(self) -> _NotedChunks:
        return self

    async def __anext__(self) -> Any:
        chunk = await _next_chunk(self)
        if chunk is _END:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        """End the request. Django closes what its response was made of in this way."""
        looked(_RESPONSE, self._scope.end)

    def __del__(self) -> None:
        looked(_RESPONSE, self._scope.end)


async def _bare_chunk(noted: _NotedChunks) -> Any:
    return await anext(noted._chunks, _END)


def _noted_chunk(_: None, noted: _NotedChunks) -> Flow:
    scope = noted._scope
    with scope:
        try:
            chunk = yield AppStep(anext, noted._chunks, _END)
        except BaseException as error:
            scope.failed_with(error)
            raise
    if chunk is _END:
        scope.response_body.finish(BodyEnd.COMPLETE)
    else:
        scope.response_chunk(chunk)
    return chunk


_next_chunk = around_async(_RESPONSE, _bare_chunk, _noted_chunk)


def _route_of(match: Any) -> str | None:
    route = getattr(match, "route", None)
    return None if route is None else "/" + route.removeprefix("/")


def _noting_route(original: Function) -> Function:
    return noting("django.route", original, _note_route)


def _note_route(match: Any, *_: object) -> None:
    scope, route = current_scope(), _route_of(match)
    if scope is not None and route is not None:
        scope.route = route


def _no_route(_: object) -> None:
    """None: Django puts the route neither into the scope nor into the environ."""


def _noting_error(module: ModuleType) -> list[Patch]:
    def wrap(original: Function) -> Function:
        return noting("django.error", original, before=note_raised)

    return [Patch(module, "response_for_exception", wrap)]


SEAMS = (
    Seams("django", ["django.core.handlers.exception"], _noting_error),
    Seams("django", ["django.core.handlers.base"], on("BaseHandler", "resolve_request", _noting_route)),
    Seams("django", ["django.core.handlers.wsgi"], on("WSGIHandler", "__call__", wsgi_seam("django", _no_route))),
    Seams("django", ["django.core.handlers.asgi"], on("ASGIHandler", "__call__", asgi_seam("django", _no_route))),
)
