"""A recorded answer as urllib3's response, over one of `http.client`.

Both read the recorded bytes as they read those of a server, so decoding and reading by parts are real.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from typing import Any

from timetracer_otel.exceptions import CassetteError
from timetracer_otel.libraries.kits.http.bodies import RecordedBody
from timetracer_otel.libraries.kits.http1.file_bodies import wire_pieces
from timetracer_otel.libraries.kits.http1.recorded_connections import RecordedConnection, head_of
from timetracer_otel.libraries.kits.urllib3.responses import RETRY_COUNTS
from timetracer_otel.types import RecordedError

__all__ = ["recorded_http_response", "recorded_retries", "urllib3_response"]


def recorded_http_response(
    method: str, status: int, headers: Any, reply: dict[str, Any], recorded: RecordedBody
) -> http.client.HTTPResponse:
    """The response of `http.client`, whose head was read.

    Args:
        method: Of the request.
        status: Of the response.
        headers: Its exact lines.
        reply: What `response_facts` gave.
        recorded: The body.

    Raises:
        CassetteError: The recorded head is none.
    """
    chunked = False

    def pieces() -> Iterator[bytes]:
        yield head_of(status, headers, reply)
        yield from wire_pieces(recorded, reply, chunked)

    original = http.client.HTTPResponse(RecordedConnection(pieces(), recorded.judged), method=method)  # type: ignore[arg-type]
    try:
        original.begin()
    except http.client.HTTPException as error:
        raise CassetteError(f"the recorded head is none: {error!r}") from error
    chunked = bool(original.chunked)
    return original


def urllib3_response(
    original: http.client.HTTPResponse, method: str, target: str, reply: dict[str, Any], **options: Any
) -> Any:
    """A urllib3 response that reads from one of `http.client`.

    Args:
        original: That response.
        method: Of the request.
        target: What stood behind the method on the wire.
        reply: What `response_facts` gave.
        options: More for urllib3's class.
    """
    from urllib3._collections import HTTPHeaderDict
    from urllib3.response import HTTPResponse

    if "version_string" in reply and hasattr(HTTPResponse, "shutdown"):
        options["version_string"] = reply["version_string"]
    return HTTPResponse(
        body=original,
        headers=HTTPHeaderDict(original.msg.items()),
        status=original.status,
        version=original.version,
        reason=original.reason,
        original_response=original,
        request_method=method,
        request_url=target if reply.get("has_target") else None,
        **options,
    )


def recorded_retries(
    recorded: dict[str, Any] | None, rule: Any, target: str, rebuilt: Callable[[RecordedError], BaseException]
) -> Any:
    """What is left of a rule of retries behind a call that urllib3 tried again by itself.

    Args:
        recorded: What `response_facts` gave of it; None where it was not tried again.
        rule: That of the call; None for urllib3's own.
        target: As for `urllib3_response`.
        rebuilt: Makes an error of a recorded one.
    """
    if recorded is None:
        return rule
    from urllib3.util.retry import RequestHistory, Retry

    history = tuple(
        RequestHistory(
            method,
            target,
            rebuilt(error) if error is not None else None,  # type: ignore[arg-type]
            status,
            location,
        )
        for method, error, status, location in recorded["history"]
    )
    make: Any = rule.new if rule is not None else Retry
    return make(**{name: recorded.get(name) for name in RETRY_COUNTS}, history=history)
