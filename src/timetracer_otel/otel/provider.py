"""Attaching our processor to the provider that the user has, whenever they get it."""

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
"""The providers that were asked to take the processor, by identity: a vendor's may have no hash."""


def attach(processor: Callable[[], SpanProcessor]) -> None:
    """Add the processor to the global provider, once; nothing where that makes no spans.

    One that refuses is left alone from then on: calls are recorded without the spans that it makes.

    Args:
        processor: Gives the processor, when there is a provider that takes it.
    """
    provider: Any = trace.get_tracer_provider()
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
        # Its slots leave no room for one. Whatever was set as the global provider stays for good, as a rule.
        return lambda: provider


def attach_to_future_providers(processor: Callable[[], SpanProcessor]) -> None:
    """Attach to a provider that is set up later as well.

    There is no event for it in the API, so the function that sets it is wrapped. Where a module took hold of that
    function before, the first call made under an unknown span attaches instead (see the runtime).
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
