"""`ReplaySession`: one replay."""

# pyright: strict

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from operator import attrgetter
from typing import Any, NamedTuple

from timetracer_otel.base.hosts import Hosts, address_of_url
from timetracer_otel.base.ignore_rules import BOUND
from timetracer_otel.base.settings import variable_kinds
from timetracer_otel.cassette import Unencodable
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import ANY_HTTP_CLIENT, CONVERSATION, BodyEnd, EventType, TraceMode, Uncaptured
from timetracer_otel.exceptions import NetworkBlockedError, ReplayMismatchError
from timetracer_otel.match.advice import Wording
from timetracer_otel.match.asked import Asked, asks_by_header
from timetracer_otel.match.credentials import holds_signature
from timetracer_otel.match.expired import TimesInAnswers
from timetracer_otel.match.index import Accepts, Among, EventIndex
from timetracer_otel.match.joint_index import JointIndex
from timetracer_otel.match.later_index import LaterIndex
from timetracer_otel.match.leaves import leaves_of
from timetracer_otel.match.near_events import FEW_EVENTS, NearEvents
from timetracer_otel.match.nearest import Attempt, describe, mismatch
from timetracer_otel.match.rules import EVERYTHING, MatchRules, rules_of
from timetracer_otel.match.signature import (
    PARTIAL_BODY,
    Key,
    RedactedCall,
    Signer,
    body_kind,
    compares_body_as_it_is,
    in_buckets,
)
from timetracer_otel.match.values import SECRET
from timetracer_otel.match.variables import Variables, run_of
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.base import BaseSession, EndedSpan
from timetracer_otel.session.bindings import Alike, Bindings, Found, Rivals
from timetracer_otel.session.made_calls import MadeCalls
from timetracer_otel.session.models import PaidCalls
from timetracer_otel.session.shown_calls import ShownCalls
from timetracer_otel.session.trace import TraceSession
from timetracer_otel.session.uncovered import UncoveredCalls
from timetracer_otel.types import (
    Call,
    Cassette,
    DependencyEvent,
    EventSignature,
    RequestSnapshot,
    Verdict,
)

__all__ = ["ReplaySession"]


class _KnownHeaders(NamedTuple):
    """Headers of a call on which nothing depends but what is compared of its body.

    Attributes:
        headers: As the plugin gave them.
        call: A call with these headers, without its body.
        content_type: Of its body.
    """

    headers: Any
    call: Call
    content_type: bytes


_MOST_URLS = 10_000
"""How many URLs a session remembers of which calls went out to a host in ``live_hosts``."""


