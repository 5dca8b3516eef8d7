"""WebSockets keep the contract, of each client."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import AddingContract
from tests.contract.websocket_flavour import (
    AiohttpSockets,
    BlockingWebsockets,
    WebSocketClient,
    Websockets,
    has_blocking_websockets,
)

pytestmark = pytest.mark.timeout(600)


class TestAiohttpSockets(AddingContract):
    flavour: ClassVar[AiohttpSockets] = AiohttpSockets()
    cases = flavour.cases


class TestWebsockets(AddingContract):
    flavour: ClassVar[Websockets] = Websockets()
    cases = flavour.cases


if has_blocking_websockets:

    class TestBlockingWebsockets(AddingContract):
        flavour: ClassVar[BlockingWebsockets] = BlockingWebsockets()
        cases = flavour.cases


class TestWebSocketClient(AddingContract):
    flavour: ClassVar[WebSocketClient] = WebSocketClient()
    cases = flavour.cases
