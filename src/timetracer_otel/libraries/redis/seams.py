"""Where redis-py is patched, and by what: functions that step through the generators of `steps`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.flow import Flow, run, run_async
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.redis import steps
from timetracer_otel.libraries.redis.answer import Manner
from timetracer_otel.libraries.redis.call import pause, pause_async
from timetracer_otel.libraries.redis.connection_state import begin_watch
from timetracer_otel.libraries.redis.internals import (
    Place,
    SeemingConnections,
    connect_callbacks,
    is_in_process,
    places,
)
from timetracer_otel.libraries.redis.locks import with_recorded_token
from timetracer_otel.libraries.redis.operation import Operation, operation_above

__all__ = ["patches"]

Steps = Callable[..., Flow]


def _run_callbacks(connection: Any) -> None:
    for callback in connect_callbacks(connection):
        callback(connection)


async def _run_callbacks_async(connection: Any) -> None:
    for callback in connect_callbacks(connection):
        task = callback(connection)
        if inspect.isawaitable(task):
            await task


_SYNC = Manner(pause, None, _run_callbacks)
_ASYNC = Manner(pause_async, partial(pause_async, 0), _run_callbacks_async)


def patches(module: ModuleType) -> list[Any]:
    """The patches of redis-py."""
    begin_watch()
    wanted = places(module)
    return [
        SeemingConnections(),
        *(Patch(place.owner, place.name, partial(_WRAPS[place.kind], place)) for place in wanted),
    ]


def _connect(place: Place, original: Function) -> Function:
    return _stepped(place, original, lambda manner, self, live, args, kwargs: steps.connect(manner, self, live))


def _send(place: Place, original: Function) -> Function:
    def steps_of(manner: Manner, self: Any, live: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flow:
        if place.packs:
            packed = self.pack_command(*args)
        else:
            packed = args[0] if args else kwargs["command"]
            if not isinstance(packed, (bytes, str, list)):
                # A generator can be read once only.
                packed = list(packed)
                args, kwargs = (packed, *args[1:]), {k: v for k, v in kwargs.items() if k != "command"}
                live = partial(original, self, *args, **kwargs)
        return steps.send(manner, self, packed, live)

    return _stepped(place, original, steps_of)


def _read(place: Place, original: Function) -> Function:
    def steps_of(manner: Manner, self: Any, live: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flow:
        plain = bool(args[0] if args else kwargs.get("disable_decoding", False))
        timeout = args[1] if len(args) > 1 else kwargs.get("timeout")
        finite = isinstance(timeout, (int, float)) and timeout != float("inf")
        return steps.read(manner, self, live, plain, timeout if finite else None)

    return _stepped(place, original, steps_of)


def _poll(place: Place, original: Function) -> Function:
    def steps_of(manner: Manner, self: Any, live: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flow:
        timeout = args[0] if args else kwargs.get("timeout")
        # Asyncio clients look only before they send; what they tell the app comes from reading with a timeout.
        return steps.poll(manner, self, live, timeout or 0.0, notes=not place.asynchronous)

    return _stepped(place, original, steps_of)


def _disconnect(place: Place, original: Function) -> Function:
    if place.asynchronous:

        async def disconnect_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            steps.disconnected(self)
            return await original(self, *args, **kwargs)

        return disconnect_async

    def disconnect(self: Any, *args: Any, **kwargs: Any) -> Any:
        steps.disconnected(self)
        return original(self, *args, **kwargs)

    return disconnect


def _stepped(place: Place, original: Function, steps_of: Steps) -> Function:
    """The replacement of a function whose steps are made from its arguments."""
    # What is sent is looked at outside sessions, too: a cluster client asks for the facts of its cluster only once.
    may_be_idle = place.kind != "send"
    if place.asynchronous:

        async def replaced_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            if is_in_process(self) or (may_be_idle and steps.is_idle(place.kind, self)):
                return await original(self, *args, **kwargs)
            return await run_async(steps_of(_ASYNC, self, partial(original, self, *args, **kwargs), args, kwargs))

        return replaced_async

    def replaced(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_in_process(self) or (may_be_idle and steps.is_idle(place.kind, self)):
            return original(self, *args, **kwargs)
        return run(steps_of(_SYNC, self, partial(original, self, *args, **kwargs), args, kwargs))

    return replaced


def _operation(place: Place, original: Function) -> Function:
    """The replacement of a client's method: what it is about to send is known while it waits for a connection."""
    describe = place.describe
    assert describe is not None
    if place.asynchronous:

        async def operate_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            if get_current_session() is None:
                return await original(self, *args, **kwargs)
            before = operation_above.get()
            operation_above.set(Operation(describe, self, args, place.clustered))
            try:
                return await original(self, *args, **kwargs)
            finally:
                operation_above.set(before)

        return operate_async

    def operate(self: Any, *args: Any, **kwargs: Any) -> Any:
        if get_current_session() is None:
            return original(self, *args, **kwargs)
        before = operation_above.get()
        operation_above.set(Operation(describe, self, args, place.clustered))
        try:
            return original(self, *args, **kwargs)
        finally:
            operation_above.set(before)

    return operate


def _lock(place: Place, original: Function) -> Function:
    if place.asynchronous:

        async def acquire_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await original(self, *args, **with_recorded_token(original, self, args, kwargs))

        return acquire_async

    def acquire(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **with_recorded_token(original, self, args, kwargs))

    return acquire


_WRAPS: dict[str, Callable[[Place, Function], Function]] = {
    "connect": _connect,
    "send": _send,
    "read": _read,
    "poll": _poll,
    "disconnect": _disconnect,
    "operation": _operation,
    "lock": _lock,
}
