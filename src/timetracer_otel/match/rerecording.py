"""A recording that takes the place of an older one of the same program: what has not changed stays as it was.

Calls that are the same, with their answers, stay in the file byte for byte, with their times. Calls that changed, and
those that are new, have the names of the older recording in the places of values that each run makes anew, so that
the calls of both belong together. Calls that ran at the same time stand in the order of the older recording.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from timetracer_otel.cassette import Unencodable
from timetracer_otel.match.leaves import mapped
from timetracer_otel.match.pairing import Pairing, paired
from timetracer_otel.match.renaming import renamed
from timetracer_otel.match.sameness import Names
from timetracer_otel.match.signature import Signer
from timetracer_otel.match.values import replaced
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import CallSnapshot, CaptureStats, Cassette, DependencyEvent, EventResult, SpanFacts

__all__ = ["Rerecorded", "rerecorded"]


@dataclass(frozen=True, slots=True)
class Rerecorded:
    """What is to be written in the place of an older recording."""

    before: Cassette
    """The older recording."""
    cassette: Cassette
    kept: int
    """How many of its calls stand in it as they were."""
    is_same: bool
    """Whether all calls do, and none is gone: nothing need be written."""


def rerecorded(before: Cassette, now: Cassette) -> Rerecorded:
    """Put a recording in the place of an older one.

    The new one stands as it is where its calls could not be told from those of the older one later: where the older
    one is broken off or was redacted by other rules, where a request came in, where the state of ``random`` was
    recorded, or where a call that changed says when it was made.

    Args:
        before: The older one, as it was read.
        now: The new one, whose recording has ended.
    """
    as_it_is = Rerecorded(before, now, 0, False)
    if not _may_be_joined(before, now):
        return as_it_is
    now = replace(now, events=_copies(now.events))
    pairing = paired(_copies(before.events), now.events)
    names = Names(before, now)
    same = [names.bind(was, event) for was, event in pairing.pairs]
    kept = _whole_transactions(pairing, same)
    changed = [event for event in now.events if id(event) not in kept]
    if not kept or any(map(names.holds_times, changed)):
        return as_it_is
    ordered = _ordered(pairing, now.events)
    renaming = _Renaming(names, pairing, Signer(Redactor.from_policies(before.policies)))
    events = [kept.get(id(event)) or renaming.of(event) for event in ordered]
    _set_starts(ordered, events, kept)
    is_same = (
        not pairing.gone and not changed and [event.eid for event in events] == sorted(event.eid for event in events)
    )
    for eid, event in enumerate(events, 1):
        event.eid = eid
    stats = CaptureStats.of(events, now.stats.total_duration_ms, now.stats.dropped)
    made = replace(
        now,
        session=replace(
            now.session,
            id=before.session.id,
            recorded_at=before.session.recorded_at,
            trace_id=before.session.trace_id,
            process=before.session.process,
            renewed_at=now.session.recorded_at,
        ),
        events=events,
        stats=replace(stats, connections=now.stats.connections),
        pseudonyms=(*before.pseudonyms, *names.left_of(now.pseudonyms)),
        scrubbed=before.scrubbed,
    )
    return Rerecorded(before, made, len(kept), is_same)


def _may_be_joined(before: Cassette, now: Cassette) -> bool:
    return (
        before.complete
        and before.policies == now.policies
        and not any(each.request.method or each.session.random_state for each in (before, now))
        and before.error_info == now.error_info
    )


def _copies(events: list[DependencyEvent]) -> list[DependencyEvent]:
    copies = {id(event): replace(event, within=[replace(span) for span in event.within]) for event in events}
    for event in copies.values():
        event.span = replace(event.span) if event.span is not None else None
        event.transaction = tuple(copies[id(each)] for each in event.transaction if id(each) in copies)
    return list(copies.values())


def _whole_transactions(pairing: Pairing, same: list[bool]) -> dict[int, DependencyEvent]:
    """By identity of a call of the new recording: the call of the older one that stays in its place.

    The beginning and the end of a transaction stand in the file within a statement: all of them stay, or none.
    """
    kept = {id(now): was for (was, now), stays in zip(pairing.pairs, same, strict=True) if stays}
    groups = [
        {id(member) for member in (event, *event.transaction)}
        for pair in pairing.pairs
        for event in pair
        if event.transaction
    ]
    while True:
        staying = kept.keys() | {id(was) for was in kept.values()}
        broken = [group for group in groups if staying & group and not group <= staying]
        if not broken:
            return kept
        gone = set().union(*broken)
        kept = {now: was for now, was in kept.items() if now not in gone and id(was) not in gone}


def _ordered(pairing: Pairing, events: list[DependencyEvent]) -> list[DependencyEvent]:
    """The calls of the new recording in their order, but for those that moved past calls which ran at the same time:
    which of these begins first is chance.
    """
    moved = pairing.moved()
    was = {id(now): before for before, now in pairing.pairs}
    ordered = [event for event in events if id(event) not in moved]
    for event in (event for event in events if id(event) in moved):
        before = was[id(event)]
        known = [at for at, other in enumerate(ordered) if id(other) in was and was[id(other)].eid < before.eid]
        old_place = known[-1] + 1 if known else 0
        new_place = sum(1 for other in ordered if other.eid < event.eid)
        passed = ordered[min(old_place, new_place) : max(old_place, new_place)]
        ordered.insert(old_place if all(_overlap(event, other) for other in passed) else new_place, event)
    return ordered


def _overlap(one: DependencyEvent, other: DependencyEvent) -> bool:
    first, second = sorted((one, other), key=lambda event: event.start_offset_ms)
    return second.start_offset_ms < first.end_offset_ms


def _set_starts(
    ordered: list[DependencyEvent], events: list[DependencyEvent], kept: dict[int, DependencyEvent]
) -> None:
    """Let calls that are new begin as long behind the call before them as they did, and not behind the next one."""
    latest_ms: list[float] = []
    bound = float("inf")
    for now, event in zip(reversed(ordered), reversed(events), strict=True):
        if id(now) in kept:
            bound = min(bound, event.start_offset_ms)
        latest_ms.append(bound)
    moved_ms = 0.0
    for now, event, latest in zip(ordered, events, reversed(latest_ms), strict=True):
        if id(now) in kept:
            moved_ms = event.start_offset_ms - now.start_offset_ms
        else:
            event.start_offset_ms = max(0.0, min(latest, now.start_offset_ms + moved_ms))


class _Renaming:
    """Gives calls of the new recording the names of the older one."""

    def __init__(self, names: Names, pairing: Pairing, signer: Signer) -> None:
        self._names, self._signer = names, signer
        self._ids: dict[str, str] = {}
        """By an id of a trace or span of the new recording: that of the older one."""
        for was, now in pairing.pairs:
            if was.span is not None and now.span is not None:
                for name in ("trace_id", "span_id", "parent_span_id"):
                    present, recorded = getattr(now.span, name), getattr(was.span, name)
                    if present and recorded:
                        self._ids.setdefault(present, recorded)

    def of(self, event: DependencyEvent) -> DependencyEvent:
        """The same event, with other names."""
        for span in (event.span, *event.within):
            if span is not None:
                self._rename_span(span)
        if not self._names.differ:
            return event
        signature, call = event.signature, event.call
        event.result = renamed(event.result, self._names.parsed, self._names.old_name)
        event.path = self._mapped(event.path)
        url, query = self._mapped(signature.url), self._mapped(signature.query)
        digest = signature.body_hash
        if call is not None:
            # The parts of a call are renamed as those of an answer are.
            asked = EventResult(headers=call.headers, body=call.body, reply=call.args)
            made = renamed(asked, self._names.parsed, self._names.old_name)
            if made is not asked:
                event.call = call = CallSnapshot(made.headers, made.body, made.reply)
                digest = self._hash(signature.lib, call, digest)
        event.signature = replace(signature, url=url, query=query, body_hash=digest)
        event.pseudonyms = ()
        return event

    def _mapped(self, value: Any) -> Any:
        return mapped(value, lambda text: replaced(self._names.parsed(text), self._names.old_name))

    def _hash(self, lib: str, call: CallSnapshot, before: str | None) -> str | None:
        try:
            return self._signer.snapshot_hash(lib, call, before)
        except Unencodable:
            return before

    def _rename_span(self, span: SpanFacts) -> None:
        span.trace_id = self._ids.get(span.trace_id, span.trace_id)
        span.span_id = self._ids.get(span.span_id, span.span_id)
        if span.parent_span_id is not None:
            span.parent_span_id = self._ids.get(span.parent_span_id, span.parent_span_id)
        span.attributes = self._mapped(span.attributes)
