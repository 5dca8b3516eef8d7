"""`Bindings`: which recorded value stands for which value of this run, and how a call is found by that.

A binding is one to one, and between values of one kind and form. The first call that is equal to a recorded one but
for variables fixes the bindings of the values in it, for the whole session. A value that an answer or the incoming
request gave is never bound, nor one that stands elsewhere in the recording.

Times are different in one thing. Two times may be equal in one run and differ in the next, by chance. So a time is
bound by where it lies: within the run on both sides, or as far from it. Several times may be bound to one.
"""

# pyright: strict

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import Any, NamedTuple

from timetracer_otel.match.credentials import claims_of
from timetracer_otel.match.leaves import Leaves, leaves_of, mapped, texts_of
from timetracer_otel.match.renaming import renamed
from timetracer_otel.match.rules import MatchRules
from timetracer_otel.match.signature import RedactedCall
from timetracer_otel.match.values import SECRET, TIME, Value, replaced, values_in
from timetracer_otel.match.variables import SLACK_S, Pair, Variables, is_given_back, what_it_gives
from timetracer_otel.redact.content_encoding import decode_body, known_encodings
from timetracer_otel.redact.redactor import content_headers
from timetracer_otel.types import Binding, Call, DependencyEvent

__all__ = ["Alike", "Bindings", "Found", "Rivals"]


class Found(NamedTuple):
    """What was found for a call that is equal to no recorded one."""

    event: DependencyEvent | None = None
    pairs: Sequence[Pair] = ()
    ambiguous: Sequence[DependencyEvent] = ()
    """Recorded calls that would bind differently. None of them answers."""


class Alike:
    """Recorded calls that are equal, and hold the same secrets in the same places.

    Attributes:
        events: The calls, in the order of the recording.
    """

    __slots__ = ("events", "is_untold")

    def __init__(self) -> None:
        self.events: list[DependencyEvent] = []
        self.is_untold = False
        """Whether a call had its secrets, and nothing said which of the rivals it was."""


class Rivals:
    """All calls that are equal but for their secrets.

    Args:
        events: The calls, in the order of the recording.
        variables: Those of the recording.
    """

    __slots__ = ("_answer_alike", "events", "groups")

    def __init__(self, events: Sequence[DependencyEvent], variables: Variables) -> None:
        groups: dict[Hashable, Alike] = {}
        for event in events:
            said = variables.is_own(event), variables.told_by(event)
            group = groups.get(said)
            if group is None:
                group = groups[said] = Alike()
            group.events.append(event)
        self.groups: tuple[Alike, ...] = tuple(groups.values())
        self.events = events
        self._answer_alike: bool | None = None

    @property
    def answer_alike(self) -> bool:
        """Whether it makes no difference which of them answers, be it taken or not."""
        if self._answer_alike is None:
            self._answer_alike = _are_one(self.events)
        return self._answer_alike


class _Fitting(NamedTuple):
    """A recorded call that is equal to a present one but for variables."""

    event: DependencyEvent
    pairs: Sequence[Pair]
    twin: str | None
    misfit_s: float
    """How far its times are from where the recorded ones let expect them, at most."""


