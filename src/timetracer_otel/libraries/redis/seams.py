"""Where redis-py is patched, and by what: functions that step through the generators of `steps`."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Staying
from timetracer_otel.calls.guarded import (
    AppStep,
    Begin,
    Flow,
    Noted,
    Quick,
    Step,
    guarded,
    guarded_async,
    lending,
    lending_async,
    only,
)
from timetracer_otel.calls.noting import looked
from timetracer_otel.libraries.redis import answer, steps
from timetracer_otel.libraries.redis.answer import Manner
from timetracer_otel.libraries.redis.call import LIB
from timetracer_otel.libraries.redis.connection_state import (
    STATE,
    ConnectionState,
    begin_watch,
    needs_nothing,
    reads_awaited_reply,
    reads_reply,
)
from timetracer_otel.libraries.redis.internals import (
    Place,
    SeemingConnections,
    awaits_push_handler,
    is_in_process,
    learning_places,
    places,
)
from timetracer_otel.libraries.redis.locks import with_recorded_token
from timetracer_otel.libraries.redis.noted_trip import noted_trip
from timetracer_otel.libraries.redis.operation import Operation, operation_above
from timetracer_otel.session import BaseSession

__all__ = ["patches"]


def _step_of(callback: Callable[[Any], Any], connection: Any) -> Step:
    step = partial(callback, connection)
    return step if inspect.iscoroutinefunction(callback) else partial(_call_back, step)


async def _call_back(step: Step) -> None:
    task = step()
    if inspect.isawaitable(task):
        await task


def _push(_: Any, handler: Callable[[Any], Any], message: Any) -> Step:
    return AppStep(handler, message)


def _push_async(connection: Any, handler: Callable[[Any], Any], message: Any) -> Step:
    return AppStep(handler, message) if awaits_push_handler(connection) else AppStep(_without_await, handler, message)


async def _without_await(handler: Callable[[Any], Any], message: Any) -> Any:
    return handler(message)


_SYNC = Manner(time, False, partial, _push)
# Redis-py knows no other event loop than asyncio's.
_ASYNC = Manner(asyncio, True, _step_of, _push_async)


class _Watch:
    """Stands among the patches: where they are put in, what was known of connections before is forgotten."""

    def apply(self) -> None:
        """Forget it."""
        begin_watch()

    def undo(self) -> None:
        """Nothing; harmless when repeated."""


def patches(module: ModuleType, activate: Callable[[], None], deactivate: Callable[[], None]) -> list[Any]:
    """The patches of redis-py.

    Args:
        module: redis.
        activate: Puts the seams in, until ``deactivate``.
        deactivate: Undoes one ``activate``.
    """
    wanted = places(module)
    learns = partial(_learning, activate, deactivate)
    return [
        *(Staying(Patch(owner, name, learns)) for owner, name in learning_places(module)),
        _Watch(),
        SeemingConnections(),
        *(Patch(place.owner, place.name, partial(_WRAPS[place.kind], place)) for place in wanted),
    ]


def _learning(activate: Callable[[], None], deactivate: Callable[[], None], original: Function) -> Function:
    """The replacement of a function that asks for the facts of a cluster: the seams see what it asks and learns, also
    where no session is. A guard: what is ours runs in a `try`.
    """

    def learn(*args: Any, **kwargs: Any) -> Any:
        looked("redis.facts", activate)
        try:
            return original(*args, **kwargs)
        finally:
            looked("redis.facts", deactivate)

    async def learn_async(*args: Any, **kwargs: Any) -> Any:
        looked("redis.facts", activate)
        try:
            return await original(*args, **kwargs)
        finally:
            looked("redis.facts", deactivate)

    return learn_async if inspect.iscoroutinefunction(original) else learn


def _replacement(place: Place, original: Function, begin: Begin, quick: Quick | None = None) -> Function:
    make = guarded_async if place.asynchronous else guarded
    return make(LIB, original, begin, outside=True, quick=quick, give_up=steps.give_up)


def _connect(place: Place, original: Function) -> Function:
    manner = _manner(place)

    def begin(session: BaseSession | None, self: Any, *args: Any, **kwargs: Any) -> Flow | None:
        done = answer.connected(session, self)
        if done is not None:
            return done
        if is_in_process(self):
            return None
        return steps.connect(session, manner, self, AppStep(original, self, *args, **kwargs))

    return _replacement(place, original, begin, needs_nothing)


def _send(place: Place, original: Function) -> Function:
    manner, packs = _manner(place), place.packs

    def begin(session: BaseSession | None, self: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
        noted = noted_trip(session, self, args[0]) if args else None
        if noted is not None:
            return noted
        if session is not None and args and not packs:
            state: ConnectionState | None = self.__dict__.get(STATE)
            if state is not None and state.plain is not None:
                at_once = answer.sent_at_once(manner, session, self, args[0])
                if at_once is not None:
                    return at_once
        # What is sent is looked at outside sessions, too: a cluster client asks for the facts of its cluster only
        # once.
        if is_in_process(self):
            return None
        checks = False
        if packs:
            try:
                packed = self.pack_command(*args)
            except Exception:
                # Words that cannot be sent, as the library will say by itself.
                return None
        else:
            packed = args[0] if args else kwargs["command"]
            if not isinstance(packed, (bytes, str, list)):
                # A generator can be read once only.
                others = {name: value for name, value in kwargs.items() if name != "command"}
                return only(AppStep(_send_listed, getattr(self, place.name), packed, *args[1:], **others))
            checks = bool(args[1] if len(args) > 1 else kwargs.get("check_health", True))
        return steps.send(session, manner, self, packed, AppStep(original, self, *args, **kwargs), checks)

    return _replacement(place, original, begin)


def _send_listed(send: Function, commands: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
    """Send commands that can be read once only: the app's own step, since reading them may raise."""
    return send(list(commands), *args, **kwargs)


