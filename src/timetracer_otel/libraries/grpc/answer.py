"""Calls of the core in a replay: they answer as a `Script` says, and wait as the core's own do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Final
from weakref import ref

from timetracer_otel.calls.flow import run
from timetracer_otel.calls.guarded import Flow, refusal
from timetracer_otel.calls.guarded_objects import ReplayObject, in_steps, judged
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.grpc import internals
from timetracer_otel.libraries.grpc.internals import GREETING, LIB, MESSAGE, STATUS, Event, Operation, operation
from timetracer_otel.libraries.grpc.script import Script

__all__ = ["Answer", "AsyncAnswer"]

_PATIENCE_S: Final = 5.0
_LOOK_S: Final = 1.0
"""How soon to look again at the latest. A fault of ours may have kept the turn from coming."""
_FAILED: Final = {
    kind: operation(kind, (), None, (13, "There is no answer in the replay.", (), "")) for kind in internals.KINDS
}
"""Operations of a call for which a fault of ours leaves no answer."""


class Answer(ReplayObject):
    """A call of a blocking channel.

    Args:
        script: What it answers.
        batches: The operations that it begins with, each with what hears of their end (None for who asks for it).
    """

    _lib = LIB

    def __init__(self, script: Script, batches: Sequence[tuple[Any, Any]]) -> None:
        self._script = script
        self._context = copy_context()
        self._changed = threading.Condition(threading.RLock())
        self._due: list[tuple[tuple[Any, ...], Any]] = []
        self._delivers = False
        self._take(script.begun())
        for operations, _ in batches:
            self._send(operations)
        if script.instead is None:
            for operations, tag in batches:
                self._expect(operations, tag)

    def operate(self, operations: Any, tag: Any) -> bool:
        """Begin operations."""
        with self._changed:
            if self._script.miss is not None:
                return False
            try:
                self._send(operations)
            except ReplayMismatchError as miss:
                self._met_fault(miss)
                return False
            self._expect(operations, tag)
        return True

    def next_event(self) -> Any:
        """Wait for operations to end."""
        with self._changed:
            while True:
                if self._script.miss is not None:
                    raise_for_app(self._script.miss)
                event = self._event()
                if event is not None:
                    return event
                self._wait()

    def cancel(self, code: int, details: Any) -> None:
        """End the call."""
        with self._changed:
            self._script.ends(code, details)
            self._changed.notify_all()

    @property
    def miss(self) -> ReplayMismatchError | None:
        """Why there is no answer; None where there is one."""
        return self._script.miss

    def _met_fault(self, miss: Exception) -> None:
        assert isinstance(miss, ReplayMismatchError)
        with self._changed:
            self._script.fails(miss)
            self._changed.notify_all()

    def _take(self, steps: Flow) -> None:
        self._context.copy().run(run, steps)

    def _send(self, operations: Any) -> None:
        for begun in operations:
            if begun.type() == internals.SEND:
                self._take(self._script.sent(begun._message))
            elif begun.type() == internals.CLOSE:
                self._take(self._script.closed())

    def _expect(self, operations: Any, tag: Any) -> None:
        self._due.append((tuple(begun.type() for begun in operations), tag))
        self._changed_now(tag)

    def _changed_now(self, tag: Any) -> None:
        with self._changed:
            self._changed.notify_all()
            if tag is None or self._delivers:
                return
            self._delivers = True
        alive = threading.Event()
        threading.Thread(target=self._deliver, args=(alive,), name="timetracer-grpc", daemon=True).start()
        if not alive.wait(_PATIENCE_S):
            # A fault of ours has ended the thread before it began.
            self._met_fault(refusal(LIB, None, RuntimeError("a thread did not start")))
            self._release()

    def _event(self) -> Event | None:
        """Operations that have ended; None where there are none."""
        for place, (kinds, tag) in enumerate(self._due):
            operations = self._script.ready(kinds)
            if operations is not None:
                del self._due[place]
                return Event(operations, tag)
        return None

    def _wait(self) -> None:
        kinds = [kind for kinds, _ in self._due for kind in kinds]
        self._changed.wait(self._script.wait_s(kinds))
        try:
            self._script.look([kind for kinds, _ in self._due for kind in kinds])
        except ReplayMismatchError as miss:
            self._met_fault(miss)

    def _deliver(self, alive: threading.Event) -> None:
        """Tell gRPC which operations have ended, in a thread, as the core's own thread does it."""
        alive.set()
        while True:
            try:
                with self._changed:
                    event = self._event()
                    while event is None and self._due:
                        self._wait()
                        event = self._event()
                    if event is None:
                        self._delivers = False
                        return
            except Exception as fault:
                self._met_fault(judged(fault, self))
                self._release()
                return
            event.tag(event)

    def _release(self) -> None:
        """Tell gRPC that everything has ended, where a fault of ours keeps us from telling how."""
        due, self._due = self._due, []
        for kinds, tag in due:
            if tag is not None:
                tag(Event(tuple(_FAILED[kind] for kind in kinds), tag))


