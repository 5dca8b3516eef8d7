"""Locks: redis-py makes up a token by chance for each acquisition; a replay gives it the recorded one.

The token stands in the commands of a lock (``SET … NX``, the release script). With another token they would find no
recorded answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from timetracer_otel.calls.flow import replays
from timetracer_otel.libraries.redis.call import LIB
from timetracer_otel.libraries.redis.commands import text
from timetracer_otel.libraries.redis.internals import lock_name, token_of
from timetracer_otel.libraries.redis.session_state import session_state
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["next_token", "with_recorded_token"]


def with_recorded_token(
    session: BaseSession, acquire: Any, lock: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments for ``Lock.acquire``: in a replay with the token that this acquisition had, if none is given."""
    if not replays(LIB, session) or token_of(acquire, lock, args, kwargs) is not None:
        return kwargs
    assert isinstance(session, ReplaySession)
    token = next_token(session, text(lock_name(lock)))
    return kwargs if token is None else {**kwargs, "token": token}


def next_token(session: ReplaySession, name: str | bytes) -> Any:
    """The token of the next acquisition of a lock that was recorded, and is still to come; None where there is none.

    Args:
        session: The replay.
        name: The lock's key.
    """
    kept = session_state(session)
    if kept.lock_tokens is None:
        kept.lock_tokens = _by_name(session.get_unconsumed_events())
    waiting = kept.lock_tokens.get(name)
    while waiting:
        event, token = waiting.popleft()
        if token not in kept.given_tokens and not session.is_taken(event):
            kept.given_tokens.add(token)
            return token
    if session.config is not None and session.config.allow_repeats:
        # Behind the last acquisition it is made again, like any other call.
        if kept.last_lock_tokens is None:
            kept.last_lock_tokens = {found: token for _, found, token in _tokens(session.events)}
        return kept.last_lock_tokens.get(name)
    return None


def _by_name(events: Iterable[DependencyEvent]) -> dict[Any, deque[tuple[DependencyEvent, Any]]]:
    found: dict[Any, deque[tuple[DependencyEvent, Any]]] = {}
    for event, name, token in _tokens(events):
        found.setdefault(name, deque()).append((event, token))
    return found


def _tokens(events: Iterable[DependencyEvent]) -> Iterator[tuple[DependencyEvent, Any, Any]]:
    """The events in which a lock was acquired, or somebody tried to, with its name and the token."""
    for event in events:
        # The call of any other event is not decoded.
        if event.signature.lib == LIB and event.signature.method == "SET":
            words = event.call.args if event.call is not None else None
            if type(words) is list and len(words) > 3 and type(words[1]) in (str, bytes) and "NX" in words[3:]:
                yield event, words[1], words[2]
