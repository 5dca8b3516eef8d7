"""aiohttp's errors as values, and back.

An error of aiohttp holds parts of the request. Some are no values: a connection error has a TLS context among its
arguments. Some must not be written down, such as the password of a proxy. So a recorded error has stand-ins for them,
and a replay takes these parts from the request that is made now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from aiohttp import RequestInfo
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http import HttpVersion, RawResponseMessage
from aiohttp.http_parser import RawResponseMessagePy
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy, istr
from yarl import URL

from timetracer_otel.cassette import rebuild_error, record_error
from timetracer_otel.libraries.aiohttp.internals import proxy_request
from timetracer_otel.types import HeaderPairs, RecordedError

__all__ = ["rebuilt_error", "recorded_error"]

_MARK: Final = "aiohttp"
"""Key of the maps that stand in for an object."""
_MODULES: Final = (
    *("aiohttp", "aiodns", "aiodns.error", "backports.zstd", "brotli", "brotlicffi", "compression.zstd"),
    *("isal.isal_zlib", "zlib_ng.zlib_ng"),
)
"""aiohttp, what resolves names for it, and what decodes bodies for it."""
_MESSAGES: Any = (RawResponseMessage, RawResponseMessagePy)
_MESSAGE: Final = ("code", "reason", "should_close", "compression", "upgrade", "chunked")

Redact = Callable[[HeaderPairs], HeaderPairs]


def recorded_error(
    error: BaseException, request: Any, redact_headers: Redact, redact_url: Callable[[str], str]
) -> RecordedError:
    """An error of a call as a value.

    Args:
        error: The error.
        request: The request that failed.
        redact_headers: Takes secrets out of header lines.
        redact_url: The same for a URL.
    """
    url, key = str(request.url), repr(request.connection_key)
    others = [str(item) for item in error.args if isinstance(item, URL) and item != request.url]
    cut = [str(item) for item in error.args if isinstance(item, _MESSAGES)]

    def substitute(item: Any) -> Any:
        if isinstance(item, ConnectionKey):
            return _key(item, request.connection_key)
        if isinstance(item, RequestInfo):
            return {_MARK: "request", "method": item.method, "proxy": item.method != request.method}
        if isinstance(item, _MESSAGES):
            fields = {name: getattr(item, name) for name in _MESSAGE}
            headers = [list(pair) for pair in redact_headers(item.raw_headers)]
            return {_MARK: "message", **fields, "version": list(item.version), "headers": headers}
        if isinstance(item, (MultiDict, MultiDictProxy)):
            pairs = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in item.items()]
            return {_MARK: "headers", "pairs": [list(pair) for pair in redact_headers(pairs)]}
        if isinstance(item, istr):
            return {_MARK: "istr", "text": str(item)}
        if isinstance(item, URL):
            return {_MARK: "url"} if item == request.url else {_MARK: "other url", "text": redact_url(str(item))}
        return None

    def text(item: Any) -> Any:
        if type(item) is not str or (url not in item and key not in item):
            return item
        parts: list[Any] = []
        for position, piece in enumerate(item.split(key)):
            parts += [["key"], *_split(piece, url)] if position else _split(piece, url)
        return {_MARK: "text", "parts": parts}

    def shown(message: str) -> str:
        for head in cut:
            message = message.replace(head, "the response ended within its head")
        for other in others:
            message = message.replace(other, redact_url(other))
        return message.replace(key, f"<{request.url.host}:{request.url.port}>").replace(url, redact_url(url))

    return _mapped(record_error(error, substitute=substitute), text, shown)


def rebuilt_error(error: RecordedError, request: Any) -> BaseException:
    """The error again, about the request that is made now.

    Raises:
        CassetteError: It cannot be rebuilt.
    """

    def restored(item: Any) -> Any:
        return _object(item, request) if type(item) is dict and _MARK in item else item

    rebuilt = rebuild_error(_mapped(error, restored, str), _MODULES)
    _tie(rebuilt)
    return rebuilt


def _split(piece: str, url: str) -> list[Any]:
    parts: list[Any] = []
    for position, rest in enumerate(piece.split(url)):
        parts += [["url"], rest] if position else [rest]
    return parts


def _key(item: ConnectionKey, own: ConnectionKey) -> dict[str, Any]:
    return {
        _MARK: "key",
        "host": item.host,
        "port": item.port,
        "is_ssl": item.is_ssl,
        "ssl": item.ssl if isinstance(item.ssl, bool) else None,
        "through": [name for name in _THROUGH if getattr(item, name) == getattr(own, name)],
    }


_THROUGH: Final = tuple(
    name for name in ("proxy", "proxy_auth", "proxy_headers_hash", "server_hostname") if name in ConnectionKey._fields
)
"""What an error's key shares with the request's, or has not."""


def _object(item: dict[str, Any], request: Any) -> Any:
    kind = item[_MARK]
    if kind == "url":
        return request.url
    if kind == "other url":
        return URL(item["text"], encoded=True)
    if kind == "text":
        values = {"url": str(request.url), "key": repr(request.connection_key)}
        return "".join(part if isinstance(part, str) else values[part[0]] for part in item["parts"])
    if kind == "key":
        own = request.connection_key
        return own._replace(
            host=item["host"],
            port=item["port"],
            is_ssl=item["is_ssl"],
            ssl=own.ssl if item["ssl"] is None else item["ssl"],
            **{name: None for name in _THROUGH if name not in item["through"]},
        )
    if kind == "istr":
        return istr(item["text"])
    if kind == "headers":
        return _headers(item["pairs"])
    if kind == "message":
        return RawResponseMessage(
            version=HttpVersion(*item["version"]),
            headers=_headers(item["headers"]),
            raw_headers=tuple((name, value) for name, value in item["headers"]),
            **{name: item[name] for name in _MESSAGE},
        )
    if kind == "request":
        if not item["proxy"]:
            return request.request_info
        # The request that was made of the proxy: the connector makes it anew.
        made = proxy_request(request)
        made.method, made.url = item["method"], request.url
        return made.request_info
    return item


def _headers(pairs: Any) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(
        CIMultiDict((name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in pairs)
    )


def _mapped(error: RecordedError, value: Callable[[Any], Any], message: Callable[[str], str]) -> RecordedError:
    def inner(item: Any) -> Any:
        if type(item) is RecordedError:
            return _mapped(item, value, message)
        if type(item) in (list, tuple):
            return type(item)(map(inner, item))
        return value(item)

    return replace(
        error,
        message=message(error.message),
        args=tuple(map(inner, error.args)),
        attributes={name: inner(item) for name, item in error.attributes.items()},
        cause=_mapped(error.cause, value, message) if error.cause is not None else None,
    )


def _tie(error: BaseException) -> None:
    """Make an error that another one holds in several places one object again, as it was when it was recorded."""
    if isinstance(error, OSError) and isinstance(error.errno, ConnectionKey):
        # Python has set both by the arguments of the error, which are others. Numbers and texts were recorded and
        # stand there again; None was not: aiodns has no number for a failure, and an older certificate error never
        # told its base class what it was about.
        error.errno = None
        if not isinstance(error.strerror, str):
            error.strerror = None
    nested = [item for item in error.args if isinstance(item, BaseException)]
    for original in nested:
        for name, item in list(vars(error).items()):
            if _same(item, original):
                setattr(error, name, original)
        if _same(error.__cause__, original):
            original.__cause__ = error.__cause__.__cause__ if error.__cause__ is not None else None
            error.__cause__ = original


def _same(one: Any, other: BaseException) -> bool:
    return type(one) is type(other) and one.args == other.args
