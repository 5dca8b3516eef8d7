"""Spans of the instrumentors that we switch on, whose ids cost the app nothing.

OpenTelemetry draws the ids of spans from Python's global `random`. Where we switch an instrumentor on that the app
did not have, its spans would change what an app with a seed draws from there. So those spans get ids from a source of
our own. An id generator that the app has chosen is kept: its ids may have a form that a backend asks for (AWS X-Ray).
"""

from __future__ import annotations

import copy
import sys
from typing import Any

from opentelemetry import trace

from timetracer_otel.base.chance import chance

__all__ = ["OwnSpans"]


class _OwnIds:
    """Ids as OpenTelemetry's `RandomIdGenerator` makes them, drawn from our own source.

    Args:
        theirs: The generator whose place this one takes. It answers all else.
    """

    def __init__(self, theirs: Any) -> None:
        self._theirs = theirs

    def generate_span_id(self) -> int:
        """64 random bits, not all of them 0."""
        return chance.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """128 random bits, not all of them 0."""
        return chance.getrandbits(128) or 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._theirs, name)


class OwnSpans(trace.TracerProvider):
    """The app's tracer provider, for an instrumentor that we switch on. Safe from any thread.

    Args:
        provider: The app's.
    """

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._provider = provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """The app's tracer, or a copy of it that differs in its ids alone."""
        tracer = self._provider.get_tracer(*args, **kwargs)
        generator: Any = getattr(tracer, "id_generator", None)
        module = sys.modules.get("opentelemetry.sdk.trace.id_generator")
        if module is None or type(generator) is not module.RandomIdGenerator:
            return tracer
        # A copy: the provider keeps one tracer for each library, and the app may use it later.
        made: Any = copy.copy(tracer)
        made.id_generator = _OwnIds(generator)
        return made  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)
