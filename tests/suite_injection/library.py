"""A library whose calls a plugin made of its functions' names records (`function_plugin`)."""

from __future__ import annotations

import asyncio
from urllib.request import urlopen

from timetracer_otel.plugins import function_plugin

__all__ = ["Client", "fetch_async"]


class Client:
    """Reads what a server has."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fetch(self, user: int, *, token: str = "") -> bytes:
        """Read a user; there is none below zero."""
        if user < 0:
            raise ValueError(f"no user {user}")
        with urlopen(f"{self.url}/users/{user}?token={token}") as response:
            found: bytes = response.read()
        return found


async def fetch_async(url: str, user: int) -> bytes:
    """The same, awaited."""
    return await asyncio.to_thread(Client(url).fetch, user)


# Sessions that begin from now on take part.
function_plugin("injected", [f"{__name__}:Client.fetch", f"{__name__}:fetch_async"], packages=["urllib", "http"])
