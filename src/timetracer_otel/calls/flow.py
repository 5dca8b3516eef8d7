"""One call, from the seam to its answer. Only here is it decided whether a call is made, recorded or replayed.

Sync and async calls share `flow`, a generator that yields steps. A step is a function without arguments: `run` calls
it, and `run_async` awaits its result. Plugins state facts (a `Site` for each call) and decide nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from threading import get_ident
from typing import Any

from opentelemetry import trace

from timetracer_otel.base import faults
from timetracer_otel.base.otel_context import (
    SPAN_ABOVE_KEY,
    SPAN_KEY,
    SUPPRESSED,
    current_context,
    instrumentation_suppressed,
)
from timetracer_otel.calls import hooks
from timetracer_otel.calls.guarded import Done, Flow, Noted, OurStep, Step, raising
from timetracer_otel.calls.whose_error import is_from_outside
from timetracer_otel.cassette import record_error
from timetracer_otel.constants import SETS_UP, BodyEnd
from timetracer_otel.current import session_now
from timetracer_otel.exceptions import CassetteError, ReplayMismatchError
from timetracer_otel.match.signature import RedactedCall
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.session.body_taps import BodyTap
from timetracer_otel.types import BodySnapshot, Call, DependencyEvent, EventResult, RecordedError

__all__ = [
    "CANCEL_GRACE_S",
    "FAULT",
    "Flow",
    "Recording",
    "Site",
    "Step",
    "answer",
    "began",
    "begun",
    "flow",
    "found_at_once",
    "is_value",
    "notes",
    "pass_or_refuse",
    "rebuilt",
    "records",
    "replays",
    "run",
    "run_async",
]

CANCEL_GRACE_S = 1.0
"""A call that the app cancelled when it was recorded is waited for in a replay as long as then, and this much longer:
the app has time to cancel it again."""

FAULT = "a fault of the recorder; see the log of the recording"
"""Why an event cannot be replayed where a fault of our own kept us from making it."""


class Site:
    """One call at a seam, as its plugin states it. Plugins override what is different for their library."""

    lib: str
    """The plugin's name, as in the mock and live lists."""
    live: Any
    """The `Step` that makes the real call: an `AppStep`, in which nothing of ours stands. At an async seam it returns
    the library's own awaitable. A call that is new to a replay may be an `OurStep`, over a connection of ours."""
    lend: Callable[[], Callable[[], Any]] | None = None
    """Changes objects of the app's for the time of the real call, and gives what changes them back. Set by `observe`
    or `again` where that is needed. Example: a request's stream that is noted while it is sent."""
    beside: Step | None = None
    """What a replay does for real beside its answer. Example: a transaction with new calls in it ends for real."""
    sent: BodyTap | None = None
    """Notes a request body that is a stream, while the app sends it."""
    span: trace.Span | None = None
    """The span that the call belongs to; None for the current span."""
    as_called = False
    """Whether `live` is the replaced function with its own arguments, which the guard can call by itself."""
    marks_span: bool = True
    """False where OpenTelemetry makes no span for such a call. The current span is then the app's own, and gets no
    attribute that says that the call was replayed."""
    may_disown = False
    """Whether only the outcome shows if the call is one of the plugin's (see `disowns`)."""
    sends_stream = False
    """Whether the request body is a stream, which a replay may have to read (see `read_request`)."""
    unnoted = False
    """Whether a fault of ours kept the recording from noting this call."""
    sets_up = False
    """Whether a library asks this by itself, for what it needs to make the app's own calls: a connection to a
    database, or credentials. A replay may need it, or may not."""
    _redacted: RedactedCall | None = None

    def observe(self, session: TraceSession) -> None:
        """Prepare to note what the app sends, while it sends it. Called before a call that is recorded."""

    def call(self) -> Call:
        """The call, as far as it is known by now, not redacted."""
        raise NotImplementedError

    def as_it_is(self) -> tuple[str, str, Any, Any] | None:
        """The facts of the call as `ReplaySession.match_as_recorded` takes them. Of an HTTP call, these are its
        method, URL, body and headers; of any other one, its method, URL, arguments, and None. None where the body is
        not known, or where the plugin does not say it. It saves time, and nothing else.
        """
        return None

    def redacted(self, session: ReplaySession, *, anew: bool = False) -> RedactedCall:
        """The `call` as the replay compares it: the same object each time, or a new one with ``anew``.

        A seam may ask the session about the call before `flow` does. It gives the session this object, so that the
        call is redacted once.
        """
        known = self._redacted
        self._redacted = made = session.redacted(self.call() if known is None or anew else known)
        return made

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note what the call returned, and return the value for the app: the same one, or one whose stream is noted
        while the app reads it.

        A site that returns a stream calls ``recording.close`` when the stream has ended. The others call it here.
        """
        raise NotImplementedError

    def disowns(self, outcome: Any) -> bool:
        """Whether the outcome (a value or an exception) shows that this was no call of the plugin's after all.
        Asked only where `may_disown` is set.
        """
        return False

    def tells_answer(self, error: BaseException) -> bool:
        """Whether an exception tells what the site has noted as the answer, of which a replay lets the library make
        the same exception again.
        """
        return False

    def result(self, recording: Recording) -> EventResult:
        """The event's result, made of what was noted. Called later, maybe in another thread."""
        raise NotImplementedError

    def record_error(self, error: BaseException) -> RecordedError:
        """An exception that the call raised, as a value."""
        return record_error(error)

    @property
    def stays_in_thread(self) -> bool:
        """False where the library may make the call in another thread than that which asks for it."""
        return True

    @property
    def address(self) -> str | None:
        """A URL that says which host and port the call goes to, for the setting ``live_hosts``; None for no host."""
        return self.call().url

    def read_request(self) -> Flow:
        """The steps that read a request body which is a stream, in a replay. `sends_stream` tells."""
        raise NotImplementedError

    def again(self) -> bool:
        """Whether the call can be made for real after a replay had no answer (record mode ``new_episodes``).

        If so, a request body that `read_request` has read is put back into the request.
        """
        return False

    def before_again(self) -> Flow:
        """The steps before a call is made for real after a replay had no answer."""
        yield from ()

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The library's own result object for a recorded event."""
        raise NotImplementedError

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """A recorded exception as the app caught it.

        Raises:
            CassetteError: It cannot be rebuilt.
        """
        raise NotImplementedError

    def pause(self, seconds: float) -> Any:
        """Wait as this seam's calls wait: block, or return an awaitable at an async seam."""
        return time.sleep(seconds)

    def unanswered(self, seconds: float) -> Any:
        """Do for so long what the app sees of a call that gets no answer, and wait as `pause` does.

        A request body that is a stream is sent, if `read_request` has not read it: the app may cancel the call once
        that has begun.
        """
        return self.pause(seconds)


