"""What the seams do in a replay: no connection is made, and reads get recorded replies.

New calls (record mode ``new_episodes``) are the exception: they go over a real connection, which the library makes
when it sends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from types import ModuleType
from typing import Any, NamedTuple

from timetracer_otel.base.otel_context import SUPPRESSED, current_context
from timetracer_otel.calls.flow import answer, flow, found_at_once, is_value, replays
from timetracer_otel.calls.guarded import Done, Flow, Step, raising
from timetracer_otel.cassette import pack_native
from timetracer_otel.libraries.redis import connection_state
from timetracer_otel.libraries.redis.call import LIB, RoundTrip, new_round_trip
from timetracer_otel.libraries.redis.commands import Command, has_span, parse, plain_words, simple_method
from timetracer_otel.libraries.redis.connection_state import (
    STATE,
    ConnectionState,
    PlainlyPlayed,
    Played,
    Unread,
    call_above,
    changes_nothing,
    known_state,
    state_of,
)
from timetracer_otel.libraries.redis.connects import (
    connect_for_real,
    has_failed_connects,
    is_for_new_call,
    replay_failed_connect,
)
from timetracer_otel.libraries.redis.fields import has_fields
from timetracer_otel.libraries.redis.internals import (
    HEALTH_CHECK,
    checks_health,
    connect_callbacks,
    decoding_of,
    is_clustered,
    is_open,
    is_reply,
    nothing_sent,
    now_s,
    protocol_of,
    put_off_check,
    url_of,
)
from timetracer_otel.libraries.redis.operation import operation_above
from timetracer_otel.libraries.redis.topology import add_facts, claim_facts, fact_for, is_question
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import RecordedError

__all__ = [
    "HEALTH_CHECKS",
    "Manner",
    "anything_to_read",
    "await_message",
    "connect_replayed",
    "connected",
    "read_replayed",
    "reply",
    "send_replayed",
    "sent",
    "sent_at_once",
]

HEALTH_CHECKS = [[b"PING", HEALTH_CHECK]]
"""What pub/sub sends by itself."""

_CLEANING_UP = ([[b"UNWATCH"]], [[b"DISCARD"]])
"""What a pipeline sends by itself when a command of it failed. A miss of this would hide the miss before."""

_PING: list[Command] = [[b"PING"]]
"""What a connection sends by itself before a command, where it was silent for long (``health_check_interval``)."""

_POLL_S = 0.005


class Manner(NamedTuple):
    """How a seam waits: the steps that differ between sync and async. Nothing of ours is called or awaited in one.

    Attributes:
        waiting: The module whose function ``sleep`` waits: ``time`` or ``asyncio``.
        gives_way: Whether other tasks go on while a reply is waited for.
        call_back: Makes the step that calls a function with a connection that was made.
        push: Makes the step that gives an app's handler what was pushed to a connection.
    """

    waiting: ModuleType
    gives_way: bool
    call_back: Callable[[Callable[[Any], Any], Any], Step]
    push: Callable[[Any, Callable[[Any], Any], Any], Step]

    @property
    def pause(self) -> Callable[[float], Any]:
        """Waits for so many seconds. Looked up when it is needed: gevent replaces ``time.sleep``."""
        pause: Callable[[float], Any] = self.waiting.sleep
        return pause

    @property
    def now_s(self) -> float:
        """The time, by the clock that the library asks whether a health check is due."""
        seconds: float = self.waiting.get_running_loop().time() if self.gives_way else now_s()
        return seconds


def _was_heard(manner: Manner, connection: Any) -> None:
    """A reply was read: put off the next health check. Most connections make none, and need not know the time."""
    if checks_health(connection):
        put_off_check(connection, manner.now_s)


def played(session: BaseSession | None, connection: Any) -> ConnectionState | None:
    """The state of a connection that the current session plays, where nothing is under way on it but commands and
    their replies: no messages, no new calls, none of the library's own. None for any other connection.

    What is done on such a connection needs no steps. `connected`, `anything_to_read`, `sent_at_once`, `sent` and
    `reply` do it, and leave to the steps what is not as usual.
    """
    state: ConnectionState | None = connection.__dict__.get(STATE)
    if state is None or session is None or state.replaying is not session or call_above.get():
        return None
    if state.plain is not None and state.watch == connection_state.watch:
        return state
    state = known_state(connection)
    if state is None or state.replaying is None or state.replaying is not session:
        return None
    if (
        state.listens
        or state.is_real
        or state.is_checked
        or state.replaying.recorder is not None
        or checks_health(connection)
        or is_clustered(connection)
        or has_failed_connects(state.replaying)
        or not replays(LIB, session, partial(url_of, connection))
    ):
        return None
    decoding = decoding_of(connection)
    state.plain = PlainlyPlayed(url_of(connection), protocol_of(connection), list(decoding) if decoding else None)
    return state


def connected(session: BaseSession | None, connection: Any) -> Done | None:
    """`connect_replayed`, of a connection that is there already."""
    there = played(session, connection) is not None and SUPPRESSED.isdisjoint(current_context())
    return _NOTHING if there else None


def anything_to_read(session: BaseSession | None, connection: Any) -> Done | None:
    """Whether there is a reply that nobody has read."""
    state = played(session, connection)
    return None if state is None else _YES if state.replies else _NO


_NOTHING, _YES, _NO = Done(None), Done(True), Done(False)


def sent_at_once(manner: Manner, session: BaseSession, connection: Any, packed: Any) -> Flow | None:
    """`send_replayed`, of one command of which all that counts is its words, as they stand, and its reply, on a
    connection that is known to be plain (`ConnectionState.plain`).
    """
    state: ConnectionState = connection.__dict__[STATE]
    replay, plain = state.replaying, state.plain
    if replay is None or replay is not session or plain is None or state.watch != connection_state.watch:
        return None
    words = plain_words(packed)
    if words is None or len(words) == 1 or call_above.get():
        # What clients send by themselves are commands of one word.
        return None
    method, operation = _method_at_once(words[0]), operation_above.get()
    if method is None or (operation is not None and operation[0].clustered):
        return None
    packed_words = pack_native(words)
    event = found_at_once(LIB, replay, method, plain.url, packed_words) if packed_words is not None else None
    if event is None:
        return None
    facts = event.result.reply
    if is_value(event, replay) and len(facts) == _PLAIN_FACTS:
        replies = facts["replies"]
        if facts["resp"] == plain.resp and facts["decoding"] == plain.decoding and len(replies) == 1:
            reply = replies[0]
            if type(reply) in _AS_THEY_ARE:
                state.sent += 1
                state.replies.append((reply, None))
                return _NOTHING
    trip = new_round_trip(connection, state, parse(packed), _not_live, manner.pause)
    return _sent(connection, state, lambda: answer(trip, replay, event, None))


def _not_live() -> Any:
    raise AssertionError("a call whose event was found is not made")


def sent(manner: Manner, session: BaseSession | None, connection: Any, packed: Any, live: Step) -> Flow | None:
    """`send_replayed`, of any commands whose replies are recorded."""
    state = played(session, connection)
    if state is None or not replays(LIB, session, partial(url_of, connection)):
        return None
    commands = parse(packed)
    if len(commands) == 1 and len(commands[0]) == 1:
        # What clients send by themselves are such commands.
        return None
    trip = new_round_trip(connection, state, commands, live, manner.pause)
    if trip.clustered:
        return None
    replay = state.replaying
    assert replay is not None
    trip.marks_span = has_span(commands)
    return _sent(connection, state, lambda: flow(trip, replay))


def _sent(connection: Any, state: ConnectionState, answered: Callable[[], Flow]) -> Flow:
    state.sent += 1
    try:
        steps = answered()
    except Exception:
        state.end()
        raise
    return steps if type(steps) is Done else _sent_in_steps(connection, state, steps)


@lru_cache(maxsize=256)
def _method_at_once(word: str) -> str | None:
    """The method of a command with this first word, where all that counts is its words and its reply."""
    name = simple_method(word)
    return name if name is not None and changes_nothing(name) and not has_fields(name) else None


_PLAIN_FACTS = len(("resp", "decoding", "replies"))
_AS_THEY_ARE = frozenset({bytes, str, int, float, bool, type(None)})
"""Types of replies that the app gets as they were recorded."""


def _sent_in_steps(connection: Any, state: ConnectionState, steps: Flow) -> Flow:
    before = call_above.get()
    call_above.set(True)
    try:
        return (yield from steps)
    except Exception:
        if state.open:
            # Replies to what was sent before would be taken for those to what is sent next.
            yield connection.disconnect
        # As the library does when nothing can be sent.
        state.end()
        raise
    finally:
        call_above.set(before)


def reply(manner: Manner, session: BaseSession | None, connection: Any, plain: bool) -> Done | None:
    """`read_replayed`, of a recorded reply that is no error, where no other task is given a turn."""
    state = played(session, connection)
    answer = state.replies[0] if state is not None and state.replies and not manner.gives_way else None
    if state is None or answer is None or type(answer[0]) in _NO_REPLIES:
        return None
    state.replies.popleft()
    state.asked = None
    recorded, answers = answer
    return Done(recorded if answers is None else answers.restored(recorded, plain))


_NO_REPLIES = frozenset({Unread, RecordedError})
"""What stands in line for the reads in the place of a reply."""


def connect_replayed(manner: Manner, connection: Any, session: ReplaySession) -> Flow:
    """A connection that a replay plays: none is made, unless what the client is about to send is new."""
    state = state_of(connection)
    if state.replaying is session and state.played is not None and state.played.upcoming() is not None:
        # Pub/sub connects before each read, in vain while it is connected: what comes next are messages.
        return
    yield from replay_failed_connect(connection, session, manner.pause)
    if state.replaying is session:
        return
    state.begin(session)
    if session.recorder is not None and is_for_new_call(connection, session):
        try:
            yield from connect_for_real(manner.pause, connection, session.recorder, connection.connect)
        except BaseException:
            state.end()
            raise
    else:
        _was_heard(manner, connection)
        state.seem_open(connection)
        for callback in connect_callbacks(connection):
            yield manner.call_back(callback, connection)


def send_replayed(
    manner: Manner, connection: Any, commands: list[Command], session: ReplaySession, live: Step, checks: bool
) -> Flow:
    """What is sent on a connection that a replay plays: its replies are put in line for the reads that follow.

    Args:
        manner: How the seam waits.
        connection: The connection.
        commands: What is sent.
        session: The replay.
        live: The library's own function.
        checks: Whether the library makes a health check first, where one is due.
    """
    state = state_of(connection)
    if state.is_checked and commands == _PING:
        return None
    if state.replaying is not session:
        yield from connect_replayed(manner, connection, session)
    if checks and not state.is_real and not state.listens and checks_health(connection):
        yield from _check_health(connection, state)
    if commands == HEALTH_CHECKS:
        if state.stream is not None:
            return (yield live)
        if state.played is not None:
            return None
    state.sent += 1
    trip = new_round_trip(connection, state, commands, live, manner.pause)
    trip.marks_span = not state.listens and has_span(commands)
    recorder = session.recorder
    if recorder is not None and state.takes_new:
        trip.catch_up = partial(_make_ready, manner, connection, state, recorder)
    if trip.clustered:
        claim_facts(session)
        trip.follow(session)
        known = session.upcoming(trip.redacted(session), thorough=True)
        fact = fact_for(connection, trip, session) if known is None else None
        if fact is not None:
            return trip.rebuild(fact, session)
        if recorder is not None and not is_question(connection, trip):
            add_facts(recorder)
    if (
        commands in _CLEANING_UP
        and recorder is None
        and session.misses
        and session.upcoming(trip.redacted(session)) is None
    ):
        return trip.succeed(session)
    return (yield from _sent_in_steps(connection, state, _decided(trip, connection, state, session)))


def _decided(trip: RoundTrip, connection: Any, state: ConnectionState, session: ReplaySession) -> Flow:
    recorder = session.recorder
    value = yield from flow(trip, recorder if recorder is not None and state.is_real_only else session)
    if state.lacks:
        yield from _catch_up(connection, state)
    return value


def _check_health(connection: Any, state: ConnectionState) -> Flow:
    """Let the library check the connection, as it did when this was recorded; its ``PING`` was no event then.

    The connection is healthy: the recorded command was answered on it, or failed, which the cassette knows.
    """
    state.is_checked, state.plain = True, None
    try:
        yield connection.check_health
    finally:
        state.is_checked = False


def _make_ready(manner: Manner, connection: Any, state: ConnectionState, recorder: TraceSession) -> Flow:
    """See to it that a new call finds a real connection, in the state that the app left its connection in."""
    if not is_open(connection):
        yield from connect_for_real(manner.pause, connection, recorder, connection.connect)
    yield from _catch_up(connection, state)


def _catch_up(connection: Any, state: ConnectionState) -> Flow:
    """Send the real connection what it lacks of the commands that were answered from the cassette."""
    commands, state.missed = state.missed, []
    for command in commands:
        yield partial(connection.send_packed_command, connection.pack_command(*command))
        try:
            yield connection.read_response
        except Exception as error:
            # The app has the recorded answer already: what the server says now does not matter.
            if not is_reply(error):
                raise


def read_replayed(
    manner: Manner, connection: Any, state: ConnectionState, plain: bool, timeout_s: float | None
) -> Flow:
    """The next reply, or message, of a connection that a replay plays."""
    if state.is_checked:
        _was_heard(manner, connection)
        return b"PONG"
    if manner.gives_way:
        try:
            yield partial(manner.pause, 0)
        except BaseException:
            # Cancelled: the library closes a connection whose reply it does not wait for.
            if state.played is None:
                state.end()
            raise
    played = state.played
    if played is not None and not state.replies:
        if not (yield from await_message(manner, state, played, timeout_s)):
            return None
        return (yield from _take(played, plain))
    if not state.replies:
        raise nothing_sent(connection)
    answer = state.replies.popleft()
    assert answer is not None
    reply, answers = answer
    if answers is None:
        _was_heard(manner, connection)
        return reply
    if type(reply) is Unread:
        raise answers.refuse(reply.why)
    if type(reply) is not RecordedError:
        value = answers.restored(reply, plain)
        _was_heard(manner, connection)
        return value
    error = answers.rebuilt(reply)
    if is_reply(error):
        _was_heard(manner, connection)
    else:
        state.end()
    yield raising(error)


def await_message(manner: Manner, state: ConnectionState, played: Played, timeout_s: float | None) -> Flow:
    """Wait for a message: True where there is one (or an error), False where none came in time."""
    waited_s = 0.0
    while True:
        step = played.upcoming()
        if step is not None:
            sent, kind, _ = step
            if kind == "empty":
                if timeout_s is None or sent < state.sent:
                    # Who looks until some time has passed looks less often on a busy machine, and then goes on.
                    played.skip_empty()
                    continue
                played.advance()
                return False
            if sent <= state.sent and kind != "cancelled":
                if not played.is_early:
                    return True
                if waited_s >= min(played.wait_s, timeout_s or played.wait_s):
                    played.expect_no_causes()
                    return True
            elif sent <= state.sent:
                if timeout_s is None:
                    # The app cancelled this read when it was recorded; give it the time to do so again.
                    yield partial(manner.pause, played.wait_s)
                played.advance()
                continue
        # At the end, or what follows is the answer to something that was not sent yet.
        limit_s = played.wait_s if timeout_s is None else timeout_s
        if waited_s >= limit_s:
            if timeout_s is None:
                raise played.answers.refuse(_why_no_message(played, step))
            return False
        pause_s = min(_POLL_S, limit_s - waited_s)
        yield partial(manner.pause, pause_s)
        waited_s += pause_s


def _why_no_message(played: Played, step: Any) -> str:
    if step is not None:
        return "the next recorded message came only after a command that was not sent in this replay"
    if played.is_cut:
        return "the recording kept only the messages before this one (TIMETRACER_MAX_BODY_KB)"
    return "no more messages were recorded"


def _take(played: Played, plain: bool) -> Flow:
    step = played.upcoming()
    assert step is not None
    played.advance()
    _, kind, value = step
    if kind == "error" or type(value) is RecordedError:
        yield raising(played.answers.rebuilt(value))
    return played.answers.restored(value, plain)
