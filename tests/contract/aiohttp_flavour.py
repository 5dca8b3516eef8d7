"""aiohttp's client, in the words of the contract."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import BaseConnector

from tests.contract.http_flavour import HttpFlavour, Observation, Pieces
from tests.contract.observation import attempt, class_name, observe_error, plain
from timetracer_otel import ReplayMismatchError
from timetracer_otel.plugins import disable_aiohttp, enable_aiohttp

__all__ = ["AiohttpFlavour", "AiohttpSession", "observe_failure", "observe_response", "tried"]

_BOUNDARY = re.compile(r"boundary=\"?([^\";\r\n']+)")
_DIGEST = re.compile(r'(cnonce|response)="[^"]*"')
_FEATURES = frozenset(
    {
        "aiohttp",
        "async",
        "asyncio",
        "digest",
        "multipart",
        "proxy",
        "raw-stream",
        "streams",
        "text-stream",
        "timeouts",
    }
)


class AiohttpFlavour(HttpFlavour):
    """aiohttp under asyncio."""

    switches = enable_aiohttp, disable_aiohttp

    def __init__(self) -> None:
        self.lib: Any = aiohttp
        self.name = "aiohttp"
        self.plugin = "aiohttp"
        self.asynchronous = True
        # Older releases send an empty body again where a generator's is gone.
        self.features = _FEATURES | ({"consumed-bodies"} if _version() >= (3, 14) else set())
        self._originals = _seams()

    def connector(self, **options: Any) -> Any:
        """A connector that trusts the tests' certificates unless told otherwise."""
        return aiohttp.TCPConnector(**{"ssl": self.trusting(), **options})

    def client(self, **options: Any) -> Any:
        """The library's own client, with a jar that takes cookies of addresses."""
        if "connector" not in options:
            options["connector"] = self.connector()
        return aiohttp.ClientSession(**{"cookie_jar": aiohttp.CookieJar(unsafe=True), **options})

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[AiohttpSession]:
        given: dict[str, Any] = {k: options[k] for k in ("headers", "cookies", "trust_env") if k in options}
        limits = {"limit": options["max_connections"]} if "max_connections" in options else {}
        trust = {"ssl": True} if options.get("trusts") is False else {}
        given["connector"] = self.connector(**limits, **trust)
        if "timeout" in options:
            given["timeout"] = _timeout(options["timeout"])
        if "proxy" in options:
            userinfo = options.get("proxy_userinfo", "")
            given["proxy"] = f"http://{userinfo}127.0.0.1:{self.upstream.port(options['proxy'])}"
        _add_auth(given, options.get("auth"))
        async with self.client(**given) as client:
            yield AiohttpSession(self, client, options.get("follow", False))
        # TLS connections are closed in the next turns of the loop, which would end before.
        for _ in range(5):
            await asyncio.sleep(0)

    def is_untouched(self) -> bool:
        return _seams() == self._originals

    def instrumentor(self) -> Any:
        """OpenTelemetry's instrumentor of the library (a singleton)."""
        from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor

        return AioHttpClientInstrumentor()


