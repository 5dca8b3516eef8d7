"""Who decides on the session of a request that comes in: the process sets it, the two middlewares ask it."""

from __future__ import annotations

from typing import Protocol

from timetracer_otel.incoming.scope import IncomingRequest, RequestScope

__all__ = ["Receiver", "receiver", "set_receiver"]


class Receiver(Protocol):
    """What the middlewares ask (`process.runtime` answers)."""

    @property
    def takes_requests(self) -> bool:
        """Whether each request gets a session of its own, as it comes in."""

    def reads_body_first(self, incoming: IncomingRequest) -> bool:
        """Whether the session depends on the request's body, so that a middleware reads that before it begins."""

    def request_began(self, incoming: IncomingRequest) -> RequestScope | None:
        """A request has come in; None where it gets no session of its own."""


class _Nobody:
    takes_requests = False

    def reads_body_first(self, incoming: IncomingRequest) -> bool:
        return False

    def request_began(self, incoming: IncomingRequest) -> RequestScope | None:
        return None


_receiver: Receiver = _Nobody()


def receiver() -> Receiver:
    """The receiver of this process; one that takes no requests where none was set."""
    return _receiver


def set_receiver(made: Receiver) -> None:
    """Set the receiver of this process."""
    global _receiver
    _receiver = made
