"""Methods of AMQP that an app sends, and connections that it opens, as `flow` wants them stated."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import Recording, Site
from timetracer_otel.cassette import rebuild_error
from timetracer_otel.config import job_source
from timetracer_otel.constants import EventType
from timetracer_otel.current import is_decided
from timetracer_otel.libraries.kits.amqp.said import CLOSES, Said
from timetracer_otel.libraries.kits.messaging.told_later import MessageSite
from timetracer_otel.match.leaves import mapped
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

__all__ = ["Answers", "ConnectSite", "SentSite"]

_LEFT_OUT: Final = frozenset({"delivery_tag", "immediate", "nowait", "ticket"})
"""Fields that are reserved, or that number what a channel has done by then."""
_MADE_UP_TAG: Final = re.compile(r"ctag\d+\.[0-9a-f]{32}")
"""The name that a client makes up for a consumer."""
_MADE_UP_QUEUE: Final = re.compile(r"amq_[0-9a-f]{32}")
"""The name that aio-pika makes up for a queue."""


class Answers(NamedTuple):
    """What a broker said to a method, in a recording."""

    said: list[Said]
    deliveries: list[tuple[int, Said]]
    """What it sent to a consumer, and how many events of the app on the same channel stood before each."""


@dataclass(slots=True)
class QueueNames:
    """The names that a client has made up for queues, in one session.

    They are other ones in each run. In the cassette, a number stands for each, in the order of the declarations.
    """

    numbered: dict[str, str] = field(default_factory=dict)
    made_up: dict[str, str] = field(default_factory=dict)
    """The other way round."""

    def declared(self, name: Any) -> None:
        """A queue is declared."""
        if type(name) is str and _MADE_UP_QUEUE.fullmatch(name) and name not in self.numbered:
            number = f"amq_{len(self.numbered) + 1}"
            self.numbered[name], self.made_up[number] = number, name

    def in_cassette(self, value: Any) -> Any:
        """A value as it stands in the cassette; the same object where it has no such name."""
        return mapped(value, lambda text: self.numbered.get(text, text)) if self.numbered else value

    def present(self, value: Any) -> Any:
        """A value of a cassette with the names of this run."""
        return mapped(value, lambda text: self.made_up.get(text, text)) if self.made_up else value


@dataclass(slots=True)
class Heard:
    """What a broker says to a method, while it is recorded."""

    said: list[Said] = field(default_factory=list)
    deliveries: list[tuple[int, Said]] = field(default_factory=list)


class SentSite(MessageSite):
    """A method that goes out.

    Args:
        lib: The plugin.
        url: The broker and its virtual host.
        method: What goes out.
        live: Sends it.
        pause: Waits, as the client's calls do.
        session: The session that it belongs to.
    """

    def __init__(
        self,
        lib: str,
        url: str,
        method: Said,
        live: Any,
        pause: Callable[[float], Any],
        session: BaseSession,
    ) -> None:
        super().__init__(lib, url, live, pause)
        self.method = method
        self.marks_span = method.name == "Basic.Publish"
        self.heard = Heard()
        self.on_sent: Callable[[SentSite], object] | None = None
        """Told when the method has gone out in a recording."""
        self.keeps_deliveries = is_decided()
        """Whether what a consumer gets is a part of the session, and no request of a session of its own."""
        self._names = session.state(lib, QueueNames)
        if method.name == "Queue.Declare":
            self._names.declared(method.fields["queue"])

    @property
    def message_bytes(self) -> int:
        """The size of the body."""
        return len(self.method.body or b"")

    def without_message(self, call: Call) -> None:
        """Take the body out of a call."""
        call.args.pop("body")

    def stated(self) -> Call:
        """The method with its fields, the properties of the message, and its body."""
        method = self.method
        args = {name: value for name, value in method.fields.items() if name not in _LEFT_OUT}
        if _MADE_UP_TAG.fullmatch(str(args.get("consumer_tag"))):
            del args["consumer_tag"]
        if method.properties is not None:
            args |= {"properties": method.properties, "body": method.body}
        return Call(self.lib, EventType.CUSTOM, method.name, self._url, args=self._names.in_cassette(args))

    def returned(self, value: Any, recording: Recording) -> Any:
        """The method has gone out. What the broker says comes later, unless that was waited for."""
        super().returned(value, recording)
        if self.on_sent is not None:
            self.on_sent(self)
        else:
            self.ends()
        return value

    def ends(self, *, consuming: bool = False) -> None:
        """The broker has said all that it will say, but for what it sends to a consumer.

        Args:
            consuming: Whether it sends no more of that either.
        """
        recording = self.recording
        if recording is None:
            return
        if consuming or self.method.name != "Basic.Consume":
            recording.close()
        elif not recording.goes_on:
            # The broker has agreed. The messages that it sends from now on are read later.
            recording.goes_on, recording.returned_s = True, time.perf_counter()

    def tells_answer(self, error: BaseException) -> bool:
        """Whether the broker has answered: the client raises the same again when it gets the same answer."""
        return bool(self.heard.said) and isinstance(error, Exception)

    def result(self, recording: Recording) -> EventResult:
        """What the broker said."""
        heard = self.heard
        said = [*heard.said, *(each for _, each in heard.deliveries)]
        problem = next((text for text in map(_problem, heard.said) if text is not None), None)
        hidden = self._names.in_cassette
        made: dict[str, Any] = {"said": [hidden(each.as_list()) for each in heard.said]}
        if heard.deliveries:
            made["deliveries"] = [[after, *hidden(each.as_list())] for after, each in heard.deliveries]
        if not self.keeps(recording, sum(len(each.body or b"") for each in said), problem):
            made = {}
        return EventResult(reply=made, error=problem)

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Answers:
        """What the broker said, for who gives it to the client."""
        if self.method.name == "Basic.Consume" and not self.keeps_deliveries and job_source() is None:
            faults.logger.warning(
                "timetracer-otel: the consumer of %r gets no messages in this replay. Recorded ones are given to it "
                "by timetracer-otel verify; name %s in live_plugins for those of a broker.",
                self.method.fields["queue"],
                self.lib,
            )
        reply = self._names.present(event.result.reply)
        return Answers(
            [Said(*each) for each in reply["said"]],
            [(after, Said(*each)) for after, *each in reply.get("deliveries", ())],
        )


def _problem(said: Said) -> str | None:
    """What a broker says of something that it did not do."""
    if said.name in CLOSES or said.name == "Basic.Return":
        return f"{said.fields.get('reply_code')} {said.fields.get('reply_text')}"
    return "not confirmed (Basic.Nack)" if said.name == "Basic.Nack" else None


class ConnectSite(Site):
    """A connection that is opened, from its address to the end of the greeting.

    Args:
        lib: The plugin.
        urls: The brokers that are tried, each with its virtual host.
        live: Opens it.
        pause: Waits, as the client's calls do.
        greeting: Gives what the broker said, once the connection is open: fields of ``Connection.Start`` and
            ``Connection.Tune``.
    """

    marks_span = False
    error_modules: frozenset[str] = frozenset()
    """Packages whose exceptions may be rebuilt."""

    def __init__(
        self,
        lib: str,
        urls: list[str],
        live: Any,
        pause: Callable[[float], Any],
        greeting: Callable[[], tuple[dict[str, Any], dict[str, Any]]],
    ) -> None:
        self.lib = lib
        self.live: Any = live
        self.pause: Any = pause
        self._urls = urls
        self._greeting = greeting
        self._reply: dict[str, Any] = {}

    @property
    def address(self) -> str:
        """The first broker."""
        return self._urls[0]

    def call(self) -> Call:
        """``CONNECT``."""
        args = {"brokers": self._urls} if len(self._urls) > 1 else {}
        return Call(self.lib, EventType.CUSTOM, "CONNECT", self._urls[0], args=args)

    def returned(self, value: Any, recording: Recording) -> Any:
        """The connection is open."""
        start, tune = self._greeting()
        self._reply = {"start": copy.deepcopy(start), "tune": dict(tune)}
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        """What the broker is, and which limits it set."""
        return EventResult(reply=self._reply)

    def again(self) -> bool:
        """True: it is opened then."""
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> tuple[dict[str, Any], dict[str, Any]]:
        """The greeting."""
        reply = event.result.reply
        return reply["start"], reply["tune"]

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """What the client raised."""
        return rebuild_error(error, self.error_modules)
