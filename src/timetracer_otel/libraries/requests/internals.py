"""Where requests is held: every private name of requests, urllib3 and http.client that the plugin relies on.

Seen in requests 2.31 to 2.34, urllib3 1.26 and 2.0 to 2.8, Python 3.10 to 3.14: an answer's ``raw`` is a urllib3
response, whose ``_original_response`` is the `http.client` response that reads from ``fp``; urllib3's errors hold
pools and connections; a session asks for the adapter, sends, sets ``elapsed`` and calls the hooks, in this order.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from timetracer_otel.cassette import rebuild_error, record_error
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.libraries.kits.http.bodies import BodyLimits, RecordedBody
from timetracer_otel.libraries.kits.http1.file_bodies import TeedFile, WireTap, wire_pieces
from timetracer_otel.types import RecordedError

__all__ = [
    "add_headers",
    "build_response",
    "http_response_of",
    "is_of_network",
    "is_teed",
    "new_connection",
    "pool_of",
    "rebuild",
    "record",
    "replayed_raw",
    "response_facts",
    "set_elapsed",
    "source_of",
    "target_of",
    "tee",
    "with_stand_ins",
]

_FAMILY = ("requests", "urllib3")
_STAND_IN = "timetracer.stand_in"
_CONTEXT = "timetracer.context"
_RETRY_COUNTS = ("total", "connect", "read", "redirect", "status", "other")


# Responses


def http_response_of(raw: Any) -> http.client.HTTPResponse | None:
    """The `http.client` response beneath an answer's ``raw``; None where it came in another way.

    vcrpy's is a subclass of it that was never made as one, and stands for urllib3's response as well: both must have
    what is read of them here.
    """
    found = getattr(raw, "_original_response", None)
    is_one = isinstance(found, http.client.HTTPResponse) and hasattr(found, "_method")
    return found if is_one and hasattr(raw, "_request_url") else None


def source_of(raw: Any) -> str:
    """What an answer's body comes from, in words, where that is no response of `http.client`."""
    return type(getattr(raw, "_original_response", None) or raw).__qualname__


def tee(
    raw: Any, original: http.client.HTTPResponse, limits: BodyLimits, on_end: Callable[[], None]
) -> WireTap | None:
    """Note a response body as it is read.

    Args:
        raw: The urllib3 response.
        original: What it reads from.
        limits: What lies beyond is counted, not kept.
        on_end: Called once, when the body has ended; maybe at once.

    Returns:
        What notes it; None where somebody has read from it already.
    """
    state: Any = original
    if state._method == "HEAD":
        return WireTap(limits, on_end, chunked=False, length=0)
    if state.fp is None or is_teed(original) or raw._fp_bytes_read:
        return None
    tap = WireTap(limits, on_end, bool(original.chunked), original.length)
    if tap.end is None:
        state.fp = TeedFile(state.fp, tap)
    return tap


def is_teed(original: http.client.HTTPResponse) -> bool:
    """Whether `tee` was here."""
    return isinstance(original.fp, TeedFile)


def pool_of(adapter: Any, request: Any, options: dict[str, Any]) -> Any:
    """The urllib3 pool that a call goes through, as the adapter finds it; one for its URL where it has none."""
    proxies = options.get("proxies")
    try:
        if hasattr(adapter, "get_connection_with_tls_context"):
            return adapter.get_connection_with_tls_context(
                request, options.get("verify", True), proxies=proxies, cert=options.get("cert")
            )
        if hasattr(adapter, "get_connection"):
            return adapter.get_connection(request.url, proxies)
    except Exception:  # the adapter may be anybody's, and what it raises is not the recorded answer
        return None
    from urllib3 import connection_from_url

    return connection_from_url(request.url)


def response_facts(raw: Any, original: http.client.HTTPResponse, adapter: Any) -> dict[str, Any]:
    """What a replay needs of a response besides its status, headers and body."""
    facts: dict[str, Any] = {"version": original.version, "reason": original.reason}
    for name in ("version_string", "enforce_content_length"):
        value = getattr(raw, name, None)
        if value is not None:
            facts[name] = value
    # Targets hold what is secret in a query, and the replayed request has them again.
    facts["has_target"] = raw._request_url is not None
    retries = getattr(raw, "retries", None)
    if retries is not None and retries is not getattr(adapter, "max_retries", None):
        facts["retries"] = {name: getattr(retries, name, None) for name in _RETRY_COUNTS}
        facts["retries"]["history"] = [
            [step.method, step.error and record(step.error), step.status, step.redirect_location]
            for step in retries.history
        ]
    return facts


