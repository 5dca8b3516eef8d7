"""Which requests are recorded, and which of the recordings are kept: a share, failed ones, slow ones, and budgets."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Final

from timetracer_otel.base import counters, real_time
from timetracer_otel.base.chance import chance
from timetracer_otel.base.recording_policy import ERRORS, OTHERS, SLOWER, Budget, budgets_of, policy_of
from timetracer_otel.config import TraceConfig
from timetracer_otel.session import TraceSession

__all__ = ["Choice"]

NOT_CHOSEN: Final = "not in the share"
NOT_FAILED: Final = "did not fail"
NOT_ASKED_FOR: Final = "neither failed, nor slow, nor in the share"
_OVER: Final = {
    ERRORS: "over the budget of failed requests of the route",
    SLOWER: "over the budget of slow requests of the route",
    OTHERS: "over the budget of the route",
}
_MOST_ROUTES: Final = 1_000
"""Routes that have a budget of their own. All others share one: where a framework gives a path for a route, no
memory is taken for each of them."""


class Choice:
    """Decides for one process. Safe from any thread.

    Args:
        config: The settings `sample_rate`, `errors_only`, `policy` and `budget`. The first three narrow each other: a
            recording is kept where all of them let it.
        draw: Gives a random number from 0 to below 1.
    """

    def __init__(self, config: TraceConfig, draw: Callable[[], float] = chance.random) -> None:
        self._config = config
        self._draw = draw
        self._policy = policy_of(config.policy)
        self._budgets = budgets_of(config.budget)
        # Where nothing but chance decides, it decides before anything is recorded.
        policy = self._policy
        self._share_at_begin = (
            policy.share if policy is not None and not policy.errors and policy.slower_s == math.inf else 1.0
        )
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._lock = threading.RLock()

    @property
    def keeps_calls_outside(self) -> bool:
        """Whether calls outside any request are recorded: not where nothing but failed and slow requests is kept."""
        policy = self._policy
        return not self._config.errors_only and (policy is None or policy.share > 0)

    def begins(self) -> bool:
        """Whether a request that begins now is recorded. One that is not is counted."""
        if self._config.should_sample() and self._is_drawn(self._share_at_begin):
            return True
        counters.cassette_discarded(NOT_CHOSEN)
        return False

    def keeps(self, session: TraceSession, has_failed: bool) -> bool:
        """Whether the recording of a request that has ended is kept. One that is not is counted."""
        if self._config.errors_only and not has_failed:
            reason = NOT_FAILED
        elif self._policy is None and not self._budgets:
            return True
        else:
            reason = self._why_not(session, has_failed)
        if reason:
            counters.cassette_discarded(reason)
        return not reason

    def _why_not(self, session: TraceSession, has_failed: bool) -> str:
        policy, seen = self._policy, session.exchange or session.origin
        kind = ERRORS if has_failed else OTHERS
        if policy is not None:
            took_ms = seen.duration_ms if seen is not None else session.elapsed_ms
            if not has_failed and took_ms > policy.slower_s * 1000:
                kind = SLOWER
            asked_for = kind == SLOWER or (has_failed and policy.errors)
            # A share that was drawn at the beginning is not drawn twice.
            share = policy.share if self._share_at_begin == 1.0 else 1.0
            if not asked_for and not self._is_drawn(share):
                return NOT_ASKED_FOR
        budget = self._budgets.get(kind)
        if budget is None or self._take(kind, seen.route_name if seen is not None else "", budget):
            session.kept_as = kind or ("share" if policy is not None else "")
            return ""
        return _OVER[kind]

    def _is_drawn(self, share: float) -> bool:
        return share >= 1.0 or self._draw() < share

    def _take(self, kind: str, route: str, budget: Budget) -> bool:
        with self._lock:
            bucket = self._buckets.get((kind, route))
            if bucket is None:
                if len(self._buckets) >= _MOST_ROUTES:
                    route = "any other"
                bucket = self._buckets.setdefault((kind, route), _Bucket(budget))
            return bucket.take(real_time.time_s())


class _Bucket:
    """A token bucket: a tenth of the budget may be taken at once, the rest comes evenly over the time.

    So a route that is called more often than its budget has recordings from the whole minute, and not from its first
    second; the more calls there are, the smaller is the share of them that is kept. Never more than the budget is
    taken within any such time, wherever it begins.
    """

    __slots__ = ("_at_once", "_at_s", "_per_s", "_there")

    def __init__(self, budget: Budget) -> None:
        self._at_once = max(1, budget.number // 10)
        # What is there at first and what comes until just before the end of the time make up the number.
        self._per_s = (budget.number - self._at_once + 1) / budget.period_s
        self._there = float(self._at_once)
        self._at_s = -math.inf

    def take(self, now_s: float) -> bool:
        """Take one, where one is there."""
        # A clock that is set back gives nothing, and takes nothing away.
        passed_s = max(0.0, now_s - self._at_s)
        self._at_s = now_s
        self._there = min(self._at_once, self._there + passed_s * self._per_s)
        if self._there < 1.0 - _ROUNDING:
            return False
        self._there -= 1.0
        return True


_ROUNDING: Final = 1e-9
