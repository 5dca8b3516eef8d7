"""What OpenTelemetry keeps to itself and we need at every call. Imports nothing of ours.

The functions of its API say the same, each through one to three functions and properties written in Python. A call
that is recorded asks about a dozen times.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from operator import attrgetter, itemgetter
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _RUNTIME_CONTEXT, _SUPPRESS_INSTRUMENTATION_KEY, Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace.propagation import _SPAN_KEY

__all__ = [
    "SPAN_KEY",
    "SUPPRESSED",
    "current_context",
    "id_in",
    "instrumentation_suppressed",
    "is_remote",
    "kind_of",
    "name_of",
    "parent_of",
    "span_context_of",
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

span_context_of: Callable[[Any], trace.SpanContext] = attrgetter("_context")
"""The same as ``span.get_span_context()``, for spans of the SDK and those of the API itself; others raise
AttributeError."""
parent_of: Callable[[Any], trace.SpanContext | None] = attrgetter("_parent")
"""The same as ``span.parent``, for spans of the SDK."""
name_of: Callable[[Any], str] = attrgetter("_name")
"""The same as ``span.name``, for spans of the SDK."""
kind_of: Callable[[Any], trace.SpanKind] = attrgetter("_kind")
"""The same as ``span.kind``, for spans of the SDK."""
id_in: Callable[[trace.SpanContext], int] = itemgetter(1)
"""The same as ``context.span_id``: a span context is a tuple."""
is_remote: Callable[[trace.SpanContext], bool] = itemgetter(2)
"""The same as ``context.is_remote``."""


def instrumentation_suppressed() -> bool:
    """Whether the caller asked not to be instrumented (exporters do, around their own requests).

    The same answer as `opentelemetry.instrumentation.utils.is_instrumentation_enabled`, turned round. The key for
    HTTP alone is left out on purpose: the requests instrumentor sets it around its inner call.
    """
    current = current_context()
    return not SUPPRESSED.isdisjoint(current) and any(map(current.get, SUPPRESSED))
