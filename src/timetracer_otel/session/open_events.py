"""`OpenEvents`: the events of open calls, which are written from what was noted of the calls.

Most events of a recording are written, and nobody ever reads them. So an event of an open call is a `NotedEvent`: it
holds what the plugin noted, and its bytes are made of that. The objects of `timetracer_otel.types` are made when
somebody asks for them, by the same way as those of all other events.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from timetracer_otel.base import faults
from timetracer_otel.cassette import Unencodable
from timetracer_otel.cassette.codec import packed_headers
from timetracer_otel.cassette.costs import OwnCosts
from timetracer_otel.cassette.model import encode_notes, listed_pseudonyms
from timetracer_otel.cassette.scan import MAX_DEPTH, Survey
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import BodyEnd, CapturePolicy
from timetracer_otel.match.signature import Signer
from timetracer_otel.session.call_times import Times
from timetracer_otel.session.open_calls import OpenCall
from timetracer_otel.types import Call, DependencyEvent, EventResult, HeaderMap, NotedEvent, SpanFacts

__all__ = ["Notes", "OpenEvents"]

Notes: TypeAlias = tuple[Call, EventResult, SpanFacts | None, tuple[str, ...], OpenCall]
"""Of a call that was answered: the call, its result, its span, the names of the spans around it, and what it is as an
open call. A plain tuple, as these are."""
_Make: TypeAlias = Callable[[DependencyEvent, Notes], DependencyEvent]


class OpenEvents:
    """Makes the events of open calls by the settings of one recording. Safe from any thread.

    Args:
        config: The settings.
        signer: Makes the signatures of calls in which nothing is looked for.
        make: Makes the whole event of notes, with the position and the times of another one.
    """

    def __init__(self, config: TraceConfig, signer: Signer, make: _Make) -> None:
        self._keeps_sent = config.store_request_body is CapturePolicy.ALWAYS
        self._keeps_received = config.store_response_body is CapturePolicy.ALWAYS
        self._most_bytes = config.max_body_bytes
        self._signer = signer
        self._make = make
        # It can be entered twice: a collector of garbage may run in between, and with it anybody's code.
        self._lock = threading.RLock()

    def takes(self, call: Call, result: EventResult) -> bool:
        """Whether an open call has an event that is written from notes: it can be replayed, and all of it is kept."""
        body, sent = result.body, call.body
        if result.exception is not None or result.error or result.error_type or call.body_end is not BodyEnd.COMPLETE:
            return False
        if call.too_long_bytes is not None or (sent and not (self._keeps_sent and len(sent) <= self._most_bytes)):
            return False
        if body is None:
            return True
        data, size = body.data, body.size_bytes
        if data is not None and type(data) is not bytes:
            return False
        return (
            self._keeps_received
            and body.captured
            and not body.truncated
            and body.error is None
            and (size or 0) <= self._most_bytes
            and (not data or len(data) <= self._most_bytes)
        )

    def packed(self, event: DependencyEvent, notes: Notes, own: OwnCosts | None) -> bytes | None:
        """The bytes of an event; None where it must be made whole for that."""
        try:
            return self._packed(event, notes, own)
        except Exception as error:
            # The other events of the recording are not affected.
            faults.contain("event", error)
            return None

    def _packed(self, event: DependencyEvent, notes: Notes, own: OwnCosts | None) -> bytes | None:
        call, result, facts, path, (sent, _, received, attributes) = notes
        signer, url, query, body_hash, data, digest = self._signer, None, None, None, None, None
        survey = Survey()
        names, costs = None, 0
        sent_data = sent_digest = None
        reply = result.reply
        try:
            if reply is not None:
                survey.look_at(reply, MAX_DEPTH)
            if survey.doubtful:
                return None
            if call.url is not None:
                target = signer.target(call.url)
                url, query = target.url or None, target.query
            if call.args is not None:
                body_hash = signer.arguments_hash(call.lib, call.args)
            if call.body:
                made = signer.redacted(call)
                sent_data, sent_digest = call.body, made.body_digest
                if call.args is None:
                    body_hash = made.body_hash
            sent_headers, costs = packed_headers(sent)
            received_headers = None
            headers = result.headers
            if received is not None:
                received_headers, more = packed_headers(received)
                costs += more
            elif type(headers) is HeaderMap:
                received_headers, more = packed_headers(headers.pairs)
                costs += more
            elif headers:
                return None
            body = result.body
            if body is not None:
                data = body.data or b""
                digest = hashlib.sha256(data).hexdigest() if data else None
            if event.pseudonyms:
                names, more = listed_pseudonyms(event.pseudonyms)
                costs += more
        except (Unencodable, TypeError, ValueError, AttributeError, RuntimeError):
            # To make the event whole meets the same fault, which is contained there.
            return None
        packed = encode_notes(
            (
                *(event.eid, event.start_offset_ms, event.duration_ms),
                *(call, url, query, body_hash),
                *(result, received_headers, body, data, digest),
                *(sent_headers, sent_data, sent_digest),
                *(facts, attributes, path, names, event.transaction, event.ended_ms),
            ),
            reply,
            survey,
        )
        if packed is None:
            return None
        event_bytes, more = packed
        if own is not None:
            own.clear()
            own.add_surveyed(survey.items, survey.containers, survey.pairs, len(event_bytes), costs + more)
        return event_bytes

    def fill(self, event: DependencyEvent, notes: Notes, name: str) -> None:
        """Make an event whole, if it still lacks the part ``name``."""
        with self._lock:
            if event.lacks(name):
                event.complete(self._make(event, notes))

    def may_hold_body(self, notes: Notes) -> bool:
        """Whether the call has a body."""
        return bool(notes[0].body)

    def facts(self, notes: Notes) -> SpanFacts | None:
        """The facts of the event's span, whose attributes may not be redacted."""
        return notes[2]

    def of(self, eid: int, times: Times, notes: Notes) -> NotedEvent:
        """The event of a call that `takes` has accepted."""
        start_ms, duration_ms, ended_ms = times
        return NotedEvent.of(eid, notes[0].event_type, start_ms, duration_ms, notes[4][1], self, notes, ended_ms)


def facts_in(event: DependencyEvent) -> SpanFacts | None:
    """The facts of an event's span, without making the event whole. Its attributes may not be redacted."""
    noted = event.notes() if isinstance(event, NotedEvent) else None
    if noted is None:
        return event.span
    facts: SpanFacts | None = noted[0].facts(noted[1])
    return facts


def copy_of(event: DependencyEvent, eid: int) -> DependencyEvent:
    """A copy of an event, with another position, without making the event whole. The beginning and the end of a
    transaction are no part of it.
    """
    noted = event.notes() if isinstance(event, NotedEvent) else None
    if noted is None:
        return replace(event, eid=eid, transaction=())
    times = event.start_offset_ms, event.duration_ms
    return NotedEvent.of(eid, event.event_type, *times, event.pseudonyms, *noted, event.ended_ms)
