"""The WSGI middleware (PEP 3333): it notes a request and its response as they pass. It knows no framework."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from timetracer_otel.base import faults
from timetracer_otel.constants import BodyEnd
from timetracer_otel.incoming.receiver import receiver
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope

__all__ = ["Environ", "StartResponse", "serve"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_READS = frozenset({"read", "read1", "readline", "recv"})
_FILE_WRAPPER = "wsgi.file_wrapper"


def serve(
    app: Callable[[Environ, StartResponse], Iterable[bytes]],
    environ: Environ,
    start_response: StartResponse,
    framework: str,
    route_of: Callable[[Environ], str | None],
) -> Iterable[bytes]:
    """Call an app for a request, with the request's session around it and around each step of its response.

    Args:
        app: The app, as WSGI calls it.
        environ: As the server gives it.
        start_response: As the server gives it.
        framework: The framework's name, for the cassette.
        route_of: Finds the route that the framework chose, in the environ when the response begins.
    """
    request = _begin(environ, framework) if receiver().takes_requests else None
    if request is None:
        return app(environ, start_response)
    sent_by_server = _watched_file_wrapper(environ)
    with request:
        try:
            response = app(environ, _noting(request, start_response, lambda: route_of(environ)))
        except BaseException as error:
            request.failed_with(error)
            request.end()
            raise
    if type(response) in (list, tuple):
        # Servers look at the length of lists and tuples, so these are given on as they are. No code of the app's runs
        # while the server reads them.
        for chunk in response:
            request.response_chunk(chunk)
        request.response_body.finish(BodyEnd.COMPLETE)
        request.end()
        return response
    if sent_by_server(response):
        request.response_left_to("the server's file wrapper")
        request.end()
        return response
    return (_SizedResponse if hasattr(response, "__len__") else _NotedResponse)(response, request)


def _begin(environ: Environ, framework: str) -> RequestScope | None:
    try:
        incoming = _incoming(environ, framework)
        if receiver().reads_body_first(incoming):
            incoming = replace(incoming, body=_read_first(environ))
        request = receiver().request_began(incoming)
        source = environ.get("wsgi.input")
        if request is not None and source is not None:
            environ["wsgi.input"] = _NotedInput(source, request, _length(environ))
        return request
    except Exception as fault:
        faults.contain("wsgi.begin", fault)
        return None


def _incoming(environ: Environ, framework: str) -> IncomingRequest:
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


def _length(environ: Environ) -> int | None:
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


def _read_first(environ: Environ) -> bytes:
    """Read the whole body, and put one into the environ that the app can read again."""
    source = environ["wsgi.input"]
    length = _length(environ)
    if length is not None:
        body: bytes = source.read(length)
    elif environ.get("wsgi.input_terminated") or environ.get("HTTP_TRANSFER_ENCODING"):
        body = source.read()
    else:
        # Without a length nothing tells where the input ends, and reading may wait for ever; the body is empty then.
        return b""
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _noting(
    request: RequestScope, start_response: StartResponse, find_route: Callable[[], str | None]
) -> StartResponse:
    def noting_start_response(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        # Servers add headers to the app's list, so it is copied before.
        given = list(headers)
        request.routed(find_route)
        write = start_response(status, headers, *exc_info)
        try:
            request.response_began(
                int(status[:3]), ((name.encode("latin-1"), value.encode("latin-1")) for name, value in given)
            )
        except Exception as fault:
            faults.contain("wsgi.start_response", fault)

        def noting_write(data: bytes) -> Any:
            request.response_chunk(data)
            return write(data)

        return noting_write

    return noting_start_response


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

    def file_wrapper(*args: Any, **kwargs: Any) -> Any:
        made.append(wrapper(*args, **kwargs))
        return made[-1]

    environ[_FILE_WRAPPER] = file_wrapper
    return lambda response: any(response is known for known in made)


class _NotedInput:
    """Stands for ``wsgi.input``, and notes what is read of it; all else is the file's own."""

    def __init__(self, source: Any, request: RequestScope, length: int | None) -> None:
        self._source = source
        self._request = request
        self._tap = request.request_body
        self._length = length

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        if name in _READS:
            return self._noting(found)
        if name == "readlines":
            return self._noting_lines(found)
        return self._noting_into(found) if name == "readinto" else found

    def __iter__(self) -> Iterator[bytes]:
        for line in self._source:
            self._took(line)
            yield line
        self._tap.finish(BodyEnd.COMPLETE)

    def __next__(self) -> bytes:
        line: bytes = next(self._source)
        self._took(line)
        return line

    def _noting(self, read: Callable[..., bytes]) -> Callable[..., bytes]:
        def noting_read(*args: Any, **kwargs: Any) -> bytes:
            try:
                data = read(*args, **kwargs)
            except BaseException as error:
                self._tap.failed(error)
                raise
            size = args[0] if args else -1
            self._took(data, at_end=not data and size != 0)
            return data

        return noting_read

    def _noting_lines(self, readlines: Callable[..., list[bytes]]) -> Callable[..., list[bytes]]:
        def noting_readlines(*args: Any) -> list[bytes]:
            lines = readlines(*args)
            for line in lines:
                self._took(line)
            return lines

        return noting_readlines

    def _noting_into(self, readinto: Callable[[Any], int | None]) -> Callable[[Any], int | None]:
        def noting_readinto(buffer: Any) -> int | None:
            count = readinto(buffer)
            self._took(bytes(memoryview(buffer).cast("B")[: count or 0]), at_end=count == 0)
            return count

        return noting_readinto

    def _took(self, data: bytes, at_end: bool = False) -> None:
        self._request.request_chunk(data)
        if at_end or (self._length is not None and self._tap.size_bytes >= self._length):
            self._tap.finish(BodyEnd.COMPLETE)


class _NotedResponse:
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
        request = self._request
        with request:
            try:
                if self._chunks is None:
                    self._chunks = iter(self._response)
                chunk = next(self._chunks)
            except StopIteration:
                request.response_body.finish(BodyEnd.COMPLETE)
                raise
            except BaseException as error:
                request.failed_with(error)
                raise
        request.response_chunk(chunk)
        return chunk

    def close(self) -> None:
        """Close the app's own response, and end the request."""
        request = self._request
        try:
            close = getattr(self._response, "close", None)
            if close is not None:
                with request:
                    close()
        except BaseException as error:
            request.failed_with(error)
            raise
        finally:
            request.end()

    def __del__(self) -> None:
        # Some servers never close the response.
        self._request.end()


class _SizedResponse(_NotedResponse):
    """A noted response with a length, which servers look at."""

    def __len__(self) -> int:
        return len(self._response)  # type: ignore[arg-type]
