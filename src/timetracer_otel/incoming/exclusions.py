"""Requests that OpenTelemetry's own variables leave out of tracing: they are not recorded either."""

from __future__ import annotations

from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.incoming.scope import IncomingRequest

__all__ = ["is_excluded"]


def is_excluded(incoming: IncomingRequest, excluded: ExcludedUrls) -> bool:
    """Whether the variables (``OTEL_PYTHON_FLASK_EXCLUDED_URLS``, say) leave a request out for its framework."""
    expression = excluded.of(incoming.framework)
    if expression is None:
        return False
    # The instrumentations search the whole URL (`opentelemetry.util.http.ExcludeList`), that of Flask with its query.
    url = f"{incoming.scheme}://{incoming.header(b'host') or ''}{incoming.path}"
    if incoming.framework == "flask" and incoming.query:
        url = f"{url}?{incoming.query}"
    return expression.search(url) is not None
