"""Clients of AMQP keep the contract, with a real RabbitMQ: pika, blocking and with asyncio, and aio-pika."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.amqp_flavour import AmqpFlavour
from tests.contract.framework import AddingContract
from tests.servers.rabbitmq import needs_rabbitmq

pytestmark = [pytest.mark.timeout(600), needs_rabbitmq]


class TestAmqp(AddingContract):
    flavour: ClassVar[AmqpFlavour] = AmqpFlavour()
    cases = flavour.cases