class Recording(Noted):
    """A call in a recording session, under way or ended (a `PendingCall`).

    `flow` gives it to the guard in place of steps where the call is made as it is.
    """

    # The defaults stand in the class: most calls set few of them, and an object is made for each call.
    eid = 0
    not_replayable: str | None = None
    error: RecordedError | None = None
    returned_s: float | None = None
    goes_on = False
    """Whether its answer was there when it returned, and more is read of it later. A site sets it in `returned`."""
    latest_s: float | None = None
    """When the latest of these was read, where the site notes that."""
    transaction: object | None = None
    boundary: str | None = None
    body: BodyTap | None = None
    """The body with whose last byte the call ends. A site that sets it need not call `close`, unless the session has
    set ``call_ended``."""
    undo: Callable[[], Any] | None = None
    """Changes back what the site's `lend` has changed; None where there is nothing, or where another one does it."""
    _closed_s: float | None = None

    def __init__(self, session: TraceSession, site: Site | None) -> None:
        self.session = session
        self._site = site
        where = hooks.whereabouts(None if site is None else site.span)
        self._context = where.context
        self.path = where.path()
        self._thread = get_ident()
        self.started_s = time.perf_counter()

    @property
    def thread(self) -> int | None:
        """The thread that makes the call; None where the library may use another one."""
        return self._thread if self._site is None or self._site.stays_in_thread else None

    @property
    def site(self) -> Site:
        """The call as its plugin states it."""
        return self._site if self._site is not None else self.made_site()

    def made_site(self) -> Site:
        """Make the `Site` of a call that was begun without one. It is kept."""
        raise NotImplementedError

    @property
    def trace_id(self) -> int:
        """The id of the trace that the call was made in; 0 without a span."""
        return self._context.trace_id

    @property
    def span_id(self) -> int:
        """The id of the span that the call was made in; 0 without a span."""
        return self._context.span_id

    def __iter__(self) -> Flow:
        """The steps of the call, for who takes it in a generator."""
        self._undone()
        return _make(self.site, self)

    def came(self, value: Any) -> Any:
        """Note what the call returned, and return the value for the app."""
        self.returned_s = time.perf_counter()
        site = self.site
        try:
            undo = self.undo
            if undo is not None:
                self.undo = None
                undo()
            if site.may_disown and site.disowns(value):
                self.withdraw()
                return value
            return site.returned(value, self)
        except Exception as fault:
            _contain(site, self, fault)
            return value

    def raised(self, error: BaseException) -> None:
        """Note what the call raised, unless that shows that it was none of the plugin's."""
        site = self.site
        try:
            self._undone()
            if (
                # A miss: the call was new to a replay, and met a fault of ours before it was made.
                isinstance(error, ReplayMismatchError)
                or _is_fault_of(site.live, error)
                or (site.may_disown and site.disowns(error))
            ):
                self.withdraw()
            elif site.tells_answer(error):
                self.came(None)
            else:
                self.failed(error)
        except Exception as fault:
            _contain(site, self, fault)

    def _undone(self) -> None:
        undo, self.undo = self.undo, None
        if undo is not None:
            undo()

    def failed(self, error: BaseException) -> None:
        """Note that the call raised, and end it."""
        self.error = self.site.record_error(error)
        if not isinstance(error, Exception):
            self.not_replayable = f"it was cancelled ({type(error).__name__}) before there was an answer"
        self.close()

    @property
    def ended_s(self) -> float | None:
        """`time.perf_counter` at its last byte; None while it is under way."""
        if self._closed_s is not None or self.body is None:
            return self._closed_s
        return self.body.ended_s

    def close(self, at_s: float | None = None) -> None:
        """Note that the call has ended, with its last byte; the first time counts."""
        if self._closed_s is None:
            self._closed_s = time.perf_counter() if at_s is None else at_s
            if self.session.call_ended is not None:
                self.session.call_ended(self)

    def withdraw(self) -> None:
        """Take the call back: it was none of the plugin's."""
        self.session.call_withdrawn(self)

    def call(self) -> Call:
        """The call, as its site states it by now."""
        return self.site.call()

    def result(self) -> EventResult:
        """The outcome up to now: an error, nothing yet, or what the site noted."""
        result = self._result()
        if self.site.sets_up and (result.reply is None or isinstance(result.reply, dict)):
            result.reply = {**(result.reply or {}), SETS_UP: True}
        return result

    def _result(self) -> EventResult:
        sent, body = self.site.sent, self.body
        if (body is not None and body.faulted) or (sent is not None and sent.faulted):
            self.not_replayable = FAULT
        if self.error is not None:
            cancelled = BodySnapshot(captured=True, end=BodyEnd.CANCELLED) if self.not_replayable else None
            return EventResult(
                error=self.error.message, error_type=self.error.cls, exception=self.error, body=cancelled
            )
        if self.returned_s is None:
            self.not_replayable = self.not_replayable or "the recording ended before there was an answer"
            return EventResult()
        return self.site.result(self)


