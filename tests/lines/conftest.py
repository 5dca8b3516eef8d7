"""What the tests of this folder share."""

from __future__ import annotations

import pytest

from tests.lines._runs import ROUNDS


@pytest.fixture(params=range(ROUNDS))
def number(request: pytest.FixtureRequest) -> int:
    """Of the round: each has other hash seeds."""
    found: int = request.param
    return found
