"""httpx and httpx2, synchronous, under asyncio and under trio, in the words of the contract."""

from __future__ import annotations

import importlib
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest

from tests.contract.framework import each, settle
from tests.contract.http_flavour import HttpFlavour, Observation, Pieces
from tests.contract.observation import attempt, class_name, observe_error, plain
from timetracer_otel import ReplayMismatchError
from timetracer_otel.plugins import disable_httpx, enable_httpx

__all__ = ["HttpxFlavour", "HttpxSession", "observe_failure", "observe_request", "observe_response"]

_BOUNDARY = re.compile(r"boundary=\"?([^\";\r\n]+)")
_DIGEST = re.compile(r'(cnonce|response)="[^"]*"')
_READERS = {"raw": "iter_raw", "bytes": "iter_bytes", "text": "iter_text", "lines": "iter_lines"}
_FEATURES = frozenset({"digest", "http2", "multipart", "proxy", "streams", "raw-stream", "text-stream", "timeouts"})


class HttpxFlavour(HttpFlavour):
    """One of the two libraries in one of its three ways of use.

    Attributes:
        lib: The library's module.
    """

    switches = enable_httpx, disable_httpx

    def __init__(self, library: str, way: str) -> None:
        self.lib: Any = _import(library)
        self.name = f"{library}-{way}"
        self.plugin = "httpx"
        self.way = way
        self.asynchronous = way != "sync"
        self.features = _FEATURES | {library, way, "async" if self.asynchronous else "sync"}
        # What came to httpx2 after the oldest release that is supported.
        self.features |= {name for name in ("sse", "query") if hasattr(self.lib.Client, name)}
        self._originals = _seams(self.lib)

    def run(self, function: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        if self.way == "trio":
            import trio

            return trio.run(function, self)
        return super().run(function)

    def client(self, **options: Any) -> Any:
        """The library's own client, which trusts the tests' certificates unless told otherwise."""
        if not {"transport", "verify"} & options.keys():
            options["verify"] = self.trusting()
        return (self.lib.AsyncClient if self.asynchronous else self.lib.Client)(**options)

    @asynccontextmanager
    async def using(self, client: Any) -> AsyncIterator[Any]:
        """Enter a client or a response context of either kind."""
        if self.asynchronous:
            async with client as entered:
                yield entered
        else:
            with client as entered:
                yield entered

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[HttpxSession]:
        given: dict[str, Any] = {k: options[k] for k in ("headers", "cookies", "http2", "trust_env") if k in options}
        given["follow_redirects"] = options.get("follow", False)
        given["base_url"] = options.get("base_url", self.url(""))
        if "auth" in options:
            given["auth"] = self.auth(options["auth"])
        if "timeout" in options:
            given["timeout"] = self.timeout(options["timeout"])
        if options.get("trusts") is False:
            given["verify"] = True
        if "proxy" in options:
            userinfo = options.get("proxy_userinfo", "")
            given["proxy"] = f"http://{userinfo}127.0.0.1:{self.upstream.port(options['proxy'])}"
        if "max_connections" in options:
            given["limits"] = self.lib.Limits(max_connections=options["max_connections"])
        async with self.using(self.client(**given)) as client:
            yield HttpxSession(self, client)

    def auth(self, auth: tuple[str, ...]) -> Any:
        """The library's object for a neutral ``auth``."""
        scheme, *rest = auth
        return {"basic": self.lib.BasicAuth, "digest": self.lib.DigestAuth}[scheme](*rest)

    def timeout(self, timeout: Any) -> Any:
        """The library's object for a neutral ``timeout``."""
        return self.lib.Timeout(5, **timeout) if isinstance(timeout, dict) else timeout

    def is_untouched(self) -> bool:
        return _seams(self.lib) == self._originals

    def instrumentor(self) -> Any:
        """OpenTelemetry's instrumentor of the library (a singleton)."""
        from opentelemetry.instrumentation import httpx as instrumentation

        name = {"httpx": "HTTPXClientInstrumentor", "httpx2": "HTTPX2ClientInstrumentor"}[self.lib.__name__]
        if not hasattr(instrumentation, name):
            pytest.skip(f"this release of OpenTelemetry's instrumentations does not know {self.lib.__name__}")
        return getattr(instrumentation, name)()


class HttpxSession:
    """One open client.

    Attributes:
        client: The library's own.
    """

    def __init__(self, flavour: HttpxFlavour, client: Any) -> None:
        self.flavour = flavour
        self.client = client

    async def call(self, method: str, target: str, **options: Any) -> Observation:
        try:
            response = await settle(self.client.request(method, target, **self._translated(options)))
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
        response = None
        try:
            stream = self.client.stream(method, target, **self._translated(options))
            async with self.flavour.using(stream) as response:
                seen["head"] = observe_response(response)
                reader = getattr(response, ("a" if self.flavour.asynchronous else "") + _READERS[read])
                items = reader() if read == "lines" else reader(size)
                async for piece in each(items if take != 0 else ()):
                    seen["pieces"].append(piece)
                    if after is not None:
                        after(len(seen["pieces"]))
                    if len(seen["pieces"]) == take:
                        await _close_iterator(items)
                        break
        except ReplayMismatchError:
            raise
        except Exception as error:
            seen["failure"] = observe_failure(error)
        if response is not None:
            seen["end"] = _flags(response)
            seen["elapsed"] = attempt(lambda: response.elapsed)
            seen["content after"] = attempt(lambda: response.content)
        return seen

    def jar(self) -> list[Any]:
        return observe_jar(self.client.cookies)

    def _translated(self, options: dict[str, Any]) -> dict[str, Any]:
        names = {"form": "data", "follow": "follow_redirects"}
        given = {names.get(name, name): value for name, value in options.items()}
        if "auth" in given:
            given["auth"] = self.flavour.auth(given["auth"])
        if "timeout" in given:
            given["timeout"] = self.flavour.timeout(given["timeout"])
        if self.flavour.asynchronous and isinstance(given.get("content"), Pieces):
            given["content"] = given["content"].asynchronous()
        return given


def observe_jar(cookies: Any) -> list[Any]:
    """The cookies of a client or a response, in order."""
    found = [
        (c.name, c.value, c.domain, c.path, c.secure, c.expires, c.discard, c.has_nonstandard_attr("HttpOnly"))
        for c in cookies.jar
    ]
    return sorted(found, key=repr)


def observe_request(request: Any) -> Observation:
    """Everything about a request that does not change by chance."""
    headers = [(name, value.decode("latin-1")) for name, value in request.headers.raw]
    text = repr(headers)
    boundary = _BOUNDARY.search(text)
    return {
        "class": class_name(request),
        "method": request.method,
        "url": str(request.url),
        "headers": _DIGEST.sub(r"\1=…", text.replace(boundary[1], "BOUNDARY") if boundary else text),
        "content": None if boundary else attempt(lambda: request.content),
        "timeout": plain(request.extensions.get("timeout")),
        "stream": class_name(request.stream),
    }


def observe_response(response: Any, deep: bool = True) -> Observation:
    """Everything about a response; its body too where it has been read."""
    seen: Observation = {
        "class": class_name(response),
        "repr": repr(response),
        "status": response.status_code,
        "reason": response.reason_phrase,
        "http version": response.http_version,
        "headers": response.headers.raw,
        "header encoding": response.headers.encoding,
        "content": attempt(lambda: response.content),
        "text": attempt(lambda: response.text),
        "json": attempt(response.json),
        "encoding": attempt(lambda: response.encoding),
        "charset encoding": response.charset_encoding,
        "default encoding": plain(response.default_encoding),
        "cookies": observe_jar(response.cookies),
        "links": plain(response.links),
        "url": str(response.url),
        "flags": _flags(response),
        "elapsed": attempt(lambda: response.elapsed),
        "request": observe_request(response.request),
        "next request": observe_request(response.next_request) if response.next_request else None,
        "raise_for_status": _raise_for_status(response),
        "extensions": {
            key: value
            for key, value in sorted(response.extensions.items())
            if isinstance(value, (bytes, int, str)) and key != "stream_id"
        },
        "stream": [base.__name__ for base in type(response.stream).__mro__],
    }
    if deep:
        seen["history"] = [observe_response(earlier, deep=False) for earlier in response.history]
    return seen


def observe_failure(error: Exception) -> Observation:
    """An error of a call, with the request and the response that hang on it."""
    seen: Observation = {"error": observe_error(error)}
    try:
        request = error.request  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError) as missing:
        seen["request"] = repr(missing)
    else:
        seen["request"] = observe_request(request)
    response = getattr(error, "response", None)
    seen["response"] = response.status_code if response is not None else None
    return seen


def _raise_for_status(response: Any) -> Any:
    try:
        return response.raise_for_status() is response
    except Exception as error:
        return observe_failure(error)


def _flags(response: Any) -> dict[str, Any]:
    names = ("is_closed", "is_stream_consumed", "is_redirect", "has_redirect_location", "is_error", "is_success")
    return {name: getattr(response, name) for name in (*names, "num_bytes_downloaded")}


async def _close_iterator(items: Any) -> None:
    if hasattr(items, "aclose"):
        await items.aclose()
    else:
        items.close()


def _import(library: str) -> ModuleType:
    return importlib.import_module(library)


def _seams(lib: Any) -> tuple[Any, ...]:
    return (
        lib.HTTPTransport.__dict__["handle_request"],
        lib.AsyncHTTPTransport.__dict__["handle_async_request"],
        lib.Client.__dict__["send"],
        lib.AsyncClient.__dict__["send"],
        lib.Client.__dict__["_init_transport"],
        lib.AsyncClient.__dict__["_init_transport"],
    )
