"""Where grpcio is patched: the functions that ask the core for a call, and those that ask for a channel's state.

For the time of one call, something of ours stands in the place of the core. So channels that exist already take part,
and gRPC has its own functions while there is no session.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.flow import Recording, flow, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, contain, guarded, guarded_async, lending
from timetracer_otel.libraries.grpc import internals
from timetracer_otel.libraries.grpc.answer import Answer, AsyncAnswer
from timetracer_otel.libraries.grpc.call import CallSite
from timetracer_otel.libraries.grpc.internals import LIB
from timetracer_otel.libraries.grpc.noted import NotedAsyncCall, NotedCall, teed
from timetracer_otel.libraries.grpc.private_names import ASYNC_CALLS, CALLS
from timetracer_otel.libraries.grpc.readiness import NotedSubscriber, StateSite, SubscribeSite, WaitSite
from timetracer_otel.libraries.grpc.script import Script
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.threads import carrying

__all__ = ["patches"]

_STREAM = ("_Stream", "Stream")
"""How the names of classes begin whose calls send a stream."""
_ANSWERS_STREAM = re.compile("(Unary|Stream)Stream")
"""What stands in the names of classes whose calls get a stream."""


def patches() -> list[Undoable]:
    """The patches of grpcio."""
    found: list[Undoable] = [
        *(Patch(internals.blocking._MultiThreadedRendezvous, name, _telling) for name in internals.TELLING),
        Patch(internals.ForkManagedThread, "start", _thread_started),
        Patch(internals.blocking.Channel, "subscribe", _subscribe),
        Patch(internals.blocking.Channel, "unsubscribe", _unsubscribe),
        Patch(internals.async_channels.Channel, "get_state", _get_state),
        Patch(internals.async_channels.Channel, "wait_for_state_change", _wait_for_state),
    ]
    made = Patch(internals.async_channels.Channel, "__init__", _channel_made)
    found.append(made if internals.TELLS_ADDRESS else Staying(made))
    for name in CALLS:
        kind = getattr(internals.blocking, name)
        found += [_InPlaceOf(kind, slot, name.startswith(_STREAM)) for slot in internals.slots_of(kind)]
    for name in ASYNC_CALLS:
        kind = getattr(internals.awaited, name)
        found.append(Patch(kind, "__init__", partial(_async_call, name.startswith(_STREAM))))
    return found


# Blocking channels.


class _Core:
    """Stands in the place of the core for one call: it begins the call."""

    def __init__(self, caller: Any, real: Any, streams: bool) -> None:
        self.caller = caller
        self.real = real
        self.streams = streams

    segregated_call: Any = guarded(
        LIB,
        lambda core, *args: core.real.segregated_call(*args),
        lambda session, core, *args: _start(session, core, core.real.segregated_call, list(args[6]), *args),
    )
    """Gives a call whose events the app's own thread waits for."""
    __call__: Any = guarded(
        LIB,
        lambda core, *args: core.real(*args),
        lambda session, core, *args: _start(
            session, core, core.real, [(operations, args[7]) for operations in args[6]], *args
        ),
    )
    """Gives a call whose events a thread of gRPC's hears of."""


def _thread_started(original: Function) -> Function:
    """A channel starts a thread. It brings its context with it, and so its session."""
    return lending(LIB, original, carrying.starts_for_library, "ForkManagedThread")


class _InPlaceOf:
    """A slot of what calls a method, in which the core is: while applied, a `_Core` is found there.

    Args:
        kind: The class.
        name: The slot.
        streams: Whether the app sends a stream of messages by it.
    """

    def __init__(self, kind: Any, name: str, streams: bool) -> None:
        self._kind = kind
        self._name = name
        self._slot = vars(kind)[name]
        self._streams = streams
        self._ours = property(self._found, self._slot.__set__)

    def _found(self, caller: Any) -> Any:
        # A guard (see `calls.guarded`): a fault of ours is a miss in a replay, and nothing while recording.
        real = self._slot.__get__(caller)
        try:
            return _Core(caller, real, self._streams)
        except Exception as fault:
            contain(LIB, None, fault)
            return real

    def apply(self) -> None:
        """Let ours be found; harmless when repeated."""
        setattr(self._kind, self._name, self._ours)

    def undo(self) -> None:
        """Let the core be found; harmless when repeated."""
        setattr(self._kind, self._name, self._slot)


