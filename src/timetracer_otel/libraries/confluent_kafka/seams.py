"""Where confluent-kafka is patched: a producer sends, is polled, or asks something, and so does a consumer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from timetracer_otel.base.c_classes import InPlace
from timetracer_otel.base.patching import Function, Undoable
from timetracer_otel.calls.flow import flow, replays
from timetracer_otel.calls.guarded import AppStep, Flow, Noted, guarded, raising
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.confluent_kafka import internals
from timetracer_otel.libraries.confluent_kafka.internals import LIB
from timetracer_otel.libraries.confluent_kafka.producing import producing, producing_batch
from timetracer_otel.libraries.confluent_kafka.reports import Producers
from timetracer_otel.libraries.kits.kafka.asked import Asked, Asking
from timetracer_otel.libraries.kits.kafka.call import AskedSite, url_of
from timetracer_otel.libraries.kits.kafka.consumers import begins_without_broker
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import RecordedError

__all__ = ["notes", "patches"]


class _AskedSite(AskedSite):
    """A call whose errors hold a ``KafkaError``."""

    def record_error(self, error: BaseException) -> RecordedError:
        """What the client raised, as a value."""
        return internals.made_error(error)

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """What the client raised."""
        return internals.exception_of(error)


def _topic(topic: Any = None, *_: Any, **__: Any) -> dict[str, Any]:
    return {} if topic is None else {"topic": topic}


def _positions(positions: Any, *_: Any, **__: Any) -> dict[str, Any]:
    return internals.of_offsets(positions=positions)


def _reaching(original: Function) -> Function:
    """What only a broker can answer, and what librdkafka waits for without end where it knows of none."""

    def begin(_: None, client: Any, *args: Any, **kwargs: Any) -> AppStep | None:
        if not internals.client_of(client).is_alone:
            return None
        return raising(
            ReplayMismatchError(
                f"{original.__name__}() of confluent-kafka has no answer: a replay has made this client, so it knows "
                "of no broker.",
                hint="make a client where no replay is current.",
            )
        )

    return guarded(LIB, original, begin, outside=True, session_of=_no_session)


def _no_session() -> None:
    """It is the same in all of them."""


def _asked_in_place(owner: Any, name: str, wrap: Callable[[Function], Function]) -> InPlace:
    return InPlace(owner, name, lambda original: wrap(_reaching(original)))


_ASKING: Final = Asking(
    LIB,
    guarded,
    time.sleep,
    lambda client: internals.client_of(client).servers,
    frozenset(),
    _AskedSite,
    _asked_in_place,
)
_METADATA: Final = Asked("list_topics", "METADATA", _topic, internals.packed_metadata, internals.metadata_again)
_OF_PRODUCERS: Final = (
    _METADATA,
    Asked("init_transactions", "INIT"),
    Asked("begin_transaction", "BEGIN"),
    Asked("send_offsets_to_transaction", "SEND_OFFSETS", _positions),
)
_OF_CONSUMERS: Final = (
    _METADATA,
    Asked("commit", "COMMIT_OFFSETS", internals.of_offsets, internals.packed_offsets, internals.offsets_again),
    Asked("committed", "COMMITTED", internals.of_partitions, internals.packed_offsets, internals.offsets_again),
    Asked(
        "get_watermark_offsets",
        "WATERMARKS",
        lambda partition, *_, **__: internals.of_partitions([partition]),
        lambda found: None if found is None else list(found),
        lambda found: None if found is None else tuple(found),
    ),
)


_ENDS: Final = (Asked("commit_transaction", "COMMIT"), Asked("abort_transaction", "ABORT"))
"""These tell the app of the messages of the transaction as well."""


def patches() -> Sequence[Undoable]:
    """The patches of confluent-kafka."""
    producer, consumer = internals.PRODUCER, internals.CONSUMER
    return [
        notes,
        *_ASKING.patches(producer, _OF_PRODUCERS),
        *_ASKING.patches(consumer, _OF_CONSUMERS),
        *(_asked_in_place(producer, each.name, partial(_ending, each)) for each in _ENDS),
        InPlace(producer, "__init__", partial(_making, False)),
        InPlace(consumer, "__init__", partial(_making, True)),
        InPlace(producer, "produce", producing),
        InPlace(producer, "poll", _polling),
        *(InPlace(producer, name, _flushing) for name in ("flush", "close", "__exit__") if name in vars(producer)),
        InPlace(producer, "__len__", _counting),
        *(InPlace(producer, name, producing_batch) for name in ("produce_batch",) if name in vars(producer)),
    ]


class _Notes:
    """What is noted of clients. When the seams are out, only those are known that a replay has made: the app is still
    told that they reach nobody.
    """

    def __init__(self) -> None:
        owned = ((internals.PRODUCER, (*_OF_PRODUCERS, *_ENDS)), (internals.CONSUMER, _OF_CONSUMERS))
        self._left = [
            InPlace(owner, each.name, _reaching)
            for owner, asked in owned
            for each in asked
            if hasattr(owner, each.name)
        ]

    def apply(self) -> None:
        """Begin."""
        for patch in self._left:
            patch.undo()

    def undo(self) -> None:
        """Forget the others; harmless when repeated."""
        if internals.forget_all():
            for patch in self._left:
                patch.apply()

    def end(self) -> None:
        """Forget all of them; harmless when repeated."""
        internals.known.clear()
        self.apply()


notes: Final = _Notes()


def _making(consumes: bool, original: Function) -> Function:
    """An app makes a client, which connects in threads of its own."""

    def begin(session: BaseSession | None, client: Any, *args: Any, **kwargs: Any) -> Flow | AppStep | None:
        noted = internals.with_default(args, kwargs)
        internals.known[id(client)] = noted
        if session is None:
            return None
        if consumes:
            is_alone = begins_without_broker(LIB, session)
        else:
            is_alone = replays(LIB, session, lambda: url_of(noted.servers)) and not _adds(session)
        if not is_alone:
            return None
        args, kwargs = internals.without_broker(noted, args, kwargs, consumes=consumes)
        return AppStep(original, client, *args, **kwargs)

    return guarded(LIB, original, begin, outside=True)


def _adds(session: BaseSession) -> bool:
    """Whether a replay makes calls for real that it has no answer of."""
    return isinstance(session, ReplaySession) and session.recorder is not None


def _polling(original: Function) -> Function:
    """An app takes the reports that are there."""

    def begin(session: BaseSession | None, producer: Any, *args: Any, **kwargs: Any) -> Flow | None:
        internals.client_of(producer).polls += 1
        if not isinstance(session, ReplaySession):
            return None
        pending = session.state(LIB, Producers).of(producer)
        if not pending.waiting:
            return None
        pending.polls += 1
        return polled(pending, AppStep(original, producer, 0))

    def polled(pending: Any, step: AppStep) -> Flow:
        count = 0
        while (due := pending.takes()) is not None:
            count += 1
            yield AppStep(due.give)
        return count + (yield step)

    return guarded(LIB, original, begin, outside=True)


def _flushing(original: Function) -> Function:
    """An app waits for all reports."""

    def begin(session: BaseSession | None, producer: Any, *args: Any, **kwargs: Any) -> Flow | None:
        internals.client_of(producer).polls += 1
        if not isinstance(session, ReplaySession):
            return None
        pending = session.state(LIB, Producers).of(producer)
        if not pending.waiting:
            return None
        pending.polls += 1
        timeout = args[0] if args else kwargs.get("timeout", -1)
        waits = not isinstance(timeout, (int, float)) or timeout < 0
        return flushed(pending, waits, AppStep(original, producer, *args, **kwargs))

    def flushed(pending: Any, waits: bool, step: AppStep) -> Flow:
        while (due := pending.takes(all_of_them=waits)) is not None:
            if due.give is not None:
                yield AppStep(due.give)
        left = yield step
        return left + len(pending.waiting) if isinstance(left, int) and not isinstance(left, bool) else left

    return guarded(LIB, original, begin, outside=True)


def _ending(asked: Asked, original: Function) -> Function:
    """A transaction ends."""

    def begin(session: BaseSession, producer: Any, *args: Any, **kwargs: Any) -> Flow | Noted:
        internals.client_of(producer).polls += 1
        steps = flow(_ASKING.site(asked, producer, AppStep(original, producer, *args, **kwargs), {}), session)
        if not isinstance(session, ReplaySession):
            return steps
        pending = session.state(LIB, Producers).of(producer)
        pending.polls += 1
        return told_first(pending, steps)

    def told_first(pending: Any, steps: Flow) -> Flow:
        while (due := pending.takes()) is not None:
            yield AppStep(due.give)
        return (yield from steps)

    return guarded(LIB, original, begin)


def _counting(original: Function) -> Function:
    """An app asks how many messages are on their way."""

    def begin(session: BaseSession, producer: Any) -> Flow | None:
        if not isinstance(session, ReplaySession):
            return None
        waiting = session.state(LIB, Producers).of(producer).waiting
        return counted(len(waiting), AppStep(original, producer)) if waiting else None

    def counted(more: int, step: AppStep) -> Flow:
        return more + (yield step)

    return guarded(LIB, original, begin)
