"""What OpenTelemetry's API keeps to itself and we need at every call. Imports nothing of ours.

Its public functions say the same, each through one to three functions written in Python, and a call that is recorded
asks several times. A release of OpenTelemetry may rename what is private: then the public functions are used. That is
decided once, when this module is imported. What the SDK's spans keep to themselves is in `otel.spans`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

__all__ = [
    "SPAN_KEY",
    "SUPPRESSED",
    "current_context",
    "has_real_provider",
    "instrumentation_suppressed",
]

(SPAN_KEY,) = set_span_in_context(INVALID_SPAN, Context())
"""Where a context has its span: the one key of a context that holds nothing but a span."""


def _suppression_keys() -> frozenset[str]:
    key = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    if key is not None:
        return frozenset({key, "suppress_instrumentation"})
    # Not imported where the name is there: it imports more than all of the API does.
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    token = otel_context.attach(Context())
    try:
        with suppress_instrumentation():
            return frozenset(otel_context.get_current())
    finally:
        otel_context.detach(token)


SUPPRESSED: frozenset[str] = _suppression_keys()
"""The key that says it, and its name in older releases, which instrumentations still honour."""


def _current_context() -> Callable[[], Context]:
    runtime = getattr(otel_context, "_RUNTIME_CONTEXT", None)
    # OTEL_PYTHON_CONTEXT may name another runtime, which keeps its context in its own way.
    if type(runtime) is ContextVarsRuntimeContext:
        variable = getattr(runtime, "_current_context", None)
        if isinstance(variable, ContextVar):
            return variable.get
    return otel_context.get_current


current_context: Callable[[], Context] = _current_context()
"""The same as `opentelemetry.context.get_current`."""


def instrumentation_suppressed() -> bool:
    """Whether the caller asked not to be instrumented (exporters do, around their own requests).

    The same answer as `opentelemetry.instrumentation.utils.is_instrumentation_enabled`, turned round. The key for
    HTTP alone is left out on purpose: the requests instrumentor sets it around its inner call.
    """
    current = current_context()
    return not SUPPRESSED.isdisjoint(current) and any(map(current.get, SUPPRESSED))


def has_real_provider() -> bool:
    """Whether somebody set up a tracer provider that makes spans."""
    # Vendors wrap the SDK's class, so what counts is what it can do.
    return hasattr(trace.get_tracer_provider(), "add_span_processor")
