"""The receiver decides on the session of a request that comes in. The process sets it, the middlewares ask it."""

from __future__ import annotations

from typing import Protocol

from timetracer_otel.incoming.job_scope import IncomingJob, JobScope
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope
from timetracer_otel.session import BaseSession

__all__ = ["Receiver", "RequestReceiver", "receiver", "set_receiver"]


class RequestReceiver(Protocol):
    """The questions of the middlewares, which `process.runtime` answers; of an app's own, `process.app_requests`."""

    @property
    def takes_requests(self) -> bool:
        """Whether requests that come in get a session each; otherwise nothing else is asked."""
        ...

    def reads_body_first(self, incoming: IncomingRequest) -> bool:
        """Whether a middleware must read the body before `request_began`, since the session depends on it."""
        ...

    def request_began(self, incoming: IncomingRequest) -> RequestScope | None:
        """Begin a request that has come in; None where it is not to be noted."""
        ...


class Receiver(RequestReceiver, Protocol):
    """What the seams of the frameworks and of the task queues ask, which `process.runtime` answers."""

    def job_began(self, job: IncomingJob) -> JobScope | None:
        """Begin a job that a worker was given; None where it is not to be noted."""
        ...

    def refusing(self) -> BaseSession | None:
        """In a replay: a session for code whose own could not begin. It refuses each call; None in a recording."""
        ...

    def process_ends(self) -> None:
        """Write everything, as the process ends at once."""
        ...


class _Nobody:
    takes_requests = False

    def reads_body_first(self, incoming: IncomingRequest) -> bool:
        return False

    def request_began(self, incoming: IncomingRequest) -> RequestScope | None:
        return None

    def job_began(self, job: IncomingJob) -> JobScope | None:
        return None

    def refusing(self) -> BaseSession | None:
        return None

    def process_ends(self) -> None:
        pass


_receiver: Receiver = _Nobody()


def receiver() -> Receiver:
    """The receiver of this process; where none was set, one that takes no requests."""
    return _receiver


def set_receiver(made: Receiver) -> None:
    """Set the receiver of this process."""
    global _receiver
    _receiver = made
