"""Clients of AMQP in the words of the contract: pika, blocking and with asyncio, and aio-pika."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aio_pika.queue
import aiormq.channel
import aiormq.connection
import pika.channel
import pika.compat
import pika.connection
from pika.adapters.utils import connection_workflow

from tests.contract.amqp_cases import CASES
from tests.contract.framework import Case, Flavour, methods_of
from tests.servers.rabbitmq import RabbitMq, Relay
from timetracer_otel.plugins import disable_aio_pika, disable_pika, enable_aio_pika, enable_pika

__all__ = ["FLAVOUR", "AmqpFlavour"]

_MODULES = (aiormq.channel, aiormq.connection, aio_pika.queue, pika.channel, pika.connection, connection_workflow)

_PAIRS = ("nonblocking_socketpair", "_nonblocking_socketpair")
"""By the release of pika."""


class AmqpFlavour(Flavour):
    """All of them, with one broker."""

    name = "amqp"
    all_replayable = True

    def __init__(self) -> None:
        self._server: RabbitMq | None = None
        self._relay: Relay | None = None
        self._elsewhere: str | None = None
        self._untouched = self._functions()

    @staticmethod
    def _functions() -> dict[Any, Any]:
        return {**methods_of(*_MODULES), "pairs": [*map(vars(pika.compat).get, _PAIRS)]}

    @property
    def cases(self) -> list[Case]:
        """All cases, each of which opens its own connections."""
        return CASES.cases

    @property
    def url(self) -> str:
        """Where the broker listens."""
        if self._elsewhere is not None:
            return self._elsewhere
        assert self._relay is not None
        return self._relay.url

    def start(self, folder: Path) -> None:
        self._server = RabbitMq(folder).__enter__()
        self._relay = Relay(self._server.port)

    def reset(self) -> None:
        pass

    def stop(self) -> None:
        assert self._relay is not None
        self._relay.stop()

    def tear_down(self) -> None:
        self.stop()
        if self._server is not None:
            self._server.__exit__(None, None, None)

    def enable(self) -> None:
        enable_pika()
        enable_aio_pika()

    def disable(self) -> None:
        disable_pika()
        disable_aio_pika()

    def is_untouched(self) -> bool:
        return self._functions() == self._untouched

    def perform(self, case: Case) -> Any:
        return case.run(self.url)

    def told(self) -> str:
        """What another process needs to know of the broker."""
        return self.url

    def tell(self, told: str, folder: Path, *, gone: bool) -> None:
        """The broker stands elsewhere. Where it is gone, nobody listens there."""
        self._elsewhere = told


FLAVOUR = AmqpFlavour
