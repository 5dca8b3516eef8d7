"""Private names of OpenTelemetry's API that we need at every call. Imports nothing of ours.

The public functions give the same, but slower: each goes through one to three functions in Python, and a recorded
call asks several times. Where a release of OpenTelemetry has renamed the private names, the public functions are
used. That is decided once, when this module is imported. Private names of the SDK's spans are in `otel.spans`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

__all__ = [
    "OWN_KEYS",
    "SPAN_ABOVE_KEY",
    "SPAN_KEY",
    "SUPPRESSED",
    "UPKEEP_KEY",
    "current_context",
    "has_real_provider",
    "instrumentation_suppressed",
    "span_around",
]

(SPAN_KEY,) = set_span_in_context(INVALID_SPAN, Context())
"""The key of the current span in a context. It is read from a context that holds nothing but a span."""

OWN_KEYS = "timetracer-otel-"
"""What the keys begin with under which we keep anything in a context."""

SPAN_ABOVE_KEY = otel_context.create_key("timetracer-otel-span-above")
"""Stands in the context of a thread that code of a session has started: the span that was current there.

OpenTelemetry gives a new thread no span, so what begins in it is the root of a trace. That must be the same while the
app is recorded. But the spans around a call tell equal calls apart, and they tell which session the call belongs to.
So this key holds the span for us alone."""

UPKEEP_KEY = otel_context.create_key("timetracer-otel-upkeep")
"""Stands in a context while a library looks after its connections by itself, as a pool does that asks whether one is
still alive, or rolls back one that comes back. A client span that begins then is no call of the app's, and no replay
needs its answer."""


def _suppression_keys() -> frozenset[str]:
    key = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    if key is not None:
        return frozenset({key, "suppress_instrumentation"})
    # Imported only where the private name is missing: this module imports more than all of the API does.
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    token = otel_context.attach(Context())
    try:
        with suppress_instrumentation():
            return frozenset(otel_context.get_current())
    finally:
        otel_context.detach(token)


SUPPRESSED: frozenset[str] = _suppression_keys()
"""The keys of a context that say that instrumentation is suppressed: the present one, and the one of older releases,
which instrumentations still honour."""


def _current_context() -> Callable[[], Context]:
    runtime = getattr(otel_context, "_RUNTIME_CONTEXT", None)
    # OTEL_PYTHON_CONTEXT may name another class, which need not keep its context in a `ContextVar`.
    if type(runtime) is ContextVarsRuntimeContext:
        variable = getattr(runtime, "_current_context", None)
        if isinstance(variable, ContextVar):
            return variable.get
    return otel_context.get_current


current_context: Callable[[], Context] = _current_context()
"""The same as `opentelemetry.context.get_current`."""


def span_around(context: Context) -> Span | None:
    """The span of a context, or else the one that was current where its thread was started (`SPAN_ABOVE_KEY`)."""
    span = context.get(SPAN_KEY)
    return context.get(SPAN_ABOVE_KEY) if span is None else span  # type: ignore[return-value]


def instrumentation_suppressed() -> bool:
    """Whether the caller asked not to be instrumented. Exporters ask so, around their own requests.

    The opposite of `opentelemetry.instrumentation.utils.is_instrumentation_enabled`. The key that suppresses only
    HTTP is left out on purpose: the requests instrumentor sets it around every call, so that urllib3's makes no
    second span.
    """
    current = current_context()
    return not SUPPRESSED.isdisjoint(current) and any(map(current.get, SUPPRESSED))


def has_real_provider() -> bool:
    """Whether the app set up a tracer provider that makes spans."""
    # Not by class: vendors wrap the SDK's provider in a class of their own.
    return hasattr(trace.get_tracer_provider(), "add_span_processor")
