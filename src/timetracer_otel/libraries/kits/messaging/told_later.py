"""Messages that go out, and of which the app is told more later: a confirmation, a report, an error."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from timetracer_otel.calls.flow import Recording, Site
from timetracer_otel.cassette import rebuild_error
from timetracer_otel.constants import CapturePolicy
from timetracer_otel.session import TraceSession
from timetracer_otel.types import Call, RecordedError

__all__ = ["MessageSite"]


class MessageSite(Site):
    """Something that goes out, maybe with a message.

    Args:
        lib: The plugin.
        url: The broker.
        live: Sends it.
        pause: Waits, as the client's calls do.
    """

    as_called = True
    error_modules: frozenset[str] = frozenset()
    """Packages whose exceptions may be rebuilt."""

    def __init__(self, lib: str, url: str, live: Any, pause: Callable[[float], Any]) -> None:
        self.lib = lib
        self.live: Any = live
        self.pause: Any = pause
        self.recording: Recording | None = None
        """Set when it has gone out."""
        self._url = url
        self._call: Call | None = None
        self._too_long = 0

    @property
    def address(self) -> str:
        """The broker."""
        return self._url

    def stated(self) -> Call:
        """The call with its message. It may refer to values that the app changes later."""
        raise NotImplementedError

    @property
    def message_bytes(self) -> int:
        """The size of the message; 0 without one."""
        raise NotImplementedError

    def without_message(self, call: Call) -> None:
        """Take the message out of a call: there is no room for it."""
        raise NotImplementedError

    def observe(self, session: TraceSession) -> None:
        """Keep what the app may change; leave out a message that has no room."""
        size = self.message_bytes
        call = copy.deepcopy(self.stated())
        if size and not (size <= session.limits.body_bytes and session.limits.take(size)):
            self._too_long = size
            self.without_message(call)
        self._call = call

    def call(self) -> Call:
        """The call, as it was when it was made."""
        return self.stated() if self._call is None else self._call

    def returned(self, value: Any, recording: Recording) -> Any:
        """It has gone out. What is told of it comes later."""
        self.live = None
        self.recording = recording
        return value

    def keeps(self, recording: Recording, size: int, problem: str | None) -> bool:
        """Whether there is room for what was told, of a size, and the settings want it kept. Where it is not so, the
        event says why.
        """
        config, limits = recording.session.config, recording.session.limits
        policy = config.store_response_body
        if self._too_long or not (size <= limits.body_bytes and limits.take(size)):
            recording.not_replayable = f"its message {config.why_too_long(self._too_long or size)}"
        elif size and (policy is CapturePolicy.NEVER or (policy is CapturePolicy.ON_ERROR and problem is None)):
            recording.not_replayable = f"its messages were not kept (TIMETRACER_STORE_RES_BODY={policy.value})"
        else:
            return True
        return False

    def again(self) -> bool:
        """True: it is sent then."""
        return True

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """What the client raised."""
        return rebuild_error(error, self.error_modules)
