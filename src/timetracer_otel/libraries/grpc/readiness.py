"""The state of a channel: whether it is connected. A replay tells the recorded states, and connects nowhere."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Final

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import Recording, Site
from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.cassette import rebuild_error
from timetracer_otel.constants import EventType
from timetracer_otel.libraries.grpc import internals
from timetracer_otel.libraries.grpc.internals import LIB
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

__all__ = ["NotedSubscriber", "StateSite", "SubscribeSite", "WaitSite"]

_LAST: Final = (2, 4)
"""The numbers of the states that apps wait for: ready, and shut down."""


class StateSite(Site):
    """An app asks for the state of an asyncio channel."""

    lib = LIB
    marks_span = False
    method = "get_state"

    def __init__(self, target: str, asked: Any, live: AppStep) -> None:
        self._host = internals.host_of(target)
        self._asked = asked
        self.live: Any = live
        self.state = 0

    def call(self) -> Call:
        """The channel, and whether it is to connect."""
        host = "" if self._host.startswith(("/", "@")) else self._host
        return Call(LIB, EventType.CUSTOM, self.method, f"grpc://{host}/", args={"connect": self._asked})

    def returned(self, value: Any, recording: Recording) -> Any:
        """The state."""
        self.state = internals.number_of(value)
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        """The state as a number."""
        return EventResult(status=0, reply={"state": self.state})

    def again(self) -> bool:
        """True: to ask again changes nothing."""
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The state."""
        return internals.connectivity(event.result.reply["state"])

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """What gRPC raised, such as for a channel that was closed."""
        return rebuild_error(error, {LIB})


class WaitSite(StateSite):
    """An app waits until an asyncio channel has another state."""

    method = "wait_for_state_change"

    def __init__(self, target: str, last: Any, live: AppStep) -> None:
        super().__init__(target, internals.number_of(last), live)

    def returned(self, value: Any, recording: Recording) -> Any:
        """There is another state."""
        recording.close()
        return value

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """Nothing: the app asks for the state."""

    def pause(self, seconds: float) -> Any:
        """Wait as long as the app waited."""
        return asyncio.sleep(seconds)


class NotedSubscriber:
    """What hears of the states of a channel in a recording. It is equal to the app's own, as gRPC compares them."""

    _known: Final[list[NotedSubscriber]] = []

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._recording: Recording | None = None
        self._began_s = time.perf_counter()
        self.states: list[list[Any]] = []
        self._has_last = False

    def begins(self, recording: Recording) -> None:
        """A recording notes the states. Some may have come already."""
        self._recording = recording
        self._known.append(self)
        if self._has_last:
            self._end()

    def __call__(self, state: Any) -> None:
        """The channel has another state."""
        try:
            self._notes(state)
        except Exception as fault:
            faults.contain("grpc.state", fault)
        self._callback(state)

    def __eq__(self, other: object) -> bool:
        return other is self or other == self._callback

    def __hash__(self) -> int:
        return hash(self._callback)

    def _notes(self, state: Any) -> None:
        number = internals.number_of(state)
        self.states.append([(time.perf_counter() - self._began_s) * 1000, number])
        if number in _LAST:
            self._has_last = True
            self._end()

    def _end(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None
            self._known.remove(self)

    @classmethod
    def ends(cls, callback: Any) -> None:
        """The app does not want to hear of the states any more."""
        for known in [each for each in cls._known if each == callback]:
            known._end()


class SubscribeSite(StateSite):
    """An app wants to hear of the states of a blocking channel."""

    method = "subscribe"

    def __init__(self, target: str, connects: bool, live: AppStep, subscriber: NotedSubscriber) -> None:
        super().__init__(target, connects, live)
        self._subscriber = subscriber

    def returned(self, value: Any, recording: Recording) -> Any:
        """The states come from now on."""
        self._subscriber.begins(recording)
        return value

    def result(self, recording: Recording) -> EventResult:
        """The states that came."""
        return EventResult(status=0, reply={"states": list(self._subscriber.states)})

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """Tell the states, in a thread, as gRPC does it."""
        states = [(at_ms, internals.connectivity(number)) for at_ms, number in event.result.reply["states"]]
        wanted = self._subscriber

        def tell() -> None:
            began_s = time.perf_counter()
            for at_ms, state in states:
                if session.replay_timing:
                    time.sleep(max(began_s + at_ms / 1000 - time.perf_counter(), 0))
                wanted(state)

        threading.Thread(target=tell, name="timetracer-grpc-states", daemon=True).start()

    def pause(self, seconds: float) -> Any:
        """Nothing: the states come at their own times."""
