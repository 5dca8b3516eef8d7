"""Messages that an app produces, and what else it asks of a cluster, as `flow` wants them stated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from opentelemetry import trace

from timetracer_otel.calls.flow import Recording, Site
from timetracer_otel.cassette import rebuild_error, record_error
from timetracer_otel.constants import EventType
from timetracer_otel.libraries.kits.messaging.told_later import MessageSite
from timetracer_otel.match.trace_context import OF_THE_TRACE
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

__all__ = [
    "PRODUCE",
    "PRODUCE_BATCH",
    "AskedSite",
    "ProduceSite",
    "Record",
    "Report",
    "Topics",
    "kept_headers",
    "same",
    "span_in",
    "url_of",
]

PRODUCE: Final = "PRODUCE"
PRODUCE_BATCH: Final = "PRODUCE_BATCH"
"""Several messages that go to one partition together."""
_TRACE_PARTS: Final = 4
"""Of a header ``traceparent`` (https://www.w3.org/TR/trace-context/)."""


class Record(NamedTuple):
    """A message as an app gives it to a producer, serialized."""

    topic: Any
    key: Any = None
    value: Any = None
    headers: Iterable[tuple[Any, Any]] = ()
    partition: int | None = None
    """Where the app names it. What a partitioner chooses is a part of the answer: some choose by chance."""
    timestamp: int | None = None
    """Where the app names it, in milliseconds since 1970."""


class Report(NamedTuple):
    """What became of a message, in a recording."""

    fields: dict[str, Any] | None
    """Partition, offset, timestamp and so on; None where the recording ended before it was known."""
    error: BaseException | None = None
    """Why it was not delivered."""


def url_of(servers: Any) -> str:
    """The cluster, by the first of its brokers that the app names.

    Args:
        servers: ``host:port``, several of them with commas between, or a list of them.
    """
    first = servers if isinstance(servers, str) else next(iter(servers or ()), "")
    return f"kafka://{str(first).partition(',')[0].strip().rpartition('://')[2]}"


def span_in(headers: Iterable[tuple[Any, Any]]) -> trace.Span | None:
    """The span that the headers of a message name, where it has ended before the message is sent; None for no other
    span than the current one, or one of another trace.

    OpenTelemetry's instrumentation of aiokafka ends its span first, as that of kafka-python did in 0.61b0.
    """
    found = next((value for name, value in headers if name == "traceparent"), None)
    parts = bytes(found).decode("latin-1").split("-") if isinstance(found, (bytes, bytearray)) else []
    if len(parts) != _TRACE_PARTS:
        return None
    context = trace.SpanContext(int(parts[1], 16), int(parts[2], 16), is_remote=False)
    around = trace.get_current_span().get_span_context()
    is_own = context.is_valid and (not around.is_valid or around.trace_id == context.trace_id)
    return trace.NonRecordingSpan(context) if is_own and around.span_id != context.span_id else None


def kept_headers(headers: Iterable[tuple[Any, Any]]) -> list[dict[Any, Any]] | None:
    """The headers of a message but for those of the trace, which are others in each run; None without any."""
    return [{name: each} for name, each in headers if str(name).lower() not in OF_THE_TRACE] or None


def same(value: Any) -> Any:
    """A value that needs no packing."""
    return value


class ProduceSite(MessageSite):
    """A message that an app produces. What becomes of it is told later.

    Args:
        lib: The plugin.
        url: The cluster.
        record: The message.
        live: Produces it.
        pause: Waits, as the client's calls do.
    """

    def __init__(self, lib: str, url: str, record: Record, live: Any, pause: Callable[[float], Any]) -> None:
        super().__init__(lib, url, live, pause)
        self._record = record
        self._reply: dict[str, Any] = {}
        self.partitions: Iterable[int] | None = None
        """Those of the topic, where the client knows them."""
        self._problem: str | None = None

    @property
    def message_bytes(self) -> int:
        """The size of key and value."""
        return sum(len(each) for each in (self._record.key, self._record.value) if isinstance(each, (bytes, str)))

    def without_message(self, call: Call) -> None:
        """Take key and value out of a call."""
        call.args.pop("key", None)
        call.args.pop("value", None)

    def stated(self) -> Call:
        """The topic, and the message. Trace context among its headers is another one in each run."""
        topic, key, value, headers, partition, timestamp = self._record
        args: dict[str, Any] = {"topic": topic, "key": key, "value": value}
        given = {"headers": kept_headers(headers), "partition": partition, "timestamp": timestamp}
        args |= {name: each for name, each in given.items() if each is not None}
        return Call(self.lib, EventType.CUSTOM, PRODUCE, self._url, args=args)

    def told(
        self, fields: dict[str, Any] | None, error: BaseException | None = None, *, problem: str | None = None
    ) -> None:
        """The client has told the app what became of the message.

        Args:
            fields: Where it is; None where an error tells what became of it.
            error: Why it was not delivered, where the app is given an exception.
            problem: The same as a text, where the fields tell it.
        """
        if error is None:
            self._reply, self._problem = {"report": fields}, problem
        else:
            self._problem = str(error) or type(error).__name__
            self._reply = {"error": self.record_error(error)}
        if self.recording is not None:
            self.recording.close()

    def result(self, recording: Recording) -> EventResult:
        """What became of it; nothing where the recording ended before that was known."""
        kept = self.keeps(recording, 0, self._problem)
        known = {} if self.partitions is None else {"partitions": sorted(self.partitions)}
        return EventResult(reply={**self._reply, **known} if kept else {}, error=self._problem)

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Report:
        """The report, for who gives it to the app."""
        reply = event.result.reply
        error = reply.get("error")
        if isinstance(error, RecordedError):
            return Report(None, self.rebuild_error(error))
        return Report(reply.get("report"))


class Topics:
    """The partitions of topics, as the events of a replay tell them."""

    __slots__ = ("_partitions",)

    def __init__(self) -> None:
        self._partitions: dict[str, dict[Any, list[int]]] = {}

    def of(self, lib: str, session: ReplaySession) -> dict[Any, list[int]]:
        """By topic: its partitions.

        Args:
            lib: The plugin.
            session: The replay.
        """
        found = self._partitions.get(lib)
        if found is None:
            found = self._partitions[lib] = {}
            for event in session.events:
                method = event.signature.method
                if event.signature.lib == lib and method in (PRODUCE, PRODUCE_BATCH) and event.call is not None:
                    partitions = (event.result.reply or {}).get("partitions")
                    if partitions is not None:
                        found[event.call.args["topic"]] = partitions
        return found


class AskedSite(Site):
    """What an app asks of a cluster besides that, and waits for.

    Args:
        lib: The plugin.
        url: The cluster.
        method: What it asks.
        args: With what, as plain values.
        live: Asks it.
        pause: Waits, as the client's calls do.
        pack: Makes plain values of the answer.
        unpack: Makes the answer again.
    """

    as_called = True
    marks_span = False
    error_modules: frozenset[str] = frozenset()
    """Packages whose exceptions may be rebuilt."""

    def __init__(
        self,
        lib: str,
        url: str,
        method: str,
        args: dict[str, Any],
        live: Any,
        pause: Callable[[float], Any],
        pack: Callable[[Any], Any] = same,
        unpack: Callable[[Any], Any] = same,
    ) -> None:
        self.lib = lib
        self.live: Any = live
        self.pause: Any = pause
        self._stated = Call(lib, EventType.CUSTOM, method, url, args=args)
        self._pack, self._unpack = pack, unpack
        self._reply: Any = None

    def observe(self, session: TraceSession) -> None:
        """Keep what the app may change."""
        self._stated.args = copy.deepcopy(self._stated.args)

    def call(self) -> Call:
        """What is asked."""
        return self._stated

    def returned(self, value: Any, recording: Recording) -> Any:
        """The answer has come."""
        self._reply = self._pack(value)
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        """The answer."""
        return EventResult(reply={"answer": self._reply})

    def again(self) -> bool:
        """True: it is asked then."""
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The answer."""
        return self._unpack(event.result.reply["answer"])

    def record_error(self, error: BaseException) -> RecordedError:
        """What the client raised, as a value."""
        return record_error(error)

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """What the client raised."""
        return rebuild_error(error, self.error_modules)
