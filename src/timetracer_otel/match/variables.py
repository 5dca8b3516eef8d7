"""Which values of a recording are variables: values that another run has other ones of.

A *fresh* value was made by the app itself: it has a form that is not met by chance, and stands in a call before any
answer, or the request that came in, held it. Where a call only asks, and its answer shows that the server knew the
value, the value is not fresh: nobody knows what was just made up. A *time* is fresh where it lies within the run. One
that the app has reckoned from such a time (when something is due, or ends) moves with the run: another run has it at
the same distance. Pseudonyms of secrets are variables wherever they stand.

A recording is analysed when a call has no equal one in it, and not before.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from typing import Any, NamedTuple

from timetracer_otel.constants import CONVERSATION
from timetracer_otel.match.credentials import callers_named, is_signature_header
from timetracer_otel.match.leaves import Leaves, leaves_of, texts_of
from timetracer_otel.match.renaming import renamed
from timetracer_otel.match.rules import EVERYTHING, MatchRules, without
from timetracer_otel.match.signature import PARTIAL_BODY, Signer
from timetracer_otel.match.values import (
    KINDS,
    SECRET,
    TIME,
    Instant,
    Literals,
    Nested,
    Piece,
    Value,
    capture,
    nested_at,
    pieces_of,
    replaced,
    skeleton,
    values_in,
    within,
)
from timetracer_otel.redact.content_encoding import decode_body, known_encodings
from timetracer_otel.redact.forms import form_of
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import (
    BodySnapshot,
    Call,
    Cassette,
    DependencyEvent,
    EventResult,
    RequestSnapshot,
)

__all__ = ["Pair", "Variables", "answer_texts", "is_given_back", "run_of", "variables_of", "what_it_gives"]

SLACK_S = 2.0
"""How far outside the run a time may lie: the app takes a time shortly before its recording begins."""
_DAY_S = 86_400.0
_USED_WITHIN_S = 30.0
"""How long before a call the app has reckoned a time that stands in it first, at most."""
_NUMBERS_S = 400 * _DAY_S
"""How far outside the run a time may lie that is written as a number."""
_FEW = 8
_TIMINGS = (("head_ms",), ("fetches",))
"""What in a reply says when its parts came."""
_NOT_GIVEN = frozenset({"date"})
"""Headers whose times are the server's own."""


class Pair(NamedTuple):
    """A recorded value and the one that a call has in its place."""

    kind: str
    recorded: str
    present: str
    instant: Instant | None = None
    """What the present one says, where it is a time."""
    texts: tuple[str, str] = ("", "")
    """Both as they stand in the call."""
    before: Instant | None = None
    """What the recorded one says, where it is a time."""


class _Reckoned(NamedTuple):
    """When a time was reckoned that lies outside its run, in seconds since the epoch."""

    earliest_s: float
    latest_s: float


