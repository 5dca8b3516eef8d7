"""Calls of the core in a recording: they pass everything on, and note it."""

from __future__ import annotations

from functools import partial
from typing import Any

from timetracer_otel.libraries.grpc.call import Exchange

__all__ = ["NotedAsyncCall", "NotedCall", "teed"]


def teed(handler: Any, exchange: Exchange) -> Any:
    """What hears of events, with a look of ours at each."""
    return handler if handler is None else partial(_heard, handler, exchange)


def _heard(handler: Any, exchange: Exchange, event: Any) -> Any:
    exchange.noting(exchange.came, event)
    return handler(event)


class NotedCall:
    """A call of a blocking channel."""

    __slots__ = ("_exchange", "_real")

    def __init__(self, real: Any, exchange: Exchange) -> None:
        self._real = real
        self._exchange = exchange

    def operate(self, operations: Any, tag: Any) -> Any:
        """Begin operations."""
        self._exchange.noting(self._exchange.operated, operations)
        return self._real.operate(operations, teed(tag, self._exchange))

    def next_event(self) -> Any:
        """Wait for operations to end."""
        event = self._real.next_event()
        self._exchange.noting(self._exchange.came, event)
        return event

    def cancel(self, *args: Any) -> Any:
        """End the call."""
        self._exchange.noting(self._exchange.cancels)
        return self._real.cancel(*args)


class NotedAsyncCall:
    """A call of an asyncio channel. What it has besides is the core's."""

    def __init__(self, real: Any, exchange: Exchange) -> None:
        self._real = real
        self._exchange = exchange
        self._waits = False
        """Whether one message and the status come together. The status is noted after the message."""
        self._is_started = False
        real.add_done_callback(partial(exchange.noting, self._ended))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __repr__(self) -> str:
        return repr(self._real)

    def _ended(self) -> None:
        status = self._real._status
        recording = self._exchange.recording
        if not self._is_started and recording is not None:
            # The app has cancelled it before anything was sent.
            recording.withdraw()
        elif not self._waits and status is not None:
            self._greeted()
            self._exchange.ends(
                status.code(), status.details(), status.trailing_metadata(), status.debug_error_string()
            )

    def _greeted(self) -> None:
        greeting = self._real._initial_metadata
        if greeting is not None:
            self._exchange.greets(greeting)

    def _answered(self, message: Any) -> None:
        self._greeted()
        if message is not None:
            self._exchange.receives(message)

    async def _answer(self, method: Any, *args: Any) -> Any:
        exchange = self._exchange
        self._is_started = self._waits = True
        try:
            message = await method(*args)
            exchange.noting(self._answered, message)
        finally:
            self._waits = False
            exchange.noting(self._ended)
        return message

    async def unary_unary(self, request: bytes, *args: Any) -> Any:
        """Send one message, and wait for one."""
        self._exchange.noting(self._exchange.sends, request)
        self._exchange.noting(self._exchange.closes)
        return await self._answer(self._real.unary_unary, request, *args)

    async def stream_unary(self, *args: Any) -> Any:
        """Wait for one message."""
        return await self._answer(self._real.stream_unary, *args)

    async def initiate_unary_stream(self, request: bytes, *args: Any) -> Any:
        """Send one message."""
        self._exchange.noting(self._exchange.sends, request)
        self._exchange.noting(self._exchange.closes)
        self._is_started = True
        await self._real.initiate_unary_stream(request, *args)
        self._exchange.noting(self._greeted)

    async def initiate_stream_stream(self, *args: Any) -> Any:
        """Begin a call with two streams."""
        self._is_started = True
        await self._real.initiate_stream_stream(*args)
        self._exchange.noting(self._greeted)

    async def send_serialized_message(self, message: bytes) -> Any:
        """Send one message of a stream."""
        self._exchange.noting(self._exchange.sends, message)
        return await self._real.send_serialized_message(message)

    async def send_receive_close(self) -> Any:
        """End the stream of messages."""
        self._exchange.noting(self._exchange.closes)
        return await self._real.send_receive_close()

    async def receive_serialized_message(self) -> Any:
        """Wait for one message of a stream."""
        message = await self._real.receive_serialized_message()
        if isinstance(message, bytes):
            self._exchange.noting(self._exchange.receives, message)
        return message

    def cancel(self, details: str) -> Any:
        """End the call."""
        self._exchange.noting(self._exchange.cancels)
        return self._real.cancel(details)
