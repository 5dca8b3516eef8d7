"""`merged`: several recordings as one cassette, as far as one can say truly what they say."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Final

from timetracer_otel.constants import FORMAT_VERSION
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import CaptureStats, Cassette, DependencyEvent, RequestSnapshot, SessionMeta

__all__ = ["Merged", "merged"]

_CUT: Final = "ends of recordings whose process died"


@dataclass(frozen=True, slots=True)
class Merged:
    """One cassette of several."""

    cassette: Cassette
    differing: list[str]
    """The names of facts about the recording process that are not the same in all, and so stand in none."""


def merged(cassettes: Sequence[Cassette]) -> Merged:
    """Several recordings as one.

    What a cassette says, it says of all its calls: one request at most, one service, one environment, one set of
    rules of redaction. Calls are put in the order in which they began, by the clocks of the recording processes.

    Args:
        cassettes: At least two. They are not changed.

    Raises:
        CassetteError: No cassette can say truly what these say. The text names those that do not go together, and
            what to do.
    """
    of_request = [each for each in cassettes if each.request.method]
    _check(cassettes, of_request)
    head = of_request[0] if of_request else min(cassettes, key=_began)
    first_to_last = sorted(cassettes, key=_began)
    # Times are told from the beginning of the request. What its process did before has times below 0.
    began = _began(head)
    events = _in_order((each, (_began(each) - began).total_seconds() * 1000) for each in first_to_last)
    session, differing = _session(head, first_to_last)
    ends = [event.start_offset_ms + event.duration_ms for event in events]
    made = replace(
        head,
        schema_version=str(FORMAT_VERSION),
        session=session,
        events=events,
        stats=_stats(cassettes, events, max([*ends, head.response.duration_ms, 0.0])),
        error_info=next((each.error_info for each in [head, *reversed(first_to_last)] if each.error_info), None),
        complete=True,
        path=None,
        pseudonyms=tuple(dict.fromkeys(name for each in first_to_last for name in each.pseudonyms)),
        scrubbed=tuple(mark for each in first_to_last for mark in each.scrubbed),
    )
    return Merged(made, differing)


def _check(cassettes: Sequence[Cassette], of_request: Sequence[Cassette]) -> None:
    seen: dict[str, Cassette] = {}
    for each in cassettes:
        other = seen.setdefault(each.session.id, each)
        if other is not each:
            raise _refused(other, each, "they are the same recording", "Name it once")
    if len(of_request) > 1:
        first, second = of_request[:2]
        raise _refused(
            first,
            second,
            f"one is of {_line(first.request)}, the other one of {_line(second.request)}, and a cassette is of one "
            "request at most",
            "Leave both in a folder: a replay of the folder answers each request from its own",
        )
    first = of_request[0] if of_request else cassettes[0]
    for each in cassettes:
        for what, of in _MUST_BE_THE_SAME:
            if of(each) != of(first):
                raise _refused(first, each, f"they have other {what}", "Merge those that have the same")
        if of_request and each is not first and not set(each.session.process[-1:]) & set(first.session.process):
            raise _refused(
                first,
                each,
                f"the second one was recorded by another process than {_line(first.request)}",
                "Merge a request with the recording of its own process",
            )
    with_secrets = [each for each in cassettes if each.pseudonyms]
    if len(with_secrets) > 1:
        raise _refused(
            with_secrets[0],
            with_secrets[1],
            "both hold secrets, and each recording has pseudonyms of its own for the same secret, so that no replay "
            "could tell that they are one",
            "Record both in one session, or leave them in a folder",
        )


_MUST_BE_THE_SAME: Final[tuple[tuple[str, Callable[[Cassette], object]], ...]] = (
    ("services", lambda each: each.session.service),
    ("environments", lambda each: each.session.env),
    (
        "rules of redaction",
        lambda each: (
            each.policies.redaction_mode,
            each.policies.pseudonymised,
            sorted(each.policies.redaction_rules),
        ),
    ),
)


def _refused(first: Cassette, second: Cassette, why: str, cure: str) -> CassetteError:
    return CassetteError(f"Cannot merge {first.path} and {second.path}: {why}. {cure}.", path=second.path)


def _line(request: RequestSnapshot) -> str:
    return f"{request.method} {request.path}"


def _began(cassette: Cassette) -> datetime:
    try:
        when = datetime.fromisoformat(cassette.session.recorded_at.replace("Z", "+00:00"))
    except ValueError:
        raise CassetteError(
            f"Cannot merge {cassette.path}: it does not say when it was recorded, so that its calls have no place "
            "among those of others. Leave it out.",
            path=cassette.path,
        ) from None
    return when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)


def _in_order(parts: Iterable[tuple[Cassette, float]]) -> list[DependencyEvent]:
    """The calls of all, numbered in the order of their start, with their times moved by these milliseconds."""
    moved = [(event, event.start_offset_ms + later_ms) for cassette, later_ms in parts for event in cassette.events]
    moved.sort(key=lambda pair: pair[1])
    made = {
        id(event): replace(event, eid=eid, start_offset_ms=start_ms) for eid, (event, start_ms) in enumerate(moved, 1)
    }
    for event, _ in moved:
        if event.transaction:
            # The beginning and the end of a transaction, which stand within this event in a file.
            made[id(event)].transaction = tuple(made[id(each)] for each in event.transaction if id(each) in made)
    return [*made.values()]


_FACTS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("framework", "framework", ""),
    ("release of timetracer-otel", "timetracer_version", ""),
    ("Python", "python_version", ""),
    ("version of the service", "service_version", None),
    ("commit", "git_sha", None),
    ("trace", "trace_id", None),
    ("PYTHONHASHSEED", "hash_seed", None),
    ("randomization of hashes", "hash_randomization", None),
    ("state of random", "random_state", None),
)
"""What a header says of the process: the name for people, the field, and the value for what is not known."""


def _session(head: Cassette, cassettes: Sequence[Cassette]) -> tuple[SessionMeta, list[str]]:
    sessions = [each.session for each in cassettes]
    kept: dict[str, Any] = {}
    differing = []
    for name, field, unknown in _FACTS:
        # A request has a framework and a trace, and what its process recorded besides has none.
        of = [head.session] if head.request.method and field in ("framework", "trace_id") else sessions
        values = [getattr(each, field) for each in of]
        is_one = all(value == values[0] for value in values)
        kept[field] = values[0] if is_one else unknown
        if not is_one:
            differing.append(name)
    versions: dict[str, str] = {}
    for name in sorted({name for each in sessions for name in each.versions}):
        found = {each.versions[name] for each in sessions if name in each.versions}
        if len(found) == 1:
            versions[name] = found.pop()
        else:
            differing.append(name)
    processes = {tuple(each.process) for each in sessions}
    process = head.session.process if head.request.method or len(processes) == 1 else []
    if not process and len(processes) > 1:
        differing.append("process")
    made = replace(head.session, id=str(uuid.uuid4()), versions=versions, process=list(process), **kept)
    return made, differing


def _stats(cassettes: Iterable[Cassette], events: Sequence[DependencyEvent], duration_ms: float) -> CaptureStats:
    dropped: Counter[str] = Counter()
    connections: Counter[tuple[str, str]] = Counter()
    for each in cassettes:
        dropped.update(each.stats.dropped)
        dropped.update({} if each.complete else {_CUT: 1})
        for library, addresses in each.stats.connections.items():
            connections.update({(library, address): number for address, number in addresses.items()})
    return CaptureStats.of(events, duration_ms, dropped, connections)