def _read(place: Place, original: Function) -> Function:
    manner = _manner(place)

    def begin(session: BaseSession | None, self: Any, *args: Any, **kwargs: Any) -> Flow | None:
        if is_in_process(self):
            return None
        plain = bool(args[0] if args else kwargs.get("disable_decoding", False))
        done = answer.reply(manner, session, self, plain)
        if done is not None:
            return done
        timeout = args[1] if len(args) > 1 else kwargs.get("timeout")
        finite = isinstance(timeout, (int, float)) and timeout != float("inf")
        live = AppStep(original, self, *args, **kwargs)
        return steps.read(session, manner, self, live, plain, timeout if finite else None)

    return _replacement(place, original, begin, reads_awaited_reply if place.asynchronous else reads_reply)


def _poll(place: Place, original: Function) -> Function:
    manner = _manner(place)

    def begin(session: BaseSession | None, self: Any, *args: Any, **kwargs: Any) -> Flow | None:
        done = answer.anything_to_read(session, self)
        if done is not None:
            return done
        if is_in_process(self):
            return None
        timeout = args[0] if args else kwargs.get("timeout")
        live = AppStep(original, self, *args, **kwargs)
        # Asyncio clients look only before they send; what they tell the app comes from reading with a timeout.
        return steps.poll(session, manner, self, live, timeout or 0.0, notes=not place.asynchronous)

    return _replacement(place, original, begin, needs_nothing)


def _disconnect(place: Place, original: Function) -> Function:
    def begin(_: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        steps.disconnected(self)

    return _replacement(place, original, begin)


def _manner(place: Place) -> Manner:
    return _ASYNC if place.asynchronous else _SYNC


def _operation(place: Place, original: Function) -> Function:
    """The replacement of a client's method: what it is about to send is known while it waits for a connection."""
    assert place.describe is not None
    operation = Operation(place.describe, place.clustered)
    return (lending_async if place.asynchronous else lending)(LIB, original, operation_above, operation)


def _lock(place: Place, original: Function) -> Function:
    def begin(session: BaseSession, self: Any, *args: Any, **kwargs: Any) -> Flow | None:
        given = with_recorded_token(session, original, self, args, kwargs)
        return None if given is kwargs else only(AppStep(original, self, *args, **given))

    return (guarded_async if place.asynchronous else guarded)(LIB, original, begin)


_WRAPS: dict[str, Callable[[Place, Function], Function]] = {
    "connect": _connect,
    "send": _send,
    "read": _read,
    "poll": _poll,
    "disconnect": _disconnect,
    "operation": _operation,
    "lock": _lock,
}
