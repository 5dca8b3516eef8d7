"""urllib.request in the words of the contract: openers with handlers for cookies, auth, proxies and redirects."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar
from typing import Any

from tests.contract.http_client_flavour import (
    StdlibFlavour,
    observe_jar,
    observe_response,
    observe_stream,
    prepared,
)
from tests.contract.http_flavour import Observation, Pieces
from tests.contract.observation import observe_error
from timetracer_otel import ReplayMismatchError

__all__ = ["UrllibFlavour", "UrllibSession"]


class _Staying(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow no redirect: it is an error then."""


class UrllibFlavour(StdlibFlavour):
    """urllib.request, with an opener of the app's own."""

    name = "urllib-sync"
    features = frozenset({"urllib", "sync", "digest", "proxy", "streams", "timeouts", "raw-stream"})

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[UrllibSession]:
        yield UrllibSession(self, options)


class UrllibSession:
    """One opener.

    Attributes:
        cookies: Its cookies.
    """

    def __init__(self, flavour: UrllibFlavour, options: dict[str, Any]) -> None:
        self.flavour = flavour
        self._options = options
        self.cookies = CookieJar()

    async def call(self, method: str, target: str, **options: Any) -> Observation:
        try:
            response = self._opened(method, target, options)
        except ReplayMismatchError:
            raise
        except Exception as error:
            return _failure(error)
        with response:
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
        return observe_stream(lambda: self._opened(method, target, options), read, size, take, after)

    def jar(self) -> list[Any]:
        return observe_jar(self.cookies)

    def _opened(self, method: str, target: str, options: dict[str, Any]) -> Any:
        url = self.flavour.url(target) if target.startswith("/") else target
        url, headers, body = prepared(method, url, options, self._options)
        if isinstance(body, str):
            body = body.encode()
        elif isinstance(body, Pieces):
            body = iter(body)
        request = urllib.request.Request(url, body, headers, method=method)
        timeout = self.flavour.timeout(options.get("timeout", self._options.get("timeout", 10)))
        try:
            return self._opener(options).open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            # The response of a status that is no success.
            return error

    def _opener(self, options: dict[str, Any]) -> urllib.request.OpenerDirector:
        handlers: list[Any] = [urllib.request.HTTPCookieProcessor(self.cookies)]
        if not options.get("follow", self._options.get("follow", False)):
            handlers.append(_Staying())
        if self._options.get("trusts", True):
            handlers.append(urllib.request.HTTPSHandler(context=self.flavour.trusting()))
        proxies = {}
        if "proxy" in self._options:
            userinfo = self._options.get("proxy_userinfo", "")
            address = f"http://{userinfo}127.0.0.1:{self.flavour.upstream.port(self._options['proxy'])}"
            proxies = {"http": address, "https": address}
        handlers.append(urllib.request.ProxyHandler(proxies))
        auth = options.get("auth", self._options.get("auth"))
        if auth is not None and auth[0] == "digest":
            passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
            passwords.add_password(None, self.flavour.url("/"), auth[1], auth[2])
            handlers.append(urllib.request.HTTPDigestAuthHandler(passwords))
        return urllib.request.build_opener(*handlers)


def _failure(error: Exception) -> Observation:
    seen: Observation = {"error": observe_error(error)}
    reason = getattr(error, "reason", None)
    if isinstance(reason, Exception):
        seen["reason"] = observe_error(reason, outermost=False)
    return seen
