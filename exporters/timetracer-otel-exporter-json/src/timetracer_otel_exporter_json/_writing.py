"""One of our cassettes as one of timetracer's: the HTTP calls that it would answer as they were."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final
from urllib.parse import urljoin

from timetracer_otel.constants import ANY_HTTP_CLIENT, CONVERSATION, BodyEnd, EventType
from timetracer_otel.exchange import Exported, HttpCall, encoded_again
from timetracer_otel.report import decode_body, event_name
from timetracer_otel.types import BodySnapshot, Cassette, DependencyEvent, HeaderMap, header_pairs
from timetracer_otel_exporter_json._bodies import digest, kept, text_of
from timetracer_otel_exporter_json._files import SCHEMA

__all__ = ["write"]

_VERSION: Final = "1.6.0"
"""The release whose form this is."""
_CLIENTS: Final = {"httpx": "httpx", "requests": "requests", "aiohttp": "aiohttp", ANY_HTTP_CLIENT: "httpx"}
"""The clients that timetracer captures. It compares no names of clients."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NOT_ON_THE_WIRE: Final = frozenset({b"content-encoding", b"transfer-encoding"})
"""Headers about a form of the body that the file does not have."""


def write(cassette: Cassette) -> Exported:
    """Schema 1.0. A replay of timetracer goes from event to event, so that each has to be one that it can answer."""
    left_out: list[str] = []
    calls: list[dict[str, Any]] = []
    others = Counter(each.signature.lib for each in cassette.events if each.event_type is not EventType.HTTP_CLIENT)
    left_out += [
        f"{number} call{'s' * (number != 1)} of {lib}: timetracer's JSON does not hold what they gave"
        for lib, number in sorted(others.items())
    ]
    https = sorted(
        (each for each in cassette.events if each.event_type is EventType.HTTP_CLIENT),
        key=lambda each: (each.start_offset_ms, each.eid),
    )
    hops = _followed(https)
    for event in https:
        why = _why_not(event, hops)
        said: list[str] = []
        if why is None:
            made, body, said = _call(event)
            text = text_of(body)
            if text is None:
                why = "its body is no text in UTF-8, which is all that timetracer's JSON holds"
            else:
                if body:
                    made["result"]["body"] = kept(text, body)
                calls.append(made | {"eid": len(calls) + 1})
        name = f"#{event.eid} {event_name(event)}"
        left_out += [f"{name}: {why}"] if why is not None else [f"{name}: {line}" for line in said]
    if cassette.logs:
        number = len(cassette.logs)
        left_out.append(f"{number} log record{'s' * (number != 1)}: timetracer's JSON has none")
    return Exported(json.dumps(_content(cassette, calls), indent=2).encode() + b"\n", tuple(left_out))


def _followed(https: list[DependencyEvent]) -> set[int]:
    """The events that are hops of a redirect which was followed. timetracer has one event for all of them."""
    hops: set[int] = set()
    for at, event in enumerate(https):
        location = HeaderMap(header_pairs(event.result.headers)).get("location")
        if event.result.status not in _REDIRECTS or not location:
            continue
        target = urljoin(HttpCall.of(event).url, location).partition("#")[0].partition("?")[0]
        for later in https[at + 1 :]:
            if later.signature.lib == event.signature.lib and later.signature.url == target:
                hops |= {event.eid, later.eid}
                break
    return hops


def _why_not(event: DependencyEvent, hops: set[int]) -> str | None:
    """Why timetracer would not answer a call as it was."""
    lib, result = event.signature.lib, event.result
    if event.not_replayable is not None:
        return event.not_replayable
    if lib not in _CLIENTS:
        return f"timetracer has no plugin for {lib}"
    if isinstance(result.reply, dict) and CONVERSATION in result.reply:
        return "timetracer's JSON holds no messages of WebSockets"
    if result.status is None:
        return "timetracer raises an exception of another class for an error"
    if result.body is not None and result.body.end is not BodyEnd.COMPLETE:
        return f"its body is {result.body.end.value}, and timetracer holds whole bodies alone"
    if event.eid in hops:
        return "it is a step of a redirect that was followed, which is one call for timetracer"
    return None


def _call(event: DependencyEvent) -> tuple[dict[str, Any], bytes, list[str]]:
    """An event without its body, the body decoded, and what is lost of it."""
    call = HttpCall.of(event)
    body = decode_body(call.body, HeaderMap(call.headers)).data
    lines = [pair for pair in call.headers if pair[0].lower() not in _NOT_ON_THE_WIRE]
    lines = list(encoded_again(body, lines, method=call.method, status=call.status or 0)[0])
    cookies = sum(name.lower() == b"set-cookie" for name, _ in lines)
    said = [f"{cookies} lines Set-Cookie became one: timetracer's JSON has one for each name"] if cookies > 1 else []
    signature: dict[str, Any] = {
        "lib": _CLIENTS[event.signature.lib],
        "method": call.method,
        "url": event.signature.url,
        "query": event.signature.query,
    }
    if call.request_body:
        signature["body_hash"] = digest(call.request_body)
    made = {
        "eid": 0,
        "type": EventType.HTTP_CLIENT.value,
        "start_offset_ms": event.start_offset_ms,
        "duration_ms": event.duration_ms,
        "signature": signature,
        "result": {"status": call.status, "headers": dict(HeaderMap(lines))},
    }
    return made, body, said


def _content(cassette: Cassette, calls: list[dict[str, Any]]) -> dict[str, Any]:
    session, request, response, policies = cassette.session, cassette.request, cassette.response, cassette.policies
    return {
        "schema_version": SCHEMA,
        "session": {
            "id": session.id,
            "recorded_at": session.recorded_at,
            "service": session.service,
            "env": session.env,
            "framework": session.framework,
            "timetracer_version": _VERSION,
            "python_version": session.python_version,
            "git_sha": session.git_sha,
        },
        "request": {
            "method": request.method,
            "path": request.path,
            "route_template": request.route_template,
            "headers": dict(request.headers),
            "query": {name: _first(value) for name, value in request.query.items()},
            "client_ip": request.client_ip,
            "user_agent": request.user_agent,
            **_body(request.body, request.headers),
        },
        "response": {
            "status": response.status,
            "duration_ms": response.duration_ms,
            "headers": dict(response.headers),
            **_body(response.body, response.headers),
        },
        "events": calls,
        "policies": {
            "redaction": {"mode": policies.redaction_mode, "rules": list(policies.redaction_rules)},
            "capture": {
                "max_body_kb": policies.max_body_kb,
                "store_request_body": policies.store_request_body,
                "store_response_body": policies.store_response_body,
            },
            "sampling": {"rate": policies.sample_rate, "errors_only": policies.errors_only},
        },
        "stats": {
            "event_counts": {EventType.HTTP_CLIENT.value: len(calls)} if calls else {},
            "total_events": len(calls),
            "total_duration_ms": cassette.stats.total_duration_ms,
        },
    }


def _first(value: Any) -> str:
    return str(value[0]) if isinstance(value, list) and value else str(value)


def _body(body: BodySnapshot | None, headers: dict[str, str]) -> dict[str, Any]:
    """The body of the request that came in, or of its response."""
    if body is None:
        return {}
    data = body.data if isinstance(body.data, bytes) else b""
    decoded = decode_body(data, headers).data
    text = text_of(decoded)
    if not body.captured or body.end is not BodyEnd.COMPLETE or text is None:
        return {"body": {"_captured": False, "size_bytes": body.size_bytes}}
    return {"body": kept(text, decoded)}
