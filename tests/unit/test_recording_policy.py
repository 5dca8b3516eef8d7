"""The settings ``policy`` and ``budget``: what their texts mean, and which recordings a process keeps by them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from timetracer_otel import counters
from timetracer_otel.base import real_time
from timetracer_otel.base.recording_policy import Budget, Policy, budgets_of, policy_of
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import TraceMode
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.process.choice import Choice
from timetracer_otel.session import TraceSession
from timetracer_otel.types import RequestSnapshot, ResponseSnapshot


class _Clock:
    """The time by which budgets are filled again: the seam that a replay with a recorded clock uses, too."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> int:
        return int(self.now_s * 1e9)


@pytest.fixture
def clock() -> Iterator[_Clock]:
    made, before = _Clock(), real_time._read_ns
    real_time.read_from(made)
    yield made
    real_time.read_from(before)


class _Seen:
    """A request that has ended."""

    def __init__(self, route: str, took_ms: float) -> None:
        self.route_name = route
        self.duration_ms = took_ms

    def request(self) -> RequestSnapshot:
        return RequestSnapshot("GET", "/")

    def response(self) -> ResponseSnapshot:
        return ResponseSnapshot(200, duration_ms=self.duration_ms)

    def release(self) -> None:
        pass


def _choice(*, policy: str = "", budget: str = "") -> Choice:
    return Choice(TraceConfig(mode=TraceMode.RECORD, policy=policy, budget=budget), random.Random(1).random)


def _ended(choice: Choice, route: str = "GET /", *, took_ms: float = 1.0, failed: bool = False) -> str | None:
    """What a recording was kept as; None where it was not kept."""
    session = TraceSession()
    session.exchange = _Seen(route, took_ms)
    return session.kept_as if choice.keeps(session, failed) else None


def test_the_texts_mean() -> None:
    assert policy_of("") is policy_of(" , ") is None
    assert policy_of("errors") == Policy(errors=True)
    assert policy_of("Errors, slower: 500ms, share:1%") == Policy(True, 0.5, 0.01)
    assert policy_of("share:0.25,slower:2min") == Policy(False, 120.0, 0.25)
    assert budgets_of("") == {}
    sixty = Budget(60, 60.0)
    assert budgets_of("60/min") == {"": sixty, "errors": sixty, "slower": sixty}
    assert budgets_of("60/min, errors:5/s") == {"": sixty, "errors": Budget(5, 1.0), "slower": sixty}
    assert budgets_of("errors:5/h") == {"errors": Budget(5, 3600.0)}


@pytest.mark.parametrize(
    "text", ["error", "errors:1", "slower", "slower:5", "slower:-1s", "share:101%", "share:1.1", "errors,errors", "7"]
)
def test_another_policy_is_refused_with_what_is_allowed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"policy: .*errors, slower:<a time"):
        TraceConfig(policy=text)
    monkeypatch.setenv("TIMETRACER_POLICY", text)
    with pytest.raises(ConfigurationError, match=r"TIMETRACER_POLICY: .*errors, slower:<a time"):
        TraceConfig.from_env()


@pytest.mark.parametrize("text", ["60", "0/min", "60/day", "60/min,30/min", "share:1/s", "errors:", ":5/s"])
def test_another_budget_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"budget: .*a number per s, min or h"):
        TraceConfig(budget=text)


def test_failed_and_slow_requests_are_kept_and_a_share_of_the_rest() -> None:
    choice = _choice(policy="errors,slower:500ms,share:10%")
    before = counters().discarded_by_reason
    assert _ended(choice, failed=True) == "errors"
    assert _ended(choice, took_ms=501) == "slower"
    kept = Counter(_ended(choice, took_ms=500) for _ in range(2_000))
    assert set(kept) == {"share", None}
    assert 150 < kept["share"] < 250
    reason = "neither failed, nor slow, nor in the share"
    assert counters().discarded_by_reason[reason] - before.get(reason, 0) == kept[None]
    assert choice.begins()
    assert choice.keeps_calls_outside


