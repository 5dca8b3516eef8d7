"""What a cluster client asked before it did anything else: which node has which slots, and what commands there are.

It may have asked long before a recording began. So the last replies are remembered, and stand as facts in front of
the first command to a cluster in each recording: a client that is made in a replay asks again, as often as it likes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import Recording
from timetracer_otel.libraries.redis.call import LIB, RoundTrip
from timetracer_otel.libraries.redis.commands import Command
from timetracer_otel.libraries.redis.connection_state import ConnectionState
from timetracer_otel.libraries.redis.internals import asks_whether_clustered, url_of
from timetracer_otel.libraries.redis.operation import is_clustered_above
from timetracer_otel.libraries.redis.session_state import session_state
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["add_facts", "asks_for_facts", "claim_facts", "fact_for", "is_question", "remember"]

_FACTS = frozenset({"CLUSTER SLOTS", "COMMAND", "INFO"})
"""Names of the commands that ask for facts (redis-py 5.0 looks into ``INFO`` whether there is a cluster; an app may
look for anything else in it, of one node, at one time).
"""

_QUESTIONS: list[list[Command]] = [[[b"CLUSTER", b"SLOTS"]], [[b"COMMAND"]], [[b"INFO"]]]
_MOST = 64
"""Replies that are remembered: three for each node that was asked."""

_lock = threading.Lock()
_known: dict[tuple[str, bytes], RoundTrip] = {}


def asks_for_facts(connection: Any, packed: Any) -> list[Command] | None:
    """The command, if what is sent asks for such a fact; None otherwise. It looks at no more bytes than it must."""
    head = packed[0] if isinstance(packed, list) and len(packed) == 1 else packed
    if isinstance(head, bytes) and head.startswith(_HEADS):
        asked = next((question for question in _QUESTIONS if head == _pack(question[0])), None)
        return asked if asked is not None and _is_question(connection, asked[0][0].decode()) else None
    return None


def is_question(connection: Any, trip: RoundTrip) -> bool:
    """Whether a command asks for such a fact."""
    method = trip.call().method
    return method in _FACTS and _is_question(connection, method)


def _is_question(connection: Any, name: str) -> bool:
    return name != "INFO" or asks_whether_clustered(connection, is_clustered_above())


def _pack(command: Command) -> bytes:
    words = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)
    return b"*%d\r\n%b" % (len(command), words)


_HEADS = (b"*2\r\n$7\r\nCLUSTER\r\n", b"*1\r\n$7\r\nCOMMAND\r\n", b"*1\r\n$4\r\nINFO\r\n")


def remember(connection: Any, question: list[Command], reply: Any, wait: Callable[[float], Any]) -> None:
    """Keep the reply to such a command."""
    fact = RoundTrip(connection, ConnectionState(), question, url_of(connection), _never, wait, clustered=True)
    fact.is_fact = True
    fact.note(reply, plain=False)
    fact.forget_connection()
    with _lock:
        _known.pop((fact.call().url or "", question[0][0]), None)
        _known[fact.call().url or "", question[0][0]] = fact
        while len(_known) > _MOST:
            _known.pop(next(iter(_known)))


def _never() -> None:
    raise AssertionError("a fact is not asked for")


class _Fact(Recording):
    """A reply of before the recording began."""

    __slots__ = ()

    def result(self) -> EventResult:
        result: EventResult = self.site.result(self)
        return result


def add_facts(session: TraceSession) -> None:
    """Put what is known into a recording, once."""
    with _lock:
        kept = session_state(session)
        if kept.has_facts:
            return
        kept.has_facts = True
        clusters = {url for url, name in _known if name == b"CLUSTER"}
        facts = [fact for (url, _), fact in _known.items() if url in clusters]
    try:
        for fact in facts:
            recording = _Fact(session, fact)
            recording.returned_s = recording.started_s
            session.call_began(recording)
            recording.close(recording.started_s)
    except Exception as fault:
        faults.contain("redis.facts", fault)


def claim_facts(session: ReplaySession) -> None:
    """Claim the events that are facts, once: the app need not ask for them in a replay."""
    kept = session_state(session)
    if not kept.has_facts:
        kept.has_facts = True
        for event in session.events_with("fact"):
            if _is_fact(event):
                session.claim(event)


def fact_for(connection: Any, trip: RoundTrip, session: ReplaySession) -> DependencyEvent | None:
    """The recorded fact that answers a command; None where there is none.

    It is the one of the node that is asked. Where there is none, it is that of any node, but for ``INFO``.
    """
    if not is_question(connection, trip):
        return None
    call = trip.call()
    facts = session.events_with("fact")
    found = [event for event in facts if event.signature.method == call.method and _is_fact(event)]
    here = [event for event in found if event.signature.url == call.url]
    # All nodes say the same of the cluster.
    return next(iter(here or ([] if call.method == "INFO" else found)), None)


def _is_fact(event: DependencyEvent) -> bool:
    if event.signature.lib != LIB:
        return False
    reply = event.result.reply
    return type(reply) is dict and bool(reply.get("fact"))
