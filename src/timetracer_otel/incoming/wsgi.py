"""The WSGI middleware (PEP 3333): it notes a request and its response as they pass. It knows no framework."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from timetracer_otel.base import faults
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.noting import looked, noting
from timetracer_otel.constants import BodyEnd
from timetracer_otel.incoming.guarded import around, refused_stream
from timetracer_otel.incoming.receiver import RequestReceiver, receiver
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope

__all__ = [
    "Environ",
    "NotedInput",
    "NotedResponse",
    "StartResponse",
    "content_length",
    "incoming_request",
    "serve",
]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
RouteOf = Callable[[Environ], "str | None"]
Decider = Callable[[], RequestReceiver]

_INPUT = "wsgi.input"
_FILE_WRAPPER = "wsgi.file_wrapper"


def _bare(app: App, environ: Environ, start_response: StartResponse, *_: Any) -> Iterable[bytes]:
    return app(environ, start_response)


def _begin(
    _: None,
    app: App,
    environ: Environ,
    start_response: StartResponse,
    framework: str,
    route_of: RouteOf,
    decider: Decider = receiver,
) -> Flow | None:
    if not decider().takes_requests:
        return None
    return _served(app, environ, start_response, framework, route_of, decider())


serve = around("wsgi", _bare, _begin)
"""Call an app for a request, with the request's session around it and around each step of its response.

Args:
    app: The app, as WSGI calls it.
    environ: As the server gives it.
    start_response: As the server gives it.
    framework: The framework's name, for the cassette.
    route_of: Finds the route that the framework chose, in the environ when the response begins.
    decider: Gives the receiver that decides on the session; by default that of the process.
"""


def _served(
    app: App,
    environ: Environ,
    start_response: StartResponse,
    framework: str,
    route_of: RouteOf,
    decider: RequestReceiver,
) -> Flow:
    incoming = incoming_request(environ, framework)
    if decider.reads_body_first(incoming):
        incoming = replace(incoming, body=(yield from _read_first(environ)))
    request = decider.request_began(incoming)
    if request is None:
        return (yield AppStep(app, environ, start_response))
    goes_on = False
    try:
        source = environ.get(_INPUT)
        if source is not None:
            environ[_INPUT] = NotedInput(source, request, content_length(environ))
        sent_by_server = _watched_file_wrapper(environ)
        with request:
            try:
                response = yield AppStep(app, environ, _noting(request, start_response, lambda: route_of(environ)))
            except BaseException as error:
                request.failed_with(error)
                raise
        if type(response) in (list, tuple):
            # Servers look at the length of lists and tuples, so these are given on as they are. No code of the app's
            # runs while the server reads them.
            for chunk in response:
                request.response_chunk(chunk)
            request.response_body.finish(BodyEnd.COMPLETE)
        else:
            try:
                if sent_by_server(response):
                    request.response_left_to("the server's file wrapper")
                else:
                    response = (_SizedResponse if hasattr(response, "__len__") else NotedResponse)(response, request)
                    goes_on = True
            except Exception as fault:
                yield from refused_stream("wsgi.response", request.session, fault)
                raise
        return response
    finally:
        if not goes_on:
            request.end()


def incoming_request(environ: Environ, framework: str) -> IncomingRequest:
    """The request that an environ tells of, and the framework's name."""
    # Texts in an environ are bytes that the server has decoded as latin-1 (PEP 3333, "Unicode Issues").
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    query = environ.get("QUERY_STRING", "")
    # gunicorn, werkzeug and uWSGI give the request line's own text under one of these names.
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if not target.startswith("/"):
        target = quote(path, safe="/:@!$&'()*+,;=~") + (f"?{query}" if query else "")
    return IncomingRequest(
        method=environ["REQUEST_METHOD"],
        path=path.decode("utf-8", "replace"),
        target=target,
        headers=tuple(_headers(environ)),
        client_ip=environ.get("REMOTE_ADDR") or None,
        framework=framework,
        scheme=environ.get("wsgi.url_scheme") or "http",
    )


def content_length(environ: Environ) -> int | None:
    """How many bytes the request's body has, by its header; None where that says nothing."""
    text = environ.get("CONTENT_LENGTH") or ""
    return int(text) if text.isascii() and text.isdigit() else None


def _headers(environ: Environ) -> Iterator[tuple[bytes, bytes]]:
    """The request's headers. WSGI keeps neither their order nor their case, and joins those of the same name."""
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:]
        elif key in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value:
            name = key
        else:
            continue
        yield name.replace("_", "-").title().encode("latin-1"), str(value).encode("latin-1", "replace")


def _read_first(environ: Environ) -> Flow:
    """Read the whole body, and put one into the environ that the app can read again."""
    source = environ[_INPUT]
    length = content_length(environ)
    if length is not None:
        body: bytes = yield partial(source.read, length)
    elif environ.get("wsgi.input_terminated") or environ.get("HTTP_TRANSFER_ENCODING"):
        body = yield source.read
    else:
        # Without a length nothing tells where the input ends, and reading may wait for ever; the body is empty then.
        return b""
    environ[_INPUT] = io.BytesIO(body)
    return body


