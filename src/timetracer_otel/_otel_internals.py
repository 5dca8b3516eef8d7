"""What OpenTelemetry keeps to itself and we need at every call. Imports nothing of ours."""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

__all__ = ["instrumentation_suppressed"]

_PLAIN_KEY = "suppress_instrumentation"
"""The key's name in older releases, which instrumentations still honour."""


def instrumentation_suppressed() -> bool:
    """Whether the caller asked not to be instrumented (exporters do, around their own requests).

    The same answer as `opentelemetry.instrumentation.utils.is_instrumentation_enabled`, turned round, in half the
    time. The key for HTTP alone is left out on purpose: the requests instrumentor sets it around its inner call.
    """
    current = otel_context.get_current()
    return bool(current.get(_SUPPRESS_INSTRUMENTATION_KEY) or current.get(_PLAIN_KEY))