class Variables:
    """The variables of one recording. Immutable after it is made, so safe from any thread.

    Args:
        cassette: The recording.
        events: All events that answer, those of recordings beside it too.
        signer: Makes the recorded calls comparable.
        rules: Which parts of a call count.
        kinds: The kinds that may be bound.
        beside: What the process recorded outside the request.
    """

    def __init__(
        self,
        cassette: Cassette,
        events: Sequence[DependencyEvent],
        signer: Signer,
        rules: MatchRules | None,
        kinds: Collection[str],
        beside: Cassette | None = None,
    ) -> None:
        recordings = [one for one in (cassette, beside) if one is not None]
        pseudonyms = [name for one in recordings for name in one.pseudonyms]
        self.kinds = frozenset(kinds)
        self.windows = [run_of(one) for one in recordings]
        self.literals = Literals.of(pseudonyms) if SECRET in self.kinds else None
        self.beside = frozenset(beside.pseudonyms if beside is not None else ()).difference(cassette.pseudonyms)
        """The pseudonyms of the recording beside alone. It has others than the request's for the same secrets."""
        self.fresh: dict[str, str] = {}
        """The kind of each variable."""
        self.answered: set[str] = set()
        """The pseudonyms that an answer gave first. The app has them from there, as they are."""
        self.known: set[str] = set()
        """Every value of the recording, whoever made it."""
        self.places: dict[str, list[DependencyEvent]] = defaultdict(list)
        """The events whose compared parts hold a value, times apart."""
        self._reckoned: dict[str, _Reckoned] = {}
        """Times outside the run that the app may have reckoned from one within it."""
        self._read_from_clock: set[str] = set()
        """Times that were given, and that a call holds which was made just then."""
        self._everywhere: dict[str, set[int]] = defaultdict(set)
        self._texts: dict[str, str] = {}
        """Each variable as it stands where it was found first."""
        self._answers: set[int] = set()
        """The events whose answers hold a variable, by identity."""
        self._rules = rules or EVERYTHING
        self._signer = signer
        self._shapes: dict[Any, list[DependencyEvent]] = defaultdict(list)
        self._by_method: dict[tuple[str, str], list[DependencyEvent]] = defaultdict(list)
        self._shape_of: dict[int, list[DependencyEvent]] = {}
        """By identity of an event: all those of its shape."""
        self._twins: dict[int, str | None] = {}
        self._leaves: dict[int, Leaves] = {}
        self._pieces: dict[int, tuple[tuple[Piece, ...], ...]] = {}
        own = {id(event) for event in cassette.events}
        self._own = own
        self._note_given(_request_texts(cassette.request))
        for event in sorted(events, key=lambda event: (id(event) in own, event.start_offset_ms, event.eid)):
            self._note(event)

    def is_own(self, event: DependencyEvent) -> bool:
        """Whether an event is one of the request, and not of the recording beside it."""
        return id(event) in self._own

    def parsed(self, text: str) -> tuple[Piece, ...]:
        """The pieces of a text, recorded or present."""
        return pieces_of(text, self.literals)

    def kind_of(self, value: Value) -> str | None:
        """The kind of a value of the recording, where it is a variable, or a time that may move with the run."""
        return self.fresh.get(value.value) or (TIME if value.value in self._reckoned else None)

    def misfit_s(self, pair: Pair, began_s: float, now_s: float) -> float | None:
        """How far a present time is from where the recorded one lets expect it; None where it does not stand for it.

        Both lie within their runs (then it is 0), or both as far from their calls, give or take how long the app may
        have kept them.

        Args:
            pair: Of two times.
            began_s: When the present run began.
            now_s: The time of the present call.
        """
        began_s = min(began_s, now_s)
        if pair.instant is None or pair.before is None:
            return None
        reckoned = self._reckoned.get(pair.recorded)
        if reckoned is None and not within(pair.before, self.windows):
            # It stands in an answer of the app alone.
            began, ended = self.windows[0]
            reckoned = _Reckoned(began + SLACK_S, ended - SLACK_S)
        if pair.recorded in self._read_from_clock:
            began_s = now_s
        if reckoned is None:
            return 0.0 if within(pair.instant, [(began_s - SLACK_S, now_s + SLACK_S)]) else None
        moved_s = pair.instant.at_s - pair.before.at_s
        least_s = max(began_s, now_s - _USED_WITHIN_S) - reckoned.latest_s
        most_s = now_s - max(reckoned.earliest_s, reckoned.latest_s - _USED_WITHIN_S)
        if not least_s - SLACK_S <= moved_s <= most_s + SLACK_S:
            return None
        return abs(moved_s - (now_s - reckoned.latest_s))

    def candidates(
        self, made: Leaves, method: tuple[str, str], recorded: Mapping[str, str]
    ) -> tuple[Sequence[DependencyEvent], Sequence[DependencyEvent] | None]:
        """The recorded calls that may be equal to a present one but for variables, and all those of its shape; None
        where none has its shape. Each of the two is the same list at each call.

        Args:
            made: The leaves of the present call.
            method: Its library and method.
            recorded: The recorded values of the present ones that are bound.
        """
        pieces = [self.parsed(leaf.text) for leaf in made.leaves]
        found = self._shapes.get((made.outline, tuple(map(skeleton, pieces))))
        if found is None:
            # The form of some values does not tell that they are variables: a short password, letters that look like
            # a word by chance.
            return self._by_method.get(method, ()), None
        if len(found) <= _FEW:
            return found, found
        # Of many calls, those with a value that is known are enough.
        values = (value.value for piece in pieces for value in values_in(piece))
        places = (self.places[name] for value in values if (name := recorded.get(value, value)) in self.places)
        fewest = min(places, key=len, default=found)
        return (fewest if len(fewest) < len(found) else found), found

    def is_alike(self, event: DependencyEvent, shape: Sequence[DependencyEvent]) -> bool:
        """Whether an event is one of those of a shape, as `candidates` gives them."""
        return self._shape_of.get(id(event)) is shape

    def twin_of(self, event: DependencyEvent) -> str | None:
        """The same for calls that are equal up to names which no other call has, and whose answers are, too: it makes
        no difference which of them answers. None where another call has one of the names.
        """
        known = self._twins.get(id(event), "")
        if known == "":
            known = self._twins[id(event)] = self._made_twin(event)
        return known

    def _made_twin(self, event: DependencyEvent) -> str | None:
        names: dict[str, str] = {}
        texts = []
        for pieces in self._pieces_of(event):
            for value in values_in(pieces):
                kind = self.kind_of(value)
                if kind is not None and kind != TIME and not self.is_alone(value.value, event):
                    return None
                if kind is not None:
                    names.setdefault(value.value, f"{len(names)}" if kind != TIME else TIME)
            texts.append(replaced(pieces, lambda value: names.get(value.value)))
        answer = what_it_gives(event, renamed(event.result, self.parsed, lambda value: names.get(value.value)))
        return hashlib.sha256(repr((self._leaves[id(event)].outline, texts, answer)).encode()).hexdigest()

    def pairs(self, event: DependencyEvent, made: Leaves) -> list[Pair] | None:
        """The recorded variables of a call with the present values in their places; None where the calls differ in
        anything else.
        """
        recorded = self._leaves.get(id(event))
        if recorded is None or recorded.outline != made.outline or len(recorded.leaves) != len(made.leaves):
            return None
        return self._fitting(self._pieces_of(event), made)

    def pairs_between(self, before: Leaves, now: Leaves) -> list[Pair] | None:
        """The same for something that is no call of its own."""
        if before.outline != now.outline or len(before.leaves) != len(now.leaves):
            return None
        return self._fitting([self.parsed(leaf.text) for leaf in before.leaves], now)

    def _fitting(self, recorded: Iterable[tuple[Piece, ...]], made: Leaves) -> list[Pair] | None:
        found: list[Pair] = []
        for pieces, leaf in zip(recorded, made.leaves, strict=True):
            if not _fit(pieces, leaf.text, found, self.kind_of):
                return None
        return found

    def secrets_of(self, event: DependencyEvent) -> tuple[str, ...]:
        """The pseudonyms in a recorded call, headers that are not compared included, and what signs it."""
        texts = _uncompared(event, signed_by_whom=True)
        headers = event.call.headers if event.call is not None else {}
        return (
            *(value.value for text in texts for value in self._secrets_in(text)),
            *(text for name, text in headers.items() if is_signature_header(name)),
        )

    def told_by(self, event: DependencyEvent) -> Hashable:
        """What `secret_pairs` depends on of a recorded call, of which all else is known to be equal."""
        leaves = leaves_of(_unredacted().recorded_view(event), self._rules).leaves
        headers = event.call.headers.items() if event.call is not None else ()
        return (
            tuple(leaf.text if self._secrets_in(leaf.text) else None for leaf in leaves),
            tuple(
                (name, tuple(callers_named(text) or (text,)))
                for name, text in headers
                if is_signature_header(name) or self._secrets_in(text)
            ),
        )

    def secret_pairs(self, event: DependencyEvent, call: Call) -> list[Pair] | None:
        """The secrets of a recorded call with those of a present one, of which all else is known to be equal; None
        where the present one has none in the place of one. Of a call that has no secret, its signatures.
        """
        found: list[Pair] = []
        made = _unredacted().redacted(call)
        before, now = (leaves_of(view, self._rules) for view in (_unredacted().recorded_view(event), made.view))
        if len(before.leaves) != len(now.leaves):
            return None
        headers = dict(event.call.headers.items()) if event.call is not None else {}
        sides = [(one.text, other.text) for one, other in zip(before.leaves, now.leaves, strict=True)]
        for name, value in headers.items():
            sides += _credentials(value, made.headers.get(name.lower(), ""))
        for recorded, present in sides:
            pieces = self.parsed(recorded)
            if not any(value.kind == SECRET for value in values_in(pieces)):
                continue
            if not _fit(pieces, present, found, self._kind_beside_secrets, is_named=True):
                return None
        secrets = [pair for pair in found if pair.kind == SECRET]
        if secrets:
            return secrets
        for name, value in headers.items():
            if not is_signature_header(name):
                continue
            if not _fit(self.parsed(value), made.headers.get(name.lower(), ""), found, self.kind_of):
                return None
        return [pair for pair in found if pair.kind != TIME]

    def _kind_beside_secrets(self, value: Value) -> str | None:
        return SECRET if value.kind == SECRET else self.kind_of(value)

    def _secrets_in(self, text: str) -> list[Value]:
        return [value for value in values_in(self.parsed(text)) if value.kind == SECRET]

    def renames(self, recorded: str, present: str, kind_of: Callable[[Value], str | None]) -> list[Pair] | None:
        """The variables of a recorded text with the present values in their places; None where the texts differ in
        anything else. ``kind_of`` says which values are variables.
        """
        found: list[Pair] = []
        return found if _fit(self.parsed(recorded), present, found, kind_of) else None

    def listed(self, event: DependencyEvent | None = None) -> list[tuple[str, str]]:
        """The variables of an event, or of the whole recording, with their kinds."""
        return [
            (kind, self._texts.get(name, name))
            for name, kind in self.fresh.items()
            if event is None or id(event) in self._everywhere[name]
        ]

    def are_in_answer(self, event: DependencyEvent) -> bool:
        """Whether the answer of an event holds a variable."""
        return id(event) in self._answers

    def is_alone(self, value: str, event: DependencyEvent) -> bool:
        """Whether a variable stands in this event and nowhere else."""
        return self._everywhere[value] == {id(event)}

    def _pieces_of(self, event: DependencyEvent) -> tuple[tuple[Piece, ...], ...]:
        known = self._pieces.get(id(event))
        if known is None:
            known = tuple(self.parsed(leaf.text) for leaf in self._leaves[id(event)].leaves)
            self._pieces[id(event)] = known
        return known

    def _note_given(self, texts: Iterable[str]) -> None:
        for text in texts:
            for value in values_in(self.parsed(text)):
                self.known.add(value.value)
                if value.kind == SECRET:
                    self.fresh[value.value] = SECRET

    def _note(self, event: DependencyEvent) -> None:
        view = self._signer.recorded_view(event)
        leaves = leaves_of(view, self._rules)
        pieces = [self.parsed(leaf.text) for leaf in leaves.leaves]
        compared = {value.value: value for piece in pieces for value in values_in(piece)}
        beside = dict(compared)
        for text in _uncompared(event):
            beside.update((value.value, value) for value in values_in(self.parsed(text)))
        asked = form_of(event.signature.lib).held_by_server(event)
        held_by_server = {value.value for text in asked for value in values_in(self.parsed(text))}
        called_s = self.windows[0 if self.is_own(event) else -1][0] + SLACK_S + event.start_offset_ms / 1000
        for name, value in beside.items():
            self._texts.setdefault(name, value.raw)
            if name in self.known and name not in self.fresh:
                if TIME in self.kinds and _is_read_from_clock(value, called_s):
                    self.fresh[name] = TIME
                    self._read_from_clock.add(name)
            elif name not in self.known:
                kind = self.kind_if_fresh(value, called_s)
                if kind is not None and (kind in (TIME, SECRET) or name not in held_by_server):
                    self.fresh[name] = kind
                elif kind is None and TIME in self.kinds and (reckoned := self._when_reckoned(value, event)):
                    self._reckoned[name] = reckoned
            self.known.add(name)
            if name in self.fresh:
                self._everywhere[name].add(id(event))
        for name in compared:
            if self.fresh.get(name) != TIME:
                self.places[name].append(event)
        for text in answer_texts(event.result):
            for value in values_in(self.parsed(text)):
                self.known.add(value.value)
                if value.kind == SECRET:
                    if value.value not in self.fresh:
                        self.answered.add(value.value)
                    self.fresh[value.value] = SECRET
                if value.value in self._reckoned:
                    self._answers.add(id(event))
                if value.value in self.fresh:
                    self._answers.add(id(event))
                    self._everywhere[value.value].add(id(event))
        if _is_whole(event):
            self._leaves[id(event)] = leaves
            alike = self._shapes[leaves.outline, tuple(map(skeleton, pieces))]
            alike.append(event)
            self._shape_of[id(event)] = alike
            self._by_method[event.signature.lib, event.signature.method].append(event)

    def _when_reckoned(self, value: Value, event: DependencyEvent | None) -> _Reckoned | None:
        """When the app may have reckoned a time outside the run, by the call in which it stands first (None: its own
        answer). None for a time that is too coarse to tell a distance by, and for a number like any other.
        """
        instant = value.instant
        if instant is None or instant.lasts_s > 1.0:
            return None
        # The recording of the request is the first one, that of the process beside it the last.
        began_s, ended_s = self.windows[0 if event is None or id(event) in self._own else -1]
        if value.value[:1].isdigit() and not began_s - _NUMBERS_S <= instant.at_s <= ended_s + _NUMBERS_S:
            return None
        began_s += SLACK_S
        return _Reckoned(began_s, ended_s - SLACK_S if event is None else began_s + event.start_offset_ms / 1000)

    def kind_in_answer(self, value: Value) -> str | None:
        """The kind of a value that stands in an answer of the app alone, where the app may have made it."""
        kind = self.kind_if_fresh(value)
        moves = kind is None and TIME in self.kinds and self._when_reckoned(value, None) is not None
        return TIME if moves else kind

    def kind_if_fresh(self, value: Value, called_s: float = math.inf) -> str | None:
        """The kind of a value, provided that the app made it; None where its form says nothing of the sort.

        ``called_s`` is when the call was made that holds it, in seconds since the epoch. The app has taken no time
        that comes after: it has reckoned it.
        """
        kind: str | None = value.kind
        windows = [(began_s, min(ended_s, called_s + SLACK_S)) for began_s, ended_s in self.windows]
        if value.instant is not None and within(value.instant, windows):
            kind = TIME
        elif kind == TIME:
            kind = None
        return kind if kind in self.kinds else None