class AiohttpSession:
    """One open client.

    Attributes:
        client: The library's own.
    """

    def __init__(self, flavour: AiohttpFlavour, client: Any, follow: bool) -> None:
        self.flavour = flavour
        self.client = client
        self.follow = follow

    async def call(self, method: str, target: str, **options: Any) -> Observation:
        response = None
        try:
            response = await self.client.request(method, self._url(target), **self._translated(options))
            await response.read()
        except ReplayMismatchError:
            raise
        except Exception as error:
            seen = observe_failure(error)
            if response is not None:
                seen["answer"] = observe_response(response)
            return seen
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
        given = self._translated(options)
        if read == "raw":
            given["auto_decompress"] = False
        response = None
        try:
            async with self.client.request(method, self._url(target), **given) as response:
                seen["head"] = observe_response(response, arrived=False)
                items = _pieces(response, read, size)
                while take is None or len(seen["pieces"]) < take:
                    try:
                        piece = await items.__anext__()
                    except StopAsyncIteration:
                        break
                    seen["pieces"].append(piece)
                    if after is not None:
                        after(len(seen["pieces"]))
        except ReplayMismatchError:
            raise
        except Exception as error:
            seen["failure"] = observe_failure(error)
        if response is not None:
            seen["end"] = _flags(response)
            seen["exception"] = plain(response.content.exception())
        return seen

    def jar(self) -> list[Any]:
        return observe_jar(self.client.cookie_jar)

    def _url(self, target: str) -> str:
        return target if target.startswith(("http:", "https:")) else self.flavour.url(target)

    def _translated(self, options: dict[str, Any]) -> dict[str, Any]:
        given = dict(options)
        given["allow_redirects"] = given.pop("follow", self.follow)
        content = given.pop("content", None)
        if content is not None:
            given["data"] = _content(content)
        form, files = given.pop("form", None), given.pop("files", None)
        if files is not None:
            given["data"] = _multipart(form or {}, files)
        elif form is not None:
            given["data"] = [(k, item) for k, v in form.items() for item in (v if isinstance(v, list) else [v])]
        if "timeout" in given:
            given["timeout"] = _timeout(given["timeout"])
        _add_auth(given, given.pop("auth", None))
        return given


def _pieces(response: Any, read: str, size: int | None) -> AsyncIterator[Any]:
    content = response.content
    if size is not None:
        return content.iter_chunked(size)
    if read == "lines":
        return content.__aiter__()
    # What `iter_any` joins and what it does not is the network's choice, which differs in every run.
    return _http_chunks(content)


async def _http_chunks(content: Any) -> AsyncIterator[bytes]:
    parts: list[bytes] = []
    async for data, ends in content.iter_chunks():
        parts.append(data)
        # The end of the empty chunk that ends a body is told only where it comes alone.
        if ends and any(parts):
            yield b"".join(parts)
            parts.clear()
    if any(parts):
        yield b"".join(parts)


def _content(content: Any) -> Any:
    if isinstance(content, Pieces):
        return content.asynchronous()
    # Above this size aiohttp warns of bytes that are written at once.
    return io.BytesIO(content) if isinstance(content, bytes) and len(content) > 2**20 else content


def _version() -> tuple[int, ...]:
    return tuple(map(int, aiohttp.__version__.split(".")[:2]))


def _multipart(form: dict[str, Any], files: dict[str, Any]) -> aiohttp.FormData:
    data = aiohttp.FormData()
    for name, value in form.items():
        data.add_field(name, value)
    for name, (filename, content, kind) in files.items():
        data.add_field(name, content, filename=filename, content_type=kind)
    return data


def _timeout(timeout: Any) -> aiohttp.ClientTimeout:
    if not isinstance(timeout, dict):
        return aiohttp.ClientTimeout(total=timeout)
    names: dict[str, str] = {"read": "sock_read", "connect": "sock_connect", "write": "total", "pool": "connect"}
    given: dict[str, Any] = {names.get(str(name), str(name)): value for name, value in timeout.items()}
    return aiohttp.ClientTimeout(**given)


def _add_auth(given: dict[str, Any], auth: tuple[str, ...] | None) -> None:
    if auth is None:
        return
    scheme, user, password = auth
    if scheme == "digest":
        given["middlewares"] = (aiohttp.DigestAuthMiddleware(user, password),)
    else:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        given["headers"] = {**given.get("headers", {}), "Authorization": f"Basic {token}"}


def observe_jar(jar: Any) -> list[Any]:
    """The cookies of a client, in order."""
    return sorted(((c.key, c.value, c.coded_value, sorted(dict(c).items())) for c in jar), key=repr)


def observe_request_info(info: Any) -> Observation:
    """What a response says of its request, without what changes by chance."""
    text = repr(list(info.headers.items()))
    boundary = _BOUNDARY.search(text)
    text = _DIGEST.sub(r"\1=…", text.replace(boundary[1], "BOUNDARY") if boundary else text)
    return {
        "class": class_name(info),
        "method": info.method,
        "url": str(info.url),
        "real url": str(info.real_url),
        "headers class": class_name(info.headers),
        "headers": text,
    }