def _noting(
    request: RequestScope, start_response: StartResponse, find_route: Callable[[], str | None]
) -> StartResponse:
    def begin(_: None, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Flow:
        # Servers add headers to the app's list, so it is copied before.
        given = list(headers)
        request.routed(find_route)
        write = yield AppStep(start_response, status, headers, *exc_info)
        request.response_began(
            int(status[:3]), ((name.encode("latin-1"), value.encode("latin-1")) for name, value in given)
        )
        return noting("wsgi.write", write, before=request.response_chunk)

    return around("wsgi.start_response", start_response, begin)


def _watched_file_wrapper(environ: Environ) -> Callable[[Any], bool]:
    """A function that tells whether the server's file wrapper made a response.

    Such a response must reach the server as it is. A server knows it by its type, or by its being the same object.
    """
    wrapper = environ.get(_FILE_WRAPPER)
    if wrapper is None:
        return lambda response: False
    if isinstance(wrapper, type):
        return lambda response: isinstance(response, wrapper)
    made: list[Any] = []
    environ[_FILE_WRAPPER] = noting("wsgi.file_wrapper", wrapper, lambda response, *_: made.append(response))
    return lambda response: any(response is known for known in made)


class NotedInput:
    """Stands for ``wsgi.input``, and notes what is read of it; all else is the file's own."""

    def __init__(self, source: Any, request: RequestScope, length: int | None) -> None:
        self._source = source
        self._request = request
        self._tap = request.request_body
        self._length = length

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        try:
            return self._noting(name, found)
        except Exception as fault:
            faults.contain(_INPUT, fault)
            return found

    def __iter__(self) -> Iterator[bytes]:
        for line in self._source:
            looked(_INPUT, self._took, line)
            yield line
        looked(_INPUT, self._tap.finish, BodyEnd.COMPLETE)

    def __next__(self) -> bytes:
        line: bytes = next(self._source)
        looked(_INPUT, self._took, line)
        return line

    def _noting(self, name: str, found: Any) -> Any:
        note = _NOTES.get(name)
        return found if note is None else noting(_INPUT, found, partial(note, self), failed=self._tap.failed)

    def _note_read(self, data: bytes, size: int | None = -1, *_: Any) -> None:
        self._took(data, at_end=not data and size != 0)

    def _note_lines(self, lines: list[bytes], *_: Any) -> None:
        for line in lines:
            self._took(line)

    def _note_into(self, count: int | None, buffer: Any, *_: Any) -> None:
        self._took(bytes(memoryview(buffer).cast("B")[: count or 0]), at_end=count == 0)

    def _took(self, data: bytes, at_end: bool = False) -> None:
        self._request.request_chunk(data)
        if at_end or (self._length is not None and self._tap.size_bytes >= self._length):
            self._tap.finish(BodyEnd.COMPLETE)


_NOTES: Mapping[str, Callable[..., None]] = {
    **dict.fromkeys(("read", "read1", "readline", "recv"), NotedInput._note_read),
    "readlines": NotedInput._note_lines,
    "readinto": NotedInput._note_into,
}
_END = object()


class NotedResponse:
    """A response whose chunks are noted as the server takes them. The session is current while the app makes each."""

    def __init__(self, response: Iterable[bytes], request: RequestScope) -> None:
        self._response = response
        self._request = request
        self._chunks: Iterator[bytes] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = _next_chunk(self)
        if chunk is _END:
            raise StopIteration
        return chunk  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the app's own response, and end the request."""
        _close(self)

    def __del__(self) -> None:
        # Some servers never close the response.
        looked("wsgi.response", self._request.end)


class _SizedResponse(NotedResponse):
    """A noted response with a length, which servers look at."""

    def __len__(self) -> int:
        return len(self._response)  # type: ignore[arg-type]


def _bare_chunk(noted: NotedResponse) -> Any:
    if noted._chunks is None:
        noted._chunks = iter(noted._response)
    return next(noted._chunks, _END)


def _noted_chunk(_: None, noted: NotedResponse) -> Flow:
    request = noted._request
    with request:
        try:
            if noted._chunks is None:
                noted._chunks = yield partial(iter, noted._response)
            chunk = yield AppStep(next, noted._chunks, _END)
        except BaseException as error:
            request.failed_with(error)
            raise
    if chunk is _END:
        request.response_body.finish(BodyEnd.COMPLETE)
    else:
        request.response_chunk(chunk)
    return chunk


_next_chunk = around("wsgi.response", _bare_chunk, _noted_chunk)


def _bare_close(noted: NotedResponse) -> None:
    close = getattr(noted._response, "close", None)
    if close is not None:
        close()


def _noted_close(_: None, noted: NotedResponse) -> Flow:
    request = noted._request
    try:
        close = getattr(noted._response, "close", None)
        if close is not None:
            with request:
                yield AppStep(close)
    except BaseException as error:
        request.failed_with(error)
        raise
    finally:
        request.end()


_close = around("wsgi.response", _bare_close, _noted_close)