class AsyncAnswer(ReplayObject):
    """A call of an asyncio channel.

    Args:
        script: What it answers.
        owner: The object of gRPC's that asks it.
        channel: The channel.
    """

    _lib = LIB

    def __init__(self, script: Script, owner: Any, channel: Any) -> None:
        self._script = script
        self._owner = ref(owner)
        self._channel = channel
        self._status: Any = None
        self._initial_metadata: Any = None
        self._cancelled = False
        self._callbacks: list[Callable[[], object]] = []
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Future[None] = self._loop.create_future()

    # What an app asks without waiting.

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call this when the call has ended."""
        if self._status is not None:
            callback()
        else:
            self._callbacks.append(callback)

    def cancel(self, details: str) -> None:
        """End the call."""
        self._cancelled = True
        self._script.ends(internals.CANCELLED, details, None)
        self._ends((internals.CANCELLED, details, None, None))

    def cancelled(self) -> bool:
        """Whether the call was cancelled, by the app or by the server."""
        return self._status is not None and bool(self._status.code() == internals.CANCELLED)

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._status is not None

    def is_locally_cancelled(self) -> bool:
        """Whether the app has cancelled it."""
        return self._cancelled

    def is_ok(self) -> bool:
        """Whether the call has ended well."""
        return self._status is not None and self._status.code() == 0

    def set_internal_error(self, error: str) -> None:
        """End the call by an error of gRPC's own."""
        self._ends((13, "Internal error from Core", (), error))

    def time_remaining(self) -> float | None:
        """Seconds until the deadline."""
        deadline = self._script.deadline
        return None if deadline is None else max(0, deadline - time.time())

    def __repr__(self) -> str:
        if self._status is None:
            return "<_AioCall object>"
        return internals.shown_call(self._status)

    # What it waits for.

    @in_steps
    def status(self) -> Flow:
        """Wait for the end."""
        if self._status is None:
            yield from self._wait(STATUS)
        return self._status

    @in_steps
    def initial_metadata(self) -> Flow:
        """Wait for the greeting."""
        if self._initial_metadata is None:
            yield from self._wait(GREETING)
        return self._initial_metadata

    @in_steps
    def unary_unary(self, request: bytes, metadata: Any, context: Any = None) -> Flow:
        """Send one message, and wait for one."""
        yield from self._send_one(request)
        if self._script.instead is not None:
            return (yield partial(self._for_real().unary_unary, request, metadata, context))
        return (yield from self._wait(GREETING, MESSAGE, STATUS))[1].received

    @in_steps
    def initiate_unary_stream(self, request: bytes, metadata: Any, context: Any = None) -> Flow:
        """Send one message."""
        yield from self._send_one(request)
        if self._script.instead is not None:
            return (yield partial(self._for_real().initiate_unary_stream, request, metadata, context))
        yield from self._wait(GREETING)

    @in_steps
    def stream_unary(self, metadata: Any, observer: Callable[[], object], context: Any = None) -> Flow:
        """Wait for one message."""
        yield from self._found(self._script.begun())
        if self._script.instead is not None:
            return (yield partial(self._for_real().stream_unary, metadata, observer, context))
        observer()
        return (yield from self._wait(GREETING, MESSAGE, STATUS))[1].received

    @in_steps
    def initiate_stream_stream(self, metadata: Any, observer: Callable[[], object], context: Any = None) -> Flow:
        """Begin a call with two streams."""
        try:
            yield from self._found(self._script.begun())
            if self._script.instead is not None:
                return (yield partial(self._for_real().initiate_stream_stream, metadata, observer, context))
            observer()
            yield from self._wait(GREETING)
        except ReplayMismatchError:
            # Who reads or sends gets the miss. Nobody may ask how the call began.
            pass
        return None

    @in_steps
    def send_serialized_message(self, message: bytes) -> Flow:
        """Send one message of a stream."""
        if self._script.miss is not None:
            raise_for_app(self._script.miss)
        yield from self._found(self._script.sent(message))

    @in_steps
    def send_receive_close(self) -> Flow:
        """End the stream of messages."""
        yield from self._found(self._script.closed())

    @in_steps
    def receive_serialized_message(self) -> Flow:
        """Wait for one message of a stream."""
        operations = yield from self._wait(MESSAGE)
        message = operations[0].received
        return internals.EOF if message is None else message

    def _send_one(self, request: bytes) -> Flow:
        self._script.site.begins_again = True
        yield from self._found(self._script.sent(request))
        yield from self._found(self._script.closed())

    def _found(self, steps: Flow) -> Flow:
        """Take steps of the app's, and let those look again that wait for what the server says to them.

        Raises:
            ReplayMismatchError: There is no answer, or a fault of ours. Other tasks that wait get it, too.
        """
        try:
            yield from steps
            self.look_for_end()
            self._changes()
        except Exception as error:
            raise self._told(error)  # noqa: B904 - the error itself, or made from it

    def _told(self, error: Exception) -> Exception:
        """What the app gets for an error, of which all are told that wait for this call."""
        given = judged(error, self)
        if isinstance(given, ReplayMismatchError):
            self._met_fault(given)
        else:
            self._met_fault(refusal(LIB, None, error))
        return given

    def _wait(self, *kinds: Any) -> Flow:
        script = self._script
        while True:
            if script.miss is not None:
                raise_for_app(script.miss)
            if self._status is not None:
                operations: Any = tuple(operation(kind, ()) for kind in kinds)
            else:
                operations = script.ready(kinds)
            if operations is not None:
                break
            try:
                wait_s = script.wait_s(kinds)
                yield partial(asyncio.wait, [self._turn], timeout=_LOOK_S if wait_s is None else wait_s)
            except asyncio.CancelledError:
                if script.miss is not None:
                    raise_for_app(script.miss)
                raise
            try:
                script.look(kinds)
            except ReplayMismatchError as miss:
                self._met_fault(miss)
        if self._status is None:
            self._note(operations)
        return operations

    def _note(self, operations: Sequence[Operation]) -> None:
        for ended in operations:
            if ended.kind == GREETING and self._initial_metadata is None:
                self._initial_metadata = ended.greeting
            elif ended.kind == STATUS:
                self._ends(ended.status)
        self._loop.call_soon(self.look_for_end)

    def look_for_end(self) -> None:
        """The status comes by itself, once all messages are read."""
        if self._status is None:
            operations = self._script.ready((STATUS,))
            if operations is not None:
                if self._initial_metadata is None:
                    greeting = self._script.ready((GREETING,))
                    self._initial_metadata = greeting[0].greeting if greeting is not None else ()
                self._ends(operations[0].status)

    def _ends(self, status: tuple[int, Any, Any, Any]) -> None:
        self._status = internals.status_of(status)
        if self._initial_metadata is None:
            self._initial_metadata = ()
        self._changes()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _changes(self) -> None:
        turn, self._turn = self._turn, self._loop.create_future()
        if not turn.done():
            turn.set_result(None)

    def _met_fault(self, miss: Exception) -> None:
        assert isinstance(miss, ReplayMismatchError)
        self._script.fails(miss)
        owner = self._owner()
        if owner is not None:
            internals.let_send(owner)
        self._changes()

    def _for_real(self) -> Any:
        """The core's own call, in this one's place."""
        made = self._script.instead
        owner = self._owner()
        if owner is not None:
            owner._cython_call = made
        for callback in self._callbacks:
            made.add_done_callback(callback)
        return made
