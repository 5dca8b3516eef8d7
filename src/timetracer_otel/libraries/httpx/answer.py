"""How a recorded event becomes a response of httpx (or httpx2), whose body is read as it came."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from timetracer_otel.base.patching import Function, LatePatch
from timetracer_otel.calls.guarded import answered, answered_async
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.httpx.internals import (
    CLIENTS_STREAM,
    CONTENT,
    DOWNLOADED,
    LINES,
    header_lines,
    note_elapsed,
    pause,
    responses_of,
)
from timetracer_otel.libraries.kits.http.bodies import RecordedBody
from timetracer_otel.types import DependencyEvent, header_pairs

__all__ = ["Answers", "answers_of"]


class Answers(NamedTuple):
    """What makes the responses of one module."""

    answer: Callable[[DependencyEvent, RecordedBody], Any]
    reads: tuple[LatePatch, LatePatch]
    """``Response.read`` and ``aread``, which read a recorded body at once where they can. The first answer puts them
    in: a recording has no use for them, and would pay for them at every call."""


def answers_of(module: ModuleType) -> Answers:
    """Make them for ``httpx`` or ``httpx2``."""
    # The client's stream has ``elapsed`` as well, from httpx2 2.16 on.
    notes_elapsed = module.__name__ == "httpx2"
    response_of = responses_of(module)

    class Replayed(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        """A recorded body, given back chunk by chunk."""

        def __init__(self, recorded: RecordedBody) -> None:
            self.recorded = recorded
            self.response: Any = None

        # Guards (see `calls.guarded`): a fault of ours is a miss.

        def __iter__(self) -> Iterator[bytes]:
            recorded = self.recorded
            try:
                if recorded.is_plain:
                    yield from recorded.chunks()
                    return
                for wait_s, chunk in recorded.steps():
                    if wait_s:
                        time.sleep(wait_s)
                    if chunk:
                        yield chunk
            except Exception as error:
                raise recorded.judged(error)  # noqa: B904

        async def __aiter__(self) -> AsyncIterator[bytes]:
            recorded = self.recorded
            try:
                for wait_s, chunk in recorded.steps():
                    if wait_s:
                        await pause(wait_s)
                    if chunk:
                        yield chunk
            except Exception as error:
                raise recorded.judged(error)  # noqa: B904

        def close(self) -> None:
            try:
                self.restore_elapsed(self.response)
            except Exception as error:
                raise self.recorded.judged(error)  # noqa: B904

        async def aclose(self) -> None:
            self.close()

        def restore_elapsed(self, response: Any) -> None:
            # The client has just set it to the time that the replay took.
            end_ms = self.recorded.body.end_ms
            if end_ms is not None:
                # From a whole number, since it takes half of the time that it takes from a fraction.
                response.elapsed = elapsed = timedelta(0, 0, round(end_ms * 1000))
                if notes_elapsed:
                    note_elapsed(response.stream, elapsed)

    def answer(event: DependencyEvent, recorded: RecordedBody) -> Any:
        if read.waits or aread.waits:
            read.put_in()
            aread.put_in()
        result = event.result
        stream = Replayed(recorded)
        stream.response = made = response_of(result.status or 0, stream)
        # The response has made its extensions and headers, empty ones. To give it some would copy them, and the
        # headers line by line.
        extensions = made.extensions
        if result.reply:
            extensions.update(result.reply)
            extensions.pop("head_ms", None)
        extensions["network_stream"] = _NO_CONNECTION
        pairs = header_pairs(result.headers)
        setattr(made.headers, LINES, [(name, name.lower(), value) for name, value in pairs])
        return made

    def at_once(kind: type, response: Any) -> bytes | None:
        """The whole body, with the response in the state that reading leaves; None where it must be read.

        What ``Response.read`` comes to for a body that needs no decoding, no waiting and has no error at its end,
        without the five generators that it goes through.
        """
        # The client has put a stream of its own around the one that we gave it. The client's is sync or async, ours
        # both.
        replayed = getattr(response.stream, CLIENTS_STREAM, None)
        if type(replayed) is not Replayed or not isinstance(response.stream, kind):
            return None
        recorded = replayed.recorded
        if not recorded.is_plain or response.is_closed or response.is_stream_consumed:
            return None
        for _, name, _ in header_lines(response.headers):
            if name == b"content-encoding":
                return None
        content = recorded.body.data or b""
        setattr(response, CONTENT, content)
        response.is_stream_consumed = response.is_closed = True
        setattr(response, DOWNLOADED, len(content))
        replayed.restore_elapsed(response)
        return content

    def read_seam(original: Function) -> Function:
        return answered("httpx", original, partial(at_once, module.SyncByteStream))

    def aread_seam(original: Function) -> Function:
        return answered_async("httpx", original, partial(at_once, module.AsyncByteStream))

    read = LatePatch(module.Response, "read", read_seam)
    aread = LatePatch(module.Response, "aread", aread_seam)
    return Answers(answer, (read, aread))


class _ReplayedNetworkStream:
    """Stands for the connection in ``response.extensions["network_stream"]``: there was none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # Protocols of Python's own (copying, debuggers) ask for what is not there.
            raise AttributeError(name)
        raise ReplayMismatchError(
            f"network_stream.{name}: a replayed response has no connection",
            hint="name httpx in live_plugins, or do without the connection's data in replay.",
        )


_NO_CONNECTION = _ReplayedNetworkStream()
