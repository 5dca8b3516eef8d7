"""What drivers learn about types of the server, when an app registers how values of a type are read.

An app asks when a connection is set up, past every library: pgvector's ``register_vector`` does so in a listener of
the pool. A replay may open its connection where the recording had one already. So the answers are facts of the
database, which each recording holds, and no calls of one recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import ReplaySession

__all__ = ["TYPES", "belongs_to", "how_many_learned", "learned", "recorded_types", "with_types"]

TYPES: Final = "timetracer_types"
"""Key among the facts of a database: what is known about its types."""

_owners: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""By the driver's connection: what learns from its server. Weak, as pools own their connections."""
_learned: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""By the same owner: the answers by question. An engine asks once for all the sessions that come after."""


def belongs_to(connection: Any, owner: Any) -> None:
    """Note whose connection of a driver this is, before the app sets it up."""
    _owners[connection] = owner


def learned(connection: Any, question: str, answer: Any) -> None:
    """Note what the server said about a type, on a connection that `belongs_to` somebody; others are passed over.

    The answer is plain data; None where there is no such type.
    """
    owner = _owners.get(connection)
    if owner is not None:
        _learned.setdefault(owner, {})[question] = answer


def how_many_learned(owner: Any) -> int:
    """How many answers an owner has up to now."""
    return len(_learned.get(owner, ()))


def with_types(facts: dict[str, Any] | None, owner: Any) -> dict[str, Any] | None:
    """The facts of a database, and what was learned about its types; None where there are none."""
    answers = _learned.get(owner)
    return {**facts, TYPES: dict(answers)} if answers and facts is not None else facts


def recorded_types(target: Target) -> Mapping[str, Any]:
    """The answers in the cassette of the replay that is current."""
    session = get_current_session()
    facts = recorded_facts(session, target) if isinstance(session, ReplaySession) else None
    found: Mapping[str, Any] = (facts or {}).get(TYPES, {})
    return found
