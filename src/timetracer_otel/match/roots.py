"""The facts of requests that are compared when a cassette is chosen for a request that comes in."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from timetracer_otel.constants import GIVEN_TO_WORKERS, REDACTED, EventType
from timetracer_otel.match.differences import Difference, mapping_differences, value_differences
from timetracer_otel.match.signature import Signer, canonical_json
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.urls import values_by_name
from timetracer_otel.types import Call, RequestSnapshot, header_pairs

__all__ = ["RootFacts", "fits_route", "is_http", "request_differences", "root_facts"]

_NO_METHODS = GIVEN_TO_WORKERS | {"INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"}
"""What stands in place of a method: in the recording of a job of a known task queue, of a message or several, and, of
others, the kind of the span."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}|<([^<>]*)>")
_CONVERTERS = {"int": r"-?\d+", "float": r"-?\d+(?:\.\d+)?", "path": r".+", "uuid": r"[0-9a-fA-F-]{32,36}"}


class RootFacts(NamedTuple):
    """The facts of a request that count, redacted."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    """Sorted pairs of name and value. The value of a secret parameter is replaced, so only its presence counts."""
    body: str | None = ""
    """Digest of the redacted body: of its content where it is JSON, of its bytes otherwise. Empty where the request
    has no body; None where that is not known."""

    def likeness(self, now: RootFacts) -> tuple[bool, float, int]:
        """How well this recording fits a request of the same path; greater is better. It compares the query, then the
        body, then counts equal parameters.
        """
        body = 0.5 if None in (self.body, now.body) else float(self.body == now.body)
        return self.query == now.query, body, _in_common(self.query, now.query)


@lru_cache(maxsize=1024)
def _in_common(one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...]) -> int:
    return (Counter(one) & Counter(other)).total()


def is_http(request: RequestSnapshot) -> bool:
    """Whether a recording is of an HTTP request, rather than of a job, a message or a process."""
    return bool(request.method) and request.method not in _NO_METHODS


def root_facts(request: RequestSnapshot, redactor: Redactor) -> RootFacts:
    """The facts of a recorded request, or of one that comes in and is redacted by the recording's rules."""
    pairs = set()
    counted: list[tuple[str, str]] = []
    for name, value in request.query.items():
        secret = redactor.is_secret_parameter(name)
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if secret:
                pairs.add((name, REDACTED))
            else:
                counted.append((name, str(item)))
    return RootFacts(
        request.method.upper(), request.path, tuple(sorted([*counted, *pairs])), _body_digest(request, redactor)
    )


def request_differences(recorded: RequestSnapshot, now: RequestSnapshot, redactor: Redactor) -> list[Difference]:
    """Every part in which two requests differ; a JSON body is compared field by field."""
    before, after = root_facts(recorded, redactor), root_facts(now, redactor)
    found = [
        Difference(name, getattr(before, name), getattr(after, name))
        for name in ("method", "path")
        if getattr(before, name) != getattr(after, name)
    ]
    found += mapping_differences("query", values_by_name(before.query), values_by_name(after.query))
    if before.body != after.body and None not in (before.body, after.body):
        found += value_differences("body", *_shown_bodies(recorded, now, redactor))
    return found


@lru_cache(maxsize=4096)
def fits_route(template: str, path: str) -> bool:
    """Whether a path belongs to a route, as Starlette, FastAPI, Flask and Django write routes.

    A route that is a regular expression (Django's ``re_path``) fits no path. A cassette is untrusted input, so its
    expression is not run: it could be made to take for ever.
    """
    if template.startswith("^") or "(?" in template:
        return False
    pattern, position = "", 0
    for found in _PLACEHOLDER.finditer(template):
        pattern += re.escape(template[position : found.start()]) + _placeholder(found)
        position = found.end()
    if not position:
        return False
    pattern += re.escape(template[position:])
    # Django's routes begin without the slash that its paths have.
    return re.fullmatch(pattern if template.startswith("/") else f"/?{pattern}", path) is not None


def _placeholder(found: re.Match[str]) -> str:
    braces, brackets = found.groups()
    # "{name:converter}" is Starlette's, "<converter:name>" Flask's and Django's.
    converter = braces.partition(":")[2] if braces is not None else brackets.rpartition(":")[0]
    return _CONVERTERS.get(converter.partition("(")[0], "[^/]+")


def _body_digest(request: RequestSnapshot, redactor: Redactor) -> str | None:
    body = request.body
    if body is None:
        # A request without headers is known from its span alone, which says nothing about a body.
        return "" if request.headers else None
    if not body.captured:
        return "" if body.size_bytes == 0 else None
    plain = _redacted_body(request, redactor)
    if not plain:
        return ""
    return hashlib.sha256(canonical_json(plain) or plain).hexdigest()


def _redacted_body(request: RequestSnapshot, redactor: Redactor) -> bytes:
    data = request.body.data if request.body is not None else None
    if not isinstance(data, bytes):
        data = str(data or "").encode()
    headers = header_pairs(request.headers)
    call = Call("", EventType.HTTP_CLIENT, request.method, headers=headers, body=data)
    return Signer(redactor).redacted(call).plain_body


def _shown_bodies(recorded: RequestSnapshot, now: RequestSnapshot, redactor: Redactor) -> Iterator[Any]:
    for request in (recorded, now):
        plain = _redacted_body(request, redactor)
        content = canonical_json(plain)
        yield json.loads(content) if content is not None else plain
