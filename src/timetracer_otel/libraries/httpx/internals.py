"""Where httpx (or httpx2, its successor with the same API) is held: everything of it that is not in its manual.

The transports are public; that a response's stream is wrapped by the client, which sets `elapsed` just before it
closes the stream, that ``request.stream`` is a plain attribute, and what a transport's own streams do, is not
promised (seen in httpx 0.27, 0.28 and httpx2 2.0 to 2.16).
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import lru_cache
from operator import attrgetter, itemgetter
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from timetracer_otel.base.patching import Function, LatePatch
from timetracer_otel.calls.relied_upon import attribute_is_there
from timetracer_otel.constants import BodyEnd
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.http.bodies import BodyTap, RecordedBody
from timetracer_otel.types import HeaderPairs

__all__ = [
    "CONTENT",
    "ENTRY_POINTS",
    "RELIED_UPON",
    "Internals",
    "ReplayedNetworkStream",
    "header_lines",
    "internals_of",
    "pause",
    "raw_lines",
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

ENTRY_POINTS = (
    ("HTTPTransport.handle_request", "Client.send"),
    ("AsyncHTTPTransport.handle_async_request", "AsyncClient.send"),
)
"""Where calls of the module are refused in a replay if the plugin cannot see them. The transports come first, so
that in-process transports stay usable."""


_LOWER_NAME = itemgetter(1)
"""Of a line as `Headers` keeps it: name, name in lower case, value."""


class Internals(NamedTuple):
    """Responses of one module, and our streams as subclasses of its own (the clients check for that)."""

    response: Callable[[int, HeaderPairs, Any, dict[str, Any]], Any]
    tee: Callable[[Any, BodyTap], Any]
    replay: Callable[[RecordedBody], Any]
    reads: tuple[LatePatch, LatePatch]
    """``Response.read`` and ``aread`` that read a body which is a `replay` at once, where it can be. What records has
    no use for them, and would pay for them at every call."""
    whole: Callable[[bytes], Any]
    body_read: Callable[[Any], bytes | None]
    """The body that came with a response which was read already; None where only what it was decoded to is left."""
    family: dict[str, str]
    """Packages whose exceptions the module raises: the name in either generation, and the one to use here."""


def internals_of(module: ModuleType) -> Internals:
    """Make them for ``httpx`` or ``httpx2``."""
    own_streams, mapping = _transport_streams(module)
    # Its client's stream has it as well, from 2.16 on.
    notes_elapsed = module.__name__ == "httpx2"

    class Tee(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        """The library's own stream, noted as the app reads it.

        A transport's stream is a loop over one of httpcore's, whose exceptions become those of the library. This one
        stands in its place and not around it: the body goes through as many generators as it does without us.
        """

        def __init__(self, stream: Any, tap: BodyTap) -> None:
            self._stream = stream
            self._pieces = stream._httpcore_stream if type(stream) in own_streams else stream
            self._tap = tap

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                if self._tap.end is None:
                    self._tap.finish(BodyEnd.CLOSED)

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                if self._tap.end is None:
                    self._tap.finish(BodyEnd.CLOSED)

        def __iter__(self) -> Iterator[bytes]:
            tap = self._tap
            try:
                for chunk in self._pieces:
                    tap.chunk(chunk)
                    yield chunk
            except BaseException:
                self._reraise()
            tap.finish(BodyEnd.COMPLETE)
            # Nothing is left for us to note.
            self.close = self._stream.close  # type: ignore[method-assign]

        async def __aiter__(self) -> AsyncIterator[bytes]:
            tap = self._tap
            try:
                async for chunk in self._pieces:
                    tap.chunk(chunk)
                    yield chunk
            except BaseException:
                self._reraise()
            tap.finish(BodyEnd.COMPLETE)
            self.aclose = self._stream.aclose  # type: ignore[method-assign]

        def _reraise(self) -> NoReturn:
            """Note what was raised, as the library raises it."""
            try:
                with nullcontext() if self._pieces is self._stream else mapping():
                    raise
            except BaseException as error:
                self._tap.failed(error)
                raise

    class Replayed(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        """A recorded body, given back chunk by chunk."""

        def __init__(self, recorded: RecordedBody) -> None:
            self._recorded = recorded
            self.response: Any = None

        def __iter__(self) -> Iterator[bytes]:
            recorded = self._recorded
            if recorded.is_plain:
                yield from recorded.chunks()
                return
            for wait_s, chunk in recorded.steps():
                if wait_s:
                    time.sleep(wait_s)
                if chunk:
                    yield chunk

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for wait_s, chunk in self._recorded.steps():
                if wait_s:
                    await pause(wait_s)
                if chunk:
                    yield chunk

        def close(self) -> None:
            self._restore_elapsed()

        async def aclose(self) -> None:
            self._restore_elapsed()

        def read_at_once(self) -> bytes | None:
            """The whole body, with the response in the state that reading leaves; None where it must be read.

            What ``Response.read`` comes to for a body that needs no decoding, no waiting and has no error at its
            end, without the five generators that it goes through.
            """
            response, recorded = self.response, self._recorded
            if not recorded.is_plain or response.is_closed or response.is_stream_consumed or self._is_encoded():
                return None
            response._content = content = recorded.body.data or b""
            response.is_stream_consumed = response.is_closed = True
            response._num_bytes_downloaded = len(content)
            self._restore_elapsed()
            return content

        def _is_encoded(self) -> bool:
            return b"content-encoding" in map(_LOWER_NAME, self.response.headers._list)

        def _restore_elapsed(self) -> None:
            # The client has just set it to the time that the replay took.
            end_ms = self._recorded.body.end_ms
            if end_ms is not None:
                self.response.elapsed = elapsed = timedelta(milliseconds=end_ms)
                if notes_elapsed and hasattr(self.response.stream, "elapsed"):
                    self.response.stream.elapsed = elapsed

    def response(status_code: int, lines: HeaderPairs, stream: Any, extensions: dict[str, Any]) -> Any:
        if read.waits or aread.waits:
            read.put_in()
            aread.put_in()
        headers = module.Headers()
        headers._list = [(name, name.lower(), value) for name, value in lines]
        stream.response = made = module.Response(status_code, headers=headers, stream=stream, extensions=extensions)
        return made

    # The client has put a stream of its own around the one that we gave it: of one kind, where ours is of both.
    def at_once(response: Any, kind: type) -> bytes | None:
        replayed = getattr(response.stream, "_stream", None)
        if type(replayed) is not Replayed or not isinstance(response.stream, kind):
            return None
        return replayed.read_at_once()

    def read_seam(original: Function) -> Function:
        def read(self: Any) -> Any:
            content = at_once(self, module.SyncByteStream)
            return original(self) if content is None else content

        return read

    def aread_seam(original: Function) -> Function:
        async def aread(self: Any) -> Any:
            content = at_once(self, module.AsyncByteStream)
            return await original(self) if content is None else content

        return aread

    def body_read(response: Any) -> bytes | None:
        if type(response.stream) is module.ByteStream:
            return b"".join(response.stream)
        content: bytes = response.content
        return None if "content-encoding" in response.headers else content

    read = LatePatch(module.Response, "read", read_seam)
    aread = LatePatch(module.Response, "aread", aread_seam)
    suffix = "2" if module.__name__ == "httpx2" else ""
    family = {name + old: name + suffix for name in ("httpx", "httpcore") for old in ("", "2")}
    # What httpcore speaks HTTP and waits with: their errors are arguments and causes of its own.
    family |= {name: name for name in ("h11", "h2", "anyio", "trio", "exceptiongroup")}
    return Internals(response, Tee, Replayed, (read, aread), module.ByteStream, body_read, family)


def _transport_streams(module: ModuleType) -> tuple[frozenset[type], Callable[[], AbstractContextManager[None]]]:
    """The classes of the streams that transports make, and what gives httpcore's exceptions the module's names.

    Where a release has them not, its streams are treated as anybody's.
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


async def pause(seconds: float) -> None:
    """Sleep under asyncio and trio alike, as httpx itself does."""
    import anyio

    await anyio.sleep(seconds)


CONTENT = "_content"
"""The attribute that a request or response has once its body is whole in memory; ``content`` raises before."""


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


header_lines: Callable[[Any], list[Any]] = attrgetter("_list")
"""The lines of a `Headers` object itself, for `raw_lines`; a tuple of them keeps them as they are."""


def raw_lines(lines: Iterable[Any]) -> list[tuple[bytes, bytes]]:
    """What `Headers.raw` gave when the object had these `header_lines`."""
    return [(name, value) for name, _, value in lines]


class ReplayedNetworkStream:
    """Stands for the connection in ``response.extensions["network_stream"]``: there was none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # Protocols of Python's own (copying, debuggers) ask for what is not there.
            raise AttributeError(name)
        raise ReplayMismatchError(
            f"network_stream.{name}: a replayed response has no connection",
            hint="name httpx in live_plugins, or do without the connection's data in replay.",
        )
