"""What a server of the tests raises where it cannot be started: `tests.conftest` ends the whole run then."""

from __future__ import annotations

__all__ = ["ServerDidNotStart"]


class ServerDidNotStart(Exception):  # noqa: N818 - it says what happened
    """A server cannot be started here, so that every test that needs it would fail in the same way.

    Args:
        server: Which one.
        reason: What is wrong. Only the last line that says something is kept: that is where servers put the reason.
    """

    def __init__(self, server: str, reason: object) -> None:
        lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
        super().__init__(f"{server} did not start: {lines[-1] if lines else 'it said nothing'}")
