"""How a recorded event becomes a response: requests' own, over urllib3's, over one of `http.client`.

All three read the recorded bytes as they read those of a server, so decoding, ``raw`` and ``iter_content`` are real.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from timetracer_otel.calls.guarded_objects import guarded_method
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.libraries.kits.http.bodies import RecordedBody
from timetracer_otel.libraries.kits.http1.file_bodies import wire_pieces
from timetracer_otel.libraries.requests.errors import rebuilt_error
from timetracer_otel.libraries.requests.internals import RETRY_COUNTS
from timetracer_otel.types import RecordedError

__all__ = ["build_response", "replayed_raw", "set_elapsed"]


class _Connection(io.RawIOBase):
    """The bytes of one response, as a connection."""

    def __init__(self, pieces: Iterator[bytes], recorded: RecordedBody) -> None:
        super().__init__()
        self._pieces = pieces
        self._recorded = recorded
        self._rest = memoryview(b"")
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._error is not None:
            raise self._error
        if not self._rest:
            try:
                self._rest = memoryview(next(filter(None, self._pieces), b""))
            except Exception as error:
                self._error = self._recorded.judged(error)
                raise self._error  # noqa: B904
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def makefile(self, _: str) -> io.BufferedReader:
        """The file that http.client reads: this stands for the socket, too."""
        return io.BufferedReader(self)


def replayed_raw(
    method: str,
    target: str,
    status: int,
    headers: Any,
    reply: dict[str, Any],
    recorded: RecordedBody,
    retries: Any,
    restore: Callable[[RecordedError], RecordedError],
) -> Any:
    """A urllib3 response that reads a recorded answer from an `http.client` response.

    Args:
        method: Of the request.
        target: What stood behind the method on the wire.
        status: Of the response.
        headers: Its exact lines.
        reply: What `response_facts` gave.
        recorded: The body.
        retries: The adapter's retry rule.
        restore: Puts live objects in the places of stand-ins.

    Raises:
        CassetteError: The recorded head is none.
    """
    from urllib3._collections import HTTPHeaderDict
    from urllib3.response import HTTPResponse

    version = "HTTP/1.0" if reply.get("version") == 10 else "HTTP/1.1"
    lines = [f"{version} {status} {reply.get('reason') or ''}".encode("latin-1")]
    lines += [name + b": " + value for name, value in headers]
    lines += [b"", b""]
    chunked = False

    def pieces() -> Iterator[bytes]:
        yield b"\r\n".join(lines)
        yield from wire_pieces(recorded, reply, chunked)

    original = http.client.HTTPResponse(_Connection(pieces(), recorded), method=method)  # type: ignore[arg-type]
    try:
        original.begin()
    except http.client.HTTPException as error:
        raise CassetteError(f"the recorded head is none: {error!r}") from error
    chunked = bool(original.chunked)
    given: dict[str, Any] = {}
    if "version_string" in reply and hasattr(HTTPResponse, "shutdown"):
        given["version_string"] = reply["version_string"]
    return HTTPResponse(
        body=original,
        headers=HTTPHeaderDict(original.msg.items()),
        status=original.status,
        version=original.version,
        reason=original.reason,
        preload_content=False,
        decode_content=False,
        original_response=original,
        retries=_retries(reply.get("retries"), retries, target, restore),
        enforce_content_length=bool(reply.get("enforce_content_length", True)),
        request_method=method,
        request_url=target if reply.get("has_target") else None,
        **given,
    )


def _retries(
    recorded: dict[str, Any] | None, rule: Any, target: str, restore: Callable[[RecordedError], RecordedError]
) -> Any:
    if recorded is None:
        return rule
    from urllib3.util.retry import RequestHistory, Retry

    history = tuple(
        RequestHistory(
            method,
            target,
            rebuilt_error(error, restore) if error is not None else None,  # type: ignore[arg-type]
            status,
            location,
        )
        for method, error, status, location in recorded["history"]
    )
    make: Any = rule.new if rule is not None else Retry
    return make(**{name: recorded.get(name) for name in RETRY_COUNTS}, history=history)


def build_response(adapter: Any, request: Any, raw: Any) -> Any:
    """The response as the adapter builds it; as requests does where the adapter has no way of its own."""
    from requests.adapters import HTTPAdapter

    own = getattr(adapter, "build_response", None)
    return own(request, raw) if own is not None else HTTPAdapter.build_response(adapter, request, raw)


def set_elapsed(request: Any, response: Any, elapsed_ms: float) -> None:
    """Let ``response.elapsed`` be what it was: the session sets it to what the replay took, then calls the hooks."""
    hooks = getattr(request, "hooks", None)
    if not isinstance(hooks, dict) or not isinstance(hooks.get("response"), list):
        return
    facts: list[Any] = [hooks, response, elapsed_ms]
    restore = partial(_restore_elapsed, facts)
    facts.append(restore)
    hooks["response"] = [restore, *hooks["response"]]


# Guarded once: to make a guard for each response takes longer than what it does.
@guarded_method
def _restore_elapsed(facts: list[Any], answered: Any, *_: Any, **__: Any) -> None:
    hooks, response, elapsed_ms, itself = facts
    hooks["response"] = [hook for hook in hooks["response"] if hook is not itself]
    if answered is response:
        response.elapsed = timedelta(milliseconds=elapsed_ms)