def _is_fault_of(live: Any, error: BaseException) -> bool:
    """Whether a fault of ours ended a call that is new to a replay, and that we make."""
    return type(live) is OurStep and isinstance(error, Exception) and not is_from_outside(error)


def run(steps: Flow) -> Any:
    """Run a generator of steps by calling each step, and return its result."""
    try:
        steps = iter(steps)
        step = next(steps)
        while True:
            try:
                value = step()
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as stop:
        return stop.value


async def run_async(steps: Flow) -> Any:
    """Run a generator of steps by awaiting each step, and return its result."""
    try:
        steps = iter(steps)
        step = next(steps)
        while True:
            try:
                awaitable: Awaitable[Any] = step()
                value = await awaitable
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as stop:
        return stop.value


def flow(site: Site, session: BaseSession) -> Flow:
    """Make, record or replay one call: gives its steps, for `run`, `run_async` or a guard. Of a call that a guard can
    make by itself (`Site.as_called`), it may give the `Recording` instead, which has the steps, too.

    Raises:
        ReplayMismatchError: In replay, where the cassette has no answer.
    """
    recording: Recording | None = None
    # Each of these questions has a function. Asking them in place is faster, and this runs for every call.
    if SUPPRESSED.isdisjoint(current_context()) or not instrumentation_suppressed():
        if isinstance(session, TraceSession):
            if session.wanted.get(site.lib) or session.wants(site.lib):
                recording = begun(site, session)
                if recording is not None and site.as_called and hooks.guard is None:
                    if site.lend is not None:
                        try:
                            recording.undo = site.lend()
                        except BaseException:
                            recording.withdraw()
                            raise
                    return recording  # type: ignore[return-value]
            elif (now := session_now(session)) is session:
                session.left_out(site.lib)
            elif now is not None:
                # The session has ended since it was looked up, and another one follows it.
                return flow(site, now)
        elif isinstance(session, ReplaySession):
            if (session.mocked.get(site.lib) or session.should_mock_plugin(site.lib)) and (
                session.live_hosts is None or not session.goes_out(site.address, site.call().url)
            ):
                return _replay(site, session)
            session.note_live(site.lib, _address(site))
            if session.made_calls is not None and not site.sets_up:
                session.note_live_call(site.call())
            if session.uncovered.messages:
                session.uncovered.called_with(site.call().args)
            _account(session, hooks.whereabouts(site.span))
    return _make(site, recording)


