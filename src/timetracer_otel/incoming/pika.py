"""pika: the functions that its channels call for messages, and the generator that hands messages out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from typing import Any

from opentelemetry import context as otel_context

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.calls.guarded import AppStep, Done, Flow
from timetracer_otel.calls.noting import looked
from timetracer_otel.config import job_source
from timetracer_otel.current import OUTSIDE_JOBS, SESSION_KEY
from timetracer_otel.incoming.guarded import around
from timetracer_otel.incoming.jobs import with_session
from timetracer_otel.incoming.messages import (
    Handling,
    IncomingMessage,
    amqp_given,
    amqp_message,
    begins_root,
    in_message,
    is_handing_out,
    while_handing_out,
)
from timetracer_otel.incoming.seams import on
from timetracer_otel.incoming.verified_jobs import connected, given_by_verify, tell

__all__ = ["SEAMS"]

_QUEUES = "_timetracer_queues"
"""The attribute of a channel that holds the tags of its consumers, by the names of their queues."""


def _message(queue: str, _: Any, method: Any, properties: Any, body: bytes) -> IncomingMessage:
    known = {name: value for name, value in vars(properties).items() if value is not None}
    return amqp_message("pika", queue, method.exchange, method.routing_key, known, body)


def _consuming(original: Function) -> Function:
    """An app names the function that is called for messages."""

    def begin(_: None, channel: Any, queue: str, on_message_callback: Any, *args: Any, **kwargs: Any) -> Flow | None:
        if type(getattr(on_message_callback, "__self__", None)).__name__ == "BlockingChannel":
            # The blocking adapter's own, which calls the function of the app.
            return None
        wrapped = in_message(on_message_callback, partial(_message, queue))
        return consumed(channel, queue, AppStep(original, channel, queue, wrapped, *args, **kwargs))

    def consumed(channel: Any, queue: str, step: AppStep) -> Flow:
        tag = yield step
        vars(channel).setdefault(_QUEUES, {})[queue] = tag
        return tag

    return around("pika", original, begin)


def _handing_out(original: Function) -> Function:
    """A generator hands messages out. What the app does with one lasts until it asks for the next."""

    def begin(_: None, channel: Any, queue: str, *args: Any, **kwargs: Any) -> Flow:
        source = job_source()
        if source is not None and begins_root():
            return Done(_verified(source, queue))
        return made(queue, AppStep(original, channel, queue, *args, **kwargs))

    def made(queue: str, step: AppStep) -> Flow:
        generator = yield step
        hand_out = while_handing_out(partial(next, generator, None))
        return _handed_out(queue, generator, hand_out, Handling())

    return around("pika", original, begin)


def _handed_out(
    queue: str, generator: Any, hand_out: Callable[[], Any], handling: Handling
) -> Generator[Any, None, None]:
    try:
        while (item := hand_out()) is not None:
            method, properties, body = item
            if method is not None:
                message_of = partial(_message, queue, None, method, properties, body)
                looked("pika.consume", handling.given, message_of)
            try:
                yield item
            except GeneratorExit:
                raise
            except BaseException as error:
                looked("pika.consume", handling.done, error)
                raise
            looked("pika.consume", handling.done)
    finally:
        looked("pika.consume", handling.done)
        generator.close()


def _verified(source: str, queue: str) -> Generator[Any, None, None]:
    """Hand out the messages of ``timetracer-otel verify``."""
    with ExitStack() as stack:
        token = otel_context.attach(otel_context.set_value(SESSION_KEY, OUTSIDE_JOBS))
        try:
            wire = stack.enter_context(connected(source, "pika"))
        finally:
            otel_context.detach(token)
        for line in wire:
            told = json.loads(line)
            if told["name"] != queue and queue and not queue.startswith("amq."):
                tell(wire, {"unknown": True})
                continue
            handling = Handling()
            item = _made("verify", **told["kwargs"])
            handling.given(partial(_message, queue, None, *item))
            try:
                yield item
            finally:
                # Whatever is raised is raised where the app handles the message, not here.
                handling.done()
                tell(wire, {"value": None})


def _function_of(channel: Any, name: str) -> Function | None:
    """The function that takes the messages of a queue, or those of queues without a name."""
    queues: dict[str, Any] = vars(channel).get(_QUEUES, {})
    tag = queues.get(name)
    if tag is None:
        tag = next((tag for queue, tag in queues.items() if not queue or queue.startswith("amq.")), None)
    info = channel._consumer_infos.get(tag)
    return None if info is None else partial(_give, channel, str(tag), info.on_message_callback)


def _give(channel: Any, tag: str, function: Callable[..., Any], headers: Any, body: str) -> Any:
    return function(channel, *_made(tag, headers, body))


def _made(tag: str, headers: Any, body: str) -> tuple[Any, Any, bytes]:
    """A message of pika's."""
    spec: Any = sys.modules["pika.spec"]
    given = amqp_given(headers, body)
    method = spec.Basic.Deliver(tag, 1, False, given.exchange, given.routing_key)
    return method, spec.BasicProperties(**given.properties), given.body


def _beginning(original: Function) -> Function:
    """The generator tells the broker that it consumes, before it hands the first message out."""

    def begin(_: None, *args: Any, **kwargs: Any) -> Flow | None:
        return with_session(None, AppStep(original, *args, **kwargs)) if is_handing_out() else None

    return around("pika", original, begin)


SEAMS = (
    Seams("pika", ["pika.channel"], on("Channel", "basic_consume", _consuming)),
    Seams("pika", ["pika.adapters.blocking_connection"], on("BlockingChannel", "basic_consume", _consuming)),
    Seams("pika", ["pika.adapters.blocking_connection"], on("BlockingChannel", "consume", _handing_out)),
    Seams("pika", ["pika.adapters.blocking_connection"], on("BlockingChannel", "_basic_consume_impl", _beginning)),
    Seams(
        "pika",
        ["pika.adapters.blocking_connection"],
        on(
            "BlockingChannel",
            "start_consuming",
            given_by_verify("pika", _function_of, is_worker=False, are_messages=True),
        ),
    ),
)
