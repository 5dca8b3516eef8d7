"""Which operation of a client is under way: what it is about to send is known before there is a connection."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NamedTuple

from timetracer_otel.libraries.redis.commands import Command
from timetracer_otel.libraries.redis.internals import Described, packed

__all__ = ["Operation", "current_operation"]


class Operation(NamedTuple):
    """A client's method under way.

    Attributes:
        describe: Gives its commands.
        client: The client.
        args: The method's arguments.
        clustered: Whether a cluster client has chosen the node.
    """

    describe: Described
    client: Any
    args: tuple[Any, ...]
    clustered: bool

    def commands(self, connection: Any) -> list[Command]:
        """What it will send on a connection, or would have sent."""
        return packed(connection, self.describe(self.client, self.args))


current_operation: ContextVar[Operation | None] = ContextVar("timetracer-redis-operation", default=None)
