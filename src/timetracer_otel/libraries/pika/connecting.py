"""A connection of pika's is opened: one event, however many addresses and attempts that takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording, flow, replays
from timetracer_otel.calls.guarded import AppStep, Flow, Noted, guarded
from timetracer_otel.libraries.kits.amqp.call import ConnectSite
from timetracer_otel.libraries.kits.amqp.stand_in import refusing_faults
from timetracer_otel.libraries.pika import internals
from timetracer_otel.libraries.pika.internals import LIB
from timetracer_otel.session import BaseSession

__all__ = ["connecting"]


class _PikaConnect(ConnectSite):
    """A connection that is opened while the loop of the app runs: the outcome comes later."""

    error_modules = internals.ERROR_MODULES
    recording: Recording | None = None

    def __init__(self, urls: list[str], live: Any) -> None:
        super().__init__(LIB, urls, live, time.sleep, self._greeted)
        self._connection: Any = None
        self._failure: Any = None

    def returned(self, value: Any, recording: Recording) -> Any:
        """The attempts have begun."""
        self.recording = recording
        self.live = None
        return value

    def ended(self, outcome: Any) -> None:
        """Note how the attempts have ended."""
        recording = self.recording
        if recording is None:
            return
        self._connection = internals.connection_in(outcome)
        if self._connection is not None:
            super().returned(None, recording)
            return
        self._reply = {"failed": internals.failure_of(outcome)}
        recording.close()

    def _greeted(self) -> tuple[dict[str, Any], dict[str, Any]]:
        greeting = internals.wire_of(self._connection).greeting
        self._connection = None
        return greeting["Connection.Start"], greeting["Connection.Tune"]

    def rebuild(self, event: Any, session: Any) -> Any:
        """The greeting, or how the attempts failed."""
        failed = event.result.reply.get("failed")
        return super().rebuild(event, session) if failed is None else internals.failed_with(failed)


def connecting(original: Function) -> Function:
    """A connection is opened: by the workflow that all adapters have."""

    def begin(
        session: BaseSession,
        workflow: Any,
        connection_configs: Sequence[Any],
        connector_factory: Any,
        native_loop: Any,
        on_done: Any,
    ) -> Flow | Noted | None:
        configs = list(connection_configs)
        urls = [internals.url_of(each) for each in configs]
        site = _PikaConnect(urls, None)

        def done(outcome: Any) -> Any:
            try:
                site.ended(outcome)
            except Exception as fault:
                faults.contain("pika.connect", fault)
            return on_done(outcome)

        site.live = AppStep(original, workflow, configs, connector_factory, native_loop, done)
        steps = flow(site, session)
        if not replays(LIB, session, lambda: urls[0]):
            return _in_steps(steps)
        return _answered(steps, workflow, configs, connector_factory, on_done)

    return guarded(LIB, original, begin)


def _in_steps(steps: Flow) -> Flow:
    return (yield from steps)


def _answered(steps: Flow, workflow: Any, configs: Sequence[Any], factory: Any, on_done: Any) -> Flow:
    outcome = yield from steps
    if isinstance(outcome, BaseException):
        workflow._nbio.call_later(0, partial(on_done, outcome))
    elif outcome is not None:
        # As pika does it: it never calls an app back while the app calls it.
        workflow._nbio.call_later(0, partial(_end, factory, configs[0], outcome, on_done))
    return None


@refusing_faults(LIB)
def _end(factory: Any, parameters: Any, outcome: Any, on_done: Any) -> None:
    internals.opened(factory, parameters, outcome, on_done)
