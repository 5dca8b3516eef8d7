"""How a recorded event becomes a response: requests' own, over urllib3's, over one of `http.client`.

All three read the recorded bytes as they read those of a server, so decoding, ``raw`` and ``iter_content`` are real.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from timetracer_otel.calls.guarded_objects import guarded_method
from timetracer_otel.libraries.kits.http.bodies import RecordedBody
from timetracer_otel.libraries.kits.urllib3.answer import recorded_http_response, recorded_retries, urllib3_response
from timetracer_otel.types import RecordedError

__all__ = ["build_response", "replayed_raw", "set_elapsed"]


def replayed_raw(
    method: str,
    target: str,
    status: int,
    headers: Any,
    reply: dict[str, Any],
    recorded: RecordedBody,
    retries: Any,
    rebuilt: Callable[[RecordedError], BaseException],
) -> Any:
    """A urllib3 response as an adapter gets it: nothing is read of it yet.

    Args:
        method: Of the request.
        target: What stood behind the method on the wire.
        status: Of the response.
        headers: Its exact lines.
        reply: What `response_facts` gave.
        recorded: The body.
        retries: The adapter's retry rule.
        rebuilt: Makes an error of a recorded one.

    Raises:
        CassetteError: The recorded head is none.
    """
    return urllib3_response(
        recorded_http_response(method, status, headers, reply, recorded),
        method,
        target,
        reply,
        preload_content=False,
        decode_content=False,
        retries=recorded_retries(reply.get("retries"), retries, target, rebuilt),
        enforce_content_length=bool(reply.get("enforce_content_length", True)),
    )


def build_response(adapter: Any, request: Any, raw: Any) -> Any:
    """The response as the adapter builds it; as requests does where the adapter has no way of its own."""
    from requests.adapters import HTTPAdapter

    own = getattr(adapter, "build_response", None)
    return own(request, raw) if own is not None else HTTPAdapter.build_response(adapter, request, raw)


def set_elapsed(request: Any, response: Any, elapsed_ms: float) -> None:
    """Let ``response.elapsed`` be what it was: the session sets it to what the replay took, then calls the hooks."""
    hooks = getattr(request, "hooks", None)
    if not isinstance(hooks, dict) or not isinstance(hooks.get("response"), list):
        return
    facts: list[Any] = [hooks, response, elapsed_ms]
    restore = partial(_restore_elapsed, facts)
    facts.append(restore)
    hooks["response"] = [restore, *hooks["response"]]


# Guarded once: to make a guard for each response takes longer than what it does.
@guarded_method
def _restore_elapsed(facts: list[Any], answered: Any, *_: Any, **__: Any) -> None:
    hooks, response, elapsed_ms, itself = facts
    hooks["response"] = [hook for hook in hooks["response"] if hook is not itself]
    if answered is response:
        response.elapsed = timedelta(milliseconds=elapsed_ms)
