"""What a replay gives of one call, and when: after as many steps of the app as in the recording.

Nothing here waits, and blocking and asyncio calls share it: `answer.py` waits in the way of each.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import Flow
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.grpc import internals
from timetracer_otel.libraries.grpc.call import CallSite, Recorded
from timetracer_otel.libraries.grpc.internals import GREETING, LIB, MESSAGE, STATUS, Operation, operation
from timetracer_otel.libraries.grpc.secrets import FOUND_BY
from timetracer_otel.libraries.grpc.wire import decoded, encoded
from timetracer_otel.libraries.kits.conversation.exchange import Said
from timetracer_otel.libraries.kits.conversation.pace import POLL_S, Pace
from timetracer_otel.session import ReplaySession

__all__ = ["Script"]

_SOON_S: Final = 0.001
_INTERNAL: Final = 13
"""The status that ends a call whose miss is raised elsewhere."""


class Script:
    """One call of a replay.

    Methods that give a `Flow` take the steps of `flow` where the call is looked up, or raise a miss.

    Args:
        site: The call.
        session: The replay.
        deadline: When the app wants it to end, in seconds since 1970; None for never.
    """

    def __init__(self, site: CallSite, session: ReplaySession, deadline: float | None) -> None:
        self.site = site
        self.session = session
        self.deadline = deadline
        self.instead: Any = None
        """The core's own call, where it is made for real: the replay had no answer, and adds new calls."""
        self.miss: ReplayMismatchError | None = None
        self._recorded: Recorded | None = None
        self._taken = 0
        self._over: tuple[int, Any, Any, Any] | None = None
        """How the call ended in this run, where it did not end as in the recording."""
        self._pace = Pace(session)

    def begun(self) -> Flow:
        """The call begins. Where the server spoke first in the recording, it is found now."""
        if self.site.streams:
            if self._is_recorded(lambda args: True):
                yield from self._find(0)
            else:
                self.site.begins_again = True
                yield from self._find(0, in_any_case=True)
                self.site.begins_again = False

    def sent(self, message: bytes | None) -> Flow:
        """The app sends a message."""
        exchange = self.site.exchange
        if not exchange.sends(message):
            return
        number = len(exchange.sent)
        if self._recorded is not None:
            self._compare(number - 1, exchange.sent[-1])
        elif self.site.streams and number == 1 and self.instead is None:
            yield from self._find(1)
            if self._recorded is None and not self._is_recorded(lambda args: FOUND_BY not in args):
                yield from self._find(1, in_any_case=True)

    def closed(self) -> Flow:
        """The app sends no more."""
        exchange = self.site.exchange
        exchange.closes()
        recorded = self._recorded
        if recorded is None and self.instead is None:
            yield from self._find(None, in_any_case=True)
        elif recorded is not None and len(exchange.sent) < len(recorded.sent) and not self._ended_by(exchange.sent):
            raise self.session.refuse(
                recorded.event, f"the app sent {len(recorded.sent)} messages then, and now {len(exchange.sent)}"
            )

    def _find(self, found_by: int | None, *, in_any_case: bool = False) -> Flow:
        site, session = self.site, self.session
        site.found_by = found_by
        call = site.redacted(session, anew=True)
        if in_any_case or session.upcoming(call) is not None:
            made = yield from flow(site, session)
            if isinstance(made, Recorded):
                self._recorded = made
                if site.answers_stream:
                    self._pace.stands_behind_calls_beside(made.event)
            else:
                self.instead = made

    def _is_recorded(self, fits: Any) -> bool:
        """Whether the recording has a call of this method that no call has taken yet."""
        call = self.site.call()
        return any(
            event.signature.lib == LIB
            and event.signature.method == call.method
            and event.call is not None
            and type(event.call.args) is dict
            and fits(event.call.args)
            and not self.session.is_taken(event)
            for event in self.session.events
        )

    def _compare(self, number: int, message: bytes) -> None:
        """Compare a message with the one that the app sent in the recording."""
        recorded = self._recorded
        assert recorded is not None
        if number < len(recorded.sent):
            then, now = (self.site.saying(tree) for tree in (recorded.sent[number], decoded(message)))
            if not self.session.says_the_same(recorded.event, then, now):
                raise self.session.refuse(recorded.event, f"message {number + 1} of the app is another one")
        elif not self._ended_by(recorded.sent):
            raise self.session.refuse(recorded.event, f"the app sent no message {number + 1} when it was recorded")

    def _ended_by(self, sent: Sequence[Any]) -> bool:
        """Whether the server had ended the call by so many messages, and before the app ended them."""
        end = self._recorded.end if self._recorded is not None else None
        return end is not None and end.after <= len(sent)

    def ready(self, kinds: Sequence[Any]) -> tuple[Operation, ...] | None:
        """These operations as they ended in the recording; None where one of them has not ended yet."""
        made = []
        taken = self._taken
        for kind in kinds:
            ended = self._operation(kind, taken)
            if ended is None:
                return None
            taken += ended.received is not None
            made.append(ended)
        if taken > self._taken and self._recorded is not None:
            self._pace.taken(self._recorded.messages[taken - 1].at_ms)
        self._taken = taken
        return tuple(made)

    def _operation(self, kind: Any, taken: int) -> Operation | None:
        if kind not in _ANSWERS:
            return operation(kind)
        if self._over is not None:
            return operation(kind, (), None, self._over)
        said = self._next(kind, taken)
        if said is None or not self._is_due(said) or (kind == MESSAGE and self._pace.is_held(said)):
            return None
        recorded = self._recorded
        assert recorded is not None
        what = self.session.as_now(said.what)
        if kind == GREETING:
            return operation(kind, greeting=internals.metadata_of(what) if said is recorded.greeting else ())
        if said is recorded.end:
            code, details, trailing, error = what
            return operation(
                kind, status=(code, details, None if trailing is None else internals.metadata_of(trailing), error)
            )
        # Messages are read before the status.
        return operation(kind, received=encoded(what)) if kind == MESSAGE else None

    def _next(self, kind: Any, taken: int) -> Said | None:
        """What an operation of a kind waits for; None where that was not recorded."""
        recorded = self._recorded
        if recorded is None:
            return None
        if kind == GREETING:
            return recorded.greeting or recorded.end
        return recorded.messages[taken] if taken < len(recorded.messages) else recorded.end

    def _is_due(self, said: Said) -> bool:
        return self.site.exchange.steps >= said.after and not self._pace.to_wait_s(said.at_ms)

    def wait_s(self, kinds: Sequence[Any]) -> float | None:
        """After how many seconds to look again at operations that have not ended; None for not before the next
        step.
        """
        waits = [] if self.deadline is None else [self.deadline - time.time()]
        recorded = self._recorded
        if recorded is not None:
            answers = [said for said in (self._next(kind, self._taken) for kind in kinds) if said is not None]
            times = [wait_s for wait_s in (self._pace.to_wait_s(said.at_ms) for said in answers) if wait_s]
            waits += times
            if not times and self.session.replay_timing and any(map(self._is_due, answers)):
                # Its time has come since it was looked at.
                waits.append(0.0)
            if self._pace.holds:
                waits.append(POLL_S)
            if MESSAGE in kinds and self._next(MESSAGE, self._taken) is None:
                waits.append(self._pace.until_s(recorded.until_ms) - time.perf_counter())
            if self._is_beyond(kinds) is not None:
                waits.append(0.0)
        return max(min(waits), _SOON_S) if waits else None

    def _is_beyond(self, kinds: Sequence[Any]) -> Said | None:
        """What cannot come any more: it stands behind more steps than the app has taken."""
        said = self._next(MESSAGE, self._taken) if MESSAGE in kinds else None
        exchange = self.site.exchange
        return said if said is not None and exchange.closed and exchange.steps < said.after else None

    def look(self, kinds: Sequence[Any]) -> None:
        """Look at operations that wait: the deadline may have passed, or nothing more can come."""
        recorded = self._recorded
        if self._over is not None:
            return
        if self.deadline is not None and time.time() >= self.deadline:
            self._over = internals.DEADLINE, "Deadline Exceeded", (), "Deadline Exceeded"
        elif recorded is not None and MESSAGE in kinds:
            beyond = self._is_beyond(kinds)
            if beyond is not None:
                raise self.session.refuse(
                    recorded.event,
                    f"the server answered after {beyond.after} steps of the app, which took "
                    f"{self.site.exchange.steps}",
                )
            until_s = self._pace.until_s(recorded.until_ms)
            if self._next(MESSAGE, self._taken) is None and time.perf_counter() >= until_s:
                raise self.session.refuse(
                    recorded.event, "the app cancelled it there when it was recorded, or the recording ended"
                )

    def ends(self, code: int, details: Any, trailing: Any = (), error: Any = None) -> None:
        """The app ends the call."""
        if self._over is None:
            self._over = code, details, trailing, error

    def fails(self, miss: ReplayMismatchError) -> None:
        """There is no answer: whoever waits is to look for the miss."""
        self.miss = self.miss or miss
        self.ends(_INTERNAL, "There is no answer in the replay.", error=str(miss))


_ANSWERS: Final = (GREETING, MESSAGE, STATUS)
