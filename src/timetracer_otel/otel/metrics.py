"""The counters of the process as OpenTelemetry metrics. Only the metrics API is used, so no SDK is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from timetracer_otel.base.counters import Counters, counters

__all__ = ["REASON", "WHERE", "offer", "offer_shipping"]

REASON = "timetracer.reason"
"""The attribute that says why something was dropped; its values are a few constant texts."""
WHERE = "timetracer.where"
"""The attribute that says in which place of the recorder a fault happened."""


def _number(read: Callable[[Counters], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(read(counters()))]


def _numbers_by(
    attribute: str, read: Callable[[Counters], Mapping[str, int]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(number, {attribute: key}) for key, number in read(counters()).items()]


@lru_cache(maxsize=1)
def offer() -> None:
    """Make the instruments, once. A meter provider that the app sets later gets them too.

    Names and units follow the general metric conventions of OpenTelemetry
    (https://opentelemetry.io/docs/specs/semconv/general/metrics/).
    """
    meter = get_meter("timetracer_otel")
    meter.create_observable_up_down_counter(
        "timetracer.sessions.open",
        [_number(lambda now: now.sessions_open)],
        "{session}",
        "Requests that are being recorded, or wait for being written.",
    )
    meter.create_observable_counter(
        "timetracer.cassettes.written",
        [_number(lambda now: now.cassettes_written)],
        "{cassette}",
        "Finished cassettes on disk.",
    )
    meter.create_observable_counter(
        "timetracer.cassettes.cut",
        [_number(lambda now: now.cassettes_cut)],
        "{cassette}",
        "Requests that were under way when the process ended: what had ended of them is on disk.",
    )
    meter.create_observable_counter(
        "timetracer.cassettes.discarded",
        [_numbers_by(REASON, lambda now: now.discarded_by_reason)],
        "{cassette}",
        "Requests that the settings leave without a cassette.",
    )
    meter.create_observable_counter(
        "timetracer.cassettes.dropped",
        [_numbers_by(REASON, lambda now: now.cassettes_dropped)],
        "{cassette}",
        "Recordings lost as a whole.",
    )
    meter.create_observable_counter(
        "timetracer.events.dropped",
        [_numbers_by(REASON, lambda now: now.events_dropped)],
        "{event}",
        "Calls, bodies and the like that a cassette lacks.",
    )
    meter.create_observable_counter(
        "timetracer.calls.late",
        [_number(lambda now: now.calls_late)],
        "{call}",
        "Calls that began after the end of their request and stand in its cassette all the same.",
    )
    meter.create_observable_counter(
        "timetracer.faults",
        [_numbers_by(WHERE, lambda now: now.faults)],
        "{fault}",
        "Contained faults of the recorder.",
    )


@lru_cache(maxsize=1)
def offer_shipping() -> None:
    """Make the instruments of a process that ships what it records, as `offer` does."""
    meter = get_meter("timetracer_otel")
    meter.create_observable_counter(
        "timetracer.cassettes.shipped",
        [_number(lambda now: now.cassettes_shipped)],
        "{cassette}",
        "Cassettes in object storage, and no longer in the folder.",
    )
    meter.create_observable_counter(
        "timetracer.shipping.io",
        [_number(lambda now: now.shipped_bytes)],
        "By",
        "Packs in object storage, without their indexes.",
    )
    meter.create_observable_counter(
        "timetracer.shipping.failures",
        [_number(lambda now: now.shipping_failures)],
        "{pass}",
        "Passes of shipping that ended before their end.",
    )
    meter.create_observable_up_down_counter(
        "timetracer.cassettes.waiting",
        [_number(lambda now: now.cassettes_waiting)],
        "{cassette}",
        "Cassettes that the last pass of shipping has left in the folder.",
    )
    meter.create_observable_up_down_counter(
        "timetracer.spool.usage",
        [_number(lambda now: now.waiting_bytes)],
        "By",
        "What the waiting cassettes take in the folder.",
    )
