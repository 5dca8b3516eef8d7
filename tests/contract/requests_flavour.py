"""requests in the words of the contract."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from tests.contract.http_flavour import HttpFlavour, Observation, Pieces
from tests.contract.observation import attempt, class_name, observe_error, plain
from timetracer_otel import ReplayMismatchError
from timetracer_otel.plugins import disable_requests, enable_requests

__all__ = ["RequestsFlavour", "RequestsSession", "observe_failure", "observe_request", "observe_response", "steady"]

_BOUNDARY = re.compile(r"boundary=\"?([^\";\r\n']+)")
_DIGEST = re.compile(r'(cnonce|response)="[^"]*"')
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_FEATURES = frozenset(
    {"requests", "sync", "digest", "multipart", "proxy", "streams", "raw-stream", "text-stream", "timeouts"}
)


def steady(value: Any) -> Any:
    """An observation without the addresses of objects."""
    if isinstance(value, str):
        return _ADDRESS.sub("0x…", value)
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(steady, value))
    return value


class RequestsFlavour(HttpFlavour):
    """The one way in which requests is used."""

    name = "requests-sync"
    plugin = "requests"
    switches = enable_requests, disable_requests
    features = _FEATURES
    asynchronous = False

    def __init__(self) -> None:
        self._originals = _seams()

    def session(self) -> Any:
        """The library's own session, which trusts the tests' certificates."""
        session = requests.Session()
        session.verify = str(getattr(self.upstream, "authority", "")) or True
        return session

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[RequestsSession]:
        with self.session() as session:
            session.headers.update(options.get("headers", {}))
            session.cookies.update(options.get("cookies", {}))
            session.trust_env = options.get("trust_env", True)
            session.max_redirects = 20
            if "auth" in options:
                session.auth = self.auth(options["auth"])
            if options.get("trusts") is False:
                session.verify = True
            if "proxy" in options:
                userinfo = options.get("proxy_userinfo", "")
                address = f"http://{userinfo}127.0.0.1:{self.upstream.port(options['proxy'])}"
                session.proxies = {"http": address, "https": address}
            if "max_connections" in options:
                for scheme in ("http://", "https://"):
                    session.mount(scheme, HTTPAdapter(pool_maxsize=options["max_connections"]))
            defaults = {"allow_redirects": options.get("follow", False)}
            defaults["timeout"] = self.timeout(options.get("timeout", 10))
            yield RequestsSession(self, session, defaults)

    def auth(self, auth: tuple[str, ...]) -> Any:
        """The library's object for a neutral ``auth``."""
        scheme, *rest = auth
        return {"basic": HTTPBasicAuth, "digest": HTTPDigestAuth}[scheme](*rest)

    def timeout(self, timeout: Any) -> Any:
        """The library's value for a neutral ``timeout``; writing is under the one for connecting."""
        if isinstance(timeout, dict):
            return (timeout.get("connect", timeout.get("write", 5)), timeout.get("read", 5))
        return timeout

    def is_untouched(self) -> bool:
        return _seams() == self._originals

    def instrumentor(self) -> Any:
        from opentelemetry.instrumentation.requests import RequestsInstrumentor

        return RequestsInstrumentor()


class RequestsSession:
    """One open session.

    Attributes:
        session: The library's own.
    """

    def __init__(self, flavour: RequestsFlavour, session: requests.Session, defaults: dict[str, Any]) -> None:
        self.flavour = flavour
        self.session = session
        self._defaults = defaults

    async def call(self, method: str, target: str, **options: Any) -> Observation:
        try:
            response = self.session.request(method, self._url(target), **self._translated(options))
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
            given = self._translated(options)
            with self.session.request(method, self._url(target), stream=True, **given) as response:
                seen["head"] = observe_response(response, read=False)
                items = _reader(response, read, size)
                for piece in items if take != 0 else ():
                    seen["pieces"].append(piece)
                    if after is not None:
                        after(len(seen["pieces"]))
                    if len(seen["pieces"]) == take:
                        items.close()  # type: ignore[attr-defined]
                        break
        except ReplayMismatchError:
            raise
        except Exception as error:
            seen["failure"] = observe_failure(error)
        if response is not None:
            seen["end"] = _flags(response)
            seen["content after"] = attempt(lambda: response.content)
        return steady(seen)

    def jar(self) -> list[Any]:
        return observe_jar(self.session.cookies)

    def _url(self, target: str) -> str:
        return self.flavour.url(target) if target.startswith("/") else target

    def _translated(self, options: dict[str, Any]) -> dict[str, Any]:
        names = {"form": "data", "content": "data", "follow": "allow_redirects"}
        given = {**self._defaults, **{names.get(name, name): value for name, value in options.items()}}
        if "auth" in given:
            given["auth"] = self.flavour.auth(given["auth"])
        given["timeout"] = self.flavour.timeout(given["timeout"])
        if isinstance(given.get("data"), Pieces):
            given["data"] = iter(given["data"])
        return given