def _address(site: Site) -> str | None:
    """Where a call goes that is made for real. A fault of ours must not keep it from being made."""
    try:
        return site.address
    except Exception as fault:
        faults.contain("flow.address", fault)
        return None


def _account(session: ReplaySession, where: hooks.Whereabouts) -> None:
    """Note that the call of a span is in the account. A span that the processor does not see is left out."""
    if type(where) is not hooks.Unseen:
        session.uncovered.accounted.add(where.context.span_id)
    if session.uncovered.open:
        live: Any = where
        session.uncovered.called(None if type(where) is hooks.Unseen else live)


def _make(site: Site, recording: Recording | None) -> Flow:
    """Make one call for real, and note its outcome where it is recorded."""
    guard = hooks.guard
    token = guard.let() if guard is not None else None
    undo = None
    try:
        if site.lend is not None:
            undo = site.lend()
        value = yield site.live
    except BaseException as error:
        if recording is not None:
            recording.raised(error)
        raise
    finally:
        if guard is not None:
            guard.unlet(token)
        if undo is not None:
            undo()
    return value if recording is None else recording.came(value)


def records(lib: str, session: BaseSession | None) -> bool:
    """Whether `flow` would record a call made now. For seams that do more around a call than to make it."""
    return isinstance(session, TraceSession) and session.wants(lib) and not instrumentation_suppressed()


def replays(lib: str, session: BaseSession | None, address: Callable[[], str | None] | None = None) -> bool:
    """Whether `flow` would answer a call made now, of a library, from a cassette.

    Args:
        lib: The plugin.
        session: The current session.
        address: Gives the address of the call, a URL. It is asked only where the settings name live hosts.
    """
    return (
        isinstance(session, ReplaySession)
        and (session.mocked.get(lib) or session.should_mock_plugin(lib))
        and (session.live_hosts is None or not session.goes_out(address() if address is not None else None))
        and (SUPPRESSED.isdisjoint(current_context()) or not instrumentation_suppressed())
    )


