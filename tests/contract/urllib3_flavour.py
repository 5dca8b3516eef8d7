"""urllib3 in the words of the contract."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import make_headers
from urllib3.util.retry import Retry

from tests.contract.http_flavour import HttpFlavour, Observation, Pieces
from tests.contract.observation import attempt, class_name, observe_error, plain
from tests.contract.requests_flavour import observe_raw, steady
from timetracer_otel import ReplayMismatchError
from timetracer_otel.plugins import disable_urllib3, enable_urllib3

__all__ = ["Urllib3Flavour", "Urllib3Session", "observe_failure", "observe_response", "tried"]

_FEATURES = frozenset({"urllib3", "sync", "multipart", "proxy", "streams", "raw-stream", "timeouts"})


def redirects(most: int) -> Retry:
    """A rule that follows redirects, and tries nothing again."""
    return Retry(total=None, connect=0, read=0, redirect=most, status=0, other=0)


class Urllib3Flavour(HttpFlavour):
    """urllib3, by its managers of pools."""

    name = "urllib3"
    plugin = "urllib3"
    switches = enable_urllib3, disable_urllib3
    features = _FEATURES
    asynchronous = False

    def __init__(self) -> None:
        self._originals = _seams()

    def manager(self, **options: Any) -> Any:
        """The library's own manager, which trusts the tests' certificates."""
        return urllib3.PoolManager(**{**self._trust(), **options})

    def _trust(self) -> dict[str, Any]:
        authority = getattr(self.upstream, "authority", None)
        return {"ca_certs": str(authority)} if authority is not None else {}

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Urllib3Session]:
        given = self._trust() if options.get("trusts") is not False else {}
        if "max_connections" in options:
            given["maxsize"] = options["max_connections"]
        if "proxy" in options:
            userinfo = options.get("proxy_userinfo", "").rstrip("@")
            headers = make_headers(proxy_basic_auth=userinfo) if userinfo else None
            address = f"http://127.0.0.1:{self.upstream.port(options['proxy'])}"
            manager: urllib3.PoolManager = urllib3.ProxyManager(address, proxy_headers=headers, **given)
        else:
            manager = urllib3.PoolManager(**given)
        with manager:
            yield Urllib3Session(self, manager, options)

    def timeout(self, timeout: Any) -> Any:
        """The library's value for a neutral ``timeout``; writing is under the one for connecting."""
        if isinstance(timeout, dict):
            return urllib3.Timeout(
                connect=timeout.get("connect", timeout.get("write", 5)), read=timeout.get("read", 5)
            )
        return timeout

    def is_untouched(self) -> bool:
        return _seams() == self._originals

    def instrumentor(self) -> Any:
        from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor

        return URLLib3Instrumentor()