def _is_read_from_clock(value: Value, called_s: float) -> bool:
    """Whether a time may be that of the call which holds it, although an answer or the incoming request gave it.

    A server and the app write the same second, or day, where they look at their clocks one after the other. Of a
    finer time that is not met by chance. An app that uses what it was given has the recorded time in each run, and
    such a call is found as it is.
    """
    if value.instant is None or value.instant.lasts_s < 1.0:
        return False
    return within(value.instant, [(called_s - SLACK_S, called_s + SLACK_S)])


def _fit(
    pieces: Sequence[Piece],
    text: str,
    found: list[Pair],
    kind_of: Callable[[Value], str | None],
    *,
    is_named: bool = False,
) -> bool:
    """Whether a present text is a recorded one but for variables, which are added to ``found``.

    ``is_named`` says that all secrets in it stand under secret names.
    """
    position = 0
    for index, piece in enumerate(pieces):
        if type(piece) is Nested and any(kind_of(value) for value in values_in(piece.pieces)):
            nested = nested_at(piece, text, position)
            if nested is None or not _fit(piece.pieces, nested[0], found, kind_of, is_named=is_named):
                return False
            position = nested[1]
            continue
        kind = kind_of(piece) if type(piece) is Value else None
        if kind is None:
            raw = piece if isinstance(piece, str) else piece.raw
            if not text.startswith(raw, position):
                return False
            position += len(raw)
            continue
        assert type(piece) is Value
        held = _held(kind, piece, pieces[index + 1 :], text, position, is_named)
        if held is None:
            return False
        value, position = held
        found.append(Pair(kind, piece.value, value.value, value.instant, (piece.raw, value.raw), piece.instant))
    return position == len(text)