class ReplaySession(BaseSession):
    """Answers calls from a cassette. Safe from any thread and task.

    Args:
        cassette: The recording.
        cassette_path: Where it came from, for error texts.
        strict: False lets a JSON body match a recorded one with equal content, where none is equal byte for byte.
            A call without a match is an error either way.
        config: Which plugins are mocked and how answers are timed. Without it, every plugin is mocked.
            The redaction rules are those of the recording, so that both sides of a match are in the same form.
        beside: What the process of a recorded request recorded outside any request, redacted by the same rules. It
            answers as well; what of it no call asks for is not unused.
    """

    # CPython reads the attributes of an instance in a quick way where it has at most thirty. Every call reads these.
    # With them in slots, neither they nor the others are slow.
    __slots__ = (
        "_bindings",
        "_index",
        "_known",
        "_lock",
        "_methods",
        "_misses",
        "_rules",
        "_shown",
        "_signer",
        "_tells_secrets",
        "_tells_signatures",
        "fallback",
        "live_hosts",
        "mocked",
        "recorder",
        "replay_timing",
        "uncovered",
    )

    def __init__(
        self,
        cassette: Cassette,
        cassette_path: str,
        strict: bool = True,
        config: TraceConfig | None = None,
        beside: Cassette | None = None,
    ) -> None:
        self.cassette = cassette
        self.cassette_path = cassette_path
        self.strict = strict
        self.config = config
        self.live_calls: Counter[str] = Counter()
        self.blocked: list[NetworkBlockedError] = []
        self.paid: PaidCalls = PaidCalls(lambda: cassette.events)
        self.uncovered: UncoveredCalls = UncoveredCalls(cassette, self.paid)
        """The calls that no plugin captures."""
        self.live_hosts: Hosts | None = Hosts(config.live_hosts) if config is not None and config.live_hosts else None
        """Where calls may go for real; None where the settings name no hosts."""
        self.recorder: TraceSession | None = None
        """Records the calls that the cassette does not hold, in the record mode ``new_episodes``; else None."""
        self.overdue: str | None = None
        """That the cassette is older than the setting ``max_age`` allows; None where it is not."""
        self.asked_by: str | None = None
        """The request that came in, where it differs from the recorded one, for error texts."""
        self.on_miss: Callable[[ReplayMismatchError], None] | None = None
        """Called with the error of each call that has no answer."""
        self.by_environment: bool = False
        """Whether the user sets this replay up by the environment or a command, and not in Python; for advice."""
        self.fallback: Callable[[], ReplaySession] | None = None
        """Gives another session to ask for calls that this one does not hold. Set when the request has ended: calls
        made after that may have been recorded outside the request."""
        self.made_calls: MadeCalls | None = None
        """Notes the calls of this run that no event answers, where somebody compares them; else None."""
        self._misses: list[ReplayMismatchError] = []
        self._refused: set[int] = set()
        self._lock = threading.Lock()
        policies = cassette.policies
        self._redactor = Redactor.from_policies(policies)
        self._rules = rules_of(config)
        self._signer = Signer(self._redactor, _bound_rules(config), self._rules)
        self._later = cassette.later_events if beside is None else None
        self._with_beside: list[DependencyEvent] | None = None
        self._index = self._index_of_all(beside)
        self._shown = ShownCalls(self._redactor, self._signer, cassette.pseudonyms)
        self._known: dict[tuple[str, str], _KnownHeaders] = {}
        """By library and method: the headers of the last call that `match` answered, if nothing depends on them."""
        kinds = variable_kinds(config.variables if config is not None else TraceConfig().variables)
        # What makes the variables does not refer to the session: one that nobody resets is gone with its context.
        signer, rules, with_beside = self._signer, self._rules, self._with_beside
        self._bindings = Bindings(
            lambda: Variables(cassette, with_beside or cassette.events, signer, rules, kinds, beside),
            self._rules or EVERYTHING,
            is_on=bool(kinds),
        )
        self._pseudonyms = (*cassette.pseudonyms, *(beside.pseudonyms if beside is not None else ()))
        has_secrets = bool(self._pseudonyms)
        self._tells_secrets: bool = has_secrets and SECRET in kinds
        """Whether equal calls may differ in their secrets, which are in no key."""
        self._tells_signatures: bool = SECRET in kinds
        """The same of calls that the app has signed, in a recording without secrets."""
        self._contested: dict[Key, Rivals] | None = None
        self._told_apart: dict[int, Alike] = {}
        """By identity: the events that have an equal one with other secrets."""
        self._hashes_differ: bool | None = None
        self._targets: set[str | None] | None = None
        """The targets of all events; None until they are asked for."""
        self._methods: set[tuple[str, str]] | None = None
        """The plugin and method of all events; None until they are asked for."""
        self._answered: TimesInAnswers = TimesInAnswers()
        self._sorted: NearEvents | None = None
        """The events in the orders in which near ones are found; made at the first miss."""
        self.mocked: dict[str, bool] = {}
        """What `should_mock_plugin` has said, by name."""
        self._live_urls: set[str] = set()
        self.replay_timing: bool = config is not None and config.replay_timing
        """Whether answers take as long as they did when recorded."""

    def _index_of_all(self, beside: Cassette | None) -> EventIndex:
        """The index of the events that may answer."""
        cassette, signer = self.cassette, self._signer
        if self._later is not None and signer.rules is None and not signer.ignored:
            return LaterIndex(self._later, signer.recorded_key)
        index = EventIndex(cassette.events, signer.recorded_key)
        if beside is None:
            return index
        last = max((event.eid for event in cassette.events), default=0)
        more = [replace(event, eid=eid) for eid, event in enumerate(beside.events, last + 1)]
        self._with_beside = [*cassette.events, *more]
        return JointIndex(index, EventIndex(more, signer.recorded_key))

    @property
    def _events(self) -> list[DependencyEvent]:
        return self._with_beside if self._with_beside is not None else self.cassette.events

    def __repr__(self) -> str:
        of = f" of {self.cassette_path}" if self.cassette_path else ""
        counts = f"{len(self._index.taken())} hit, {len(self._misses)} missed"
        return f"<{type(self).__name__} {self.session_id[:8]}{of}: {counts}>"

    @property
    def mode(self) -> TraceMode:
        """`TraceMode.REPLAY`."""
        return TraceMode.REPLAY

    @property
    def session_id(self) -> str:
        """The identifier of the recorded session."""
        return self.cassette.session.id

    @property
    def is_recording(self) -> bool:
        """False, also where calls that the cassette does not hold are recorded."""
        return False

    @property
    def is_replaying(self) -> bool:
        """True."""
        return True

    @property
    def request(self) -> RequestSnapshot:
        """The recorded request."""
        return self.cassette.request

    @property
    def events(self) -> list[DependencyEvent]:
        """All recorded events, in order of start; behind them those of the recordings of the process beside."""
        return self._events

    def events_with(self, text: str) -> list[DependencyEvent]:
        """The recorded events in which a text stands, and maybe others. Of a long recording, the others are not read
        for that, unless the text stands in many.
        """
        found = self._later.with_text(text.encode(), _MOST_WITH_TEXT) if self._later is not None else None
        return self._events if found is None else found

    @property
    def adds_new_calls(self) -> bool:
        """Whether calls that the cassette does not hold are made for real, and recorded."""
        return self.recorder is not None

    @property
    def is_closed(self) -> bool:
        """Whether calls that no plugin captures are refused."""
        lets_out = self.config is not None and self.config.uncaptured is Uncaptured.LIVE
        return not (lets_out or self.adds_new_calls)

    @property
    def misses(self) -> list[ReplayMismatchError]:
        """The errors of calls without an answer up to now, also of those whose error the app swallowed."""
        with self._lock:
            return list(self._misses)

    @property
    def current_cursor(self) -> int:
        """The number of events that calls have taken.

        The name is that of timetracer 1.6. There is no cursor here: events are found by their signature.
        """
        return self._index.taken_count

    @property
    def has_more_events(self) -> bool:
        """Whether there is an event that no call has taken."""
        return not self._index.is_exhausted

    def should_mock_plugin(self, plugin_name: str) -> bool:
        """Whether this replay answers a plugin's calls; takes names of plugins and of groups."""
        try:
            return self.mocked[plugin_name]
        except KeyError:
            mocked = self.config is None or self.config.should_mock_plugin(plugin_name)
            return self.mocked.setdefault(plugin_name, mocked)

    def holds_method(self, lib: str, method: str) -> bool:
        """Whether any event is of this plugin and method, be it taken or not."""
        if self._methods is None:
            self._methods = {(event.signature.lib, event.signature.method) for event in self._events}
        return (lib, method) in self._methods

    def goes_out(self, address: str | None, recorded_url: str | None = None) -> bool:
        """Whether calls to an address are made for real, as the setting ``live_hosts`` names its host.

        Args:
            address: A URL with the host and port.
            recorded_url: How the events of such calls name their target.
        """
        if self.live_hosts is None or address is None:
            return False
        where = address_of_url(address)
        if where is None or not self.live_hosts.allow(where):
            return False
        if recorded_url is not None and len(self._live_urls) < _MOST_URLS:
            self._live_urls.add(recorded_url)
        return True

    def note_live(self, plugin_name: str, address: str | None = None) -> None:
        """Count a call that goes out for real during this replay, to this URL where that is known."""
        with self._lock:
            self.live_calls[plugin_name] += 1
        self.paid.went_out(address)

    def note_live_call(self, call: Call) -> None:
        """Note a call that goes out for real, where somebody compares the calls of this run."""
        if self.made_calls is not None:
            made = self.redacted(call)
            attempt = self._shown.shown(_attempt(made, self._rules, partial(self._refused_by, made)))
            self.made_calls.went_out(self._index.mark, attempt, call.event_type)

    def calls_made(self) -> list[DependencyEvent]:
        """The calls of this run up to now, in their order: those that were answered, missed, or made for real. The
        last two are there from when `made_calls` was set.
        """
        answered = self._index.in_order_taken()
        return (self.made_calls or MadeCalls()).in_order(answered)

    def span_ended(self, span: EndedSpan) -> None:
        """Count the call of a client span that no plugin saw.

        The span is also passed on to the recorder: it may be that of a call which was made for real and recorded.
        """
        if span.is_client:
            self.uncovered.span_ended(span)
        else:
            self.uncovered.accounted.discard(span.span_id)
        if self.recorder is not None:
            self.recorder.span_ended(span)

    def redacted(self, call: Call | RedactedCall) -> RedactedCall:
        """A call as this replay sees it, redacted by the recording's rules.

        A caller that asks more than once about a call gives this object in its place, so that it is redacted once.
        """
        if isinstance(call, RedactedCall):
            if call.signer is self._signer:
                return call
            call = call.call
        return RedactedCall(call, self._signer)

    def expects_body(self, call: Call | RedactedCall, path: tuple[str, ...] = ()) -> bool:
        """Whether the body of a call, a stream, must be read before the call can be matched.

        False where the recorded call failed, or was answered, before its body was sent to the end: the replay must
        not read more of the app's stream than the recording did. It is read all the same where the app's stream
        itself raised, and where another call with an equal signature was under way at the same time and sent its
        whole body: only the bodies tell such calls apart. A call that was repeated after the first one had ended does
        not count.
        """
        key = self.redacted(call).key
        first = self._index.first_but_for_body(key, path)
        if first is None or _was_read(first):
            return True
        read = self._index.earliest_but_for_body(key, "was read", _was_read)
        return read is not None and read.start_offset_ms < first.start_offset_ms + first.duration_ms

    def source_failed(self, call: Call | RedactedCall) -> None:
        """Take the event of a recorded call whose stream raised: the app's stream has raised now as it did then."""
        key = self.redacted(call).key
        while True:
            event = self._index.earliest_but_for_body(key, "source failed", _source_failed)
            if event is None or self._index.take_event(event):
                return

    def match(self, call: Call | RedactedCall, path: tuple[str, ...] = ()) -> DependencyEvent:
        """The recorded event for a call; it will answer no other call.

        Args:
            call: The call as it is, or as `redacted` gives it.
            path: Names of the spans around it, outermost first.

        Raises:
            ReplayMismatchError: No recorded event has this signature, or calls have taken all that have it.
        """
        made = call if isinstance(call, RedactedCall) and call.signer is self._signer else self.redacted(call)
        found = self._decided(made, path)
        if found.event is None:
            # What is near to it is looked for among the calls of the same client.
            made = self._as_imported(made) or made
            attempt = _attempt(made, self._rules, partial(self._refused_by, made))
            raise self._missed(attempt, found.ambiguous, made.key, made.call.event_type)
        return found.event

    def match_as_recorded(
        self, lib: str, facts: tuple[str, str, Any, Any], path: tuple[str, ...] = ()
    ) -> DependencyEvent | None:
        """As `match`, for a call that is equal to a recorded one as it is: an HTTP call with headers as the last one
        had them, or any other call. Neither a `Call` nor its redacted form is made for it.

        Args:
            lib: The plugin.
            facts: The method, and the URL with its query. Of an HTTP call also all of the body (empty where there is
                none), and the headers in any form that is equal for equal headers. Of any other call its arguments,
                and None.
            path: Names of the spans around the call.

        Returns:
            None where only `match` can tell.
        """
        method, url, body, headers = facts
        if headers is None:
            return self._match_arguments(lib, method, url, body, path)
        known = self._known.get((lib, method))
        bindings = self._bindings
        if known is None or known.headers != headers or bindings.shadowed:
            return None
        key = self._signer.key_as_recorded(lib, method, url, body, known.content_type)
        if key is None:
            return None
        event = self._index.take(key, path)
        if event is None:
            return None
        # What is equal to a recorded body has no secret. The others are remembered, as of any call.
        self._shown.note(known.call)
        self._shown.note_url(url)
        return event if bindings.is_empty else bindings.given_back(event)

    def _match_arguments(
        self, lib: str, method: str, url: str, args: Any, path: tuple[str, ...]
    ) -> DependencyEvent | None:
        """`match_as_recorded` of a call that is no HTTP.

        Arguments stand in the recording as they are redacted. So those that are equal to recorded ones have no secret
        that would be replaced, nor one that the text of a later miss would have to leave out.
        """
        bindings = self._bindings
        if (
            self._rules is not None
            or self._tells_secrets
            or self.recorder is not None
            or bindings.shadowed
            or self.uncovered.messages
        ):
            return None
        key = self._signer.key_of_arguments(lib, method, url, args)
        event = self._index.take(key, path) if key is not None else None
        return event if event is None or bindings.is_empty else bindings.given_back(event)

    def match_packed(
        self, lib: str, method: str, url: str, packed: bytes, path: tuple[str, ...] = ()
    ) -> DependencyEvent | None:
        """`match_as_recorded` of a call that is no HTTP, whose arguments are in the form in which they are compared:
        its library's `CallForm` would change nothing in them.

        Args:
            lib: The plugin.
            method: Of the call.
            url: Of the call.
            packed: Its arguments, not redacted, as `pack` encodes them with all mappings in the order of their keys.
            path: Names of the spans around the call.
        """
        bindings = self._bindings
        if (
            self._rules is not None
            or self._tells_secrets
            or self.recorder is not None
            or bindings.shadowed
            or self.uncovered.messages
        ):
            return None
        key = self._signer.key_of_packed(lib, method, url, packed)
        event = self._index.take(key, path) if key is not None else None
        return event if event is None or bindings.is_empty else bindings.given_back(event)

    def keep_headers(self, made: RedactedCall, headers: Any) -> None:
        """Remember the headers of a call for `match_as_recorded`, unless more than the key depends on them.

        Args:
            made: A call that `match` has answered.
            headers: Its headers as `match_as_recorded` will get them. They are copied.
        """
        call = made.call
        if self._rules is not None or self._tells_secrets or self.recorder is not None:
            return
        headers_count = holds_signature(call.headers) or asks_by_header(call.headers)
        if compares_body_as_it_is(call.headers) and not headers_count:
            self._known[call.lib, call.method] = _KnownHeaders(
                copy(headers), replace(call, body=None), body_kind(call.headers).content_type
            )

    def find(self, call: Call | RedactedCall, path: tuple[str, ...] = ()) -> DependencyEvent | None:
        """As `match`, but None where no event has this signature, or calls have taken all that have it.

        Raises:
            ReplayMismatchError: The call has arguments that no recording can hold, and no such call failed when
                recorded.
        """
        return self._decided(self.redacted(call), path).event

    def _decided(self, made: RedactedCall, path: tuple[str, ...]) -> Found:
        """The event for a call: one that is equal, or else one that is equal up to the names of variables.

        This is the one place where that is decided. What it gives is taken, and has the values of this run.
        """
        if made.call.body is None:
            self._shown.note(made.call)
        else:
            self._shown.note_with_body(made.call)
        if self.uncovered.messages:
            self.uncovered.called_with(made.call.args)
        try:
            key = made.key_among(self._index.has) if made.call.body else made.key
        except Unencodable as fault:
            return Found(self._find_outlined(made, path, fault))
        bindings = self._bindings
        if bindings.shadowed and bindings.is_shadowed(made.call):
            return self._renamed(made, path)
        event = self._equal(made, key, path)
        if event is not None:
            return _found((event if bindings.is_empty else bindings.given_back(event), (), ()))
        imported = self._as_imported(made)
        if imported is not None:
            found = self._decided(imported, path)
            if found.event is not None or found.ambiguous:
                return found
        if self.fallback is None:
            return self._renamed(made, path) if bindings.is_on else _NOTHING
        other = self.fallback()
        made_there = other.redacted(made)
        event = other._equal(made_there, made_there.key, path)
        if event is not None:
            return Found(other._bindings.given_back(event))
        found = self._renamed(made, path) if bindings.is_on else _NOTHING
        return found if found.event is not None or found.ambiguous else other._decided(made_there, path)

    def _as_imported(self, made: RedactedCall) -> RedactedCall | None:
        """An HTTP call as the calls of imported recordings stand, which name no client; None where there are none."""
        call = made.call
        if call.event_type is not EventType.HTTP_CLIENT or call.lib == ANY_HTTP_CLIENT:
            return None
        if not self.holds_method(ANY_HTTP_CLIENT, call.method):
            return None
        return self.redacted(replace(call, lib=ANY_HTTP_CLIENT))

    def _equal(self, made: RedactedCall, key: Key, path: tuple[str, ...]) -> DependencyEvent | None:
        """Take the event that is equal to a call; None where there is none."""
        accepts = self._accepts(made) if self._rules is not None else None
        among = None
        if self._tells_secrets or (self._tells_signatures and holds_signature(made.call.headers)):
            among = self._with_secrets(made, key, accepts)
        if asks_by_header(made.call.headers):
            among = self._that_ask_the_same(made, among)
        event = self._index.take(key, path, accepts, among)
        if event is None and made.call.args is not None and self._hashed_anew():
            event = self._index.take(key, path, accepts, among)
        if event is None and made.call.body_end is BodyEnd.COMPLETE:
            event = self._index.take(self._index.partial(key), path, accepts, among)
        if event is None and not self.strict and made.call.body:
            other = self._index.same_json(key, made.plain_body)
            event = self._index.take(other, path, accepts, among) if other is not None else None
        if event is None and self.config is not None and self.config.allow_repeats:
            event = self._index.again(key, accepts, among)
        if event is not None and self.recorder is not None and self._pseudonyms:
            # What is recorded besides has the same pseudonyms, or nobody could tell that these are the same secrets.
            for pair in self._bindings.variables.secret_pairs(event, made.call) or ():
                if pair.kind == SECRET:
                    self.recorder.keep_pseudonym(pair.present, pair.recorded)
        return event

    def _with_secrets(self, made: RedactedCall, key: Key, accepts: Accepts | None) -> Among | None:
        """Which of the events that are equal but for their secrets may answer a call: those with its secrets. None
        where the recording has no such events.

        Secrets are in no key. So they are compared here, where the recording has equal calls with different ones.

        Raises:
            ReplayMismatchError: Nothing says which of them has the call's secrets.
        """
        bindings = self._bindings
        with bindings.lock:
            if self._contested is None:
                self._contested = {
                    equal: Rivals(events, bindings.variables)
                    for equal, events in self._index.equal_calls().items()
                    if len({bindings.variables.secrets_of(event) for event in events}) > 1
                }
                groups = (group for rivals in self._contested.values() for group in rivals.groups)
                self._told_apart = {id(event): group for group in groups for event in group.events}
            if not self._contested:
                self._tells_secrets = self._tells_signatures = False
                return None
            rivals = self._contested.get(key)
            if rivals is None:
                first = self._index.peek(key, (), accepts)
                if first is not None:
                    bindings.bind_secrets(made.call, first)
                return None
            found = bindings.with_secrets(made.call, rivals, self._index.is_taken)
            if found is None:
                waiting = [event for event in rivals.events if not self._index.is_taken(event)]
                raise self._missed(_attempt(made, self._rules, partial(self._refused_by, made)), waiting)
            return Among("secrets", self._alike_of, found)

    def _alike_of(self, event: DependencyEvent) -> Alike | None:
        """The events that are equal to one and have its secrets, where others have other ones."""
        return self._told_apart.get(id(event))

    def _renamed(self, made: RedactedCall, path: tuple[str, ...]) -> Found:
        """The event that is equal to a call up to the names of variables, taken, with the values of this run."""
        bindings = self._bindings
        with bindings.lock:
            known = bindings.translated(made.call)
            if known is not None:
                there = self.redacted(known)
                event = self._equal(there, there.key, path)
                if event is not None:
                    return Found(bindings.given_back(event))
            if not _is_comparable(made.call):
                return _NOTHING
            while True:
                found = bindings.find(made, path, self._index.is_taken, self._accepts(made), self._told_apart)
                if found.event is None:
                    return found
                if self._index.take_event(found.event):
                    bindings.bind(found)
                    return found._replace(event=bindings.given_back(found.event))

    def _find_outlined(self, made: RedactedCall, path: tuple[str, ...], fault: Unencodable) -> DependencyEvent:
        """The event of a call whose arguments no recording can hold. It holds an error, or cannot answer the call."""
        outlined = made.outlined()
        accepts = self._accepts(outlined)
        event = self._index.take(outlined.key, path, accepts)
        if event is None and self.config is not None and self.config.allow_repeats:
            event = self._index.again(outlined.key, accepts)
        if event is None:
            raise self._unsigned(made.call, fault) from fault
        return event

    def upcoming(
        self, call: Call | RedactedCall, path: tuple[str, ...] = (), *, thorough: bool = False
    ) -> DependencyEvent | None:
        """The event that `match` would take for a call now; None where it would find none. The event is not taken.

        Args:
            call: As for `match`.
            path: As for `match`.
            thorough: Look in recordings that hashed arguments in an older way, too. The first such look at a call
                without an event hashes all recorded arguments, so it is for calls that are nearly always recorded.
        """
        made = self.redacted(call)
        accepts = self._accepts(made)
        bindings = self._bindings
        event = None
        if not bindings.is_shadowed(made.call):
            event = self._index.peek(made.key, path, accepts)
            if event is None and thorough and self._hashed_anew():
                event = self._index.peek(made.key, path, accepts)
        if event is not None or not bindings.is_on or not _is_comparable(made.call) or self._says_nothing_else(made):
            return event
        with bindings.lock:
            known = bindings.translated(made.call)
            if known is not None:
                event = self._index.peek(self.redacted(known).key, path, accepts)
            return event or bindings.find(made, path, self._index.is_taken, accepts, self._told_apart).event

    def _says_nothing_else(self, made: RedactedCall) -> bool:
        """Whether a call says nothing but its method and where it goes, which the recording has as it is: such a call
        is equal to no other one up to names.

        So are the ends of transactions. A replay looks ahead for each of them, recorded or not, and the recording is
        not to be looked through for variables because of that.
        """
        args: Any = made.call.args
        if type(args) is not dict or [*args.values()] != [made.call.method]:
            return False
        if self._targets is None:
            self._targets = {event.signature.url for event in self._events}
        return made.signature.url in self._targets

    def _hashed_anew(self) -> bool:
        """Whether the recorded arguments have other hashes than the recording made of them, so that it is worth to
        look again. They are hashed at the first call that no event is found for.

        Older recordings hashed mappings in the order in which the app gave them. Hashing at once, in each replay,
        would make the loading of every cassette slower.
        """
        with self._lock:
            if self._hashes_differ is None:
                self._hashes_differ = self._index.key_anew(partial(self._signer.recorded_key, hash_anew=True))
            return self._hashes_differ

    def verdict(self) -> Verdict:
        """The account of this replay up to now.

        Unused are the recorded events that could have answered a call, and that no call asked for. Events of plugins
        and hosts that stay live, and events that cannot be replayed, do not count. Nor do those by which a
        library sets up a connection to a database, which may be open already in a replay, or gets credentials.
        """
        unused = partial(self._unused, self._index.mark, frozenset(self._live_urls))
        uncovered = self.uncovered.live()
        with self._lock:
            misses, live, refused = tuple(self._misses), dict(self.live_calls), set(self._refused)
        verdict = Verdict(
            hits=tuple(event for event in self._index.taken() if event.eid not in refused),
            repeats=self._index.repeats,
            misses=misses,
            live={name: live.get(name, 0) + uncovered.get(name, 0) for name in (*live, *uncovered)},
            without_plugin=tuple(sorted(uncovered)),
            recorded=len(self.recorder.events) if self.recorder is not None else 0,
            blocked=tuple(self.blocked),
            cassette_path=self.cassette_path,
            fail_on_unused=self.config is not None and self.config.fail_on_unused,
            advice=self._advice(misses),
            bindings=self._bindings.listed,
        )
        verdict.leave_unused(unused)
        verdict.leave_paid(lambda: self.paid.number)
        return verdict

    def _unused(self, mark: int, live_urls: frozenset[str]) -> tuple[DependencyEvent, ...]:
        return tuple(
            event
            for event in self._index.unused(mark)
            if event.not_replayable is None
            and self.should_mock_plugin(event.signature.lib)
            and event.signature.url not in live_urls
            and not self.goes_out(event.signature.url)
            and not event.sets_up
        )

    def claim(self, event: DependencyEvent) -> bool:
        """Take this very event, so that it answers no other call; False where another call had it first."""
        return self._index.take_event(event)

    def is_taken(self, event: DependencyEvent) -> bool:
        """Whether a call has taken this very event."""
        return self._index.is_taken(event)

    def waiting_elsewhere(self, call: Call | RedactedCall) -> list[DependencyEvent]:
        """Of each URL, the first event still waiting that is equal to a call but for its URL, in the order of the
        recording.
        """
        return self._index.waiting_but_for_target(self.redacted(call).key)

    def says_the_same(self, event: DependencyEvent, recorded: dict[str, Any], present: dict[str, Any]) -> bool:
        """Whether the app says now, in the conversation of an event, what it said when that was recorded, but for
        secrets and for variables. The variables are bound.

        Args:
            event: The call, which was found.
            recorded: A part of what the app said then, as arguments in the form of its library.
            present: What it says in the place of it, not redacted.
        """
        bindings, lib = self._bindings, event.signature.lib
        there, here = (
            self._signer.redacted(Call(lib, EventType.CUSTOM, CONVERSATION, args=one)) for one in (recorded, present)
        )
        with bindings.lock:
            before, now = (leaves_of(made.view, self._rules or EVERYTHING) for made in (there, here))
            if before == now and not bindings.is_shadowed(here.call):
                return True
            return bindings.is_on and bindings.bind_later(event, before, now, self._index.is_taken)

    def as_now(self, said: Any) -> Any:
        """What a server said in a conversation, with present values in the place of those that are bound by now."""
        return self._bindings.given_back_now(said)

    def refuse(self, event: DependencyEvent, why: str) -> ReplayMismatchError:
        """The error for a call whose event was found and cannot answer it."""
        with self._lock:
            self._refused.add(event.eid)
        error = ReplayMismatchError(
            f"Recorded, but cannot be replayed: {event.signature.lib} {describe(event.signature)}: {why}",
            cassette_path=self.cassette_path,
            endpoint=self._endpoint,
            event_index=event.eid,
            hint=f"mend the cause and record again, or name the library in {self._wording.live} to call for real.",
        )
        return self._count_miss(error)

    def has_pseudonym(self, text: str) -> bool:
        """Whether a text holds a pseudonym of the recording, or is a part of one."""
        return any(name in text or (len(text) >= _SHORTEST_PART and text in name) for name in self._pseudonyms)

    def is_pseudonym(self, text: str) -> bool:
        """Whether a text is a pseudonym of the recording, and nothing else."""
        return text in self._pseudonyms

    def refuse_unrecorded(self, what: str, hint: str) -> ReplayMismatchError:
        """The error for something that recordings never hold; ``what`` names it."""
        error = ReplayMismatchError(
            f"Not recorded: {what}",
            cassette_path=self.cassette_path,
            endpoint=self._endpoint,
            hint=self._wording.said(hint),
        )
        return self._count_miss(error)

    def refuse_unseen(self, reason: str, hint: str) -> ReplayMismatchError:
        """The error for a call of a library whose seams could not be installed: its arguments cannot be seen."""
        return self._count_miss(
            ReplayMismatchError(
                f"Not replayed: {reason}",
                cassette_path=self.cassette_path,
                endpoint=self._endpoint,
                hint=self._wording.said(hint),
            )
        )

    def peek_next_event(self, event_type: EventType | None = None) -> DependencyEvent | None:
        """The first event, or the first of a type, that no call has taken; None where there is none."""
        if event_type is None:
            return next(iter(self._index.some_waiting(1)), None)
        return self._index.first_with("event type", attrgetter("event_type"), event_type)

    def get_next_event(self, event_type: EventType, actual_signature: dict[str, Any]) -> DependencyEvent:
        """The recorded event for a call of a hand-written plugin.

        Args:
            event_type: What kind of call it is.
            actual_signature: The fields of its `EventSignature` that count; fields left out match anything.

        Raises:
            ReplayMismatchError: No waiting event of the type has these fields, strict or not.
        """
        actual = dict(actual_signature)
        if self._rules is not None:
            actual = self._rules.given(actual)
        if isinstance(actual.get("url"), str):
            actual["url"] = self._redactor.url(actual["url"])
        if isinstance(actual.get("query"), dict):
            actual["query"] = self._redactor.value(actual["query"])
        while True:
            event = self._with_fields(event_type, actual)
            if event is None:
                break
            if self._index.take_event(event):
                return event
        if self.fallback is not None:
            return self.fallback().get_next_event(event_type, actual_signature)
        given = actual.keys() & EventSignature.__dataclass_fields__.keys()
        facts: dict[str, Any] = {"lib": event_type.value, "method": ""}
        facts.update({name: actual.pop(name) for name in given})
        signature = EventSignature(**facts)
        raise self._missed(Attempt(signature, given=given, unknown=actual))

    def get_unconsumed_events(self) -> list[DependencyEvent]:
        """The events that no call has taken, in the order of the recording."""
        return self._index.unused()

    def _with_fields(self, event_type: EventType, fields: dict[str, Any]) -> DependencyEvent | None:
        """The first event of a type that no call has taken and that has these fields in its signature."""

        def fits(event: DependencyEvent) -> bool:
            has = (self._recorded_field(event, name) == value for name, value in fields.items())
            return event.event_type == event_type and all(has)

        # What has no form that can be looked up is compared one by one, among the events that have the rest.
        names = tuple(sorted(name for name, value in fields.items() if in_buckets(value) is not None))
        wanted = in_buckets(event_type, *map(fields.get, names))

        def bucket(event: DependencyEvent) -> Hashable:
            return in_buckets(event.event_type, *(self._recorded_field(event, name) for name in names))

        return self._index.first_with(names, bucket, wanted, fits)

    def _recorded_field(self, event: DependencyEvent, name: str) -> Any:
        value = getattr(self._signer.compared(event).signature, name, None)
        return self._rules.given({name: value})[name] if self._rules is not None else value

    def _accepts(self, made: RedactedCall) -> Accepts | None:
        rules = self._rules
        if rules is None or not rules.matchers:
            return None
        return lambda event: self._refused_by(made, event) is None

    def _that_ask_the_same(self, made: RedactedCall, among: Among | None) -> Among:
        """Which events ask for the same by their headers as a call, of those that it may have anyway."""
        rules, call = self._rules or EVERYTHING, made.unhashed_signature
        asked = rules.asked(made.headers, rules.ignored_in(call.lib, call.method, call.url))
        if among is None:
            return Among("asked", self._asked_of, (asked,))
        what = among.what

        def both(event: DependencyEvent) -> Hashable:
            return self._asked_of(event), what(event)

        return Among(("asked", among.name), both, [(asked, wanted) for wanted in among.wanted])

    def _asked_of(self, event: DependencyEvent) -> Asked:
        rules, call = self._rules or EVERYTHING, event.signature
        headers = event.call.headers if event.call is not None else {}
        return rules.asked(headers, rules.ignored_in(call.lib, call.method, call.url))

    def _refused_by(self, made: RedactedCall, event: DependencyEvent) -> str | None:
        return None if self._rules is None else self._rules.refused_by(self._signer.recorded_view(event), made.view)

    @property
    def _endpoint(self) -> str | None:
        request = self.cassette.request
        recorded = f"{request.method} {request.path}".strip()
        now = self.asked_by
        return (f"{recorded}, now {self._shown.text(now)}" if now is not None else recorded) or None

    def _count_miss(self, error: ReplayMismatchError) -> ReplayMismatchError:
        with self._lock:
            self._misses.append(error)
        if self.on_miss is not None:
            self.on_miss(error)
        return error

    def _unsigned(self, call: Call, fault: Unencodable) -> ReplayMismatchError:
        url = self._shown.text(self._redactor.url(call.url or ""))
        error = ReplayMismatchError(
            f"Cannot be matched: {call.lib} {call.method} {url}: its arguments have no encoding: {fault}",
            cassette_path=self.cassette_path,
            endpoint=self._endpoint,
            hint=f"no recording can hold this call; name the library in {self._wording.live} to call for real.",
        )
        return self._count_miss(error)

    def _near(self, attempt: Attempt, key: Key | None) -> tuple[list[DependencyEvent], list[DependencyEvent], int]:
        """Recorded calls that may be near to one without an answer: those that no call has taken, and those that were
        taken. Behind them, how many with its signature were taken.
        """
        compared, index = self._signer.compared, self._index
        if len(self._events) <= FEW_EVENTS:
            return list(map(compared, index.waiting())), list(map(compared, index.taken())), 0
        with self._lock:
            if self._sorted is None:
                self._sorted = NearEvents(list(map(compared, self._events)))
            near = self._sorted
        equal, answered = index.taken_of(key, FEW_EVENTS) if key is not None else ([], 0)
        waiting = {event.eid: event for event in map(compared, index.some_waiting(FEW_EVENTS))}
        taken = {event.eid: event for event in map(compared, equal)}
        events, call = self._events, (attempt.signature, attempt.args)
        for event in near.around(*call, lambda at: not index.is_taken(events[at])):
            waiting.setdefault(event.eid, event)
        for event in near.around(*call, lambda at: index.is_taken(events[at])):
            taken.setdefault(event.eid, event)
        by_place = [sorted(found.values(), key=lambda event: event.eid) for found in (waiting, taken)]
        return by_place[0], by_place[1], answered

    def _missed(
        self,
        attempt: Attempt,
        ambiguous: Sequence[DependencyEvent] = (),
        key: Key | None = None,
        event_type: EventType = EventType.CUSTOM,
    ) -> ReplayMismatchError:
        waiting, taken, answered = self._near(attempt, key)
        shown = self._shown.shown(attempt)
        if self.made_calls is not None:
            self.made_calls.missed(self._index.mark, shown, event_type)
        error = mismatch(
            shown,
            waiting,
            taken,
            ambiguous,
            answered=answered,
            cassette_path=self.cassette_path,
            endpoint=self._endpoint,
            lost=self.cassette.stats.dropped,
            wording=self._wording,
            passed=self._answered.passed_since(self._index.some_taken(), self._recorded_until_s, time.time()),
        )
        return self._count_miss(error)

    @cached_property
    def _recorded_until_s(self) -> float:
        """When the recording ended, in seconds since the epoch."""
        return run_of(self.cassette)[1]

    def _advice(self, misses: Sequence[ReplayMismatchError]) -> str:
        rules = [rule for error in misses for rule in error.rules]
        return self._wording.ignoring(rules) if rules else ""

    @property
    def _wording(self) -> Wording:
        return Wording(self.by_environment, tuple(self.config.ignore) if self.config is not None else ())


