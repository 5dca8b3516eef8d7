"""A test without a session whose connections are refused."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from timetracer_otel.pytest_plugin.blocking import Blocking, blocked
from timetracer_otel.pytest_plugin.sessions import TestSession
from timetracer_otel.session import BaseSession
from timetracer_otel.testing import everywhere

__all__ = ["BlockedTest"]


class BlockedTest(TestSession):
    """What stands for the session of such a test.

    Args:
        request: Of a fixture of the test.
        blocking: What the test may connect to.
    """

    def __init__(self, request: pytest.FixtureRequest, blocking: Blocking) -> None:
        self._request = request
        self._allowed = blocking.allowed_hosts
        self._session: BaseSession | None = None
        self._error: BaseException | None = None

    @contextmanager
    def open(self) -> Generator[BaseSession, None, None]:
        """Refuse the connections of this context until the end of the block."""
        block = blocked()
        self._session = session = block.__enter__()
        session.allowed_hosts = self._allowed
        try:
            with everywhere(session, self._request.instance):
                yield session
        finally:
            error = self._error
            block.__exit__(type(error) if error is not None else None, error, None)

    def _judge(self) -> None:
        refused = getattr(self._session, "blocked", ())
        if refused:
            raise refused[0]
