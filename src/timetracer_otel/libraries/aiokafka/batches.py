"""Batches of messages that an app of aiokafka makes itself: ``create_batch()``, ``append()`` and ``send_batch()``.

A batch encodes a message when it is given it. So each message is noted then, and the batch is sent by one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Flow, flow, pass_or_refuse, replays
from timetracer_otel.calls.guarded import ASK, AppStep, Noted, guarded, only, raising
from timetracer_otel.calls.noting import noting
from timetracer_otel.constants import EventType
from timetracer_otel.libraries.aiokafka import internals
from timetracer_otel.libraries.aiokafka.internals import LIB
from timetracer_otel.libraries.kits.kafka.call import PRODUCE_BATCH, Record, Report, kept_headers, url_of
from timetracer_otel.libraries.kits.kafka.in_python import FutureSite, Sending
from timetracer_otel.session import BaseSession
from timetracer_otel.types import Call

__all__ = ["appending", "beginning", "sending", "serializing"]

_MESSAGES: Final = "_timetracer_messages"
"""The attribute of a batch that has the messages in it."""
_PAIR: Final = "_timetracer_pair"
"""The attribute of a batch that has the key and the value which it is given now, as bytes."""
_UNSEEN: Final = (
    "A batch of aiokafka whose messages were not seen is not captured: it encodes them when it gets them."
)
_MAKE: Final = "Make it by create_batch() and fill it when the session has begun."


def beginning(original: Function) -> Function:
    """An app makes a batch."""
    return noting("aiokafka.batch", original, _begun)


def _begun(batch: Any, *_: Any) -> None:
    vars(batch)[_MESSAGES] = []


def serializing(original: Function) -> Function:
    """A batch asks the serializers of the app."""
    return noting("aiokafka.batch", original, _serialized)


def _serialized(pair: Any, batch: Any, *_: Any) -> None:
    if _MESSAGES in vars(batch):
        vars(batch)[_PAIR] = pair


class _Appended(Noted):
    """A message that a batch is given.

    Args:
        batch: The batch.
        given: What the app names of the message.
    """

    __slots__ = ("_batch", "_given")

    def __init__(self, batch: Any, given: dict[str, Any]) -> None:
        self._batch = batch
        self._given = given

    def came(self, value: Any) -> Any:
        """The batch has it, or is full."""
        if value is not None:
            noted, given = vars(self._batch), self._given
            key, made = noted.pop(_PAIR)
            headers = kept_headers(given.get("headers") or ())
            message = {"key": key, "value": made, "timestamp": given.get("timestamp"), "headers": headers}
            noted[_MESSAGES].append({name: _bytes(each) for name, each in message.items() if each is not None})
        return value

    def raised(self, error: BaseException) -> None:
        """The app's serializer has raised, or aiokafka: the batch has nothing more."""


def _bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def appending(original: Function) -> Function:
    """A batch is given a message. A producer has batches of its own as well, of which nothing is noted."""

    def quick(batch: Any) -> Any:
        return ASK if _MESSAGES in vars(batch) else None

    def begin(_: None, batch: Any, **given: Any) -> Noted:
        return _Appended(batch, given)

    return guarded(LIB, original, begin, outside=True, quick=quick, give_up=_forgotten, session_of=_no_session)


def _no_session() -> None:
    """It is the same in all of them."""


def _forgotten(_: Exception, batch: Any, *__: Any) -> None:
    vars(batch).pop(_MESSAGES, None)


def _messages_in(batch: Any) -> list[dict[str, Any]] | None:
    """The messages of a batch; None where not all of them are known."""
    found: list[dict[str, Any]] | None = getattr(batch, _MESSAGES, None)
    return None if found is None or len(found) != batch.record_count() else [*found]


class _BatchSite(FutureSite):
    """A batch that an app sends.

    Args:
        sending: How its client sends.
        producer: Who sends it.
        record: Where it goes.
        messages: Those in it.
        live: Sends it.
    """

    def __init__(
        self, sending: Sending, producer: Any, record: Record, messages: Sequence[dict[str, Any]], live: Any
    ) -> None:
        super().__init__(sending, producer, record, live)
        self._messages = messages

    @property
    def message_bytes(self) -> int:
        """The size of the keys and the values."""
        return sum(len(each.get(name, b"")) for each in self._messages for name in ("key", "value"))

    def without_message(self, call: Call) -> None:
        """Take the messages out of a call."""
        call.args.pop("messages", None)

    def stated(self) -> Call:
        """Where it goes, and the messages."""
        topic, partition = self._record.topic, self._record.partition
        args = {"topic": topic, "partition": partition, "messages": self._messages}
        return Call(LIB, EventType.CUSTOM, PRODUCE_BATCH, self._url, args=args)


def sending(how: Sending) -> Callable[[Function], Function]:
    """Wrap the method by which an app sends a batch.

    Args:
        how: How the client sends.
    """

    def wrap(original: Function) -> Function:
        def begin(session: BaseSession, producer: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
            given = _given(args, kwargs)
            if given is None:
                return None
            batch, topic, partition = given
            messages = _messages_in(batch)
            if messages is None:
                error = pass_or_refuse(LIB, _UNSEEN, _MAKE, session)
                return None if error is None else only(raising(error))
            live = AppStep(original, producer, *args, **kwargs)
            site = _BatchSite(how, producer, Record(topic, partition=partition), messages, live)
            steps = flow(site, session)
            is_answered = replays(LIB, session, lambda: url_of(internals.servers_of(producer)))
            return _answered(steps, batch, topic) if is_answered else steps

        return how.asking.guard(LIB, original, begin)

    return wrap


def _given(args: Iterable[Any], kwargs: dict[str, Any]) -> tuple[Any, Any, Any] | None:
    """Batch, topic and partition as an app gives them; None where the library raises at once."""

    def send_batch(batch: Any, topic: Any, *, partition: Any) -> tuple[Any, Any, Any]:
        return batch, topic, partition

    try:
        return send_batch(*args, **kwargs)
    except TypeError:
        return None


def _answered(steps: Flow, batch: Any, topic: Any) -> Flow:
    report = yield from steps
    if not isinstance(report, Report):
        return report
    future = internals.future_of(topic, report)
    # A batch that was sent takes no more messages.
    future.add_done_callback(lambda _: batch.close())
    return future