def test_where_nothing_but_chance_decides_it_decides_before_anything_is_recorded() -> None:
    choice = _choice(policy="share:25%")
    before = counters().cassettes_discarded
    begun = sum(choice.begins() for _ in range(2_000))
    assert 400 < begun < 600
    assert counters().cassettes_discarded - before == 2_000 - begun
    assert all(_ended(choice) == "share" for _ in range(100))


def test_without_a_share_nothing_but_failed_and_slow_requests_is_kept() -> None:
    choice = _choice(policy="errors,slower:1s")
    assert not choice.keeps_calls_outside
    assert [_ended(choice), _ended(choice, failed=True), _ended(choice, took_ms=1_001)] == [None, "errors", "slower"]


def test_the_older_settings_narrow_the_policy() -> None:
    choice = Choice(TraceConfig(policy="slower:1s,share:100%", errors_only=True, sample_rate=0.0))
    assert not choice.begins()
    assert [_ended(choice, took_ms=2_000), _ended(choice, failed=True)] == [None, "errors"]


def test_a_busy_route_has_recordings_from_the_whole_minute_and_others_keep_all_of_theirs(clock: _Clock) -> None:
    choice = _choice(budget="60/min")
    busy: list[float] = []
    calm = 0
    began_s = clock.now_s
    for step in range(3 * 60 * 100):
        clock.now_s = began_s + step / 100
        if _ended(choice, "GET /busy") is not None:
            busy.append(clock.now_s - began_s)
        if step % 200 == 0:
            calm += _ended(choice, "GET /calm") is not None
    assert calm == 90
    by_minute = Counter(int(at // 60) for at in busy)
    assert all(54 <= by_minute[minute] <= 60 for minute in range(3))
    assert sum(at < 1 for at in busy) <= 7
    by_ten_seconds = Counter(int(at // 10) for at in busy)
    assert all(9 <= by_ten_seconds[number] <= 15 for number in range(18))
    # No minute has more than the budget, wherever it begins.
    assert max(sum(began <= at < began + 60 for at in busy) for began in busy) == 60


def test_the_share_falls_as_calls_rise(clock: _Clock) -> None:
    choice = _choice(budget="60/min")
    shares = []
    for per_s in (1, 10, 100):
        kept = 0
        for _ in range(120 * per_s):
            clock.now_s += 1 / per_s
            kept += _ended(choice) is not None
        shares.append(kept / (120 * per_s))
    assert shares[0] > 0.9
    assert shares[0] > 9 * shares[1] > 80 * shares[2] > 0


def test_failed_and_slow_requests_have_budgets_of_their_own(clock: _Clock) -> None:
    choice = _choice(policy="errors,slower:1s,share:100%", budget="10/min,errors:20/min")
    before = counters().discarded_by_reason
    kept: Counter[str | None] = Counter()
    for _ in range(600):
        clock.now_s += 0.1
        kept.update([_ended(choice), _ended(choice, failed=True), _ended(choice, took_ms=2_000)])
    assert {name: kept[name] for name in ("share", "errors", "slower")} == {"share": 10, "errors": 20, "slower": 10}
    now = counters().discarded_by_reason
    told = {reason: now[reason] - before.get(reason, 0) for reason in now if reason.startswith("over the budget")}
    assert told == {
        "over the budget of the route": 590,
        "over the budget of failed requests of the route": 580,
        "over the budget of slow requests of the route": 590,
    }


def test_a_clock_that_is_set_back_gives_nothing(clock: _Clock) -> None:
    choice = _choice(budget="1/min")
    assert _ended(choice) is not None
    clock.now_s -= 3_600
    assert _ended(choice) is None
    clock.now_s += 59
    assert _ended(choice) is None
    clock.now_s += 1
    assert _ended(choice) is not None


def test_names_without_end_for_routes_take_bounded_memory(clock: _Clock) -> None:
    choice = _choice(budget="1/h")
    kept = sum(_ended(choice, f"GET /{number}") is not None for number in range(3_000))
    assert kept == 1_001
    assert len(choice._buckets) == 1_001
