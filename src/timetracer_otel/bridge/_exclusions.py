"""Requests that OpenTelemetry's own variables leave out: ``OTEL_PYTHON_<FRAMEWORK>_EXCLUDED_URLS``."""

from __future__ import annotations

import re

from timetracer_otel import _faults
from timetracer_otel.bridge._requests import IncomingRequest
from timetracer_otel.config import excluded_urls

__all__ = ["ExcludedUrls"]


class ExcludedUrls:
    """The expressions by framework, each read when its first request comes in. Safe from any thread."""

    def __init__(self) -> None:
        self._by_framework: dict[str, re.Pattern[str] | None] = {}

    def leave_out(self, incoming: IncomingRequest) -> bool:
        """Whether a request is none that its framework's instrumentation would look at."""
        framework = incoming.framework
        if framework not in self._by_framework:
            self._by_framework[framework] = _expression(framework)
        expression = self._by_framework[framework]
        if expression is None:
            return False
        # The whole URL, as the instrumentations match it (`opentelemetry.util.http.ExcludeList`); with its query, as
        # only Flask's does.
        url = f"{incoming.scheme}://{incoming.header(b'host') or ''}{incoming.path}"
        if framework == "flask" and incoming.query:
            url = f"{url}?{incoming.query}"
        return expression.search(url) is not None


def _expression(framework: str) -> re.Pattern[str] | None:
    listed = excluded_urls(framework)
    try:
        return re.compile(listed) if listed else None
    except re.error as error:
        _faults.warn_once(
            f"excluded-urls:{framework}",
            f"the excluded URLs of {framework} (OTEL_PYTHON_{framework.upper()}_EXCLUDED_URLS, or "
            f"OTEL_PYTHON_EXCLUDED_URLS) are no regular expressions ({error}): all its requests are recorded.",
        )
        return None