def _held(
    kind: str, piece: Value, following: Sequence[Piece], text: str, position: int, is_named: bool
) -> tuple[Value, int] | None:
    """What a text has in the place of a variable, where that is of its kind and form, and where it ends."""
    if kind == SECRET:
        return _secret_at(piece, following, text, position, is_named)
    held = capture(piece, text, position)
    if held is None:
        return None
    return None if kind == TIME and held[0].instant is None else held


def _credentials(recorded: str, present: str) -> list[tuple[str, str]]:
    """Two values of a header in pieces, of which those that say who calls are compared."""
    before, now = callers_named(recorded), callers_named(present)
    if before is None or now is None or len(before) != len(now):
        return [(recorded, present)]
    return [*zip(before, now, strict=True)]


@cache
def _unredacted() -> Signer:
    return Signer(Redactor("off"))


def variables_of(cassette: Cassette) -> Variables:
    """The variables that a replay of a cassette by the default rules would see."""
    signer = Signer(Redactor.from_policies(cassette.policies))
    return Variables(cassette, cassette.events, signer, None, KINDS)


def run_of(cassette: Cassette) -> tuple[float, float]:
    """When a recording began and ended, in seconds since the epoch, with some slack."""
    try:
        began = datetime.fromisoformat(cassette.session.recorded_at.replace("Z", "+00:00"))
    except ValueError:
        return (1.0, 0.0)
    if began.tzinfo is None:
        began = began.replace(tzinfo=timezone.utc)
    ended_ms = max((event.end_offset_ms for event in cassette.events), default=0.0)
    took_s = max(ended_ms, cassette.stats.total_duration_ms) / 1000
    return began.timestamp() - SLACK_S, began.timestamp() + took_s + SLACK_S


