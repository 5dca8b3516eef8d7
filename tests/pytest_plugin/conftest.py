"""The fixture that all tests of the pytest plugin share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loopback import Loopback


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    """A server for the test runs that a test starts, which it may stop."""
    with Loopback() as server:
        yield server