class Urllib3Session:
    """One manager that is open. urllib3 has no jar for cookies."""

    def __init__(self, flavour: Urllib3Flavour, manager: urllib3.PoolManager, options: dict[str, Any]) -> None:
        self.flavour = flavour
        self.manager = manager
        self._options = options

    async def call(self, method: str, target: str, **options: Any) -> Observation:
        try:
            response = self.manager.request(method, self._url(target), **self._translated(options))
        except ReplayMismatchError:
            raise
        except Exception as error:
            return observe_failure(error)
        return observe_response(response)

    async def stream(
        self,
        method: str,
        target: str,
        *,
        read: str = "bytes",
        size: int | None = None,
        take: int | None = None,
        after: Callable[[int], None] | None = None,
        **options: Any,
    ) -> Observation:
        seen: Observation = {"pieces": []}
        response: Any = None
        try:
            given = self._translated(options)
            response = self.manager.request(method, self._url(target), preload_content=False, **given)
            seen["head"] = observe_response(response, read=False)
            items = response.stream(size or 2**16, decode_content=read != "raw")
            for piece in items if take != 0 else ():
                seen["pieces"].append(piece)
                if after is not None:
                    after(len(seen["pieces"]))
                if len(seen["pieces"]) == take:
                    items.close()
                    break
        except ReplayMismatchError:
            raise
        except Exception as error:
            seen["failure"] = observe_failure(error)
        if response is not None:
            response.close()
            seen["end"] = [response.closed, response.tell()]
        return steady(seen)

    def jar(self) -> list[Any]:
        return []

    def _url(self, target: str) -> str:
        return self.flavour.url(target) if target.startswith("/") else target

    def _translated(self, options: dict[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        headers = {**self._options.get("headers", {}), **options.get("headers", {})}
        auth = options.get("auth", self._options.get("auth"))
        if auth is not None:
            headers |= make_headers(basic_auth=":".join(auth[1:]))
        if "json" in options:
            # As urllib3 does it since 2.0.
            headers.setdefault("Content-Type", "application/json")
            given["body"] = json.dumps(options["json"], separators=(",", ":"), ensure_ascii=False).encode()
        elif "files" in options:
            given["fields"] = {**options.get("form", {}), **{name: _file(v) for name, v in options["files"].items()}}
        elif "form" in options:
            pairs = [(k, each) for k, v in options["form"].items() for each in (v if isinstance(v, list) else [v])]
            given |= {"fields": pairs, "encode_multipart": False}
        elif "content" in options:
            body = options["content"]
            given["body"] = iter(body) if isinstance(body, Pieces) else body
        elif "params" in options:
            given["fields"] = options["params"]
        follows = options.get("follow", self._options.get("follow", False))
        given |= {"redirect": follows, "retries": redirects(20) if follows else False}
        given["timeout"] = self.flavour.timeout(options.get("timeout", self._options.get("timeout", 10)))
        return {**given, "headers": headers or None}


def _file(value: tuple[str, Any, str]) -> tuple[str, bytes, str]:
    name, data, kind = value
    return name, data.read() if isinstance(data, io.IOBase) else data, kind


def tried(function: Callable[[], Any]) -> Any:
    """What a call returns or raises, observed."""
    try:
        value = function()
    except ReplayMismatchError:
        raise
    except Exception as error:
        return observe_failure(error)
    return observe_response(value) if isinstance(value, urllib3.HTTPResponse) else steady(plain(value))


def observe_response(response: Any, read: bool = True) -> Observation:
    """Everything about a response; its body too unless it is left unread."""
    seen: Observation = {
        "raw": {**observe_raw(response), "retries": _retries(response.retries)},
        "status": response.status,
        "headers": list(response.headers.items()),
        "connection": [class_name(response.connection), getattr(response.connection, "is_verified", None)],
        "released": [response._pool is None, class_name(response._pool)],
    }
    if read:
        seen["content"] = attempt(lambda: response.data)
        seen["json"] = attempt(lambda: json.loads(response.data.decode("utf-8")))
        seen["again"] = [attempt(lambda: response.read()), response.closed, response.tell()]
    return steady(seen)


def _retries(retries: Any) -> Any:
    return None if retries is None else [repr(retries), [plain(tuple(step)) for step in retries.history]]


def observe_failure(error: Exception) -> Observation:
    """An error of a call, with the pool and the reason that it holds."""
    seen: Observation = {"error": observe_error(error), "held": [_held(error), _held(getattr(error, "reason", None))]}
    return steady(seen)


def _held(error: Any) -> Any:
    held = {}
    for name in ("pool", "conn", "url", "original_error", "_message"):
        if isinstance(error, BaseException) and name in vars(error):
            value = getattr(error, name)
            held[name] = [plain(value), getattr(value, "host", None), getattr(value, "port", None)]
    return held


def _seams() -> tuple[Any, ...]:
    return (
        HTTPConnectionPool.__dict__["_make_request"],
        HTTPConnectionPool.__dict__["urlopen"],
        HTTPSConnectionPool.__dict__["_prepare_proxy"],
    )
