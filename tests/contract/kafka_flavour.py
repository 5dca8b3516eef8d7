"""Clients of Kafka in the words of the contract: aiokafka, confluent-kafka and kafka-python, with one broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiokafka.client
import aiokafka.consumer.consumer
import aiokafka.producer.producer
import kafka.consumer.group
import kafka.producer.kafka
from confluent_kafka import cimpl
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.contract.framework import Case, Flavour, methods_of
from tests.contract.kafka_cases import CASES, TOPICS
from tests.servers.kafka import Kafka
from timetracer_otel.plugins import (
    disable_aiokafka,
    disable_confluent_kafka,
    disable_kafka_python,
    enable_aiokafka,
    enable_confluent_kafka,
    enable_kafka_python,
)

__all__ = ["FLAVOUR", "KafkaFlavour", "with_topics"]

_MODULES = (
    aiokafka.client,
    aiokafka.consumer.consumer,
    aiokafka.producer.producer,
    kafka.consumer.group,
    kafka.producer.kafka,
)


def with_topics(server: Kafka) -> None:
    """Make the topics of the cases."""
    admin = AdminClient({"bootstrap.servers": server.address})
    made = [NewTopic(name, count, 1, config=settings) for name, (count, settings) in TOPICS.items()]
    for each in admin.create_topics(made).values():
        each.result(30)


class KafkaFlavour(Flavour):
    """All of them."""

    name = "kafka"
    all_replayable = True

    def __init__(self) -> None:
        self._server: Kafka | None = None
        self._runs = False
        self._elsewhere: str | None = None
        self._untouched = self._functions()

    @staticmethod
    def _functions() -> dict[Any, Any]:
        in_c = {each.__name__: dict(vars(each)) for each in (cimpl.Producer, cimpl.Consumer)}
        return {**methods_of(*_MODULES), **in_c}

    @property
    def cases(self) -> list[Case]:
        """All cases, each of which makes its own clients."""
        return CASES.cases

    @property
    def server(self) -> Kafka:
        """The broker."""
        assert self._server is not None
        return self._server

    @property
    def url(self) -> str:
        """Where the broker listens."""
        return self.server.address if self._elsewhere is None else self._elsewhere

    def start(self, folder: Path) -> None:
        self._server = Kafka()
        self._runs = True

    def reset(self) -> None:
        if self._runs:
            self.server.forget()
            with_topics(self.server)

    def stop(self) -> None:
        self._runs = False
        self.server.stop()

    def tear_down(self) -> None:
        if self._server is not None:
            self.stop()

    def enable(self) -> None:
        enable_aiokafka()
        enable_confluent_kafka()
        enable_kafka_python()

    def disable(self) -> None:
        disable_aiokafka()
        disable_confluent_kafka()
        disable_kafka_python()

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


FLAVOUR = KafkaFlavour
