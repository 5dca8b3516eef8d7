"""confluent-kafka's producers are given messages: one, or several by one call. Each of them is a call of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording, flow, pass_or_refuse, replays
from timetracer_otel.calls.guarded import AppStep, Flow, Noted, guarded, raising
from timetracer_otel.calls.noting import looked
from timetracer_otel.libraries.confluent_kafka import internals
from timetracer_otel.libraries.confluent_kafka.internals import LIB, Client
from timetracer_otel.libraries.confluent_kafka.reports import Due, Producers
from timetracer_otel.libraries.kits.kafka.call import ProduceSite, Record, Report, url_of
from timetracer_otel.session import BaseSession
from timetracer_otel.types import RecordedError

__all__ = ["producing", "producing_batch"]

_ANY_PARTITION: Final = -1


class _Produce(ProduceSite):
    """A message, of which a function of the app is told when it polls."""

    as_called = False
    # The function of the app is wrapped.

    def __init__(self, client: Client, record: Record) -> None:
        super().__init__(LIB, url_of(client.servers), record, None, time.sleep)
        self._client = client
        self._polls = client.polls

    def reported(self, error: Any, message: Any) -> None:
        """The library tells the app."""
        fields = internals.report_of(error, message)
        order = {"polls": self._client.polls - self._polls, "nth": next(self._client.numbers)}
        self.told({**fields, **order}, problem=None if error is None else error.str())

    def record_error(self, error: BaseException) -> RecordedError:
        """What the client raised, as a value."""
        return internals.made_error(error)

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """What the client raised."""
        return internals.exception_of(error)


def producing(original: Function) -> Function:
    """An app sends a message."""

    def begin(
        session: BaseSession,
        producer: Any,
        topic: Any,
        value: Any = None,
        key: Any = None,
        partition: int = _ANY_PARTITION,
        callback: Any = None,
        on_delivery: Any = None,
        timestamp: int = 0,
        headers: Any = None,
        **wrong: Any,
    ) -> Flow | Noted | None:
        if wrong:
            return None
        client = internals.client_of(producer)
        is_answered = replays(LIB, session, lambda: url_of(client.servers))
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
        record = Record(
            topic, key, value, pairs, None if partition == _ANY_PARTITION else partition, timestamp or None
        )
        site = _Produce(client, record)
        given = callback if callback is not None else on_delivery
        tell = given if given is not None else client.on_delivery
        named: dict[str, Any] = {"partition": partition, "timestamp": timestamp, "headers": headers}
        if tell is not None or client.is_known:
            # A producer of which nothing is known may have a function of its own, which ours would displace.
            named["on_delivery"] = partial(_told, site, tell)
        site.live = AppStep(original, producer, topic, value, key, **named)
        steps = flow(site, session)
        return _answered(steps, session, producer, record, tell) if is_answered else steps

    return guarded(LIB, original, begin)


def _told(site: _Produce, tell: Callable[..., Any] | None, error: Any, message: Any) -> Any:
    looked("confluent_kafka.report", site.reported, error, message)
    return None if tell is None else tell(error, message)


def _answered(steps: Flow, session: Any, producer: Any, record: Record, tell: Any) -> Flow:
    report = yield from steps
    if isinstance(report, Report):
        _wait(session, producer, record, tell, report.fields)
    return None


def _wait(session: Any, producer: Any, record: Record, tell: Any, fields: dict[str, Any] | None) -> None:
    """Keep what is told of a message until the app polls."""
    pending = session.state(LIB, Producers).of(producer)
    if fields is None:
        pending.waiting.append(Due(_NEVER, _NEVER, None))
        return
    message = internals.message_of(fields, record.topic, record.key, record.value, record.headers)
    error = internals.error_again(fields["error"])
    give = partial(tell, error, message) if tell is not None else _nobody
    pending.waiting.append(Due(pending.polls + fields["polls"], fields["nth"], give))


_NEVER: Final = 1 << 62


def _nobody() -> None:
    """Nobody is told."""


_ERROR: Final = "_error"
"""What the library puts into a message of a batch that it refuses."""


class _InBatch(_Produce):
    """A message of several that are given at once.

    Args:
        client: What is noted of the producer.
        topic: Where it goes.
        given: The message, as the app gives it.
        partition: That of all of them.
        default: The function of the app that is told of those without one of their own.
    """

    def __init__(self, client: Client, topic: Any, given: dict[str, Any], partition: int, default: Any) -> None:
        number = given.get("partition", partition)
        named = (None if number == _ANY_PARTITION else number, given.get("timestamp") or None)
        self.record = Record(topic, given.get("key"), given.get("value"), (), *named)
        super().__init__(client, self.record)
        own = given.get("callback")
        self.tell = default if own is None else own
        self.given = given
        if self.tell is not None or client.is_known:
            self.lend = self._lend

    def _lend(self) -> Callable[[], Any]:
        given, had, before = self.given, "callback" in self.given, self.given.get("callback")
        given["callback"] = partial(_told, self, self.tell)
        return partial(given.update, callback=before) if had else partial(given.pop, "callback")

    def returned(self, value: Any, recording: Recording) -> Any:
        """The messages wait to be sent, but for those that the library refuses."""
        super().returned(value, recording)
        error = self.given.get(_ERROR)
        if error is not None:
            self.told({"error": internals.kafka_error(error)}, problem=error.str())
        return value


def producing_batch(original: Function) -> Function:
    """An app sends several messages by one call. Each is an event: how many stand together is often a matter of time,
    as in ``AIOProducer``.
    """

    def begin(
        session: BaseSession,
        producer: Any,
        topic: Any,
        messages: Any,
        partition: int = _ANY_PARTITION,
        on_delivery: Any = None,
        **wrong: Any,
    ) -> Flow | AppStep | None:
        if wrong or not isinstance(messages, list) or not messages:
            return None
        if not all(type(each) is dict for each in messages):
            error = pass_or_refuse(LIB, _NO_BATCH, "Give produce_batch() a dictionary for each message.", session)
            return None if error is None else raising(error)
        client = internals.client_of(producer)
        default = on_delivery if on_delivery is not None else client.on_delivery
        # Each message has a function of its own that is told of it. So one that stands twice is copied.
        own = {id(each): number for number, each in reversed([*enumerate(messages)])}
        given = [each if own[id(each)] == number else {**each} for number, each in enumerate(messages)]
        sites = [_InBatch(client, topic, each, partition, default) for each in given]
        named = {} if on_delivery is None else {"on_delivery": on_delivery}
        live = AppStep(original, producer, topic, given, partition=partition, **named)
        for site in sites:
            site.live = live
        calls = [flow(each, session) for each in sites]
        if replays(LIB, session, lambda: url_of(client.servers)):
            return _refused_too(given, messages, _batch_answered(sites, calls, session, producer, live))
        with _undone(calls):
            for call in calls:
                next(call)
        return _refused_too(given, messages, _made_together(calls, live))

    return guarded(LIB, original, begin)


def _refused_too(given: list[dict[str, Any]], messages: list[dict[str, Any]], steps: Flow) -> Flow:
    """Tell the app of the errors that the copies of its messages were given."""
    value = yield from steps
    for each, own in zip(given, messages, strict=True):
        if each is not own and _ERROR in each:
            own[_ERROR] = each[_ERROR]
    return value


_NO_BATCH: Final = "A batch of confluent-kafka in which a message is no dictionary is not captured."


@contextmanager
def _undone(calls: list[Flow]) -> Generator[None, None, None]:
    """Where this is left by an error, end the calls, the last one first."""
    try:
        yield
    except BaseException:
        for each in reversed(calls):
            each.close()
        raise


def _made_together(calls: list[Flow], live: AppStep) -> Flow:
    """Make several calls by one step, to which all of them have come.

    What each of them has set for its step is undone in the other order: each found what the one before it had set.
    """
    try:
        value = yield live
    except BaseException as error:
        for each in reversed(calls):
            with suppress(type(error)):
                each.throw(error)
        raise
    for each in reversed(calls):
        with suppress(StopIteration):
            each.send(value)
    return value


def _batch_answered(sites: list[_InBatch], calls: list[Flow], session: Any, producer: Any, live: AppStep) -> Flow:
    """Answer the messages of a batch. Where all of them are new to a replay that makes new calls, they are sent."""
    reports, new = [], []
    with _undone(calls):
        for each in calls:
            try:
                step = next(each)
                while step is not live:
                    step = each.send((yield step))
                new.append(each)
            except StopIteration as stop:
                reports.append(stop.value)
        if new and reports:
            raise session.refuse_unseen(
                "Some messages of a batch of confluent-kafka are new to this replay.", "Record it anew."
            )
    if new:
        return (yield from _made_together(new, live))
    failed = 0
    for site, report in zip(sites, reports, strict=True):
        fields = report.fields
        if fields is not None and "polls" not in fields:
            failed += 1
            site.given[_ERROR] = internals.error_again(fields["error"])
        else:
            _wait(session, producer, site.record, site.tell, fields)
    return len(sites) - failed
