"""Which method of a client runs now: what it is about to send is known before there is a connection."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.libraries.redis.commands import Command
from timetracer_otel.libraries.redis.internals import Described, packed

__all__ = ["Operation", "operation_above"]


class Operation(NamedTuple):
    """A client's method that runs.

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


operation_above: Final[CallAbove[Operation]] = CallAbove("redis-operation")
"""Set while a client's method runs: a connection that is made meanwhile is part of it."""
