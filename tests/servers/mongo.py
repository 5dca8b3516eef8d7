"""A server that speaks MongoDB's protocol, in a process of its own (`mongo_server`)."""

from __future__ import annotations

import pymongo

from tests.servers._process import ServerProcess

__all__ = ["Mongo", "forget"]


def forget(url: str) -> None:
    """Remove everything from a server."""
    client: pymongo.MongoClient[dict[str, object]]
    with pymongo.MongoClient(url) as client:
        client.admin.command("forget")


class Mongo:
    """One server, empty at first."""

    def __init__(self) -> None:
        self._process = ServerProcess("tests.servers.mongo_server")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mongodb://127.0.0.1:{self._process.port('mongo')}/"

    def clear(self) -> None:
        """Remove everything; nothing where it is stopped."""
        if self._process.running:
            forget(self.url)

    def stop(self) -> None:
        """End it. Nobody listens at its port from then on."""
        self._process.stop()

    def close(self) -> None:
        """The same, and let its port go."""
        self._process.close()
