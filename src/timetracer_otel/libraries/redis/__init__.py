"""redis-py (5 to 8): the commands of its connections, sync and asyncio, single servers, sentinels and clusters.

The seam lies beneath the clients: what a connection sends, and what its parser reads. Response callbacks, retries,
redirections, transactions, scripts and subscriptions run for real in replay. Handshakes and health checks belong
to the call that needed them and are not recorded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.flow import Flow, run, run_async
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.context import get_current_session
from timetracer_otel.libraries.redis import seams
from timetracer_otel.libraries.redis.answer import Manner
from timetracer_otel.libraries.redis.call import LIB, pause, pause_async
from timetracer_otel.libraries.redis.connection import begin_watch
from timetracer_otel.libraries.redis.internals import (
    ENTRY_POINTS,
    RELIED_UPON,
    Place,
    connect_callbacks,
    is_in_process,
    places,
)
from timetracer_otel.libraries.redis.locks import with_recorded_token
from timetracer_otel.libraries.redis.operation import Operation, current_operation

__all__ = ["disable_redis", "enable_redis", "plugin"]

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


def _patches(module: ModuleType) -> list[Patch]:
    begin_watch()
    return [Patch(place.owner, place.name, partial(_WRAPS[place.kind], place)) for place in places(module)]


def _connect(place: Place, original: Function) -> Function:
    return _stepped(place, original, lambda manner, self, live, args, kwargs: seams.connect(manner, self, live))


def _send(place: Place, original: Function) -> Function:
    def steps(manner: Manner, self: Any, live: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flow:
        if place.packs:
            packed = self.pack_command(*args)
        else:
            packed = args[0] if args else kwargs["command"]
            if not isinstance(packed, (bytes, str, list)):
                # A generator can be read once only.
                packed = list(packed)
                args, kwargs = (packed, *args[1:]), {k: v for k, v in kwargs.items() if k != "command"}
                live = partial(original, self, *args, **kwargs)
        return seams.send(manner, self, packed, live)

    return _stepped(place, original, steps)


def _read(place: Place, original: Function) -> Function:
    def steps(manner: Manner, self: Any, live: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flow:
        plain = bool(args[0] if args else kwargs.get("disable_decoding", False))
        timeout = args[1] if len(args) > 1 else kwargs.get("timeout")
        finite = isinstance(timeout, (int, float)) and timeout != float("inf")
        return seams.read(manner, self, live, plain, timeout if finite else None)

    return _stepped(place, original, steps)


def _poll(place: Place, original: Function) -> Function:
    def steps(manner: Manner, self: Any, live: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flow:
        timeout = args[0] if args else kwargs.get("timeout")
        # Asyncio clients look only before they send; what they tell the app comes from reading with a timeout.
        return seams.poll(manner, self, live, timeout or 0.0, notes=not place.asynchronous)

    return _stepped(place, original, steps)


def _disconnect(place: Place, original: Function) -> Function:
    if place.asynchronous:

        async def disconnect_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            seams.disconnected(self)
            return await original(self, *args, **kwargs)

        return disconnect_async

    def disconnect(self: Any, *args: Any, **kwargs: Any) -> Any:
        seams.disconnected(self)
        return original(self, *args, **kwargs)

    return disconnect


def _stepped(place: Place, original: Function, steps: Steps) -> Function:
    """The replacement of a function whose steps are made from its arguments."""
    # What is sent is looked at outside sessions, too: a cluster's facts are asked for once.
    may_be_idle = place.kind != "send"
    if place.asynchronous:

        async def replaced_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            if is_in_process(self) or (may_be_idle and seams.is_idle(place.kind, self)):
                return await original(self, *args, **kwargs)
            return await run_async(steps(_ASYNC, self, partial(original, self, *args, **kwargs), args, kwargs))

        return replaced_async

    def replaced(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_in_process(self) or (may_be_idle and seams.is_idle(place.kind, self)):
            return original(self, *args, **kwargs)
        return run(steps(_SYNC, self, partial(original, self, *args, **kwargs), args, kwargs))

    return replaced


def _operation(place: Place, original: Function) -> Function:
    """Around a client's method: what it is about to send is known while it waits for a connection."""
    describe = place.describe
    assert describe is not None
    if place.asynchronous:

        async def operate_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            if get_current_session() is None:
                return await original(self, *args, **kwargs)
            before = current_operation.get()
            current_operation.set(Operation(describe, self, args, place.clustered))
            try:
                return await original(self, *args, **kwargs)
            finally:
                current_operation.set(before)

        return operate_async

    def operate(self: Any, *args: Any, **kwargs: Any) -> Any:
        if get_current_session() is None:
            return original(self, *args, **kwargs)
        before = current_operation.get()
        current_operation.set(Operation(describe, self, args, place.clustered))
        try:
            return original(self, *args, **kwargs)
        finally:
            current_operation.set(before)

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

plugin = LibraryPlugin(
    name=LIB,
    group="redis",
    modules=("redis",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    entry_points={"redis": ENTRY_POINTS},
    concerns=lambda client: not is_in_process(client),
    instrumentors=("opentelemetry.instrumentation.redis:RedisInstrumentor",),
)


def enable_redis() -> None:
    """Let sessions record and replay Redis commands, also of clients that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own redis instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: redis-py is not installed.
    """
    plugin.enable()


def disable_redis() -> None:
    """Undo `enable_redis`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
