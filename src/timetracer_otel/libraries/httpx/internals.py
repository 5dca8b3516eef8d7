"""What httpx (or httpx2, its successor with the same API) does not promise in its manual, and we rely upon.

Seen in httpx 0.27, 0.28 and httpx2 2.0 to 2.16:

- the client puts a stream of its own around a response's stream. It sets ``elapsed`` just before it closes it;
- ``request.stream`` is a plain attribute;
- a request or response whose body is in memory has it as ``_content``;
- a transport's stream reads from one of httpcore's, ``_httpcore_stream``;
- which attributes the constructor of a response sets. It is compared with what `responses_of` sets.

The names are also those of `answer`, which makes responses in the state that reading leaves.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import lru_cache, partial
from operator import attrgetter
from types import ModuleType
from typing import Any, NoReturn

from timetracer_otel.calls.relied_upon import attribute_is_there
from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.kits.http.bodies import BodyTap

__all__ = [
    "CLIENTS_STREAM",
    "CONTENT",
    "DOWNLOADED",
    "ENTRY_POINTS",
    "LINES",
    "NOT_IN_ALL",
    "RELIED_UPON",
    "at_most",
    "body_read_of",
    "header_lines",
    "note_elapsed",
    "parts_of",
    "pause",
    "raw_lines",
    "responses_of",
    "tee_of",
    "url_text",
    "whole_body",
]


RELIED_UPON = (
    "HTTPTransport.handle_request",
    "AsyncHTTPTransport.handle_async_request",
    "SyncByteStream",
    "AsyncByteStream",
    "ByteStream",
    "Headers._list",
    "Request.stream",
    "Request._content",
    "Response.read",
    "Response.aread",
    "Response.stream",
    "Response.extensions",
    "Response.elapsed",
    "Response._content",
    "Response._num_bytes_downloaded",
    "Response.is_closed",
    "Response.is_stream_consumed",
)
"""Names of the module (``httpx`` or ``httpx2``) that the plugin cannot do without."""

NOT_IN_ALL = {
    "_transports.default.ResponseStream._httpcore_stream": "the transport's stream is read like that of any other",
    "Headers._encoding": "responses are made by their constructor, and so they are where it sets anything else",
    "URL._uri_reference": "the text of a URL is made anew for each call",
}
"""Names that a release may lack, and what is done without them."""

ENTRY_POINTS = (
    ("HTTPTransport.handle_request", "Client.send"),
    ("AsyncHTTPTransport.handle_async_request", "AsyncClient.send"),
)
"""Where calls of the module are refused in a replay if the plugin cannot see them. The transports come first, so
that in-process transports stay usable."""


def parts_of(module: ModuleType) -> tuple[Any, ...]:
    """The module, and its objects that our classes and functions for it are made of."""
    default = sys.modules.get(f"{module.__name__}._transports.default")
    return (
        *(module, module.SyncByteStream, module.AsyncByteStream, module.ByteStream, module.Response),
        *(getattr(default, name, None) for name in ("ResponseStream", "AsyncResponseStream")),
        getattr(default, "map_httpcore_exceptions", None),
    )


def tee_of(module: ModuleType) -> Callable[[Any, BodyTap], Any]:
    """The class of streams that note what is read of them; a subclass of the module's own, as its clients check."""
    own_streams, mapping = _transport_streams(module)

    class Tee(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        """The library's own stream, noted as the app reads it.

        A transport's stream loops over a stream of httpcore's and turns its exceptions into those of the library.
        This class takes over that loop instead of looping over it. So a body goes through as many generators as it
        does without us.
        """

        def __init__(self, stream: Any, tap: BodyTap) -> None:
            self._stream = stream
            self._pieces = stream._httpcore_stream if type(stream) in own_streams else stream
            self._tap = tap

        # Each of these is a guard (see `calls.guarded`): what is ours runs in a `try`.

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                if self._tap.end is None:
                    self._tap.noting(self._tap.finish, BodyEnd.CLOSED)

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                if self._tap.end is None:
                    self._tap.noting(self._tap.finish, BodyEnd.CLOSED)

        def __iter__(self) -> Iterator[bytes]:
            note: Callable[[bytes], None] = self._tap.chunk
            try:
                for chunk in self._pieces:
                    try:
                        note(chunk)
                    except Exception as fault:
                        note = self._tap.give_up(fault)
                    yield chunk
            except BaseException:
                self._reraise()
            self._tap.noting(self._tap.finish, BodyEnd.COMPLETE)
            # Nothing is left for us to note.
            self.close = self._stream.close  # type: ignore[method-assign]

        async def __aiter__(self) -> AsyncIterator[bytes]:
            note: Callable[[bytes], None] = self._tap.chunk
            try:
                async for chunk in self._pieces:
                    try:
                        note(chunk)
                    except Exception as fault:
                        note = self._tap.give_up(fault)
                    yield chunk
            except BaseException:
                self._reraise()
            self._tap.noting(self._tap.finish, BodyEnd.COMPLETE)
            self.aclose = self._stream.aclose  # type: ignore[method-assign]

        def _reraise(self) -> NoReturn:
            """Note what was raised, as the library raises it."""
            try:
                with nullcontext() if self._pieces is self._stream else mapping():
                    raise
            except BaseException as error:
                self._tap.noting(self._tap.failed, error)
                raise

    return Tee


def responses_of(module: ModuleType) -> Callable[[int, Any], Any]:
    """What makes a response of a status and a stream, with empty headers and extensions.

    The constructor looks at many arguments that are not given here, which takes a tenth of all that a replayed call
    takes. So its work is done in place, where that comes to the same: a release may set other attributes, and an app
    may have replaced the constructor.
    """
    response, headers, new = module.Response, module.Headers, object.__new__
    constructor = response.__init__

    def by_constructor(status: int, stream: Any) -> Any:
        return response(status, stream=stream)

    def in_place(status: int, stream: Any) -> Any:
        if response.__init__ is not constructor:
            return by_constructor(status, stream)
        made: Any = new(response)
        made.status_code = status
        made.headers = lines = new(headers)
        setattr(lines, LINES, [])
        lines._encoding = None
        made._request = made.next_request = None
        made.extensions = {}
        made.history = []
        made.is_closed = made.is_stream_consumed = False
        made.default_encoding = "utf-8"
        made.stream = stream
        setattr(made, DOWNLOADED, 0)
        return made

    def states(status: int, stream: Any) -> list[dict[str, Any]]:
        made = [make(status, stream) for make in (by_constructor, in_place)]
        return [{**vars(one), "headers": vars(one.headers)} for one in made]

    try:
        first, second = states(200, module.ByteStream(b""))
        is_own = constructor.__globals__["__name__"].startswith(f"{module.__name__}.")
    except (AttributeError, TypeError, KeyError):
        return by_constructor
    return in_place if is_own and first == second else by_constructor


def body_read_of(module: ModuleType) -> Callable[[Any], bytes | None]:
    """What gives the body of a response that was read already; None where only what it was decoded to is left."""

    def body_read(response: Any) -> bytes | None:
        if type(response.stream) is module.ByteStream:
            return b"".join(response.stream)
        content: bytes = response.content
        return None if "content-encoding" in response.headers else content

    return body_read


def _transport_streams(module: ModuleType) -> tuple[frozenset[type], Callable[[], AbstractContextManager[None]]]:
    """The classes of the streams that transports make, and what gives httpcore's exceptions the module's names.

    Where a release does not have them, its streams are treated like those of any other transport.
    """
    default: Any = sys.modules.get(f"{module.__name__}._transports.default")
    try:
        streams = frozenset({default.ResponseStream, default.AsyncResponseStream})
        mapping = default.map_httpcore_exceptions
    except AttributeError:
        return frozenset(), nullcontext
    if all(attribute_is_there(stream, "_httpcore_stream") for stream in streams):
        return streams, mapping
    return frozenset(), nullcontext


def pause(seconds: float) -> Awaitable[None]:
    """Sleep under asyncio and trio alike, as httpx itself does."""
    import anyio

    return anyio.sleep(seconds)


async def at_most(seconds: float, step: Callable[[], Awaitable[object]]) -> None:
    """Take a step, and cancel it after so many seconds; where it ends before, sleep for the rest of the time."""
    import anyio

    with anyio.move_on_after(seconds):
        await step()
        await anyio.sleep_forever()


CONTENT = "_content"
"""The attribute that a request or response has once its body is whole in memory; ``content`` raises before."""
DOWNLOADED = "_num_bytes_downloaded"
"""The attribute of a response that counts the bytes read."""
LINES = "_list"
"""The attribute of `Headers` that keeps the lines: name, name in lower case, value."""
CLIENTS_STREAM = "_stream"
"""The attribute of the client's stream that holds the one around which the client put it."""


def note_elapsed(stream: Any, elapsed: timedelta) -> None:
    """Set ``elapsed`` on the client's stream, which has it from httpx2 2.16 on.

    A library may have put a stream of its own around the client's, and give there what the client's stream has.
    Example: anthropic's, whose ``elapsed`` is a property that cannot be set. Then the client's is looked for within.
    """
    for _ in range(_MOST_STREAMS):
        own = getattr(stream, "__dict__", {})
        if "elapsed" in own:
            stream.elapsed = elapsed
            return
        stream = next((inner for inner in own.values() if _is_stream(inner)), None)


_MOST_STREAMS = 10


def _is_stream(value: Any) -> bool:
    """Whether this is a stream of httpx's kind, by what it can do: not every one has httpx's base class."""
    can = partial(hasattr, type(value))
    return (can("__iter__") and can("close")) or (can("__aiter__") and can("aclose"))


def whole_body(request: Any) -> bytes | None:
    """The body of a request that was given as a whole; None where it is a stream."""
    content: bytes | None = getattr(request, CONTENT, None)
    return content


def url_text(url: Any) -> str:
    """``str(url)``, without making the text anew for a URL that was seen before."""
    reference = getattr(url, "_uri_reference", None)
    return _text(reference) if reference is not None else str(url)


@lru_cache(maxsize=4096)
def _text(reference: Any) -> str:
    return str(reference)


header_lines: Callable[[Any], list[Any]] = attrgetter(LINES)
"""The list that a `Headers` object keeps its lines in, for `raw_lines`. A tuple of it is a copy."""


def raw_lines(lines: Iterable[Any]) -> list[tuple[bytes, bytes]]:
    """What `Headers.raw` gave when the object had these `header_lines`."""
    return [(name, value) for name, _, value in lines]
