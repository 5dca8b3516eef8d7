"""http.client in the words of the contract: an app that keeps its connections open, and follows redirects itself."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import quote_plus, urlencode, urljoin, urlsplit

from tests.contract.http_flavour import HttpFlavour, Observation, Pieces
from tests.contract.observation import attempt, class_name, observe_error, plain
from timetracer_otel import ReplayMismatchError
from timetracer_otel.plugins import disable_urllib, enable_urllib

__all__ = ["HttpClientFlavour", "HttpClientSession", "observe_response", "observe_stream", "observe_jar", "prepared"]

_REDIRECTS = {301, 302, 303, 307, 308}


class StdlibFlavour(HttpFlavour):
    """What the two ways of use share."""

    plugin = "urllib"
    switches = enable_urllib, disable_urllib
    asynchronous = False

    def __init__(self) -> None:
        self._originals = _seams()

    def is_untouched(self) -> bool:
        return _seams() == self._originals

    def instrumentor(self) -> Any:
        from opentelemetry.instrumentation.urllib import URLLibInstrumentor

        return URLLibInstrumentor()

    def timeout(self, timeout: Any) -> Any:
        """The one number that there is, for a neutral ``timeout``."""
        return min(timeout.values()) if isinstance(timeout, dict) else timeout


class HttpClientFlavour(StdlibFlavour):
    """http.client by itself."""

    name = "http.client-sync"
    features = frozenset({"http.client", "sync", "proxy", "streams", "timeouts", "raw-stream"})

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[HttpClientSession]:
        session = HttpClientSession(self, options)
        try:
            yield session
        finally:
            session.close()


class HttpClientSession:
    """What an app would write around http.client: connections that are kept, cookies, redirects."""

    def __init__(self, flavour: HttpClientFlavour, options: dict[str, Any]) -> None:
        self.flavour = flavour
        self._options = options
        self._connections: dict[Any, http.client.HTTPConnection] = {}
        self._cookies = CookieJar()

    async def call(self, method: str, target: str, **options: Any) -> Observation:
        url = self._url(target)
        history: list[Any] = []
        try:
            url, headers, body = prepared(method, url, options, self._options)
            for _ in range(21):
                response, key = self._ask(method, url, headers, body, options)
                location = response.getheader("Location")
                follows = options.get("follow", self._options.get("follow", False)) and location is not None
                if response.status not in _REDIRECTS or not follows:
                    seen = {**observe_response(response), "history": history}
                    if "error" in seen:
                        self.close(own=True)
                    else:
                        self._reuse(key, response)
                    return seen
                history.append(observe_response(response))
                self._reuse(key, response)
                url = urljoin(url, location)
                if response.status in (301, 302, 303) and method != "HEAD":
                    method, body = "GET", None
                    headers = {k: v for k, v in headers.items() if not k.startswith("Content-")}
            raise RuntimeError("redirected too often")
        except ReplayMismatchError:
            raise
        except Exception as error:
            self.close(own=True)
            return {"error": observe_error(error), "history": history}

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
        url, headers, body = prepared(method, self._url(target), options, self._options)
        follows = options.get("follow", self._options.get("follow", False))

        def opened() -> Any:
            current = url
            while True:
                response, key = self._ask(method, current, headers, body, options)
                if not (follows and response.status in _REDIRECTS):
                    return response
                response.read()
                self._reuse(key, response)
                current = urljoin(current, response.getheader("Location") or "")

        seen = observe_stream(opened, read, size, take, after)
        self.close(own=True)
        return seen

    def jar(self) -> list[Any]:
        return observe_jar(self._cookies)

    def close(self, own: bool = False) -> None:
        """Close all connections, or those of this thread."""
        for key in [key for key in self._connections if not own or key[0] == threading.get_ident()]:
            self._connections.pop(key).close()

    def _reuse(self, key: Any, response: Any) -> None:
        if not response.isclosed() or self._server_closes(response):
            self._connections.pop(key).close()

    @staticmethod
    def _server_closes(response: Any) -> bool:
        return response.getheader("Connection") == "close"

    def _url(self, target: str) -> str:
        return self.flavour.url(target) if target.startswith("/") else target

    def _ask(self, method: str, url: str, headers: dict[str, str], body: Any, options: dict[str, Any]) -> Any:
        parts = urlsplit(url)
        timeout = self.flavour.timeout(options.get("timeout", self._options.get("timeout", 10)))
        key = threading.get_ident(), parts.scheme, parts.netloc, timeout
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = self._connection(parts, timeout)
        request = urllib.request.Request(url, headers=headers)
        self._cookies.add_cookie_header(request)
        given = dict(headers)
        if request.has_header("Cookie"):
            given["Cookie"] = request.get_header("Cookie") or ""
        target = parts.path or "/"
        target += f"?{parts.query}" if parts.query else ""
        if "proxy" in self._options and parts.scheme == "http":
            target = url
            given.update(self._proxy_headers())
        if isinstance(body, Pieces):
            body = iter(body)
        connection.request(method, target, body, given)
        response = connection.getresponse()
        self._cookies.extract_cookies(response, request)
        return response, key

    def _connection(self, parts: Any, timeout: float) -> http.client.HTTPConnection:
        host, port = parts.hostname, parts.port
        proxied = "proxy" in self._options
        if proxied:
            host, port = "127.0.0.1", self.flavour.upstream.port(self._options["proxy"])
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        trusts = self._options.get("trusts", True)
        context = self.flavour.trusting() if trusts else None
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        if proxied:
            connection.set_tunnel(parts.hostname, parts.port, headers=self._proxy_headers())
        return connection

    def _proxy_headers(self) -> dict[str, str]:
        userinfo = self._options.get("proxy_userinfo", "").rstrip("@")
        return {"Proxy-Authorization": _basic(userinfo)} if userinfo else {}


def prepared(
    method: str, url: str, options: dict[str, Any], defaults: dict[str, Any]
) -> tuple[str, dict[str, str], Any]:
    """The URL, the headers and the body of a request in neutral words."""
    parts = urlsplit(url)
    headers = {**defaults.get("headers", {}), **options.get("headers", {})}
    auth = options.get("auth", defaults.get("auth"))
    if "@" in parts.netloc:
        userinfo, _, host = parts.netloc.rpartition("@")
        headers["Authorization"] = _basic(userinfo)
        url = parts._replace(netloc=host).geturl()
    elif auth is not None and auth[0] == "basic":
        headers["Authorization"] = _basic(":".join(auth[1:]))
    cookies = {**defaults.get("cookies", {}), **options.get("cookies", {})}
    if cookies and "Cookie" not in headers:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    if options.get("params"):
        query = urlencode(options["params"], doseq=True, quote_via=quote_plus)
        url += f"{'&' if urlsplit(url).query else '?'}{query}"
    body = options.get("content")
    if "json" in options:
        body = json.dumps(options["json"]).encode()
        headers.setdefault("Content-Type", "application/json")
    elif "form" in options:
        body = urlencode(options["form"], doseq=True).encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    return url, headers, body


def _basic(userinfo: str) -> str:
    return f"Basic {base64.b64encode(userinfo.encode()).decode()}"


def observe_jar(cookies: Any) -> list[Any]:
    """The cookies of a jar, in order."""
    return sorted(((c.name, c.value, c.domain, c.path, c.secure, c.expires, c.discard) for c in cookies), key=repr)


def observe_response(response: Any, read: bool = True) -> Observation:
    """Everything about a response; its body too unless it is left unread."""
    seen: Observation = {
        "class": class_name(response),
        "status": response.status,
        "code": response.getcode(),
        "reason": response.reason,
        "version": getattr(response, "version", None),
        "headers": list(response.headers.items()),
        "raw headers": list(response.headers.raw_items()),
        "message": (class_name(response.headers), [class_name(defect) for defect in response.headers.defects]),
        "type": response.headers.get_content_type(),
        "url": response.geturl() if hasattr(response, "url") else None,
        "state": _state(response),
    }
    if read:
        seen["content"] = attempt(response.read)
        # Neither library decodes a body: the app does it.
        is_packed = response.headers.get("Content-Encoding") == "gzip" and isinstance(seen["content"], bytes)
        plainly = attempt(lambda: gzip.decompress(seen["content"])) if is_packed else seen["content"]
        seen["json"] = attempt(lambda: json.loads(plainly))
        seen["state after"] = _state(response)
        if isinstance(plainly, dict):
            seen["error"] = plainly["raises"]
    return seen


def _state(response: Any) -> list[Any]:
    names = ("length", "chunked", "chunk_left", "will_close", "closed", "debuglevel")
    fp = getattr(response, "fp", None)
    return [*(plain(getattr(response, name, None)) for name in names), fp is None]


def observe_stream(
    opened: Callable[[], Any], read: str, size: int | None, take: int | None, after: Callable[[int], None] | None
) -> Observation:
    """A response that is read piece by piece."""
    seen: Observation = {"pieces": []}
    response = None
    try:
        response = opened()
        seen["head"] = observe_response(response, read=False)
        for piece in _pieces(response, size) if take != 0 else ():
            seen["pieces"].append(piece)
            if after is not None:
                after(len(seen["pieces"]))
            if len(seen["pieces"]) == take:
                break
    except ReplayMismatchError:
        raise
    except Exception as error:
        seen["failure"] = {"error": observe_error(error)}
    if response is not None:
        seen["end"] = _state(response)
        response.close()
        seen["behind"] = attempt(response.read)
    return seen


def _pieces(response: Any, size: int | None) -> Iterator[bytes]:
    while piece := response.read1() if size is None else response.read(size):
        yield piece


def _seams() -> tuple[Any, ...]:
    plainly, secure = http.client.HTTPConnection.__dict__, http.client.HTTPSConnection.__dict__
    return (*(plainly[name] for name in ("__init__", "send", "getresponse", "connect", "close")), secure["connect"])
