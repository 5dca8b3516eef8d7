"""`EventMaker`: makes the event for the cassette from the raw facts of a call. It signs, redacts, and cuts bodies."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from timetracer_otel.base import faults
from timetracer_otel.base.plugin_names import is_covered_scope, library_of_scope
from timetracer_otel.cassette import Unencodable, check
from timetracer_otel.cassette.boundaries import noted_boundary, span_of_boundary
from timetracer_otel.cassette.sent_rows import with_listed_rows
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import REDACTED, WITHOUT_PLUGIN, BodyEnd, CapturePolicy, EventType
from timetracer_otel.match.signature import Signer
from timetracer_otel.redact import log_texts
from timetracer_otel.redact.errors import SHORTEST_SECRET, Edit, edited, replacing
from timetracer_otel.redact.forms import error_text, form_of
from timetracer_otel.redact.nested import holds_digest
from timetracer_otel.redact.redactor import RedactedBody, Redactor, headers_like
from timetracer_otel.redact.stated import restated
from timetracer_otel.redact.texts import collect
from timetracer_otel.redact.urls import split_url
from timetracer_otel.session.base import PendingCall
from timetracer_otel.session.call_times import Times, times_of
from timetracer_otel.session.observed import event_of_span
from timetracer_otel.session.open_calls import OpenCall, OpenCalls, all_open
from timetracer_otel.session.open_events import Notes, OpenEvents, facts_in
from timetracer_otel.session.secret_book import SecretBook, with_content
from timetracer_otel.types import (
    BodySnapshot,
    Call,
    CallSnapshot,
    DependencyEvent,
    EventResult,
    EventSignature,
    HeaderMap,
    HeaderPairs,
    LogEntry,
    NotedEvent,
    RequestSnapshot,
    ResponseSnapshot,
    SpanFacts,
    header_pairs,
)

__all__ = ["EventMaker"]

log_texts.install()


class EventMaker:
    """Makes events by the settings of one recording. Safe from any thread.

    Args:
        config: The settings.
        rules: Which names are secret.
        masks: Whether secrets are masked, as in the first recordings. Otherwise they get pseudonyms.
        known: Pseudonyms of the cassette that the recording goes on from.
    """

    def __init__(
        self, config: TraceConfig, rules: Redactor, *, masks: bool = False, known: Sequence[str] = ()
    ) -> None:
        self.config = config
        self.rules = rules
        self._masks = masks or not rules.active
        self._known = known
        self._book: SecretBook | None = None
        self._open_calls: OpenCalls | None = None
        self._lock = threading.Lock()

    @property
    def book(self) -> SecretBook | None:
        """The secrets of the recording; None where they are masked. Made when it is first asked for: the app's thread
        makes recordings, and the writer's thread makes events.
        """
        if self._book is None and not self._masks:
            with self._lock:
                if self._book is None:
                    self._book = SecretBook(self.rules, _signer(self.rules), self._known)
        return self._book

    def release(self) -> None:
        """Forget the secrets of a recording that is written."""
        self._book = self._open_calls = None

    @property
    def redactor(self) -> Redactor:
        """Replaces the secrets of the recording."""
        book = self.book
        return self.rules if book is None else book.redactor

    @property
    def signer(self) -> Signer:
        """Makes the signatures of the recording."""
        book = self.book
        return _signer(self.rules) if book is None else book.signer

    def clean(self, events: Sequence[DependencyEvent]) -> None:
        """Replace the secrets that are known by now, wherever they stand in events. The events are changed."""
        book = self.book
        if book is None:
            return
        try:
            book.settle()
        except Exception as error:
            faults.contain("clean", error)
        if book.fault is not None:
            for event in events:
                _empty(event, book.fault)
        if not book.occurrences:
            return
        for event in book.left_of(events):
            try:
                book.clean(event)
            except Exception as error:
                faults.contain("clean", error)
                _empty(event, error)

    def written(self, event: DependencyEvent) -> None:
        """Forget an event that is written and not asked for again, in a recording that writes one after the other."""
        if self._book is not None:
            self._book.has_changed(event)
            # No other event waits to be searched.
            self._book.fault = None

    def events(
        self,
        calls: Sequence[tuple[PendingCall, SpanFacts | None]],
        session_started_s: float,
        session_ended_s: float | None,
    ) -> list[DependencyEvent]:
        """The events of calls, each with the facts of its span, where that has ended. See `event`."""
        book = self.book
        if (book is None and self.rules.active) or (book is not None and book.redactor.has_rules_of_places):
            return [self.event(pending, facts, session_started_s, session_ended_s) for pending, facts in calls]
        events: list[DependencyEvent] = []
        # The events refer to it. The maker does not, since it would be a circle of references.
        open_events = OpenEvents(self.config, _signer(_NO_RULES), self._whole)
        if book is None:
            batches = all_open(calls, self._attributes)
        else:
            if self._open_calls is None or self._open_calls.book is not book:
                self._open_calls = OpenCalls(book)
            batches = self._open_calls.batches(calls, self._attributes)
        for batch, opened, version in batches:
            made = [
                self.event(pending, facts, session_started_s, session_ended_s, call, result)
                if is_open is None or call is None or result is None
                else self._open_event(
                    pending, facts, (call, result, is_open), session_started_s, session_ended_s, open_events
                )
                for (pending, facts, call, result), is_open in zip(batch, opened, strict=True)
            ]
            if version is not None and book is not None and book.occurrences:
                book.are_without([event for event, is_open in zip(made, opened, strict=True) if is_open], version)
            events += made
        return events

    def event(
        self,
        pending: PendingCall,
        facts: SpanFacts | None,
        session_started_s: float,
        session_ended_s: float | None,
        call: Call | None = None,
        result: EventResult | None = None,
    ) -> DependencyEvent:
        """The event of a call that a plugin saw, whether it has ended or not.

        Where a fault of ours keeps the event from being made, an event without an answer takes its place. The other
        events of the recording are not affected.

        Args:
            pending: The call.
            facts: Of its span, where that has ended.
            session_started_s: `time.perf_counter` then.
            session_ended_s: The same; None where the session goes on.
            call: What the call gives, where somebody has asked for it since the call ended.
            result: Its result, where somebody has.
        """
        try:
            return self._event(pending, facts, session_started_s, session_ended_s, call, result)
        except Exception as error:
            faults.contain("event", error)
            return self._failed_event(pending, session_started_s, error)

    def _open_event(
        self,
        pending: PendingCall,
        facts: SpanFacts | None,
        noted: tuple[Call, EventResult, OpenCall],
        session_started_s: float,
        session_ended_s: float | None,
        open_events: OpenEvents,
    ) -> DependencyEvent:
        """The event of a call in which nothing is secret but header lines.

        Args:
            pending: The call.
            facts: Of its span, where that has ended.
            noted: The call as it was made, its result, and what it is as an open call.
            session_started_s: `time.perf_counter` then.
            session_ended_s: The same; None where the session goes on.
            open_events: Makes what can be written from notes.
        """
        try:
            call, result, is_open = noted
            reason = pending.not_replayable
            times = times_of(pending, session_started_s, session_ended_s)
            if facts is None and pending.span_id:
                facts = _span_of(pending)
            notes = call, result, facts, pending.path, is_open
            event = open_events.of(pending.eid, times, notes)
            return event if reason is None and open_events.takes(call, result) else self._whole(event, notes, reason)
        except Exception as error:
            faults.contain("event", error)
            return self._failed_event(pending, session_started_s, error)

    def _whole(self, event: DependencyEvent, notes: Notes, reason: str | None = None) -> DependencyEvent:
        """The event of an open call."""
        times = event.start_offset_ms, event.duration_ms, event.ended_ms
        try:
            return self._made(event.eid, times, notes, reason, None)
        except Exception as error:
            faults.contain("event", error)
            return _failed(event.eid, times, notes[0], error)

    def _failed_event(self, pending: PendingCall, session_started_s: float, error: Exception) -> DependencyEvent:
        try:
            call = pending.call()
        except Exception:
            call = Call("unknown", EventType.CUSTOM, "")
        return _failed(pending.eid, times_of(pending, session_started_s, None), call, error)

    def _event(
        self,
        pending: PendingCall,
        facts: SpanFacts | None,
        session_started_s: float,
        session_ended_s: float | None,
        call: Call | None,
        result: EventResult | None,
    ) -> DependencyEvent:
        book = self.book
        if book is not None:
            book.begin()
        if call is None or result is None:
            call, result = pending.call(), pending.result()
        has_ended, path = pending.ended_s is not None, pending.path
        span = facts
        if span is None and pending.span_id:
            span = _span_of(pending)
        elif span is not None:
            span.attributes = self._attributes(span.attributes)
            self._redact_status(span)
        times = times_of(pending, session_started_s, session_ended_s)
        notes = call, result, span, path, None
        event = self._made(pending.eid, times, notes, pending.not_replayable, book)
        if book is not None:
            # The event of a call under way is made anew each time.
            book.note_forms(event, kept=has_ended)
        return event

    def _made(
        self,
        eid: int,
        times: Times,
        notes: Notes | tuple[Call, EventResult, SpanFacts | None, tuple[str, ...], None],
        reason: str | None,
        book: SecretBook | None,
    ) -> DependencyEvent:
        """The event of what a call and its result are.

        Args:
            eid: Its position.
            times: When it began, how long it took, and when it ended.
            notes: The call and its result, not redacted. Its span, redacted, but for the attributes of that of an
                open call. What it is as an open call, in which nothing is looked for; None for other calls.
            reason: Why it cannot be replayed, as far as that is known.
            book: The secrets of the recording.
        """
        call, result, span, path, is_open = notes
        with_listed_rows(result)
        rules = self.rules if is_open is None else _NO_RULES
        redactor, signer = (rules, _signer(rules)) if book is None else (book.redactor, book.signer)
        if is_open is not None and span is not None and is_open[3] is not None:
            span.attributes = is_open[3]
        if reason is None and call.too_long_bytes is not None:
            reason = f"its request body {self.config.why_too_long(call.too_long_bytes)}"
        pseudonyms: tuple[str, ...] = ()
        if is_open is None:
            made = signer.redacted(call)
        else:
            sent, pseudonyms, received, _ = is_open
            made = signer.redacted(call, sent)
            if received is not None:
                result.headers = HeaderMap(received)
        try:
            signature, args = made.signature, made.args
        except Unencodable as error:
            outlined = made.outlined()
            signature, args = outlined.signature, outlined.args
            if result.exception is None:
                reason = f"its arguments have no faithful encoding: {error}"
            # Otherwise the call failed: a driver refuses what it has no form for. A replay gives that error again.
        if span is not None and span.status_description and args is not None and args != call.args:
            # Errors quote arguments of the failed call. Example: redis-py names the command that it could not send.
            span.status_description = f"{span.status_description.partition(':')[0]}: {REDACTED}"
        edits = []
        if result.exception is not None:
            edits = [*self._secrets_of_url(call.url), *_secrets_of_headers(call.headers, made.headers.pairs)]
        elif result.reply is not None and is_open is None:
            edits = self._secrets_of_url(call.url)
        if edits:
            edit = replacing(edits)
            result = _edited_result(result, edit)
            if span is not None:
                span.status_description = edited(span.status_description, edit)
        failed = result.error is not None or (result.status or 0) >= 400
        body = _request_body(call)
        if body is not None:
            body = self._without_data(body, self.config.store_request_body, failed) or replace(
                _unless_opaque(body, made.body),
                size_bytes=len(made.body.data),
                hash=made.body_digest if made.body.data else None,
            )
            if made.body.opaque and reason is None:
                reason = f"its request body {made.body.opaque}"
        event = DependencyEvent(
            eid=eid,
            event_type=call.event_type,
            start_offset_ms=times[0],
            duration_ms=times[1],
            signature=signature,
            result=result,
            call=CallSnapshot(made.headers, body, args),
            span=span,
            path=path,
            not_replayable=reason,
            ended_ms=times[2],
        )
        event.pseudonyms = pseudonyms if book is None else book.noted()
        if args is not None and is_open is None:
            form_of(call.lib).redact_result(result, call.args, redactor)
        self._finish_result(event, failed, redactor)
        return event

    def boundary(
        self, pending: PendingCall, statement: DependencyEvent, session_started_s: float
    ) -> DependencyEvent | None:
        """The event of the beginning or end of a transaction, made of the event of a statement next to it.

        None where it does not follow from that, and is made as any other.
        """
        method, ended_s = pending.boundary, pending.ended_s
        span = span_of_boundary(facts_in(statement), pending.path)
        span_id = int(span.span_id, 16) if span is not None else 0
        if method is None or ended_s is None or span_id != pending.span_id:
            return None
        if type(statement) is not NotedEvent and statement.signature.url is None:
            # A fault kept it from being made.
            return None
        start_ms = (pending.started_s - session_started_s) * 1000
        made = noted_boundary(statement, method, pending.eid, start_ms, (ended_s - pending.started_s) * 1000)
        statement.transaction += (made,)
        if self._book is not None:
            self._book.has_nothing_new(made, statement)
        return made

    def within(self, event: DependencyEvent, spans: Sequence[SpanFacts]) -> None:
        """Note the spans of other instrumentations that are part of a call, redacted."""
        for facts in spans:
            facts.attributes = self._attributes(facts.attributes)
            self._redact_status(facts)
        book = self.book
        if book is not None:
            book.note_spans(spans)
            book.has_changed(event)
        event.within = sorted(spans, key=lambda facts: facts.start_ns or 0)

    def observed(self, facts: SpanFacts, session_started_ns: int) -> DependencyEvent:
        """The event of a client span whose call no plugin saw. The tools show it; no replay can answer from it."""
        facts.attributes = self._attributes(facts.attributes)
        self._redact_status(facts)
        lib = library_of_scope(facts.scope)
        reason = (
            f"only observed: the recording has no answer of this call of {lib}"
            if is_covered_scope(facts.scope)
            else WITHOUT_PLUGIN + lib
        )
        event = event_of_span(facts, session_started_ns, self.signer, reason)
        book = self.book
        if book is not None:
            book.note_forms(event)
        return event

    def given(self, event: DependencyEvent) -> DependencyEvent:
        """A redacted copy of a hand-written plugin's event."""
        result, call = event.result, event.call or CallSnapshot()
        book = self.book
        if book is not None:
            book.begin()
        copy = replace(
            event,
            result=replace(
                result,
                headers=self._headers(result.headers),
                body=self._given_body(result.body, header_pairs(result.headers)),
            ),
            call=replace(
                call,
                headers=self._headers(call.headers),
                body=self._given_body(call.body, header_pairs(call.headers)),
            ),
            signature=replace(event.signature, url=event.signature.url and self.redactor.url(event.signature.url)),
        )
        copy.signature.query = self.redactor.value(copy.signature.query)
        bodies = copy.call.body if copy.call is not None else None, copy.result.body
        for before, now in zip((call.body, result.body), bodies, strict=True):
            if before is not None and before.captured and now is not None and not now.captured:
                copy.not_replayable = copy.not_replayable or "its body cannot be looked into"
        if book is not None:
            copy.pseudonyms = book.noted()
            book.note_forms(copy, kept=True)
        return copy

    def anew(self, event: DependencyEvent) -> DependencyEvent:
        """An event that was read from a cassette, redacted by the rules of this recording, with the signature of what
        it holds now. Its spans are changed, all else is a copy.
        """
        book, redactor = self.book, self.redactor
        if book is not None:
            book.begin()
        signature, call, result = event.signature, event.call, replace(event.result)
        asked = ""
        args = call.args if call is not None else None
        query = {
            name: [redactor.parameter(name, item) if type(item) is str else item for item in value]
            if type(value) is list
            else redactor.parameter(name, value)
            if type(value) is str
            else value
            for name, value in signature.query.items()
        }
        url = _without_user(redactor.url(signature.url)) if signature.url else signature.url
        signature = replace(signature, url=url, query=query)
        if call is not None:
            headers, body, asked = self._part_anew(call.headers, call.body)
            call = CallSnapshot(
                headers, body, None if args is None else form_of(signature.lib).arguments(args, redactor)
            )
            with suppress(Unencodable):
                signature.body_hash = self.signer.snapshot_hash(signature.lib, call, signature.body_hash)
        used = book.noted() if book is not None else ()
        made = replace(event, signature=signature, call=call, result=result)
        made.pseudonyms = tuple(dict.fromkeys([*event.pseudonyms, *used]))
        result.headers, result.body, answered = self._part_anew(result.headers, result.body)
        if made.not_replayable is None and (asked or answered):
            made.not_replayable = f"its response body {answered}" if answered else f"its request body {asked}"
        if args is not None:
            form_of(signature.lib).redact_result(result, args, redactor)
        raised = redactor.documents(result.exception)
        _refuse_digest(made, result.exception, raised)
        result.exception = edited(raised, redactor.text)
        result.error = result.error and redactor.text(result.error)
        reply = result.reply
        result.reply = redactor.value(reply)
        _refuse_digest(made, reply, result.reply)
        for facts in (event.span, *event.within):
            if facts is not None:
                facts.attributes = self._attributes(facts.attributes)
                self._redact_status(facts)
        if book is not None:
            book.note_forms(made)
            book.note_spans(made.within)
        return made

    def _part_anew(
        self, headers: dict[str, str], body: BodySnapshot | None
    ) -> tuple[dict[str, str], BodySnapshot | None, str]:
        """Headers and body of a recorded call or result, and why they cannot be replayed: the end of a sentence about
        the body, or nothing.
        """
        pairs, why = header_pairs(headers), ""
        if body is None or not isinstance(body.data, bytes):
            return self._headers(headers), self._given_body(body, pairs), ""
        redacted = self.redactor.body(body.data, pairs, [size for _, size in body.chunks])
        if redacted.opaque:
            return self._headers(headers), replace(_unless_opaque(body, redacted), chunks=()), redacted.opaque
        if redacted.changed:
            if self.redactor.is_damaged(body.data, pairs):
                why = "is damaged in its encoding, and has a secret"
            headers = headers_like(headers, restated(pairs, len(body.data), body.data, redacted.data))
            body = with_content(body, redacted.data, redacted.sizes)
        return self._headers(headers), body, why

    def note_logs(self, logs: Sequence[LogEntry]) -> None:
        """Take note of what is secret by its form in log records, before any event is made."""
        if self.book is not None and logs:
            self.book.note_later([[log.message, log.error] for log in logs])

    def logs(self, logs: Sequence[LogEntry]) -> tuple[LogEntry, ...]:
        """The app's log records, redacted as bodies are."""
        if not self.rules.active:
            return tuple(logs)
        quoted = [
            replace(log, message=error_text(log.message), error=log.error and error_text(log.error)) for log in logs
        ]
        if self.book is not None:
            return self.book.logs(quoted)
        text = self.rules.text
        return tuple([replace(log, message=text(log.message), error=log.error and text(log.error)) for log in quoted])

    def request(self, request: RequestSnapshot, failed: bool = False) -> RequestSnapshot:
        """The root request, redacted, with its body if the policy keeps it. ``failed``: it ended in an error."""
        headers, body = self._root_part(request.headers, request.body, self.config.store_request_body, failed)
        noted = [request.path, request.target, request.query, *headers.values()]
        # Many recordings are about no request.
        if self.book is not None and any(noted):
            self.book.note_later(noted)
        query = {
            name: self.redactor.secret(value, name.lower()) if self.redactor.is_secret_parameter(name) else value
            for name, value in request.query.items()
        }
        # Not by `replace`, which asks for each field by its name.
        return RequestSnapshot(
            request.method,
            request.path,
            request.route_template,
            headers,
            query,
            body,
            request.client_ip,
            request.user_agent,
            request.target and self.redactor.url(request.target),
        )

    def response(self, response: ResponseSnapshot, failed: bool = False) -> ResponseSnapshot:
        """The root response, treated as `request` treats the request."""
        headers, body = self._root_part(response.headers, response.body, self.config.store_response_body, failed)
        if self.book is not None and headers:
            self.book.note_later(list(headers.values()))
        return ResponseSnapshot(response.status, headers, body, response.duration_ms)

    def _root_part(
        self, headers: dict[str, str], body: BodySnapshot | None, policy: CapturePolicy, failed: bool
    ) -> tuple[dict[str, str], BodySnapshot | None]:
        pairs = header_pairs(headers)
        if body is None or not isinstance(body.data, bytes):
            return self._headers(headers), self._given_body(body, pairs)
        made, changed, _ = self._body(body, pairs, policy, failed, self.redactor)
        if changed and made is not None:
            headers = HeaderMap(restated(pairs, body.size_bytes, body.data, made.data))
        return self._headers(headers), made

    def _finish_result(self, event: DependencyEvent, failed: bool, redactor: Redactor) -> None:
        result = event.result
        pairs = header_pairs(result.headers)
        changed = False
        if result.body is not None:
            given, before = result.body, result.body.size_bytes
            policy = self.config.store_response_body
            result.body, changed, opaque = self._body(result.body, pairs, policy, failed, redactor)
            if result.body is not None and not result.body.captured and event.not_replayable is None:
                event.not_replayable = f"its response body {opaque}" if opaque else self._why_not_kept(before)
            if changed and result.body is not None:
                if redactor.is_damaged(given.data, pairs) and event.not_replayable is None:
                    event.not_replayable = "its response body is damaged in its encoding, and has a secret"
                pairs = restated(pairs, before, given.data, result.body.data)
        if redactor.active and isinstance(result.headers, HeaderMap):
            redacted = redactor.headers(pairs)
            if redacted != result.headers.pairs:
                result.headers = HeaderMap(redacted)
        if result.exception is not None and redactor.renames:
            raised = redactor.documents(result.exception)
            _refuse_digest(event, result.exception, raised)
            result.exception = edited(raised, redactor.text)
            result.error = result.error and redactor.text(result.error)
        if result.exception is not None and result.exception.unfaithful and event.not_replayable is None:
            event.not_replayable = result.exception.unfaithful
        if result.reply is not None:
            before_all = result.reply
            try:
                result.reply = redactor.value(result.reply)
                check(result.reply)
            except Unencodable as error:
                result.reply = None
                event.not_replayable = f"its result has no faithful encoding: {error}"
            _refuse_digest(event, before_all, result.reply)

    def _secrets_of_url(self, url: str | None) -> list[tuple[str, str]]:
        """The parts of a URL that are redacted, each with its replacement. Clients quote URLs in their errors, and
        the same parts must be replaced there.
        """
        if url is None or self.rules.url(url) == url:
            return []
        before, now = split_url(url), split_url(self.redactor.url(url))
        return [(old, new) for old, new in zip(before, now, strict=True) if old and new and old != new]

    def _why_not_kept(self, size: int | None) -> str:
        policy = self.config.store_response_body
        if policy is CapturePolicy.ALWAYS or (size is not None and size > self.config.max_body_bytes):
            return f"its response body {self.config.why_too_long(size or 0)}"
        return f"its response body was not kept (TIMETRACER_STORE_RES_BODY={policy.value})"

    def _body(
        self,
        body: BodySnapshot | None,
        headers: HeaderPairs,
        policy: CapturePolicy,
        failed: bool,
        redactor: Redactor,
    ) -> tuple[BodySnapshot | None, bool, str]:
        """A body as it is kept, whether anything in it was replaced, and why it cannot be looked into, if so."""
        if body is None:
            return None, False, ""
        without_data = self._without_data(body, policy, failed)
        if without_data is not None:
            return without_data, False, ""
        redacted = (
            redactor.body(body.data or b"", headers, [chunk[1] for chunk in body.chunks])
            if redactor.active
            else RedactedBody(body.data or b"", (), False)
        )
        data, chunks, opaque = redacted.data, body.chunks, redacted.opaque
        if redacted.changed:
            chunks = tuple((at, now) for (at, _), now in zip(body.chunks, redacted.sizes, strict=False))
        digest = hashlib.sha256(data).hexdigest() if data else None
        # Not by `replace`, which asks for each field by its name.
        made = BodySnapshot(
            body.captured and not opaque,
            body.encoding,
            None if opaque else data,
            body.truncated or bool(opaque),
            len(data),
            digest,
            () if opaque else chunks,
            body.end,
            body.error,
            body.end_ms,
        )
        return made, redacted.changed, opaque

    def _without_data(self, body: BodySnapshot, policy: CapturePolicy, failed: bool) -> BodySnapshot | None:
        """The body without its data, where the policy or the limit leaves the data out; None where it is kept."""
        kept = policy is CapturePolicy.ALWAYS or (policy is CapturePolicy.ON_ERROR and failed)
        size = body.size_bytes if body.size_bytes is not None else len(body.data or b"")
        if size and (not kept or body.truncated or size > self.config.max_body_bytes):
            return replace(body, captured=False, data=None, truncated=True, size_bytes=size, chunks=())
        return None

    def _given_body(self, body: BodySnapshot | None, headers: HeaderPairs = ()) -> BodySnapshot | None:
        if body is None or not body.captured:
            return body
        if isinstance(body.data, bytes):
            redacted = self.redactor.body(body.data, headers)
            if redacted.opaque:
                digest = hashlib.sha256(body.data).hexdigest()
                return replace(_unless_opaque(body, redacted), chunks=(), size_bytes=len(body.data), hash=digest)
            return replace(body, data=redacted.data)
        if isinstance(body.data, str):
            return replace(body, data=self.redactor.body(body.data.encode(), headers).data.decode())
        return replace(body, data=self.redactor.value(body.data))

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        redacted = self.redactor.headers(header_pairs(headers))
        if isinstance(headers, HeaderMap):
            return HeaderMap(redacted)
        # A hand-written plugin looks headers up by the names that it used: a `HeaderMap` would lower their case.
        return {name: value.decode("latin-1") for name, (_, value) in zip(headers, redacted, strict=True)}

    def _redact_status(self, facts: SpanFacts) -> None:
        if facts.status_description and self.redactor.active:
            facts.status_description = self.redactor.text(error_text(facts.status_description))

    def _attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes of a span. URLs and captured headers in them are redacted as those of calls are."""
        plain = _plain_names(self.rules)
        return {
            name: value if type(value) in _NUMBERS and name in plain else self._attribute(name, value)
            for name, value in attributes.items()
        }

    def _attribute(self, name: str, value: Any) -> Any:
        plain = _plain_names(self.rules)
        if name in plain or _is_plain(self.rules, name):
            if len(plain) < _MOST_NAMES:
                plain.add(name)
            if isinstance(value, str):
                return self.redactor.value(value) if value[:1] in ("{", "[") else value
            return list(value) if isinstance(value, tuple) else value
        if isinstance(value, str) and name == "url.query" and not value.startswith("?"):
            # Without the mark that tells a query from a path.
            return self.redactor.url(f"?{value}")[1:]
        if isinstance(value, str) and name in _URL_ATTRIBUTES:
            return self.redactor.url(value)
        if isinstance(value, str) and name in _STATEMENT_ATTRIBUTES:
            return self.redactor.text(value)
        if name.startswith(("rpc.request.metadata.", "rpc.response.metadata.")):
            return self._header_attribute(name.rpartition(".")[2], value)
        if name.startswith(("http.request.header.", "http.response.header.")):
            return self._header_attribute(name.rpartition(".")[2].replace("_", "-"), value)
        if self.redactor.is_secret_field(name.rpartition(".")[2]):
            value = self.redactor.secret(value)
        return list(value) if isinstance(value, tuple) else value

    def _header_attribute(self, header: str, value: Any) -> Any:
        values = value if isinstance(value, (list, tuple)) else [value]
        pairs = [(header.encode(), str(item).encode()) for item in values]
        return [made.decode() for _, made in self.redactor.headers(pairs)]


_NO_RULES: Final = Redactor("off")


def _span_of(pending: PendingCall) -> SpanFacts:
    """What is known of a call's span that has not ended."""
    return SpanFacts(trace_id=f"{pending.trace_id:032x}", span_id=f"{pending.span_id:016x}")