class _BlockingSite(CallSite):
    """A call of a blocking channel."""

    def __init__(self, core: _Core, start: Function, batches: list[tuple[Any, Any]], args: tuple[Any, ...]) -> None:
        super().__init__(internals.target_of(core.caller), args[1], core.streams, AppStep(start, *args), args[4])
        self.answers_stream = bool(_ANSWERS_STREAM.search(type(core.caller).__name__))
        self._start = start
        self._batches = batches
        self._args = args
        self.begins_again = not core.streams

    def observe(self, session: TraceSession) -> None:
        """Hear of the operations of the call, and of their ends."""
        super().observe(session)
        for operations, _ in self._batches:
            self.exchange.noting(self.exchange.operated, operations)
        if len(self._batches) and self._batches[0][1] is not None:
            args = list(self._args)
            args[7] = teed(args[7], self.exchange)
            self.live = AppStep(self._start, *args)

    def returned(self, value: Any, recording: Recording) -> Any:
        """The core's call, noted."""
        return NotedCall(super().returned(value, recording), self.exchange)


class _Told(Noted):
    """What an app gets of a call that has no answer: gRPC sees an error of its own, and the app gets the miss."""

    __slots__ = ("_call",)

    def __init__(self, call: Answer) -> None:
        self._call = call

    def came(self, value: Any) -> Any:
        """The method has returned."""
        if self._call.miss is not None:
            raise self._call.miss
        return value

    def raised(self, error: BaseException) -> None:
        """The method has raised."""
        if self._call.miss is not None and isinstance(error, Exception):
            raise self._call.miss


def _telling(original: Function) -> Function:
    """An app waits for what the server says."""

    def begin(session: BaseSession | None, waiting: Any, *args: Any, **kwargs: Any) -> Noted | None:
        call = waiting._call
        return _Told(call) if isinstance(call, Answer) else None

    return guarded(LIB, original, begin, outside=True)


def _start(
    session: BaseSession, core: _Core, start: Function, batches: list[tuple[Any, Any]], *args: Any
) -> Flow | None:
    site = _BlockingSite(core, start, batches, args)
    if not replays(LIB, session, lambda: site.address):
        return flow(site, session)
    assert isinstance(session, ReplaySession)
    if internals.is_closed(core.caller._channel.real):
        return None
    script = Script(site, session, args[3])
    answer = Answer(script, batches)
    site.begins_again = False
    if script.instead is not None:
        return Done(script.instead)
    return Done(answer)


# Asyncio channels.


class _NewChannel(Noted):
    """Notes for which address an asyncio channel is made, where its core does not tell it."""

    __slots__ = ("_channel", "_target")

    def __init__(self, channel: Any, target: Any) -> None:
        self._channel = channel
        self._target = target

    def came(self, value: Any) -> Any:
        """It was made."""
        internals.note_address(self._channel, self._target)
        return value

    def raised(self, error: BaseException) -> None:
        """It was not."""


def _channel_made(original: Function) -> Function:
    """An app makes an asyncio channel. The first one starts the thread by which the core serves all of them."""
    making = lending(LIB, original, carrying.starts_for_library, "grpc.aio.Channel")
    if internals.TELLS_ADDRESS:
        return making

    def begin(session: BaseSession | None, channel: Any, target: Any, *args: Any, **kwargs: Any) -> Noted:
        return _NewChannel(channel, target)

    return guarded(LIB, making, begin, outside=True)


