"""Attaching our span processor to the user's tracer provider, also where the user sets it later."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from timetracer_otel.base import faults

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

__all__ = ["attach", "attach_to_future_providers"]

_asked: dict[int, Callable[[], Any]] = {}
"""The providers that were asked to take the processor, by `id`: a vendor's provider may not be hashable."""


def attach(processor: Callable[[], SpanProcessor], provider: Any = None) -> None:
    """Add the processor to a provider, once; do nothing where that provider makes no spans.

    A provider that raises is not asked again: calls are then recorded without the spans that it makes.

    Args:
        processor: Gives the processor; called only when there is a provider that takes one.
        provider: The provider; without it, the global one.
    """
    provider = trace.get_tracer_provider() if provider is None else provider
    if not hasattr(provider, "add_span_processor"):
        return
    known = _asked.get(id(provider))
    if known is None or known() is not provider:
        _asked[id(provider)] = _reference(provider)
        try:
            provider.add_span_processor(processor())
        except Exception as error:
            faults.warn_once(
                "provider",
                f"{type(provider).__module__}.{type(provider).__qualname__} takes no span processor "
                f"({type(error).__name__}: {error}): calls are recorded, what its spans say of them is not.",
            )


def _reference(provider: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(provider)
    except TypeError:
        # A class with `__slots__` allows no weak reference. Then the provider is kept: a global one stays as a rule.
        return lambda: provider


def attach_to_future_providers(processor: Callable[[], SpanProcessor]) -> None:
    """Attach the processor to a provider that is set later, too.

    The API tells nobody when a provider is set, so `opentelemetry.trace.set_tracer_provider` is replaced. A module
    that imported that function before has the old one. Then the processor is attached at the first call that is made
    in a span which the processor has not seen (see `LiveSpans`).
    """
    original: Callable[[Any], None] = trace.set_tracer_provider
    if getattr(original, "_timetracer_otel", False):
        return

    def set_tracer_provider(tracer_provider: Any) -> None:
        original(tracer_provider)
        try:
            attach(processor)
        except Exception as error:
            faults.contain("provider.attach", error)

    set_tracer_provider.__doc__ = original.__doc__
    set_tracer_provider._timetracer_otel = True  # type: ignore[attr-defined]
    trace.set_tracer_provider = set_tracer_provider