def _failed(eid: int, times: Times, call: Call, error: Exception) -> DependencyEvent:
    # Nothing of the call that may hold a secret is kept: it may have been the redaction that failed.
    return DependencyEvent(
        eid=eid,
        event_type=call.event_type,
        start_offset_ms=times[0],
        duration_ms=times[1],
        signature=EventSignature(lib=call.lib, method=call.method),
        result=EventResult(),
        call=CallSnapshot(),
        not_replayable=f"a fault of the recorder, which its log has: {type(error).__name__}",
    )


def _empty(event: DependencyEvent, error: Exception) -> None:
    """Leave nothing of an event that may hold secrets but its place."""
    event.result, event.call, event.span = EventResult(), CallSnapshot(), None
    event.signature = EventSignature(lib=event.signature.lib, method=event.signature.method)
    event.within, event.path = [], ()
    event.not_replayable = f"a fault of the recorder, which its log has: {type(error).__name__}"


@lru_cache(maxsize=16)
def _signer(redactor: Redactor) -> Signer:
    # Sessions share signers as they share redactors: a signer caches the URLs that it has parsed.
    return Signer(redactor)


@lru_cache(maxsize=16)
def _plain_names(rules: Redactor) -> set[str]:
    """The names for which `_is_plain` was true. An app has few names, and repeats them."""
    return set()