class Bindings:
    """The book of one session. Safe from any thread.

    Args:
        make: Analyses the recording. Called when its variables are first asked for, and not before.
        rules: Which parts of a call count.
        is_on: Whether any variable may be bound.
    """

    def __init__(self, make: Callable[[], Variables], rules: MatchRules, *, is_on: bool) -> None:
        self.lock = threading.RLock()
        """Held while a call is looked for, and while what it binds is noted."""
        self.is_on = is_on
        self.shadowed: set[str] = set()
        """Present values that stand for another value than the equal one of the recording, as the order of calls may
        differ in an app whose chance is seeded. A call that holds one is not looked for as it is."""
        self.is_empty: bool = True
        """Whether nothing is bound yet to a value of this run that differs from the recorded one."""
        self._make = make
        self._made: Variables | None = None
        self._rules = rules
        self._began_s = time.monotonic()
        self._present: dict[str, str] = {}
        """By the recorded value: the present one."""
        self._recorded: dict[str, str] = {}
        self._times: dict[str, str] = {}
        """By the recorded time: the present one; empty where several are bound to it."""
        self._listed: dict[tuple[str, str], Binding] = {}
        self._of_twins: dict[int, list[list[DependencyEvent]]] = {}
        """By identity of a list of the recording's: its events in groups of which any may answer for another."""
        self._first: dict[int, int] = {}
        """By identity of a list of the recording's: where its first event stands that no call had taken."""

    @property
    def variables(self) -> Variables:
        """The variables of the recording. It is analysed when this is first asked for."""
        with self.lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    @property
    def listed(self) -> tuple[Binding, ...]:
        """The bindings up to now in which the two values differ."""
        with self.lock:
            return tuple(self._listed.values())

    def is_shadowed(self, call: Call) -> bool:
        """Whether a call holds one of the `shadowed` values."""
        if not self.shadowed:
            return False
        parsed = self.variables.parsed
        body = (call.body or b"").decode("latin-1")
        texts = (call.url or "", body, *texts_of(call.args))
        return any(value.value in self.shadowed for text in texts for value in values_in(parsed(text)))

    def translated(self, call: Call) -> Call | None:
        """The call with recorded values in the places of the present ones that are bound; None where it has none."""
        if self.is_empty or not self._recorded:
            return None
        changed: dict[str, object] = {}
        url = call.url if call.url is None else self._as_recorded(call.url)
        if url != call.url:
            changed["url"] = url
        if call.body:
            coding = content_headers(call.headers)[1]
            plain = decode_body(call.body, known_encodings(coding.decode("latin-1"))) if coding else call.body
            before = (call.body if plain is None else plain).decode("latin-1")
            body = self._as_recorded(before)
            if body != before:
                changed["body"] = body.encode("latin-1")
                changed["headers"] = tuple(
                    (name, value) for name, value in call.headers if name.lower() != b"content-encoding"
                )
        args = mapped(call.args, self._as_recorded)
        if args is not call.args:
            changed["args"] = args
        return replace(call, **changed) if changed else None  # type: ignore[arg-type]

    def find(
        self,
        made: RedactedCall,
        path: tuple[str, ...],
        is_taken: Callable[[DependencyEvent], bool],
        accepts: Callable[[DependencyEvent], bool] | None,
        told_apart: Container[int] = (),
    ) -> Found:
        """The recorded call that is equal to this one but for variables. It is to be called with the lock held.

        Args:
            made: The call.
            path: Names of the spans around the call.
            is_taken: Whether an event has answered a call already.
            accepts: Whether an event may answer this call. Without it, all may.
            told_apart: By identity: the events that have an equal one with other secrets. Theirs are compared, too.
        """
        variables = self.variables
        leaves = leaves_of(made.view, self._rules)
        method = made.call.lib, made.call.method
        candidates, shape = variables.candidates(leaves, method, self._recorded)
        fitting: list[_Fitting] = []
        seen: set[tuple[str, tuple[str, ...]]] = set()
        if candidates is shape and len(candidates) > _FEW_TWINS:
            waiting = self._left_of_twins(candidates, seen, is_taken)
        else:
            waiting = self._left_of(candidates, is_taken)
        for event in islice(waiting, _MOST_TRIED if shape is None else None):
            if shape is not None and not variables.is_alike(event, shape):
                continue
            twin = variables.twin_of(event) if shape is not None and len(candidates) > 1 else None
            if (twin is not None and (twin, event.path) in seen) or (accepts is not None and not accepts(event)):
                continue
            pairs = variables.pairs(event, leaves)
            if pairs is not None and id(event) in told_apart:
                secrets = self._pairs_of_secrets(made.call, event)
                pairs, twin = None if secrets is None else [*pairs, *secrets], None
            misfit_s = self._misfit_s(pairs or ())
            if pairs is not None and misfit_s is not None and self._may_bind(pairs, is_taken):
                fitting.append(_Fitting(event, pairs, twin, misfit_s))
                if twin is not None and misfit_s <= SLACK_S:
                    seen.add((twin, event.path))
        return self._chosen(fitting, path)

    def bind(self, found: Found) -> None:
        """Note what the call that was found binds."""
        for pair in found.pairs:
            if pair.kind == TIME:
                if is_given_back(pair):
                    known = self._times.get(pair.recorded, pair.present)
                    self._times[pair.recorded] = pair.present if known == pair.present else ""
            else:
                self._present[pair.recorded] = pair.present
                self._recorded[self._name_of(pair.recorded, pair.present)] = pair.recorded
                if pair.recorded != pair.present and pair.present in self.variables.fresh:
                    self.shadowed.add(pair.present)
            if pair.recorded != pair.present:
                recorded, present = pair.texts
                binding = Binding(pair.kind, recorded, _OF_A_SECRET if pair.kind == SECRET else present)
                self._listed.setdefault((pair.recorded, pair.present), binding)
                self.is_empty = False

    def bind_secrets(self, call: Call, event: DependencyEvent) -> None:
        """Bind the secrets of a call to those of an event, which is equal to it but for them, where they may be."""
        pairs = self._pairs_of_secrets(call, event)
        if pairs is not None:
            self.bind(Found(event, pairs))

    def with_secrets(
        self, call: Call, rivals: Rivals, is_taken: Callable[[DependencyEvent], bool]
    ) -> list[Alike] | None:
        """Those of some recorded calls, which are equal to a call but for secrets, that have its secrets. These are
        bound.

        None where several have different ones, and other answers, and nothing says which of them stand for those of
        the call.

        Args:
            call: As it is made.
            rivals: The recorded calls.
            is_taken: Whether an event has answered a call already.
        """
        fitting: list[tuple[DependencyEvent, list[Pair], Alike]] = []
        for group in rivals.groups:
            event = next(self._left_of(group.events, is_taken), None)
            pairs = self._pairs_of_secrets(call, event) if event is not None else None
            if pairs is not None and event is not None:
                fitting.append((event, pairs, group))
        fitting = [each for each in fitting if self.variables.is_own(each[0])] or fitting
        fitting = [each for each in fitting if all(map(_says_the_same, each[1]))] or fitting
        fitting = [each for each in fitting if all(pair.recorded == pair.present for pair in each[1])] or fitting
        if len({frozenset(map(_caller_of, pairs)) for _, pairs, _ in fitting}) > 1:
            groups = [group for *_, group in fitting]
            left = (event for group in groups for event in self._left_of(group.events, is_taken))
            if not (rivals.answer_alike or _are_one(left)):
                return None
            # It makes no difference which of them answers, and none of them tells whose secret it is.
            for group in groups:
                group.is_untold = True
        if fitting and not fitting[0][2].is_untold:
            self.bind(Found(*fitting[0][:2]))
        return [group for *_, group in fitting]

    def _pairs_of_secrets(self, call: Call, event: DependencyEvent) -> list[Pair] | None:
        pairs = self.variables.secret_pairs(event, call)
        return pairs if pairs is not None and self._may_bind(pairs, lambda _: False) else None

    def given_back(self, event: DependencyEvent) -> DependencyEvent:
        """The event with present values in its answer, where they are bound; the same one where it holds none."""
        if self.is_empty or not self.variables.are_in_answer(event):
            return event
        with self.lock:
            result = renamed(event.result, self.variables.parsed, self._present_of)
        return event if result is event.result else replace(event, result=result)

    def bind_later(
        self, event: DependencyEvent, before: Leaves, now: Leaves, is_taken: Callable[[DependencyEvent], bool]
    ) -> bool:
        """Bind what differs in something that the app says after its call has begun; False where more differs than
        variables, or these may not be bound. It is to be called with the lock held.

        Args:
            event: The call.
            before: What the app said when it was recorded.
            now: What it says in the place of that.
            is_taken: Whether an event has answered a call already.
        """
        pairs = self.variables.pairs_between(before, now)

        def others(other: DependencyEvent) -> bool:
            return other is not event and is_taken(other)

        if pairs is None or self._misfit_s(pairs) is None or not self._may_bind(pairs, others):
            return False
        self.bind(Found(event, pairs))
        return True

    def given_back_now(self, said: Any) -> Any:
        """A value of any depth with present values in the place of the recorded ones that are bound."""
        if self.is_empty:
            return said
        with self.lock:
            return mapped(said, lambda text: replaced(self.variables.parsed(text), self._present_of))

    def _as_recorded(self, text: str) -> str:
        return replaced(self.variables.parsed(text), lambda value: self._recorded.get(value.value))

    def _present_of(self, value: Value) -> str | None:
        return self._present.get(value.value) or self._times.get(value.value) or None

    def _left_of(
        self, events: Sequence[DependencyEvent], is_taken: Callable[[DependencyEvent], bool]
    ) -> Iterator[DependencyEvent]:
        """The events that no call has taken. Those at the beginning that were taken are not looked at again."""
        first = self._first.get(id(events), 0)
        while first < len(events) and is_taken(events[first]):
            first += 1
        self._first[id(events)] = first
        return (event for event in islice(events, first, None) if not is_taken(event))

    def _left_of_twins(
        self,
        events: Sequence[DependencyEvent],
        seen: Container[object],
        is_taken: Callable[[DependencyEvent], bool],
    ) -> Iterator[DependencyEvent]:
        """`_left_of`, but for those whose twin was ``seen``. They are not looked at one by one."""
        groups = self._of_twins.get(id(events))
        if groups is None:
            by_twin: dict[Hashable, list[DependencyEvent]] = {}
            for event in events:
                twin = self.variables.twin_of(event)
                by_twin.setdefault((twin, event.path) if twin is not None else id(event), []).append(event)
            groups = self._of_twins[id(events)] = [*by_twin.values()]
        if len(groups) > len(events) // 2:
            yield from self._left_of(events, is_taken)
            return
        # Each time the first one of all groups comes: in the order of the recording.
        waiting = [iter(self._left_of(group, is_taken)) for group in groups]
        firsts = ((at, next(one, None)) for at, one in enumerate(waiting))
        heads = [(*self._place_of(first), at, first) for at, first in firsts if first is not None]
        heapify(heads)
        while heads:
            *_, at, event = heads[0]
            yield event
            following = None if (self.variables.twin_of(event), event.path) in seen else next(waiting[at], None)
            if following is None:
                heappop(heads)
            else:
                heapreplace(heads, (*self._place_of(following), at, following))

    def _place_of(self, event: DependencyEvent) -> tuple[bool, float, int]:
        """What the lists of the recording are in order of."""
        return self.variables.is_own(event), event.start_offset_ms, event.eid

    def _chosen(self, fitting: Sequence[_Fitting], path: tuple[str, ...]) -> Found:
        if not fitting:
            return Found()
        least_s = min(each.misfit_s for each in fitting)
        if max(each.misfit_s for each in fitting) > least_s + SLACK_S:
            if least_s > SLACK_S:
                return Found(ambiguous=[each.event for each in fitting])
            fitting = [each for each in fitting if each.misfit_s <= least_s + SLACK_S]
        ways = {frozenset(pair[:3] for pair in each.pairs if pair.kind != TIME) for each in fitting}
        twins = {each.twin or str(each.event.eid) for each in fitting}
        if len(ways) > 1 and len(twins) > 1:
            return Found(ambiguous=[each.event for each in fitting])
        chosen = next((each for each in fitting if each.event.path == path), fitting[0])
        return Found(chosen.event, chosen.pairs)

    def _may_bind(self, pairs: Sequence[Pair], is_taken: Callable[[DependencyEvent], bool]) -> bool:
        """Whether pairs agree with one another, with the book, and with the recording."""
        present: dict[str, str] = {}
        recorded: dict[str, str] = {}
        for kind, before, now, *_ in pairs:
            if kind == TIME:
                continue
            known = self._present.get(before)
            if known is not None:
                if known != now:
                    return False
                continue
            name = self._name_of(before, now)
            if self._recorded.get(name, before) != before:
                return False
            if present.setdefault(before, now) != now or recorded.setdefault(name, before) != before:
                return False
            if before == now:
                continue
            gave = kind == SECRET and before in self.variables.answered
            if gave or not (self._is_own(now, is_taken) and self._is_free(before, is_taken)):
                return False
        return True

    def _name_of(self, recorded: str, present: str) -> str:
        """What a present value is called in the book: a secret has a pseudonym in each of two recordings."""
        return f"{present}\0" if recorded in self.variables.beside else present

    def _is_own(self, present: str, is_taken: Callable[[DependencyEvent], bool]) -> bool:
        """Whether a present value may be one that this run made: no answer and no incoming request gave it, and where
        the recorded run made the same, it does not stand for itself.
        """
        variables = self.variables
        if present not in variables.known:
            return True
        return variables.fresh.get(present, SECRET) != SECRET and self._is_free(present, is_taken)

    def _is_free(self, recorded: str, is_taken: Callable[[DependencyEvent], bool]) -> bool:
        """Whether no call of this run has had a recorded value as it was recorded."""
        return recorded in self._present or not any(map(is_taken, self.variables.places.get(recorded, ())))

    def _misfit_s(self, pairs: Sequence[Pair]) -> float | None:
        """How far the times of a call are from where the recorded ones let expect them, at most; None where one of
        them does not stand for the recorded one.
        """
        now_s = time.time()
        # The clock of the app may have been set since (setting ``clock``).
        began_s = now_s - (time.monotonic() - self._began_s)
        most_s = 0.0
        for pair in pairs:
            if pair.kind == TIME and pair.recorded != pair.present:
                misfit_s = self.variables.misfit_s(pair, began_s, now_s)
                if misfit_s is None:
                    return None
                most_s = max(most_s, misfit_s)
        return most_s


def _are_one(events: Iterable[DependencyEvent]) -> bool:
    """Whether all of some events give the same answer."""
    answers = (what_it_gives(event, event.result) for event in events)
    first = next(answers, None)
    return all(answer == first for answer in answers)


def _says_the_same(pair: Pair) -> bool:
    """Whether a secret is no token that says something else than the recorded one."""
    return pair.kind != SECRET or claims_of(pair.recorded) == claims_of(pair.present)


def _caller_of(pair: Pair) -> tuple[str, ...]:
    """What a secret says of who calls. The app may sign a token anew for each call."""
    claims = claims_of(pair.recorded) if pair.kind == SECRET and _says_the_same(pair) else None
    return pair[:3] if claims is None else (claims,)


_OF_A_SECRET = "(the secret of this run)"  # noqa: S105 - a text in the place of one
_FEW_TWINS = 64
"""So many calls of one shape are looked at one by one."""
_MOST_TRIED = 200
"""How many waiting calls of other shapes are compared with one that is made now."""
