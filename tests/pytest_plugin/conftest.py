"""What all tests of the pytest plugin share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loopback import Loopback


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed beside us is not loaded by the runs of `tests.pytest_plugin._suites`."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    """A server for the test runs that a test starts, which it may stop."""
    with Loopback() as server:
        yield server