def observe_response(response: Any, deep: bool = True, arrived: bool = True) -> Observation:
    """Everything about a response; its body too where it has been read.

    Args:
        response: The response.
        deep: With its history.
        arrived: With what tells how much of the body is there, which is the network's choice while it is read.
    """
    body = response._body
    seen: Observation = {
        "class": class_name(response),
        "repr": repr(response),
        "status": response.status,
        "reason": response.reason,
        "version": plain(tuple(response.version)),
        "method": response.method,
        "headers": list(response.headers.items()),
        "raw headers": plain(response.raw_headers),
        "header classes": [class_name(response.headers), class_name(response.raw_headers)],
        "url": str(response.url),
        "real url": str(response.real_url),
        "host": response.host,
        "request info": observe_request_info(response.request_info),
        "content type": response.content_type,
        "content length": response.content_length,
        "charset": response.charset,
        "encoding": attempt(response.get_encoding),
        "disposition": repr(response.content_disposition),
        "links": repr(response.links),
        "cookies": sorted((m.key, m.value, m.OutputString()) for m in response.cookies.values()),
        "flags": _flags(response) if arrived else None,
        "raise_for_status": _raise_for_status(response),
        "reader": class_name(response.content),
        "total bytes": response.content.total_bytes if arrived else None,
        "content": body,
        "text": attempt(lambda: body.decode(response.get_encoding())) if body is not None else None,
        "json": _json(body),
    }
    if deep:
        seen["history"] = [observe_response(earlier, deep=False) for earlier in response.history]
    return seen


def _json(body: bytes | None) -> Any:
    import json

    try:
        return json.loads(body or b"")
    except ValueError:
        return None


def observe_failure(error: Exception) -> Observation:
    """An error of a call, with what hangs on it."""
    seen: Observation = {"error": observe_error(error)}
    for name in (
        "host",
        "port",
        "ssl",
        "errno",
        "strerror",
        "certificate_host",
        "certificate_port",
        "status",
        "message",
    ):
        if hasattr(error, name):
            seen[name] = plain(getattr(error, name))
    if hasattr(error, "_os_error"):
        seen["os_error is the argument and the cause"] = (
            error._os_error is error.args[-1],
            error._os_error is error.__cause__,
            class_name(error._os_error),
        )
    for item in error.args:
        if isinstance(item, ConnectionKey):
            seen["key"] = [plain(part) for part in item]
    if isinstance(error, aiohttp.ClientResponseError):
        seen["request info"] = observe_request_info(error.request_info)
        seen["headers"] = list(error.headers.items()) if error.headers is not None else None
        seen["history"] = [observe_response(earlier, deep=False) for earlier in error.history]
        seen["error"]["repr"] = None
    # A boundary, a context's address: they differ in each run.
    if "ConnectionKey(" in str(error):
        seen["error"] = {**seen["error"], "str": None, "args": None, "repr": None}
    return seen


def _raise_for_status(response: Any) -> Any:
    if response.ok:
        return None
    released, response._in_context = response._in_context, True
    try:
        response.raise_for_status()
    except aiohttp.ClientResponseError as error:
        return [
            class_name(error),
            str(error),
            error.status,
            error.message,
            error.request_info is response.request_info,
        ]
    finally:
        response._in_context = released
    return "nothing raised"


def _flags(response: Any) -> dict[str, Any]:
    content = response.content
    return {
        "closed": response.closed,
        "ok": response.ok,
        "connection": response.connection is not None,
        "eof": content.is_eof(),
        "at eof": content.at_eof(),
    }


async def tried(awaitable: Any) -> Any:
    """What an awaitable gives or raises, observed."""
    try:
        result = await awaitable
    except ReplayMismatchError:
        raise
    except Exception as error:
        return observe_failure(error)
    if isinstance(result, aiohttp.ClientResponse):
        return observe_response(result)
    return plain(result)


def _seams() -> tuple[Any, ...]:
    return (
        aiohttp.ClientSession.__dict__["_request"],
        aiohttp.ClientSession.__dict__["__init__"],
        BaseConnector.__dict__["connect"],
        ResponseHandler.__dict__["set_response_params"],
        aiohttp.ClientRequest.__dict__["write_bytes"],
    )
