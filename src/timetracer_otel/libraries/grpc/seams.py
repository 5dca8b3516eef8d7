"""Where grpcio is patched: the functions that ask the core for a call, and those that ask for a channel's state.

For the time of one call, something of ours stands in the place of the core. So channels that exist already take part,
and gRPC has its own functions while there is no session.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import Recording, flow, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded, guarded_async
from timetracer_otel.libraries.grpc import internals
from timetracer_otel.libraries.grpc.answer import Answer, AsyncAnswer
from timetracer_otel.libraries.grpc.call import CallSite
from timetracer_otel.libraries.grpc.internals import LIB
from timetracer_otel.libraries.grpc.noted import NotedAsyncCall, NotedCall, teed
from timetracer_otel.libraries.grpc.private_names import ASYNC_CALLS, CALLS
from timetracer_otel.libraries.grpc.readiness import NotedSubscriber, StateSite, SubscribeSite, WaitSite
from timetracer_otel.libraries.grpc.script import Script
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = ["patches"]

_STREAM = ("_Stream", "Stream")
"""How the names of classes begin whose calls send a stream."""


def patches() -> list[Undoable]:
    """The patches of grpcio."""
    found: list[Undoable] = [
        Patch(internals.blocking.Channel, "subscribe", _subscribe),
        Patch(internals.blocking.Channel, "unsubscribe", _unsubscribe),
        Patch(internals.async_channels.Channel, "get_state", _get_state),
        Patch(internals.async_channels.Channel, "wait_for_state_change", _wait_for_state),
    ]
    for name, methods in CALLS.items():
        kind = getattr(internals.blocking, name)
        found += [Patch(kind, method, partial(_call, name.startswith(_STREAM))) for method in methods]
    for name in ASYNC_CALLS:
        kind = getattr(internals.awaited, name)
        found.append(Patch(kind, "__init__", partial(_async_call, name.startswith(_STREAM))))
    return found


# Blocking channels.


class _Core:
    """Stands in the place of the core for one call."""

    def __init__(self, caller: Any, streams: bool) -> None:
        self.target = internals.target_of(caller)
        self.real = caller._channel
        self.real_managed = getattr(caller, "_managed_call", None)
        self.streams = streams
        self.answer: Answer | None = None


class _BlockingSite(CallSite):
    """A call of a blocking channel."""

    def __init__(self, core: _Core, start: Function, batches: list[tuple[Any, Any]], args: tuple[Any, ...]) -> None:
        super().__init__(core.target, args[1], core.streams, AppStep(start, *args), args[4])
        self._start = start
        self._batches = batches
        self._args = args
        self.begins_again = not core.streams

    def observe(self, session: TraceSession) -> None:
        """Hear of the operations of the call, and of their ends."""
        super().observe(session)
        for operations, _ in self._batches:
            self.exchange.noting(self.exchange.operated, operations)
        if self._start.__name__ == "create":
            args = list(self._args)
            args[7] = teed(args[7], self.exchange)
            self.live = AppStep(self._start, *args)

    def returned(self, value: Any, recording: Recording) -> Any:
        """The core's call, noted."""
        return NotedCall(super().returned(value, recording), self.exchange)


def _call(streams: bool, original: Function) -> Function:
    """An app makes a call of a blocking channel."""

    def begin(session: BaseSession, caller: Any, *args: Any, **kwargs: Any) -> Flow:
        core = _Core(caller, streams)
        return _made(core, AppStep(original, internals.with_core(caller, core), *args, **kwargs))

    return guarded(LIB, original, begin)


def _made(core: _Core, step: AppStep) -> Flow:
    value = yield step
    if core.answer is not None and not isinstance(value, tuple):
        core.answer.given_as(value)
    return value


def _start(
    session: BaseSession, core: _Core, start: Function, batches: list[tuple[Any, Any]], *args: Any
) -> Flow | None:
    site = _BlockingSite(core, start, batches, args)
    if not replays(LIB, session, lambda: site.address):
        return flow(site, session)
    assert isinstance(session, ReplaySession)
    if internals.is_closed(core.real):
        return None
    script = Script(site, session, args[3])
    answer = Answer(script, batches)
    site.begins_again = False
    if script.instead is not None:
        return Done(script.instead)
    core.answer = answer
    return Done(answer)


def _segregated(core: _Core, *args: Any) -> Any:
    return core.real.segregated_call(*args)


def _begin_segregated(session: BaseSession, core: _Core, *args: Any) -> Flow:
    return _start(session, core, core.real.segregated_call, list(args[6]), *args)


def _managed(core: _Core, *args: Any) -> Any:
    return core.real_managed(*args)


def _begin_managed(session: BaseSession, core: _Core, *args: Any) -> Flow:
    return _start(session, core, core.real_managed, [(operations, args[7]) for operations in args[6]], *args)


_Core.segregated_call = guarded(LIB, _segregated, _begin_segregated)
_Core.managed_call = guarded(LIB, _managed, _begin_managed)


# Asyncio channels.


class _AsyncCore:
    """Stands in the place of the core's channel for one call."""

    def __init__(self, owner: Any, channel: Any, metadata: Any, streams: bool) -> None:
        self.owner = owner
        self.channel = channel
        self.metadata = metadata
        self.streams = streams


class _AsyncSite(CallSite):
    """A call of an asyncio channel."""

    awaits = True

    def returned(self, value: Any, recording: Recording) -> Any:
        """The core's call, noted."""
        return NotedAsyncCall(super().returned(value, recording), self.exchange)


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


def _core_call(core: _AsyncCore, *args: Any) -> Any:
    return core.channel.call(*args)


def _begin_async(session: BaseSession, core: _AsyncCore, method: Any, deadline: Any, *args: Any) -> Flow | None:
    channel = core.channel
    live = AppStep(channel.call, method, deadline, *args)
    site = _AsyncSite(internals.text_of(channel.target), method, core.streams, live, core.metadata)
    if not replays(LIB, session, lambda: site.address):
        return flow(site, session)
    if channel.closed():
        return None
    assert isinstance(session, ReplaySession)
    return Done(AsyncAnswer(Script(site, session, deadline), core.owner, channel))


_AsyncCore.call = guarded(LIB, _core_call, _begin_async)


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
        return flow(StateSite(internals.text_of(channel._channel.target), try_to_connect, live), session)

    return guarded(LIB, original, begin)


def _wait_for_state(original: Function) -> Function:
    """An app waits for another state of an asyncio channel."""

    def begin(session: BaseSession, channel: Any, last_observed_state: Any) -> Flow:
        live = AppStep(original, channel, last_observed_state)
        return flow(WaitSite(internals.text_of(channel._channel.target), last_observed_state, live), session)

    return guarded_async(LIB, original, begin)
