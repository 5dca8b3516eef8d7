"""Consumers in a replay: they are not started, as there is no cluster."""

from __future__ import annotations

from typing import Final

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import replays
from timetracer_otel.config import job_source
from timetracer_otel.current import is_decided
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["TOPICS", "WITHOUT_BROKER", "begins_without_broker"]

WITHOUT_BROKER: Final = "_timetracer_without_broker"
"""The attribute of a consumer that a replay did not start."""
TOPICS: Final = "_timetracer_topics"
"""The attribute of such a consumer that names its topics, where the library does not keep them."""


def begins_without_broker(lib: str, session: BaseSession) -> bool:
    """Whether a consumer that an app makes or starts now is not to reach a cluster, as it is in a replay.

    What it consumes has recordings of its own, which ``timetracer-otel verify`` gives again. In a session that the
    app has set it is not captured.

    Raises:
        ReplayMismatchError: In such a session.
    """
    if not replays(lib, session):
        return False
    assert isinstance(session, ReplaySession)
    if is_decided():
        raise session.refuse_unseen(
            f"A consumer of {lib} is not captured in a session that is set.",
            f"Consume outside the session. Or name {lib} in live_plugins to consume for real.",
        )
    if job_source() is None:
        faults.logger.warning(
            "timetracer-otel: a consumer of %s gets no messages in this replay. Recorded ones are given to it by "
            "timetracer-otel verify; name %s in live_plugins for those of a broker.",
            lib,
            lib,
        )
    return True
