"""Which method of a client runs now: what it is about to send is known before there is a connection."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.libraries.redis.commands import Command
from timetracer_otel.libraries.redis.internals import Described, packed

__all__ = ["Operation", "commands_above", "is_clustered_above", "operation_above"]


class Operation(NamedTuple):
    """A method of a client.

    Attributes:
        describe: Gives its commands, from the client and its arguments.
        clustered: Whether a cluster client has chosen the node.
    """

    describe: Described
    clustered: bool


_Running: TypeAlias = tuple[Operation, tuple[Any, ...]]
"""A method that runs, and what it was called with; the client comes first."""

operation_above: Final[CallAbove[_Running]] = CallAbove("redis-operation")
"""Set while a client's method runs: a connection that is made meanwhile is part of it."""


def commands_above(connection: Any) -> list[Command] | None:
    """What the method that runs will send on a connection, or would have sent; None where none runs."""
    running = operation_above.get()
    if running is None:
        return None
    operation, (client, *args) = running
    return packed(connection, operation.describe(client, tuple(args)))


def is_clustered_above() -> bool:
    """Whether the method that runs is one of a cluster client, which has chosen the node."""
    running = operation_above.get()
    return running is not None and running[0].clustered
