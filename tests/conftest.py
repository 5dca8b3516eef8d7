"""What all tests share: faults of ours are raised, the environment says nothing, no session leaks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from timetracer_otel.base import faults
from timetracer_otel.context import get_current_session


@pytest.fixture(scope="session", autouse=True)
def _silent_environment() -> Iterator[None]:
    """Take the settings of whoever runs the tests out of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("TIMETRACER_", "OTEL_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _faults_are_raised() -> Iterator[None]:
    """No test passes over a contained fault of ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "raise_faults", True)
        yield


@pytest.fixture(autouse=True)
def _no_session_leaks() -> Iterator[None]:
    """Every test starts and ends outside any session."""
    assert get_current_session() is None
    yield
    assert get_current_session() is None
