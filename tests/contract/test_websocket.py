"""WebSockets keep the contract, of each client."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import AddingContract, Shares
from tests.contract.left_sockets import LEFT_SOCKETS, left_sockets_are_collected
from tests.contract.websocket_flavour import (
    AiohttpSockets,
    BlockingWebsockets,
    WebSocketClient,
    Websockets,
)

__all__ = ["left_sockets_are_collected"]

pytestmark = [pytest.mark.timeout(600), LEFT_SOCKETS]
one_client_a_case = Shares("clients of WebSockets")


@one_client_a_case
class TestAiohttpSockets(AddingContract):
    flavour: ClassVar[AiohttpSockets] = AiohttpSockets()
    cases = flavour.cases


@one_client_a_case
class TestWebsockets(AddingContract):
    flavour: ClassVar[Websockets] = Websockets()
    cases = flavour.cases


@one_client_a_case
class TestBlockingWebsockets(AddingContract):
    flavour: ClassVar[BlockingWebsockets] = BlockingWebsockets()
    cases = flavour.cases


@one_client_a_case
class TestWebSocketClient(AddingContract):
    flavour: ClassVar[WebSocketClient] = WebSocketClient()
    cases = flavour.cases
