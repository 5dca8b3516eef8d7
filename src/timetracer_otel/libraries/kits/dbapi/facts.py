"""What a library knows about a server, in the cassette: a replay has no server that the library could ask.

A library may learn about its server long before a recording begins (an ORM asks for its version when an engine
connects for the first time). So the first event of a database in a recording carries these facts, whatever the event
is about. A number tells databases with the same URL apart: an app may have two engines for one URL, configured
differently.
"""

from __future__ import annotations

import threading
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = ["KNOWN_ABOVE", "first_facts", "is_met", "number_of", "recorded_facts", "untold_facts"]

KNOWN_ABOVE: Final = "known_above"
"""Among the facts: those of the library above (`Target.known_above`)."""


class _State:
    """What a session remembers about the databases of one library. Safe from any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """In a recording, by the owner of a target (for instance an engine): its number. Weak, so that a long
        recording does not keep every engine that the app makes and drops."""
        self.last_number = 0
        self.told: dict[int, int] = {}
        """In a recording, by the number of a database whose facts stand in an event already: how much had been
        learned on the way by then."""
        self.recorded: _RecordedFacts | None = None
        """In a replay: the facts in its cassette; None until somebody looked."""

    def number_of(self, owner: Any) -> int:
        with self.lock:
            number = self.numbers.get(owner)
            if number is None:
                # Not the length of the map: that shrinks when an owner is collected, and two would get one number.
                self.last_number = number = self.numbers[owner] = self.last_number + 1
            return number


class _RecordedFacts:
    """The facts in one cassette. Owners of one URL get them in the order in which they were recorded."""

    def __init__(self, lib: str, session: ReplaySession) -> None:
        self._by_url: dict[str, dict[int, dict[str, Any]]] = {}
        self._given: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
        """By owner. Weak, for the reason given above."""
        self._next: dict[str, int] = {}
        for event in session.events:
            if event.signature.lib == lib and event.signature.url:
                self._by_url.setdefault(event.signature.url, {})
        # Only these are decoded.
        for event in session.events_with("engine"):
            if event.signature.lib == lib and event.signature.url:
                facts_by_number = self._by_url[event.signature.url]
                reply = event.result.reply
                engine = reply.get("engine") if isinstance(reply, dict) else None
                if engine is not None:
                    number, facts = engine["number"], engine["facts"]
                    facts_by_number[number] = _with_more(facts_by_number.get(number, {}), facts)

    def of(self, target: Target) -> dict[str, Any] | None:
        facts_by_number = self._by_url.get(target.url)
        if facts_by_number is None:
            return None
        given = self._given.get(target.owner)
        if given is None:
            position = self._next.get(target.url, 0)
            self._next[target.url] = position + 1
            found = [facts_by_number[number] for number in sorted(facts_by_number)]
            given = self._given[target.owner] = found[min(position, len(found) - 1)] if found else {}
        return given


def _with_more(facts: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Facts, with those that a later event has besides."""
    both = facts.keys() & later.keys()
    merged = {
        name: {**facts[name], **later[name]}
        for name in both
        if isinstance(facts[name], dict) and isinstance(later[name], dict)
    }
    return {**later, **facts, **merged}


def _state_of(session: BaseSession, target: Target) -> _State:
    return session.state(target.lib, _State)


def recorded_facts(session: ReplaySession, target: Target) -> dict[str, Any] | None:
    """What a cassette holds about a database; empty where it holds calls alone, None where it never saw the URL."""
    state = _state_of(session, target)
    with state.lock:
        if state.recorded is None:
            state.recorded = _RecordedFacts(target.lib, session)
        return state.recorded.of(target)


def number_of(session: TraceSession, target: Target) -> int:
    """The number of a database among those that a recording met."""
    return _state_of(session, target).number_of(target.owner)


def is_met(session: TraceSession, target: Target) -> bool:
    """Whether a recording has an event of this database."""
    return target.owner in _state_of(session, target).numbers


def first_facts(number: int, target: Target) -> dict[str, Any] | None:
    """The facts of a connection that was just opened, as they stand in its event; None where there are none."""
    facts = _with_above(target.first_facts(), target)
    return {"number": number, "facts": facts} if facts else None


def _with_above(facts: dict[str, Any] | None, target: Target) -> dict[str, Any] | None:
    return {**(facts or {}), KNOWN_ABOVE: dict(target.known_above)} if target.known_above else facts


def untold_facts(session: TraceSession, target: Target) -> dict[str, Any] | None:
    """The facts for the event of another call; None where this recording holds them already, or there are none."""
    learned = target.how_many_learned + len(target.known_above)
    told = target.told
    if told is not None and told[1] == learned and told[0]() is session:
        return None
    state = _state_of(session, target)
    number = state.number_of(target.owner)
    if state.told.get(number) == learned:
        target.told = ref(session), learned
        return None
    facts = _with_above(target.facts(), target)
    if facts is None:
        return None
    with state.lock:
        state.told[number] = learned
    return {"number": number, "facts": facts}