def pass_or_refuse(lib: str, reason: str, next_step: str, session: BaseSession | None) -> ReplayMismatchError | None:
    """Decide about a call that cannot be seen, for instance of a library whose seams could not be installed.

    Such a call can be neither recorded nor answered. A recording counts it as lost. A replay refuses it with the
    returned error, unless the user named the library in ``live_plugins``.

    Args:
        lib: The plugin.
        reason: Why it cannot be seen.
        next_step: What the user can do about that, besides calling for real.
        session: The current session.

    Returns:
        None where the call is to be made.
    """
    if records(lib, session):
        assert isinstance(session, TraceSession)
        session.drop(f"{lib} calls that cannot be seen")
    elif isinstance(session, ReplaySession) and not instrumentation_suppressed():
        if session.should_mock_plugin(lib):
            return session.refuse_unseen(reason, f"{next_step} Or name {lib} in live_plugins to call for real.")
        session.note_live(lib)
    return None


def notes(lib: str, session: BaseSession | None) -> bool:
    """Whether a call made now is recorded, and nothing else is to be done around it. Otherwise, `flow` is to be
    asked. For seams that note a call in a way of their own.
    """
    return (
        isinstance(session, TraceSession)
        and session.wanted.get(lib) is True
        and hooks.guard is None
        and SUPPRESSED.isdisjoint(current_context())
    )


def began(recording: Recording) -> bool:
    """Give a recording to its session, or to the one that follows it; False where neither keeps it."""
    return recording.session.call_began(recording) or _began_after(recording)


def _began_after(recording: Recording) -> bool:
    """Give a recording that its session does not keep to the one that follows it."""
    session = recording.session
    while True:
        now = session_now(session)
        if not isinstance(now, TraceSession) or now is session:
            return False
        recording.session = session = now
        if session.call_began(recording):
            return True


def begun(site: Site, session: TraceSession) -> Recording | None:
    """Begin to record a call that `notes` accepts; None where it is not kept, or cannot be noted."""
    try:
        recording = Recording(session, site)
        # As `began` does it, without a function call.
        if not session.call_began(recording):
            if not _began_after(recording):
                return None
            session = recording.session
        try:
            site.observe(session)
        except Exception:
            recording.withdraw()
            raise
    except Exception as fault:
        site.unnoted = True
        faults.contain(f"{site.lib}.begin", fault)
        return None
    return recording


def _contain(site: Site, recording: Recording, fault: Exception) -> None:
    site.unnoted = True
    recording.not_replayable = FAULT
    recording.close()
    faults.contain(f"{site.lib}.record", fault)


def _replay(site: Site, session: ReplaySession) -> Flow:
    where = hooks.whereabouts(site.span)
    path: tuple[str, ...] = ()
    if where is not hooks.NOWHERE:
        _account(session, where)
        path = where.path()
    elif session.uncovered.open:
        _account(session, where)
    facts = site.as_it_is()
    if facts is not None:
        event = session.match_as_recorded(site.lib, facts, path)
        if event is not None:
            return answer(site, session, event, where.span)
    call = site.redacted(session)
    if site.sends_stream and session.expects_body(call, path):
        return _replay_stream(site, session, path, where.span)
    steps = _found(site, session, call, path, where.span)
    if facts is not None and facts[-1] is not None:
        session.keep_headers(call, facts[-1])
    return steps


def found_at_once(
    lib: str, session: ReplaySession, method: str, url: str, packed: bytes, span: trace.Span | None = None
) -> DependencyEvent | None:
    """The event that `flow` would answer a call from, taken, for a call that needs no `Site` to be compared.

    Args:
        lib: The plugin, whose calls this replay answers (`replays` has said so, but for what is suppressed).
        session: The replay.
        method: Of the call.
        url: Of the call. It goes to no host in ``live_hosts``.
        packed: Its arguments, as `ReplaySession.match_packed` takes them.
        span: The span that the call belongs to; None for the current span.

    Returns:
        None where only `flow` can tell. What is not `is_value` is answered by `answer`.
    """
    context = current_context()
    if not SUPPRESSED.isdisjoint(context):
        return None
    if span is None and _SPANS.isdisjoint(context):
        # As nearly always without tracing.
        event = session.match_packed(lib, method, url, packed)
        if event is not None and session.uncovered.open:
            _account(session, hooks.NOWHERE)
        return event
    where = hooks.whereabouts(span)
    event = session.match_packed(lib, method, url, packed, where.path())
    if event is not None:
        _account(session, where)
        if where.span is not None:
            where.span.set_attribute("timetracer.replayed", True)
    return event


