"""aio-pika and aiormq: the functions that are called for messages, and the iterator that hands messages out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from opentelemetry import context as otel_context

from timetracer_otel.base import faults
from timetracer_otel.base.notes import noted_of
from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.noting import noting_async
from timetracer_otel.config import job_source
from timetracer_otel.current import OUTSIDE_JOBS, SESSION_KEY
from timetracer_otel.incoming.guarded import around_async
from timetracer_otel.incoming.messages import (
    Handling,
    IncomingMessage,
    amqp_given,
    amqp_message,
    begins_root,
    in_message,
    in_task,
    while_handing_out,
)
from timetracer_otel.incoming.seams import on
from timetracer_otel.incoming.verified_jobs import connected, raised, tell

__all__ = ["SEAMS"]

_hands_out: CallAbove[Any] = CallAbove("aio_pika-iterator")
"""The iterator that begins to consume: its own function is called for messages, and none of the app's."""
_HANDLING = "_timetracer_handling"
_Consumers = dict[str, tuple[Any, Callable[..., Awaitable[Any]]]]
_consumers: _Consumers = {}
"""While a verification runs: by queue, the channel and the function of the app."""
_tasks: set[asyncio.Task[None]] = set()


def _message(queue: str, message: Any) -> IncomingMessage:
    # Of aio-pika's own class, or of aiormq's.
    delivery = message.delivery
    known = {
        "type" if name == "message_type" else name: value
        for name, value in message.header.properties
        if value not in (None, "")
    }
    return amqp_message("aio_pika", queue, delivery.exchange, delivery.routing_key, known, message.body)


def _consuming(original: Function) -> Function:
    """A channel is told which function takes the messages of a queue."""

    def begin(_: None, channel: Any, queue: str, consumer_callback: Any, *args: Any, **kwargs: Any) -> Flow | None:
        iterator = _hands_out.get()
        if iterator is None:
            wrapped = in_task(consumer_callback, partial(in_message, message_of=partial(_message, queue)))
        else:
            wrapped = in_task(consumer_callback, while_handing_out)
        return consumed(
            channel, queue, wrapped, AppStep(original, channel, queue, wrapped, *args, **kwargs), iterator
        )

    def consumed(channel: Any, queue: str, function: Any, step: AppStep, iterator: Any) -> Flow:
        value = yield step
        if iterator is not None:
            function = partial(_until_handled, iterator, function)
        source = job_source()
        if source is not None and begins_root():
            _verified(source, channel, queue, function)
        return value

    return around_async("aio_pika", original, begin)


def _iterating(original: Function) -> Function:
    def begin(_: None, iterator: Any) -> Flow:
        return _hands_out.around(iterator, AppStep(original, iterator))

    return around_async("aio_pika", original, begin)


def _handling(iterator: Any) -> Handling:
    return noted_of(iterator, Handling, _HANDLING)


def _given(message: Any, iterator: Any) -> None:
    queue = str(iterator._amqp_queue.name)
    of_aiormq = SimpleNamespace(
        delivery=SimpleNamespace(exchange=message.exchange, routing_key=message.routing_key),
        header=SimpleNamespace(properties=message.properties),
        body=message.body,
    )
    _handling(iterator).given(partial(_message, queue, of_aiormq))


def _asks(original: Function) -> Function:
    """The app asks for the next message: it is done with the one that it had."""
    return noting_async("aio_pika", original, _given, before=lambda iterator: _handling(iterator).done())


def _leaves(original: Function) -> Function:
    """The app closes an iterator."""
    return noting_async("aio_pika", original, before=lambda iterator, *error: _handling(iterator).done(*error[1:2]))


async def _until_handled(iterator: Any, function: Any, message: Any) -> None:
    """Hand a message out, and wait until the loop of the app is done with it."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def is_done(error: BaseException | None) -> None:
        handling.on_done = None
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    handling = _handling(iterator)
    handling.on_done = is_done
    await function(message)
    await done


def _verified(source: str, channel: Any, queue: str, function: Any) -> None:
    """Take the messages of ``timetracer-otel verify``, from the first consumer on."""
    is_first = not _consumers
    _consumers[queue] = channel, function
    if is_first:
        context = otel_context.attach(otel_context.set_value(SESSION_KEY, OUTSIDE_JOBS))
        try:
            # Kept: the loop refers to its tasks weakly.
            task = asyncio.get_running_loop().create_task(_answer(source))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
        finally:
            otel_context.detach(context)


async def _answer(source: str) -> None:
    try:
        with connected(source, "aio_pika") as wire:
            while line := await asyncio.to_thread(wire.readline):
                given = json.loads(line)
                told: dict[str, Any] = {"unknown": True}
                found = _found(given["name"])
                if found is not None:
                    channel, function = found
                    try:
                        await function(_made(channel, **given["kwargs"]))
                        told = {"value": None}
                    except Exception as error:
                        told = raised(error)
                tell(wire, told)
    except Exception as fault:
        faults.contain("aio_pika.verify", fault)


def _found(name: str) -> tuple[Any, Callable[..., Awaitable[Any]]] | None:
    if name in _consumers:
        return _consumers[name]
    return next((found for queue, found in _consumers.items() if not queue or queue.startswith("amq")), None)


def _made(channel: Any, headers: Any, body: str) -> Any:
    """A message of aiormq's."""
    abc: Any = sys.modules["aiormq.abc"]
    commands: Any = sys.modules["pamqp.commands"]
    header: Any = sys.modules["pamqp.header"]
    given = amqp_given(headers, body)
    named = {"message_type" if name == "type" else name: value for name, value in given.properties.items()}
    return abc.DeliveredMessage(
        delivery=commands.Basic.Deliver("verify", 1, False, given.exchange, given.routing_key),
        header=header.ContentHeader(body_size=len(given.body), properties=commands.Basic.Properties(**named)),
        body=given.body,
        channel=channel,
    )


SEAMS = (
    Seams("aio_pika", ["aiormq.channel"], on("Channel", "basic_consume", _consuming)),
    Seams("aio_pika", ["aio_pika.queue"], on("QueueIterator", "consume", _iterating)),
    Seams("aio_pika", ["aio_pika.queue"], on("QueueIterator", "__anext__", _asks)),
    Seams("aio_pika", ["aio_pika.queue"], on("QueueIterator", "__aexit__", _leaves)),
    Seams("aio_pika", ["aio_pika.queue"], on("QueueIterator", "close", _leaves)),
)
