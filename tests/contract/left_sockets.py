"""What tests of WebSockets leave behind: sockets that their clients do not close."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

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
