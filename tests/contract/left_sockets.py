"""What tests of WebSockets leave behind: sockets that their clients do not close."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator

import pytest

from tests.servers.websocket_service import WebSocketService

__all__ = ["LEFT_SOCKETS", "left_sockets_are_collected"]

LEFT_SOCKETS = pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
"""websocket-client does not close the socket of a connection that its server has closed, bare as well."""


@pytest.fixture(scope="module", autouse=True)
def left_sockets_are_collected() -> Iterator[None]:
    """The sockets that a module's tests leave to the garbage collector go before another module's test begins, which
    would fail for their warnings. To be imported by a module of tests.
    """
    yield
    gc.collect()
    # Something may refer to a socket still, such as the traceback of an error that a client keeps.
    for each in gc.get_objects():
        if issubclass(type(each), socket.socket) and _leads_to_service(each):
            each.close()


def _leads_to_service(connection: socket.socket) -> bool:
    try:
        return connection.getpeername() in WebSocketService.addresses
    except OSError:
        return False