class _Wire(io.RawIOBase):
    """The bytes of one response, as a connection."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
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
                self._error = error
                raise
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

    original = http.client.HTTPResponse(_Wire(pieces()), method=method)  # type: ignore[arg-type]
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
            rebuild(error, restore) if error is not None else None,  # type: ignore[arg-type]
            status,
            location,
        )
        for method, error, status, location in recorded["history"]
    )
    make: Any = rule.new if rule is not None else Retry
    return make(**{name: recorded.get(name) for name in _RETRY_COUNTS}, history=history)


def build_response(adapter: Any, request: Any, raw: Any) -> Any:
    """The response as the adapter builds it; as requests does where the adapter has no way of its own."""
    from requests.adapters import HTTPAdapter

    own = getattr(adapter, "build_response", None)
    return own(request, raw) if own is not None else HTTPAdapter.build_response(adapter, request, raw)


def target_of(adapter: Any, request: Any, options: dict[str, Any]) -> str:
    """What stands behind the method on the wire: a whole URL for a proxy, a path otherwise."""
    find = getattr(adapter, "request_url", None)
    target: str = find(request, options.get("proxies")) if find is not None else request.path_url
    return target


def add_headers(adapter: Any, request: Any, options: dict[str, Any]) -> None:
    """What an adapter does to a request before it is sent."""
    add = getattr(adapter, "add_headers", None)
    if add is not None:
        add(request, **{"stream": False, "timeout": None, "verify": True, "cert": None, "proxies": None, **options})


def set_elapsed(request: Any, response: Any, elapsed_ms: float) -> None:
    """Let ``response.elapsed`` be what it was: the session sets it to what the replay took, then calls the hooks."""
    hooks = getattr(request, "hooks", None)
    if not isinstance(hooks, dict) or not isinstance(hooks.get("response"), list):
        return

    def restore(answered: Any, *_: Any, **__: Any) -> None:
        hooks["response"] = [hook for hook in hooks["response"] if hook is not restore]
        if answered is response:
            response.elapsed = timedelta(milliseconds=elapsed_ms)

    hooks["response"] = [restore, *hooks["response"]]


# Errors


def record(error: BaseException) -> RecordedError:
    """An error as a value; requests, pools and connections in it are stood in for."""
    recorded = record_error(error, substitute=_substitute)
    context = error.__context__
    if context is not None and context is not _inner(error) and not error.__suppress_context__:
        recorded.attributes[_CONTEXT] = record_error(context, substitute=_substitute)
    return recorded


def _substitute(item: Any) -> Any:
    from requests import PreparedRequest
    from urllib3.connectionpool import ConnectionPool

    for kind, classes in (
        ("request", PreparedRequest),
        ("pool", ConnectionPool),
        ("connection", http.client.HTTPConnection),
    ):
        if isinstance(item, classes):
            return {_STAND_IN: kind, "text": repr(item)}
    return None


def rebuild(error: RecordedError, restore: Callable[[RecordedError], RecordedError]) -> BaseException:
    """A recorded error as it was raised, with what it was raised in the midst of.

    Raises:
        CassetteError: It cannot be rebuilt.
    """
    error = restore(error)
    context = error.attributes.pop(_CONTEXT, None)
    exc = rebuild_error(error, _FAMILY)
    _set_contexts(exc)
    if context is not None:
        try:
            exc.__context__ = rebuild_error(context, _FAMILY)
        except CassetteError:
            exc.__context__ = None
    return exc


def with_stand_ins(error: RecordedError, live: Callable[[str], Any]) -> RecordedError:
    """A recorded error with live objects in the places of those that were stood in for.

    Args:
        error: What `record` gave.
        live: Gives a ``request``, a ``pool`` or a ``connection``.
    """

    def put(item: Any) -> Any:
        if type(item) is dict and _STAND_IN in item:
            return live(item[_STAND_IN])
        if type(item) is RecordedError:
            return with_stand_ins(item, live)
        if type(item) in (list, tuple):
            return type(item)(map(put, item))
        return item

    return replace(
        error,
        args=tuple(map(put, error.args)),
        attributes={name: put(item) for name, item in error.attributes.items()},
        cause=with_stand_ins(error.cause, live) if error.cause is not None else None,
    )


def new_connection(pool: Any) -> Any:
    """A connection of a pool that is not connected; None where there is no pool."""
    return pool._new_conn() if pool is not None else None


def is_of_network(error: BaseException) -> bool:
    """Whether a urllib3 error lies in or behind an error: somebody tried to reach a server."""
    from urllib3.exceptions import HTTPError

    seen: list[Any] = [error]
    for item in seen:
        if isinstance(item, HTTPError):
            return True
        if isinstance(item, BaseException) and len(seen) < 50:
            seen += [*item.args, item.__cause__, item.__context__]
    return False


def _set_contexts(exc: BaseException) -> None:
    """Both libraries raise each error in the midst of the one that it holds, mostly without ``from``."""
    inner = _inner(exc)
    for error in (inner, exc.__cause__):
        if error is not None:
            _set_contexts(error)
    if exc.__cause__ is None and inner is not None:
        exc.__context__ = inner


def _inner(exc: BaseException) -> BaseException | None:
    held = (*exc.args, getattr(exc, "reason", None))
    return next((item for item in held if isinstance(item, BaseException)), None)
