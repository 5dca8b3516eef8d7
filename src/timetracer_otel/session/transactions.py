"""Which statement of a recording the beginning or the end of a database transaction stands next to."""

from __future__ import annotations

from collections.abc import Iterable

from timetracer_otel.cassette.boundaries import BEGIN
from timetracer_otel.session.base import PendingCall

__all__ = ["Transaction", "Transactions", "statements_of_boundaries"]


class Transaction:
    """Stands for one transaction on one connection, from its beginning to its end."""

    __slots__ = ()


class Transactions:
    """Tells which transaction is under way on a connection that is recorded. Used by one thread at a time, as the
    connection is.
    """

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current = Transaction()
        """The one that the next call belongs to, whether it has begun or not."""

    def next(self) -> Transaction:
        """Begin another one, and give it."""
        self.current = made = Transaction()
        return made

    def ended(self) -> Transaction:
        """End the one that is under way, and give it."""
        ended, self.current = self.current, Transaction()
        return ended


def statements_of_boundaries(calls: Iterable[PendingCall]) -> dict[int, int]:
    """By the position of a call that began or ended a transaction: that of the statement next to it.

    What stands next to no statement that has ended under the same spans is left out: its event cannot be made of
    another one.

    Args:
        calls: In the order in which they began.
    """
    found: dict[int, int] = {}
    begun: dict[object, PendingCall] = {}
    latest: dict[object, PendingCall] = {}
    for call in calls:
        transaction = call.transaction
        if transaction is None:
            continue
        if call.boundary == BEGIN:
            begun[transaction] = call
        elif call.boundary is not None:
            # One statement has one end.
            statement = latest.pop(transaction, None)
            if statement is not None and statement.path == call.path:
                found[call.eid] = statement.eid
        elif call.ended_s is not None:
            latest[transaction] = call
            beginning = begun.pop(transaction, None)
            if beginning is not None and beginning.path == call.path:
                found[beginning.eid] = call.eid
        else:
            begun.pop(transaction, None)
            latest.pop(transaction, None)
    return found
