"""What OpenTelemetry's API keeps to itself and we need at every call. Imports nothing of ours.

Its public functions say the same, each through one to three functions written in Python, and a call that is recorded
asks several times. What the SDK's spans keep to themselves is in `bridge._live_spans`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from opentelemetry import context as otel_context
from opentelemetry.context import _RUNTIME_CONTEXT, _SUPPRESS_INSTRUMENTATION_KEY, Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace.propagation import _SPAN_KEY

__all__ = [
    "SPAN_KEY",
    "SUPPRESSED",
    "current_context",
    "instrumentation_suppressed",
]

SPAN_KEY: str = _SPAN_KEY
"""Where a context has its span."""
SUPPRESSED: frozenset[str] = frozenset({_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation"})
"""The key that says it, and its name in older releases, which instrumentations still honour."""


def _current_context() -> Callable[[], Context]:
    # OTEL_PYTHON_CONTEXT may name another runtime, which keeps its context in its own way.
    if type(_RUNTIME_CONTEXT) is ContextVarsRuntimeContext:
        variable = getattr(_RUNTIME_CONTEXT, "_current_context", None)
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