_NOTHING = Found()
_found: Callable[[tuple[Any, ...]], Found] = partial(tuple.__new__, Found)  # pyright: ignore[reportUnknownMemberType]
"""Makes a `Found` from a tuple. The class itself would call a function written in Python, which takes longer."""
_MOST_WITH_TEXT = 64
_SHORTEST_PART = 16
"""Of a part of a pseudonym that is not met by chance."""


def _attempt(
    made: RedactedCall, rules: MatchRules | None, refused_by: Callable[[DependencyEvent], str | None]
) -> Attempt:
    """A call that has no answer."""
    body = made.body.data or None
    return Attempt(made.signature, body, made.args, made.headers, rules or EVERYTHING, refused_by=refused_by)


def _is_comparable(call: Call) -> bool:
    """Whether all of a call is there to be compared."""
    return call.body_end is BodyEnd.COMPLETE and call.too_long_bytes is None


def _bound_rules(config: TraceConfig | None) -> tuple[str, ...]:
    """The rules about bound values of statements, of both settings that have such rules."""
    if config is None:
        return ()
    return (*config.ignore_sql_params, *(rule for rule in config.ignore if rule.startswith(BOUND)))


def _was_read(event: DependencyEvent) -> bool:
    """Whether the recorded call read the app's stream to its end, or until the stream itself raised."""
    return event.signature.body_hash != PARTIAL_BODY or _source_failed(event)


def _source_failed(event: DependencyEvent) -> bool:
    body = event.call.body if event.call is not None else None
    return body is not None and body.end is BodyEnd.FAILED