_MOST_NAMES = 1024
_NUMBERS = frozenset({int, float, bool})


def _is_plain(rules: Redactor, name: str) -> bool:
    """Whether the name of an attribute says nothing of secrets in it."""
    return not (
        name in _URL_ATTRIBUTES
        or name in _STATEMENT_ATTRIBUTES
        or name.startswith(_HEADER_ATTRIBUTES)
        or rules.is_secret_field(name.rpartition(".")[2])
    )


_HEADER_ATTRIBUTES = (
    *("http.request.header.", "http.response.header."),
    *("rpc.request.metadata.", "rpc.response.metadata."),
)
_STATEMENT_ATTRIBUTES = frozenset({"db.statement", "db.query.text", "exception.message"})
_URL_ATTRIBUTES = frozenset({"url.full", "http.url", "http.target", "url.query", "url.path"})


_OPAQUE = "its result has a compressed value that cannot be looked into"


def _refuse_digest(event: DependencyEvent, before: Any, after: Any) -> None:
    """Note that a call is no answer whose reply or error was redacted, and has a digest in the place of a value."""
    if after is before or event.not_replayable is not None:
        return
    raw: list[bytes] = []
    collect(after, [], raw)
    if holds_digest(raw):
        event.not_replayable = _OPAQUE


def _without_user(url: str) -> str:
    """A target as signatures have it: without user information."""
    parts = split_url(url)
    netloc = parts.netloc or ""
    return parts._replace(netloc=netloc.rpartition("@")[2]).unsplit() if "@" in netloc else url


