"""What an app may put into aiohttp that aiohttp's own suite and the lines of `tests.lines` try."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL


class NoSuchName(AbstractResolver):
    """Fails as aiohttp's resolver with aiodns does: without a number."""

    async def resolve(self, *_: Any, **__: Any) -> Any:
        raise OSError(None, "Domain name not found")

    async def close(self) -> None: ...


class Opaque:
    """A URL that is no text."""

    def __init__(self, url: URL) -> None:
        self._url = url

    def __getattr__(self, name: str) -> Any:
        return getattr(self._url, name)

    def __str__(self) -> str:
        raise TypeError("a URL of mine is no text")


class OwnRequest(aiohttp.ClientRequest):
    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.url: Any = Opaque(self.url)
