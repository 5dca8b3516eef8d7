"""How commands become a `Call`.

Commands that are sent at once on a connection, with their replies, are a *round trip*. It is one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from timetracer_otel.calls.flow import CANCEL_GRACE_S, FAULT, Recording, Site, rebuilt
from timetracer_otel.calls.guarded import Flow, Noted
from timetracer_otel.constants import CapturePolicy, EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.libraries.redis.commands import Command, expects_stream, method_of, mutes
from timetracer_otel.libraries.redis.connection_state import ConnectionState, Line, Played, Unread
from timetracer_otel.libraries.redis.errors import rebuilt_error, recorded_error
from timetracer_otel.libraries.redis.fields import folded_arguments, folded_replies, unfolded_reply
from timetracer_otel.libraries.redis.internals import (
    decoding_of,
    found_address,
    is_clustered,
    is_health_check_answer,
    is_reply,
    protocol_of,
    seem_found,
    socket_of,
    stay_healthy,
    url_of,
)
from timetracer_otel.libraries.redis.operation import is_clustered_above
from timetracer_otel.libraries.redis.replies import PLAIN_TEXT, Copier, restored
from timetracer_otel.libraries.redis.secrets import secrets_of, without_secrets, words_of
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.session.body_taps import PIECE_BYTES, BodyLimits
from timetracer_otel.types import Call, DependencyEvent, EventResult, EventSignature, RecordedError

__all__ = ["LIB", "UNFINISHED", "RoundTrip", "new_round_trip"]

LIB = "redis"

_MUTED = "replies of its connection were switched off (CLIENT REPLY), so that it is not known which are its own"
UNFINISHED = "the recording ended before there was a whole answer"


def _arguments(commands: Sequence[Command]) -> list[Any]:
    """One list of words for a single command, a list of such lists for a batch."""
    words = [folded_arguments(line) for line in words_of(commands)]
    return words[0] if len(words) == 1 else words


class RoundTrip(Site, Noted):
    """Commands that go out together, and what comes back (a `Site`, and what a `ConnectionState` holds). It is a
    `Noted` of the reads of its replies.

    Most round trips end with as many replies as there were commands. A subscription goes on: whatever is read from
    its connection from then on belongs to it, in order.
    """

    lib = LIB

    # The defaults stand in the class: most round trips set few of them, and an object is made for each.
    is_fact = False
    is_read = False
    connects = False
    catch_up: Callable[[], Flow] | None = None
    """The steps before it can be made for real in a replay; None where it cannot."""
    _limits: BodyLimits | None = None
    _size_bytes = 0
    _call: Call | None = None
    _steps: list[list[Any]] | None = None
    _sent = 0
    _address: list[Any] | None = None
    _recording: Recording | None = None
    _cut = False
    _redacts = True
    _unread = UNFINISHED
    _event: DependencyEvent | None = None
    _session: ReplaySession | None = None

    def __init__(
        self,
        connection: Any,
        state: ConnectionState,
        commands: list[Command],
        url: str,
        live: Callable[[], Any],
        wait: Callable[[float], Any],
        clustered: bool = False,
    ) -> None:
        self._connection: Any = connection
        self._state = state
        self._commands = commands
        self._url = url
        self.live: Any = live
        self.pause: Any = wait
        self.clustered = clustered
        self._replies: list[Any] = []
        self._resp = protocol_of(connection)
        self._decoding = decoding_of(connection)

    @classmethod
    def noted(cls, line: Line, commands: list[Command], redacts: bool) -> RoundTrip:
        """The round trip of a `NotedTrip`."""
        trip = cls.__new__(cls)
        trip._commands, trip._redacts, trip._replies = commands, redacts, []
        trip._url, trip._resp, trip._decoding, trip._address = line[:4]
        trip.clustered = False
        return trip

    def has_come(self, replies: list[Any], size_bytes: int, unread: str, *, cut: bool) -> None:
        """Take what a `NotedTrip` has noted."""
        self._replies, self._size_bytes, self._unread, self._cut = replies, size_bytes, unread, cut

    def line(self, connection: Any) -> Line:
        """What is said of its connection."""
        checks = bool(connection.health_check_interval)
        return Line(self._url, self._resp, self._decoding, self._address, socket_of(connection), checks)

    # What flow asks

    def observe(self, session: TraceSession) -> None:
        """Take the limits; what is sent is known already."""
        self._limits = session.limits
        self._redacts = session.config.redact != "off"

    def again(self) -> bool:
        """Whether the real connection can be made ready for the commands."""
        return self.catch_up is not None

    def before_again(self) -> Flow:
        """The steps that make it ready."""
        assert self.catch_up is not None
        yield from self.catch_up()

    def call(self) -> Call:
        """The commands; their secrets are replaced before anything is kept."""
        if self._call is None:
            self._call = Call(
                LIB, EventType.REDIS, method_of(self._commands), self._url, args=_arguments(self._commands)
            )
        return self._call

    def as_it_is(self) -> tuple[str, str, Any, Any] | None:
        """The commands, as they stand."""
        call = self.call()
        return call.method, self._url, call.args, None

    def returned(self, value: Any, recording: Recording) -> Any:
        """The commands are sent: let the connection know that their replies belong here."""
        self._recording = recording
        self._address = found_address(self._connection, self._url)
        state = self._state
        self.forget_connection()
        self.catch_up = None
        if state.stream is not None:
            # Their replies are messages like the others.
            self._unread = ""
            recording.close()
        elif state.lost_in is not None and state.lost_in() is recording.session:
            self._unread = ""
            recording.not_replayable = FAULT
            recording.close()
        elif any(map(expects_stream, self._commands)):
            self._steps, self._sent = [], state.sent
            recording.goes_on = True
            state.stream, state.plain = self, None
            state.home = state.replaying or recording.session
        elif state.replaying is None and (state.is_muted or any(map(mutes, self._commands))):
            state.is_muted = True
            self._unread = ""
            recording.not_replayable = _MUTED
            recording.close()
        elif self._commands:
            if state.open or state.replaying is not None:
                state.open.append(self)
            else:
                state.next = self
            if state.replaying is not None:
                state.was_sent(self._commands)
        else:
            recording.close()
        return value

    def forget_connection(self) -> None:
        """A connection is not kept alive by what was recorded of it."""
        self._connection = self.live = None

    def result(self, recording: Recording) -> EventResult:
        """The replies so far, or the messages of a subscription."""
        facts: dict[str, Any] = {"resp": self._resp, "decoding": list(self._decoding) if self._decoding else None}
        if self.clustered:
            facts["cluster"] = True
        if self.is_fact:
            facts["fact"] = True
        if self._address is not None:
            facts["address"] = self._address
        result = EventResult(reply=facts)
        if self._steps is not None:
            facts["messages"], facts["sent"] = list(self._steps), self._sent
            if self._cut:
                facts["cut"] = True
            return result
        facts["replies"] = folded_replies(self._commands, self._replies)
        if self._unread and len(self._replies) < len(self._commands):
            facts["unread"] = self._unread
        if len(self._commands) == 1 and self._replies and type(self._replies[0]) is RecordedError:
            result.error, result.error_type = self._replies[0].message, self._replies[0].cls
        self._judge(recording, result)
        return result

    def _judge(self, recording: Recording, result: EventResult) -> None:
        """Say so where there is no replaying what was kept."""
        config = recording.session.config
        policy = config.store_response_body
        if self._cut:
            recording.not_replayable = f"its reply {config.why_too_long(self._size_bytes)}"
        elif policy is CapturePolicy.NEVER or (policy is CapturePolicy.ON_ERROR and result.error is None):
            recording.not_replayable = f"its reply was not kept (TIMETRACER_STORE_RES_BODY={policy.value})"
            result.reply = None

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> None:
        """Put the recorded replies, or messages, in line for those who read from the connection."""
        self._event, self._session = event, session
        facts, state = event.result.reply, self._state
        state.was_replayed(self._commands)
        if facts["resp"] != self._resp:
            raise ValueError(
                f"it was recorded with protocol={facts['resp']}, and the client now speaks protocol={self._resp}"
            )
        if "address" in facts:
            seem_found(self._connection, facts["address"])
        if "messages" in facts:
            state.home, state.plain = session, None
            stay_healthy(self._connection)
            state.played = Played(self, session, facts["messages"], CANCEL_GRACE_S, "cut" in facts)
            # Commands are counted on from where the recorded connection was; it may have been in use before.
            # Cassettes of before that was noted have it of their first message.
            state.sent = facts.get("sent") or (facts["messages"][0][0] if facts["messages"] else state.sent)
        elif state.played is None and not any(map(expects_stream, self._commands)):
            replies = facts["replies"]
            missing = len(self._commands) - len(replies)
            is_whole = "unread" in facts or any(type(reply) is RecordedError for reply in replies)
            if missing < 0 or (missing and not is_whole):
                raise ValueError(f"it has {len(replies)} replies to {len(self._commands)} commands")
            for index, reply in enumerate(replies):
                state.replies.append((unfolded_reply(self._commands, index, reply), self))
            # Whoever reads them is refused. The recorded app did not, and this one need not either.
            state.replies.extend([(Unread(facts["unread"]), self)] * missing if "unread" in facts else ())

    def succeed(self, session: ReplaySession) -> None:
        """Give what the server says to a command that always succeeds."""
        facts = {"resp": self._resp, "decoding": None, "replies": [b"OK"]}
        call = self.call()
        signature = EventSignature(lib=call.lib, method=call.method, url=call.url)
        self.rebuild(DependencyEvent(0, call.event_type, 0.0, 0.0, signature, EventResult(reply=facts)), session)

    def follow(self, session: ReplaySession) -> None:
        """In a replay: go to the node that was asked when this was recorded.

        For some commands a cluster client picks any node. Where none is recorded for this one, the call is the
        first that waits for any of them.
        """
        here, method = self.redacted(session), self.call().method
        if session.upcoming(here, thorough=True) is not None:
            return
        if any(self._goes_to(event, session) for event in session.waiting_elsewhere(here)):
            return
        # It may be equal to one up to names.
        for event in session.get_unconsumed_events():
            signature = event.signature
            if signature.method == method and signature.lib == LIB and self._goes_to(event, session):
                return

    def _goes_to(self, event: DependencyEvent, session: ReplaySession) -> bool:
        """Go to the node of a recorded command, if that is the event which would answer this one there."""
        url, facts = event.signature.url, event.result.reply
        if url is None or type(facts) is not dict or not facts.get("cluster"):
            return False
        there = session.redacted(replace(self.call(), url=url))
        if session.upcoming(there) is not event:
            return False
        self._call, self._redacted = there.call, there
        return True

    def record_error(self, error: BaseException) -> RecordedError:
        """An error of sending, without secrets that it quotes."""
        recorded: RecordedError = self.without_quotes(recorded_error(error))
        return recorded

    def without_quotes(self, value: Any) -> Any:
        """Errors in a reply, not quoting passwords or fields that may be secret: servers repeat what they refuse."""
        if not self._redacts:
            return value
        secrets = secrets_of(self._commands)
        lines = map(folded_arguments, words_of(self._commands))
        # What a handshake sends, a password perhaps, stands in no command of the call.
        if secrets or self.connects or any(type(line[-1]) in (dict, list) for line in lines if line):
            return without_secrets(value, secrets)
        return value

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """A recorded error as redis-py raises it."""
        return rebuilt_error(error)

    # What a connection's state tells in a recording

    def note(self, value: Any, plain: bool) -> bool:
        """A reply came, or a message; see `Listener`."""
        if self._steps is not None:
            if is_health_check_answer(value):
                self.note_empty()
            else:
                self._add("message", value)
            return False
        self._keep(value)
        if len(self._replies) < len(self._commands):
            return False
        self._close()
        return True

    def came(self, value: Any) -> Any:
        """A reply was read, with nobody else waiting for one."""
        state = self._state
        self.is_read = False
        if self.note(value, False) and state.next is self:
            state.next = None
        return value

    def raised(self, error: BaseException) -> None:
        """The same, where reading raised."""
        state = self._state
        self.is_read = False
        if is_reply(error):
            self.came(error)
            return
        self.reading_failed(error)
        if state.next is self:
            state.next = None

    def reading_failed(self, error: BaseException) -> None:
        """Reading raised; see `Listener`."""
        recording = self._recording
        if self._steps is not None:
            if isinstance(error, Exception):
                self._add("error", error)
            else:
                self._add("cancelled", None)
        elif isinstance(error, Exception):
            self._keep(error)
            self._close()
        elif recording is not None:
            recording.failed(error)

    def cut(self, why: str) -> None:
        """No more replies will come; see `Listener`."""
        recording = self._recording
        if recording is not None and self._steps is None and recording.ended_s is None:
            self._unread = why
        self._close()

    def faulted(self) -> None:
        """What came could not be noted; see `Listener`."""
        recording = self._recording
        if recording is not None:
            recording.not_replayable = FAULT
            recording.close()

    def note_empty(self) -> None:
        """Somebody looked for a message in vain; see `Listener`."""
        steps = self._steps
        if steps is None or self._cut:
            return
        if steps and steps[-1][1] == "empty":
            steps[-1][2] += 1
        else:
            self._add("empty", 1)

    def _add(self, kind: str, value: Any) -> None:
        assert self._steps is not None
        if not self._cut:
            assert self._recording is not None
            now_ms = self._recording.session.elapsed_ms
            value, new_bytes = self._copied(value)
            if self._has_room(new_bytes):
                self._steps.append([self._state.sent, kind, value, now_ms])
            else:
                self._cut = True

    def _keep(self, value: Any) -> None:
        if type(value) in PLAIN_TEXT:
            new_bytes = len(value)
        else:
            value, new_bytes = self._copied(value)
        self._size_bytes = size_bytes = self._size_bytes + new_bytes
        limits = self._limits
        if limits is not None and not self._cut:
            # The same as `BodyLimits.take`, without a function call for each reply.
            left_bytes = limits.left_bytes - new_bytes - PIECE_BYTES
            if size_bytes <= limits.body_bytes and left_bytes >= 0:
                limits.left_bytes = left_bytes
            else:
                self._cut = size_bytes > limits.body_bytes or not limits.take(new_bytes + PIECE_BYTES)
        self._replies.append(None if self._cut else value)

    def _copied(self, value: Any) -> tuple[Any, int]:
        """A reply to be kept, and its length."""
        if type(value) in PLAIN_TEXT:
            return value, len(value)
        copy = Copier()
        copied = copy(value)
        return (self.without_quotes(copied) if copy.saw_error else copied), copy.size_bytes

    def _has_room(self, new_bytes: int) -> bool:
        self._size_bytes += new_bytes
        limits = self._limits
        return limits is None or (self._size_bytes <= limits.body_bytes and limits.take(new_bytes + PIECE_BYTES))

    def _close(self) -> None:
        recording = self._recording
        if recording is None:
            return
        if self._steps is None:
            # The recording has this object. Python frees a circle only when it looks for circles.
            self._recording = None
        recording.close()

    # What a connection's state asks in a replay

    def restored(self, reply: Any, plain: bool) -> Any:
        """A recorded reply, decoded as the client that asks now decodes; see `Answers`."""
        assert self._event is not None
        decoding = self._event.result.reply["decoding"]
        recorded = tuple(decoding) if decoding else None
        if plain:
            recorded = self._decoding
        try:
            return restored(reply, recorded, self._decoding)
        except (CassetteError, ValueError, TypeError, LookupError) as error:
            raise self.refuse(f"what the cassette holds makes no reply: {error}") from error

    def rebuilt(self, error: RecordedError) -> BaseException:
        """A recorded error, or the refusal; see `Answers`."""
        assert self._event is not None
        assert self._session is not None
        return rebuilt(self, self._event, self._session, error)

    def refuse(self, why: str) -> BaseException:
        """The refusal of a read; see `Answers`."""
        assert self._event is not None
        assert self._session is not None
        return self._session.refuse(self._event, why)


def new_round_trip(
    connection: Any,
    state: ConnectionState,
    commands: list[Command],
    live: Callable[[], Any],
    wait: Callable[[float], Any],
) -> RoundTrip:
    """The round trip that begins when a connection is told to send commands."""
    clustered = is_clustered(connection) or is_clustered_above()
    return RoundTrip(connection, state, commands, url_of(connection), live, wait, clustered)
