"""What the plugin remembers of one session (`BaseSession.state`)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from timetracer_otel.libraries.redis.call import LIB
from timetracer_otel.session import BaseSession
from timetracer_otel.types import DependencyEvent

__all__ = ["SessionState", "session_state"]


@dataclass
class SessionState:
    """What the plugin remembers of one session."""

    given_tokens: set[Any] = field(default_factory=set)
    """Tokens of locks that a replay has given to an acquisition already."""
    lock_tokens: dict[Any, deque[tuple[DependencyEvent, Any]]] | None = None
    """In a replay, by the name of a lock: its recorded acquisitions and their tokens, but for those at the beginning
    that are known to be taken or given; None until a lock is acquired."""
    last_lock_tokens: dict[Any, Any] | None = None
    """By the name of a lock: the token of its last recorded acquisition, which is repeated behind it; None until that
    is asked for."""
    has_facts: bool = False
    """Whether what is known of clusters stands in this recording, or was claimed in this replay."""
    has_failed_connects: bool | None = None
    """Whether a cassette holds connections that could not be made; None until somebody looked."""


def session_state(session: BaseSession) -> SessionState:
    """What the plugin remembers of this session; begun where it is new."""
    return session.state(LIB, SessionState)