_SPANS = frozenset({SPAN_KEY, SPAN_ABOVE_KEY})
"""The keys under which a context may hold a span that a call belongs to (`span_around`)."""


def is_value(event: DependencyEvent, session: ReplaySession) -> bool:
    """Whether an event answers its call at once, with a value."""
    return event.not_replayable is None and event.result.exception is None and not session.replay_timing


def _replay_stream(site: Site, session: ReplaySession, path: tuple[str, ...], span: trace.Span | None) -> Flow:
    """Replay a call after its request body, a stream, was read."""
    try:
        yield from site.read_request()
    except BaseException:
        session.source_failed(site.redacted(session))
        raise
    # Now the body is known.
    return (yield from _found(site, session, site.redacted(session, anew=True), path, span))


def _found(
    site: Site, session: ReplaySession, call: RedactedCall, path: tuple[str, ...], span: trace.Span | None
) -> Flow:
    """Find the event of a call, and answer the call from it."""
    if session.recorder is not None:
        event = session.find(call, path)
        if event is not None:
            return answer(site, session, event, span)
        if site.again():
            return _made_again(site, session.recorder)
    return answer(site, session, session.match(call, path), span)


def _made_again(site: Site, recorder: TraceSession) -> Flow:
    yield from site.before_again()
    return (yield from flow(site, recorder))


def answer(site: Site, session: ReplaySession, event: DependencyEvent, span: trace.Span | None) -> Flow:
    """Answer one call from the event that was found for it, and mark its span as replayed.

    Raises:
        ReplayMismatchError: The event cannot answer it.
    """
    if span is not None and site.marks_span:
        span.set_attribute("timetracer.replayed", True)
    if (
        event.not_replayable is not None
        or event.result.exception is not None
        or session.replay_timing
        or site.beside is not None
    ):
        return _answer_in_steps(site, session, event)
    try:
        return Done(site.rebuild(event, session))
    except _MAKES_NO_RESULT as error:
        raise _no_result(session, event, error) from error


def _answer_in_steps(site: Site, session: ReplaySession, event: DependencyEvent) -> Flow:
    if event.not_replayable is not None:
        cancelled_s = cancelled_within_s(event)
        if cancelled_s is not None:
            sent = event.call.body if event.call is not None else None
            sends = sent is not None and sent.size_bytes
            yield partial(site.unanswered, cancelled_s) if sends else OurStep(site.pause, cancelled_s)
        raise session.refuse(event, event.not_replayable)
    if session.replay_timing:
        reply = event.result.reply if isinstance(event.result.reply, dict) else {}
        yield OurStep(site.pause, reply.get("head_ms", event.duration_ms) / 1000)
    if event.result.exception is not None:
        yield raising(rebuilt(site, event, session, event.result.exception))
    if site.beside is not None:
        yield site.beside
    try:
        return site.rebuild(event, session)
    except _MAKES_NO_RESULT as error:
        raise _no_result(session, event, error) from error


_MAKES_NO_RESULT = (CassetteError, KeyError, TypeError, ValueError, AttributeError)
"""What a plugin raises for an event that does not hold what it asks for."""


def _no_result(session: ReplaySession, event: DependencyEvent, error: Exception) -> ReplayMismatchError:
    return session.refuse(event, f"what the cassette holds makes no result: {error!r}")


def cancelled_within_s(event: DependencyEvent) -> float | None:
    """Seconds that the app gets to cancel a call again which it cancelled when it was recorded; None for others."""
    body = event.result.body
    if event.not_replayable is None or body is None or body.end is not BodyEnd.CANCELLED:
        return None
    return event.duration_ms / 1000 + CANCEL_GRACE_S


def rebuilt(site: Site, event: DependencyEvent, session: ReplaySession, error: RecordedError) -> BaseException:
    """A recorded exception as the app caught it, or the refusal that says why it cannot be rebuilt."""
    try:
        return site.rebuild_error(error)
    except CassetteError as reason:
        return session.refuse(event, str(reason))
