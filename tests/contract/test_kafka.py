"""Clients of Kafka keep the contract, with a real broker: aiokafka, confluent-kafka and kafka-python."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import AddingContract
from tests.contract.kafka_flavour import KafkaFlavour
from tests.servers.kafka import needs_kafka

pytestmark = [pytest.mark.timeout(600), needs_kafka]


class TestKafka(AddingContract):
    flavour: ClassVar[KafkaFlavour] = KafkaFlavour()
    cases = flavour.cases
