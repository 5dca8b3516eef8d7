"""Requests that OpenTelemetry's own variables leave out of tracing, which are not recorded either."""

from __future__ import annotations

from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.incoming.scope import IncomingRequest

__all__ = ["is_excluded"]


def is_excluded(incoming: IncomingRequest, excluded: ExcludedUrls) -> bool:
    """Whether a request is none that its framework's instrumentation would look at."""
    expression = excluded.of(incoming.framework)
    if expression is None:
        return False
    # The whole URL, as the instrumentations match it (`opentelemetry.util.http.ExcludeList`); with its query, as only
    # Flask's does.
    url = f"{incoming.scheme}://{incoming.header(b'host') or ''}{incoming.path}"
    if incoming.framework == "flask" and incoming.query:
        url = f"{url}?{incoming.query}"
    return expression.search(url) is not None