def _unless_opaque(body: BodySnapshot, redacted: RedactedBody) -> BodySnapshot:
    """A body with its redacted data; without any where nobody can say what is in it."""
    if redacted.opaque:
        return replace(body, captured=False, data=None, truncated=True)
    return replace(body, data=redacted.data)


def _request_body(call: Call) -> BodySnapshot | None:
    if call.too_long_bytes is not None:
        return BodySnapshot(captured=False, truncated=True, size_bytes=call.too_long_bytes, end=call.body_end)
    if not call.body and call.body_end is BodyEnd.COMPLETE:
        return None
    return BodySnapshot(captured=True, encoding="bytes", data=call.body or b"", end=call.body_end)


def _secrets_of_headers(before: HeaderPairs, now: HeaderPairs) -> list[tuple[str, str]]:
    """Secret header values, each with its replacement, longest first.

    Each stands there twice: as text, and as errors quote bytes ("Illegal header value b'...'").
    """
    edits = []
    for (_, value), (_, redacted) in zip(before, now, strict=True):
        if value != redacted and len(value) >= SHORTEST_SECRET:
            edits += [(text, redacted.decode("latin-1")) for text in (value.decode("latin-1"), repr(value)[2:-1])]
    return sorted(edits, key=lambda edit: -len(edit[0]))


def _edited_result(result: EventResult, edit: Edit) -> EventResult:
    return replace(
        result,
        error=edited(result.error, edit),
        exception=edited(result.exception, edit),
        reply=edited(result.reply, edit),
    )
