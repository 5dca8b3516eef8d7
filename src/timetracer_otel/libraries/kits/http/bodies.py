"""Response bodies of all HTTP clients: noted on their way to the app, and given back as they came."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from types import NoneType
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import CANCEL_GRACE_S, Site, rebuilt
from timetracer_otel.calls.guarded import refusal
from timetracer_otel.constants import BodyEnd
from timetracer_otel.exceptions import ReplayMismatchError, TimetracerError
from timetracer_otel.session import ReplaySession
from timetracer_otel.session.body_taps import BodyLimits, BodyTap
from timetracer_otel.types import BodySnapshot, DependencyEvent

__all__ = ["BodyLimits", "BodyTap", "RecordedBody"]


class RecordedBody:
    """A recorded body that is given back to the app in the same chunks, and with the same end.

    Args:
        event: The event that holds it.
        session: Whose pace it follows, and who hears of what cannot be given back.
        site: The call. It makes the recorded error that ended the body an exception again.
    """

    __slots__ = ("_event", "_raised", "_site", "body", "is_plain", "session", "timed")

    def __init__(
        self,
        event: DependencyEvent,
        session: ReplaySession,
        site: Site,
    ) -> None:
        body = event.result.body
        self.body = body if body is not None else BodySnapshot(captured=True, data=b"")
        if type(self.body.data) not in (bytes, NoneType):
            raise TypeError(f"its body is {type(self.body.data).__name__}, not bytes")
        self.timed = timed = session.replay_timing
        self.is_plain: bool = self.body.end is BodyEnd.COMPLETE and not timed
        """Whether `chunks` is all that there is to give back: no waiting, and no error at the end."""
        self._event = event
        self.session = session
        # A response lives until the collector of garbage finds it: its client's stream refers to it. A call that has
        # no error to make at the body's end need not live as long.
        self._site = None if self.is_plain else site
        self._raised: BaseException | None = None

    def chunks(self) -> list[bytes]:
        """The body in the pieces that it came in."""
        data: bytes = self.body.data or b""
        if len(self.body.chunks) == 1:
            return [data]
        pieces = []
        position = 0
        for _, size in self.body.chunks:
            pieces.append(data[position : position + size])
            position += size
        return pieces

    def waits_s(self) -> Iterator[float]:
        """Seconds to wait before each chunk at the recorded pace."""
        before_ms = _head_ms(self._event)
        for at_ms, _ in self.body.chunks:
            yield max(at_ms - before_ms, 0.0) / 1000
            before_ms = at_ms

    def last_wait_s(self) -> float:
        """Seconds to wait between the last chunk and the end."""
        body = self.body
        if body.end is BodyEnd.CANCELLED:
            return self.grace_s()
        if not self.timed or body.end_ms is None:
            return 0.0
        return max(body.end_ms - (body.chunks[-1][0] if body.chunks else _head_ms(self._event)), 0.0) / 1000

    def grace_s(self) -> float:
        """Seconds that the app gets to cancel or close its reading as it did in the recording."""
        return (self.body.end_ms or 0.0) / 1000 + CANCEL_GRACE_S

    def steps(self) -> Iterator[tuple[float, bytes]]:
        """Each chunk with the seconds to wait before it; a last wait comes with an empty one.

        Raises:
            Exception: What ended the body, after the last step, unless it was read to its end.
        """
        waits = self.waits_s() if self.timed else repeat(0.0)
        yield from zip(waits, self.chunks(), strict=False)
        yield self.last_wait_s(), b""
        error = self.end_error()
        if error is not None:
            raise error

    def end_error(self) -> BaseException | None:
        """What ends the body; None where it was read to its end."""
        body = self.body
        if body.end is BodyEnd.COMPLETE:
            return None
        if body.end is BodyEnd.FAILED and body.error is not None and self._site is not None:
            self._raised = rebuilt(self._site, self._event, self.session, body.error)
            return self._raised
        return self._beyond()

    def judged(self, error: Exception) -> Exception:
        """What the app gets for something that was raised while the body was given back: the recorded exception or a
        miss as it is, and a miss that says "a fault of ours" for all else.
        """
        if error is self._raised or isinstance(error, TimetracerError):
            return error
        faults.contain("http.answer", error)
        return refusal("http", self.session, error)

    def _beyond(self) -> ReplayMismatchError:
        how = {
            BodyEnd.CLOSED: "the app closed the stream there",
            BodyEnd.CANCELLED: "the reading task was cancelled there",
        }.get(self.body.end, "the recording ended there")
        return self.session.refuse(
            self._event, f"only the first {self.body.size_bytes or 0} bytes of its body were recorded: {how}"
        )


def _head_ms(event: DependencyEvent) -> float:
    reply: Any = event.result.reply
    return float(reply.get("head_ms", 0.0)) if isinstance(reply, dict) else 0.0
