"""Which servers a client knows in a replay: those that the recorded one was connected to, as they greeted it."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Final

from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.libraries.pymongo import internals
from timetracer_otel.libraries.pymongo.call import LIB, SelectionSite
from timetracer_otel.libraries.pymongo.documents import restored_document
from timetracer_otel.session import ReplaySession

__all__ = ["for_real_above", "hello_at", "is_held", "release", "selected"]

for_real_above: Final[CallAbove[bool]] = CallAbove("pymongo-for-real")
"""Set while a replay looks for servers, or connects, for real: for calls that its cassette does not hold."""
_telling_above: Final[CallAbove[bool]] = CallAbove("pymongo-telling")
"""Set while a replay tells a client of a server."""
_HELD: Final = "_timetracer_held"
_Address = tuple[str, "int | None"]


@dataclass(slots=True)
class _Greetings:
    """The greetings in one cassette, by address; None until somebody looked."""

    by_address: dict[_Address, bytes] | None = None


def hello_at(session: ReplaySession, address: _Address) -> bytes | None:
    """What the server at an address said when it was greeted; None where the cassette does not tell.

    A server that listens at another port than when it was recorded is the same one.
    """
    kept = session.state(LIB, _Greetings)
    if kept.by_address is None:
        kept.by_address = {}
        for event in session.events_with("hello"):
            reply = event.result.reply
            if event.signature.lib == LIB and type(reply) is dict and "hello" in reply:
                kept.by_address.setdefault(tuple(reply["address"]), restored_document(reply["hello"]))
    found = kept.by_address.get(address)
    if found is not None:
        return found
    host, port = address
    others = (
        hello
        for (other, at), hello in kept.by_address.items()
        if (at is None and port is None) or (other == host and None not in (at, port))
    )
    return next(others, None)


def selected(session: ReplaySession, topology: Any, selector: Any, address: Any, site: SelectionSite) -> Flow:
    """Choose a server in a replay: pymongo does that itself, among the servers that the cassette tells of.

    Args:
        session: The replay.
        topology: The servers that the client knows.
        selector: Says which of them will do.
        address: Of the one that is wanted; None for any.
        site: This choice.
    """
    if internals.is_closed(topology):
        return (yield site.live)
    if session.holds_method(LIB, "SELECT") and _fails_now(session, site):
        return (yield from flow(site, session))
    if any(hello_at(session, address) for address in topology.description.server_descriptions()):
        vars(topology)[_HELD] = weakref.ref(session)
    # A greeting may tell of further servers.
    asked: set[Any] = set()
    while (unknown := _unknown(topology, session, asked)) is not None:
        asked.add(unknown[0])
        described = internals.description_of(topology, *unknown)
        yield from _telling_above.around(True, AppStep(topology.on_change, described))
    if internals.selects_any(topology, selector, address):
        return (yield site.live)
    try:
        return (yield from flow(site, session))
    except Exception:
        # The app would get pymongo's error, with the text of the miss.
        miss = internals.miss_of(topology)
        if miss is None:
            raise
        raise miss from None


def _unknown(topology: Any, session: ReplaySession, asked: set[Any]) -> tuple[Any, bytes] | None:
    """A server that nothing is known of yet, and its greeting."""
    for address, known in topology.description.server_descriptions().items():
        if not known.is_server_type_known and address not in asked:
            hello = hello_at(session, address)
            if hello is not None:
                return address, hello
    return None


def _fails_now(session: ReplaySession, site: SelectionSite) -> bool:
    """Whether this choice is the next one that failed: all that was recorded before it has been answered."""
    event = session.upcoming(site.redacted(session), hooks.whereabouts(None).path())
    return event is not None and not any(
        earlier.signature.lib == LIB and earlier.eid < event.eid for earlier in session.get_unconsumed_events()
    )


def is_held(topology: Any) -> bool:
    """Whether a replay says what is known of the servers: what a monitor of before it finds out is left out."""
    if _telling_above.get():
        return False
    held = vars(topology).get(_HELD)
    return held is not None and held() is not None


def release(topology: Any) -> None:
    """What is known of the servers comes from them again."""
    if vars(topology).pop(_HELD, None) is not None:
        internals.request_checks(topology)