class _AsyncCore:
    """Stands in the place of the core's channel for one call."""

    def __init__(self, owner: Any, channel: Any, metadata: Any, streams: bool) -> None:
        self.owner = owner
        self.channel = channel
        self.metadata = metadata
        self.streams = streams

    call: Any = guarded(
        LIB,
        lambda core, *args: core.channel.call(*args),
        lambda session, core, *args: _begin_async(session, core, *args),
    )
    """Gives a call."""


class _AsyncSite(CallSite):
    """A call of an asyncio channel."""

    awaits = True

    def returned(self, value: Any, recording: Recording) -> Any:
        """The core's call, noted."""
        return NotedAsyncCall(super().returned(value, recording), self.exchange)


class _Made:
    """What waits for a call of the core, and need not wait."""

    def __init__(self, call: Any) -> None:
        self._call = call

    @classmethod
    def by(cls, make: Function, *args: Any) -> _Made:
        """Make the call."""
        return cls(make(*args))

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return self._call


def _async_call(streams: bool, original: Function) -> Function:
    """An app makes a call of an asyncio channel."""

    def begin(
        session: BaseSession,
        call: Any,
        request: Any,
        deadline: Any,
        metadata: Any,
        credentials: Any,
        wait_for_ready: Any,
        channel: Any,
        *args: Any,
        **kwargs: Any,
    ) -> AppStep:
        core = _AsyncCore(call, channel, metadata, streams)
        given = call, request, deadline, metadata, credentials, wait_for_ready, core
        return AppStep(original, *given, *args, **kwargs)

    return guarded(LIB, original, begin)


def _begin_async(session: BaseSession, core: _AsyncCore, method: Any, deadline: Any, *args: Any) -> Flow | None:
    channel = core.channel
    live = AppStep(channel.call, method, deadline, *args)
    site = _AsyncSite(internals.address_of(channel), method, core.streams, live, core.metadata)
    site.answers_stream = bool(_ANSWERS_STREAM.search(type(core.owner).__name__))
    if not replays(LIB, session, lambda: site.address):
        return flow(site, session)
    # A new call is made once its message is known, by code that is awaited.
    site.live = AppStep(_Made.by, channel.call, method, deadline, *args)
    if channel.closed():
        return None
    assert isinstance(session, ReplaySession)
    return Done(AsyncAnswer(Script(site, session, deadline), core.owner, channel))


# The state of a channel.


def _subscribe(original: Function) -> Function:
    """An app wants to hear of the state of a channel."""

    def begin(session: BaseSession, channel: Any, callback: Any, try_to_connect: Any = None) -> Flow | None:
        core = channel._channel
        if internals.is_closed(core):
            return None
        subscriber = NotedSubscriber(callback)
        live = AppStep(original, channel, subscriber, try_to_connect)
        return flow(SubscribeSite(internals.text_of(core.target()), bool(try_to_connect), live, subscriber), session)

    return guarded(LIB, original, begin)


def _unsubscribe(original: Function) -> Function:
    """An app has heard enough."""

    def begin(session: BaseSession, channel: Any, callback: Any) -> None:
        NotedSubscriber.ends(callback)

    return guarded(LIB, original, begin)


def _get_state(original: Function) -> Function:
    """An app asks for the state of an asyncio channel."""

    def begin(session: BaseSession, channel: Any, try_to_connect: bool = False) -> Flow:
        live = AppStep(original, channel, try_to_connect)
        return flow(StateSite(internals.address_of(channel._channel), try_to_connect, live), session)

    return guarded(LIB, original, begin)


def _wait_for_state(original: Function) -> Function:
    """An app waits for another state of an asyncio channel."""

    def begin(session: BaseSession, channel: Any, last_observed_state: Any) -> Flow:
        live = AppStep(original, channel, last_observed_state)
        return flow(WaitSite(internals.address_of(channel._channel), last_observed_state, live), session)

    return guarded_async(LIB, original, begin)
