"""What urllib3 and http.client do not promise in their manuals, and we rely upon.

Seen in urllib3 1.26 and 2.0 to 2.8, Python 3.10 to 3.14: the ``_original_response`` of a urllib3 response is the
`http.client` response that reads from the file ``fp``.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any, NamedTuple

from timetracer_otel.libraries.kits.http.bodies import BodyLimits
from timetracer_otel.libraries.kits.http1.file_bodies import TeedFile, WireTap
from timetracer_otel.types import RecordedError

__all__ = [
    "RETRY_COUNTS",
    "ResponseFacts",
    "http_response_of",
    "is_teed",
    "response_facts",
    "source_of",
    "tee",
]

RETRY_COUNTS = ("total", "connect", "read", "redirect", "status", "other")
"""The counts of a urllib3 ``Retry``: how many retries of each kind are left."""


def http_response_of(raw: Any) -> http.client.HTTPResponse | None:
    """The `http.client` response beneath an answer's ``raw``, or that itself; None where it came in another way.

    vcrpy's is a subclass of it that was never made as one, and stands for urllib3's response as well: both must have
    what is read of them here.
    """
    if type(raw) is http.client.HTTPResponse:
        return raw
    found = getattr(raw, "_original_response", None)
    if type(found) is http.client.HTTPResponse:
        return found if hasattr(raw, "_request_url") else None
    is_one = isinstance(found, http.client.HTTPResponse) and hasattr(found, "_method")
    return found if is_one and hasattr(raw, "_request_url") else None


def source_of(raw: Any) -> str:
    """What an answer's body comes from, in words, where that is no response of `http.client`."""
    return type(getattr(raw, "_original_response", None) or raw).__qualname__


def tee(
    raw: Any, original: http.client.HTTPResponse, limits: BodyLimits, on_end: Callable[[], None] | None
) -> WireTap | None:
    """Note a response body as it is read.

    Args:
        raw: The urllib3 response.
        original: What it reads from.
        limits: What lies beyond is counted, not kept.
        on_end: Called once, when the body has ended; maybe at once.

    Returns:
        What notes it; None where somebody has read from it already.
    """
    state: Any = original
    if state._method == "HEAD":
        return WireTap(limits, on_end, chunked=False, length=0)
    file = state.fp
    if file is None or type(file) is TeedFile or getattr(raw, "_fp_bytes_read", False):
        return None
    tap = WireTap(limits, on_end, state.chunked, state.length)
    if tap.end is None:
        state.fp = TeedFile(file, tap)
    return tap


def is_teed(original: http.client.HTTPResponse) -> bool:
    """Whether `tee` notes what is read of this response."""
    return isinstance(original.fp, TeedFile)


class ResponseFacts(NamedTuple):
    """What a replay needs of a response besides its status, headers and body."""

    version: int
    reason: str
    version_string: str | None
    enforce_content_length: bool | None
    has_target: bool
    retries: dict[str, Any] | None

    def as_reply(self) -> dict[str, Any]:
        """These facts by name, without those that a release does not have."""
        facts = dict(zip(self._fields, self, strict=True))
        for name in ("version_string", "enforce_content_length", "retries"):
            if facts[name] is None:
                del facts[name]
        return facts


def response_facts(
    raw: Any, original: http.client.HTTPResponse, rule: Any, recorded_error: Callable[[BaseException], RecordedError]
) -> tuple[Any, ...]:
    """Take the facts of a response that `ResponseFacts` names. A plain tuple, since each recorded call has one.

    Args:
        raw: The urllib3 response.
        original: What it reads from.
        rule: The rule of retries of its call.
        recorded_error: Makes a value of an error.
    """
    retries = getattr(raw, "retries", None)
    tried = None
    if retries is not None and retries is not rule:
        tried = {name: getattr(retries, name, None) for name in RETRY_COUNTS}
        tried["history"] = [
            [step.method, step.error and recorded_error(step.error), step.status, step.redirect_location]
            for step in retries.history
        ]
    return (
        original.version,
        original.reason,
        getattr(raw, "version_string", None),
        getattr(raw, "enforce_content_length", None),
        # Targets hold what is secret in a query, and the replayed request has them again.
        getattr(raw, "_request_url", None) is not None,
        tried,
    )