def answer_texts(result: EventResult) -> Iterator[str]:
    """Every text of an answer."""
    for name, text in result.headers.items():
        if name.lower() not in _NOT_GIVEN:
            yield text
    yield from _body_texts(result.body, result.headers)
    yield from texts_of([result.reply, result.error, result.exception])
    if result.body is not None:
        yield from texts_of(result.body.error)


def what_it_gives(event: DependencyEvent, result: EventResult) -> tuple[Any, ...]:
    """An answer without what says when it came: the same for two events that answer a call alike."""
    headers = {name: value for name, value in result.headers.items() if name.lower() not in _NOT_GIVEN}
    reply = without(result.reply, _TIMINGS) if isinstance(result.reply, dict) else result.reply
    body = (result.body.data, result.body.end, result.body.error) if result.body is not None else None
    return result.status, headers, reply, result.error, result.exception, body, event.not_replayable


def is_given_back(pair: Pair) -> bool:
    """Whether answers have the present value in the place of the recorded one. A day is too coarse for that: answers
    have it for reasons of their own.
    """
    return pair.instant is None or pair.instant.lasts_s < _DAY_S


def _request_texts(request: RequestSnapshot) -> Iterator[str]:
    yield from (request.path, request.target or "", *request.headers.values())
    yield from texts_of(request.query)
    yield from _body_texts(request.body, request.headers)


