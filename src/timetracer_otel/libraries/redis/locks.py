"""Locks: redis-py makes up a token by chance for each acquisition; a replay gives it the recorded one.

The token stands in the commands of a lock (``SET … NX``, the release script). With another token they would find no
recorded answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from timetracer_otel.calls.flow import replays
from timetracer_otel.libraries.redis.call import LIB
from timetracer_otel.libraries.redis.commands import text
from timetracer_otel.libraries.redis.internals import lock_name, token_of
from timetracer_otel.libraries.redis.session_state import session_state
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["with_recorded_token"]


def with_recorded_token(
    session: BaseSession, acquire: Any, lock: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments for ``Lock.acquire``: in a replay with the token that this acquisition had, if none is given."""
    if not replays(LIB, session) or token_of(acquire, lock, args, kwargs) is not None:
        return kwargs
    assert isinstance(session, ReplaySession)
    token = _next_token(session, text(lock_name(lock)))
    return kwargs if token is None else {**kwargs, "token": token}


def _next_token(session: ReplaySession, name: str | bytes) -> Any:
    given = session_state(session).given_tokens
    for token in _tokens(session.get_unconsumed_events(), name):
        if token not in given:
            given.add(token)
            return token
    if session.config is not None and session.config.allow_repeats:
        # Behind the last acquisition it is made again, like any other call.
        return next(_tokens(reversed(session.events), name), None)
    return None


def _tokens(events: Iterable[DependencyEvent], name: str | bytes) -> Iterator[Any]:
    """The tokens that a lock was acquired with, or tried to be."""
    for event in events:
        words = event.call.args if event.call is not None else None
        if event.signature.lib != LIB or event.signature.method != "SET" or type(words) is not list:
            continue
        if len(words) > 3 and words[1] == name and "NX" in words[3:]:
            yield words[2]