def _reader(response: requests.Response, read: str, size: int | None) -> Iterator[Any]:
    if read == "raw":
        return iter(response.raw.stream(size or 2**16, decode_content=False))
    if read == "lines":
        return iter(response.iter_lines(decode_unicode=True))
    return iter(response.iter_content(size, decode_unicode=read == "text"))


def observe_jar(cookies: Any) -> list[Any]:
    """The cookies of a session or a response, in order."""
    found = [
        (c.name, c.value, c.domain, c.path, c.secure, c.expires, c.discard, c.has_nonstandard_attr("HttpOnly"))
        for c in cookies
    ]
    return sorted(found, key=repr)


def observe_request(request: Any) -> Observation:
    """Everything about a request that does not change by chance."""
    if request is None:
        return {"class": None}
    text = repr(list(request.headers.items()))
    boundary = _BOUNDARY.search(text)
    return {
        "class": class_name(request),
        "method": request.method,
        "url": request.url,
        "path_url": request.path_url,
        "headers": _DIGEST.sub(r"\1=…", text.replace(boundary[1], "BOUNDARY") if boundary else text),
        "body": None if boundary else plain(request.body),
        "hooks": [getattr(hook, "__name__", "?") for hook in request.hooks["response"]],
    }


def observe_raw(raw: Any) -> Observation:
    """What hangs on a response below requests."""
    original = raw._original_response
    return {
        "class": class_name(raw),
        "version": raw.version,
        "version string": getattr(raw, "version_string", None),
        "status": raw.status,
        "reason": raw.reason,
        "headers": (class_name(raw.headers), list(raw.headers.items())),
        "original": (class_name(original), class_name(original.msg), original.msg.items(), original.version),
        "closed": (raw.closed, raw.isclosed(), original.isclosed()),
        "tell": raw.tell(),
        "chunked": (raw.chunked, raw.supports_chunked_reads(), raw.length_remaining),
        "url": raw.geturl(),
        "retries": observe_retries(raw.retries),
        "strict": raw.enforce_content_length,
    }


def observe_retries(retries: Any) -> Any:
    """How a call came to its answer."""
    return [repr(retries), [plain(tuple(step)) for step in retries.history]]


def observe_response(response: Any, deep: bool = True, read: bool = True) -> Observation:
    """Everything about a response; its body too unless it is left unread."""
    seen: Observation = {
        "class": class_name(response),
        "repr": repr(response),
        "status": response.status_code,
        "reason": response.reason,
        "headers": list(response.headers.items()),
        "encoding": response.encoding,
        "cookies": observe_jar(response.cookies),
        "links": plain(response.links),
        "url": response.url,
        "ok": response.ok,
        "redirect": (response.is_redirect, response.is_permanent_redirect),
        "elapsed": attempt(lambda: response.elapsed),
        "request": observe_request(response.request),
        "next request": observe_request(response.next) if response.next else None,
        "raise_for_status": _raise_for_status(response),
        "connection": class_name(response.connection),
        "raw": observe_raw(response.raw),
    }
    if read:
        seen["content"] = attempt(lambda: response.content)
        seen["text"] = attempt(lambda: response.text)
        seen["json"] = attempt(response.json)
        seen["apparent encoding"] = attempt(lambda: response.apparent_encoding)
        seen["raw after"] = observe_raw(response.raw)
        seen["flags"] = _flags(response)
    if deep:
        seen["history"] = [observe_response(earlier, deep=False) for earlier in response.history]
    return steady(seen)


def observe_failure(error: Exception) -> Observation:
    """An error of a call, with the request and the response that hang on it."""
    response = getattr(error, "response", None)
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", None)
    seen: Observation = {
        "error": observe_error(error),
        "request": observe_request(getattr(error, "request", None)),
        "response": response.status_code if response is not None else None,
        "inner": _held(inner),
        "reason": _held(reason),
        "is": [isinstance(error, cls) for cls in (OSError, ValueError, requests.Timeout, requests.ConnectionError)],
    }
    return steady(seen)


def _held(error: Any) -> Any:
    """The pool or connection that an error of urllib3 holds."""
    held = {}
    for name in ("pool", "conn", "url", "original_error", "_message"):
        if name in vars(error) if isinstance(error, BaseException) else False:
            value = getattr(error, name)
            held[name] = [plain(value), getattr(value, "host", None), getattr(value, "port", None)]
    return held


def _raise_for_status(response: requests.Response) -> Any:
    try:
        return response.raise_for_status()
    except requests.HTTPError as error:
        return [observe_error(error), error.response is response, error.request is response.request]


def _flags(response: Any) -> list[Any]:
    return [response._content_consumed, type(response._content).__name__, response.raw.closed]


def _seams() -> tuple[Any, ...]:
    return (
        HTTPAdapter.__dict__["send"],
        HTTPAdapter.__dict__["build_response"],
        requests.Session.__dict__["get_adapter"],
        requests.Session.__dict__["send"],
    )