def _uncompared(event: DependencyEvent, *, signed_by_whom: bool = False) -> Iterator[str]:
    """The texts of a call, those that may not be compared too; of signed credentials only who calls, if that is asked
    for.
    """
    signature, call = event.signature, event.call
    if signature.url is not None:
        yield signature.url
    yield from texts_of(signature.query)
    if call is not None:
        for value in call.headers.values():
            # The signature of signed credentials is another one in each second, whoever calls.
            yield from (callers_named(value) if signed_by_whom else None) or (value,)
        yield from _body_texts(call.body, call.headers)
        yield from texts_of(call.args)
    yield from texts_of(said_by_app(event.result))


def said_by_app(result: EventResult) -> list[Any]:
    """What an app said in a conversation after its call had begun (see `CONVERSATION`)."""
    reply = result.reply
    if type(reply) is not dict or CONVERSATION not in reply:
        return []
    return [content for whose, *_, content in reply[CONVERSATION]["frames"] if whose == "app"]


def _body_texts(body: BodySnapshot | None, headers: Any) -> Iterator[str]:
    data = body.data if body is not None else None
    if isinstance(data, bytes):
        encoding = {name.lower(): value for name, value in headers.items()}.get("content-encoding", "")
        plain = decode_body(data, known_encodings(encoding), damaged_too=True) if encoding else data
        yield (data if plain is None else plain).decode("latin-1")
    elif data is not None:
        yield from texts_of(data)


def _is_whole(event: DependencyEvent) -> bool:
    """Whether all of a call was kept, so that another one can be compared with it."""
    signature, call = event.signature, event.call
    if signature.body_hash is None:
        return True
    if signature.body_hash == PARTIAL_BODY or call is None:
        return False
    if call.args is not None:
        return True
    return call.body is not None and isinstance(call.body.data, bytes) and not call.body.truncated


def _secret_at(
    piece: Value, following: Sequence[Piece], text: str, position: int, is_named: bool
) -> tuple[Value, int] | None:
    """The secret that stands at a place: up to what follows, and of the form of the pseudonym. Under a secret name,
    any text is a secret.
    """
    after = following[0] if following else None
    end = len(text)
    if isinstance(after, str):
        end = text.find(after, position + 1)
    elif after is not None:
        end = position + len(piece.raw)
    if end <= position or end > len(text):
        return None
    raw = text[position:end]
    value = raw if piece.raw == piece.value else _plain(piece, raw)
    same = is_named or _form_of_secret(value) == _form_of_secret(piece.value)
    return (piece._replace(raw=raw, value=value), end) if same else None


def _plain(piece: Value, raw: str) -> str:
    from json import loads
    from urllib.parse import unquote, unquote_plus

    if "%" in piece.raw:
        return unquote(raw)
    if "+" in piece.raw and "+" not in piece.value:
        return unquote_plus(raw)
    try:
        return str(loads(f'"{raw}"'))
    except ValueError:
        return raw


def _form_of_secret(text: str) -> tuple[int, bool, bool]:
    """The length of a secret, whether it is a number, and whether it has more than letters and digits."""
    return len(text), text.isdigit(), all(char.isalnum() or char in "-_" for char in text)
