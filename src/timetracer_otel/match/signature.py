"""From a call to its canonical signature: what two calls must have in common to get the same answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from timetracer_otel.cassette import pack
from timetracer_otel.constants import REDACTED, BodyEnd
from timetracer_otel.match.body_content import plain_body, plain_content
from timetracer_otel.match.rules import MatchRules
from timetracer_otel.redact.kinds import kind_of
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.statements import IgnoredParameters, canonical, is_sql
from timetracer_otel.redact.urls import same_target, split_url, values_by_name
from timetracer_otel.types import (
    Call,
    CallSnapshot,
    CallView,
    DependencyEvent,
    EventSignature,
    HeaderMap,
    header_pairs,
)

__all__ = ["PARTIAL_BODY", "Key", "Signer", "canonical_json", "key_of"]

PARTIAL_BODY = "partial"
"""Stands for the hash of a body that was not sent to its end (the call failed first)."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Key(NamedTuple):
    """A signature as the index holds it."""

    lib: str
    method: str
    target: str | None
    query: Hashable
    body: str | None
    headers: Hashable = ()


class _Target(NamedTuple):
    url: str
    """As the cassette says it."""
    key: str | None
    """As it is compared."""
    query: dict[str, Any]
    query_key: Hashable


class Signer:
    """Makes signatures under one set of redaction rules. Immutable, safe from any thread.

    Args:
        redactor: The rules.
        ignored: Values of statements that are not compared; on the side of the replay only.
        rules: What counts of a call, where that is not everything; on the side of the replay only.
    """

    def __init__(
        self, redactor: Redactor, ignored: IgnoredParameters | None = None, rules: MatchRules | None = None
    ) -> None:
        self._redactor = redactor
        self._ignored = ignored
        self._rules = rules
        # Services call the same few URLs again and again; parsing one costs more than all the rest.
        self._target = lru_cache(maxsize=4096)(self._parse_target)

    def key(self, call: Call) -> Key:
        """What the call is looked up by."""
        target = self._target(call.url) if call.url is not None else _NO_TARGET
        key = Key(call.lib, call.method, target.key, target.query_key, self.body_hash(call))
        return key if self._rules is None else self._ruled(self._rules, key, target.query, self.view(call))

    def view(self, call: Call) -> CallView:
        """The call as a matcher sees it, redacted."""
        target = self._target(call.url) if call.url is not None else _NO_TARGET
        headers = HeaderMap(self._redactor.headers(call.headers))
        body = self._redactor.body(call.body, call.headers).data if call.body else None
        args = self.arguments(call) if call.args is not None else None
        return CallView(call.lib, call.method, target.url or None, target.query, headers, body, self._applied(args))

    def recorded_view(self, event: DependencyEvent) -> CallView:
        """A recorded call as a matcher sees it."""
        signature, call = event.signature, event.call if event.call is not None else CallSnapshot()
        body = call.body.data if call.body is not None else None
        body = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else None
        return CallView(
            signature.lib,
            signature.method,
            signature.url,
            signature.query,
            call.headers,
            body or None,
            self._applied(call.args),
        )

    def _ruled(self, rules: MatchRules, key: Key, query: dict[str, Any], view: CallView) -> Key:
        return Key(
            key.lib,
            key.method if rules.method else "",
            key.target if rules.url else None,
            _query_key(rules.query_of(query)),
            PARTIAL_BODY if key.body == PARTIAL_BODY and rules.body else rules.body_key(view, key.body),
            rules.header_key(view.headers),
        )

    def _applied(self, args: Any) -> Any:
        return self._ignored.applied(args) if self._ignored and is_sql(args) else args

    def sign(self, call: Call) -> EventSignature:
        """The signature as it stands in the cassette."""
        target = self._target(call.url) if call.url is not None else _NO_TARGET
        return EventSignature(
            lib=call.lib,
            method=call.method,
            url=target.url or None,
            query=dict(target.query),
            body_hash=self.body_hash(call),
        )

    def body_hash(self, call: Call) -> str | None:
        """SHA-256 of the redacted body, or of the redacted arguments where the call is no HTTP."""
        if call.body_end is not BodyEnd.COMPLETE:
            return PARTIAL_BODY
        if call.args is not None:
            return self._arguments_hash(self.arguments(call))
        if not call.body:
            return None
        return hashlib.sha256(self.canonical_body(call)).hexdigest()

    def arguments(self, call: Call) -> Any:
        """The redacted arguments of a call that is no HTTP."""
        return kind_of(call.args).arguments(call.args, self._redactor)

    def recorded_key(self, event: DependencyEvent) -> Key:
        """What a recorded event is found by."""
        key = key_of(event.signature)
        args: Any = event.call.args if event.call is not None else None
        if self._applied(args) is not args:
            key = key._replace(body=self._arguments_hash(args))
        elif event.call is not None and "content-encoding" in event.call.headers:
            key = key._replace(body=_encoded_body_hash(event.call, key.body))
        if self._rules is None:
            return key
        return self._ruled(self._rules, key, event.signature.query, self.recorded_view(event))

    def _arguments_hash(self, args: Any) -> str:
        return hashlib.sha256(pack(self._applied(canonical(args) if is_sql(args) else args))).hexdigest()

    def canonical_body(self, call: Call) -> bytes:
        """The redacted body in the form in which two bodies are compared."""
        body, _, _, content_type, encoding = self._redactor.body(call.body or b"", call.headers)
        return plain_content(body, content_type, encoding)

    def _parse_target(self, url: str) -> _Target:
        parts = split_url(url)
        scheme, netloc = (parts.scheme or "").lower(), (parts.netloc or "").lower()
        if self._redactor.active:
            netloc = netloc.rpartition("@")[2]
        netloc = netloc.removesuffix(_DEFAULT_PORTS.get(scheme, "/"))
        prefix = f"{scheme}://{netloc}" if scheme else netloc
        pairs = []
        for field in parts.query.split("&") if parts.query else ():
            raw_name, _, raw_value = field.partition("=")
            name = unquote_plus(raw_name, errors="backslashreplace")
            value = unquote_plus(raw_value, errors="backslashreplace")
            if value and self._redactor.is_secret_parameter(name):
                value = REDACTED
            pairs.append((name, value))
        query = values_by_name(sorted(pairs))
        url = prefix + parts.path
        return _Target(url, same_target(url) or None, query, _query_key(query))


_NO_TARGET = _Target("", None, {}, ())


def key_of(signature: EventSignature) -> Key:
    """The key of a recorded signature."""
    target = same_target(signature.url) if signature.url is not None else None
    return Key(signature.lib, signature.method, target, _query_key(signature.query), signature.body_hash)


def _encoded_body_hash(call: CallSnapshot, body_hash: str | None) -> str | None:
    """The hash of a recorded body that has a content encoding: older recordings hashed the encoded bytes."""
    data = call.body.data if call.body is not None and call.body.captured else None
    if body_hash in (None, PARTIAL_BODY) or not isinstance(data, bytes):
        return body_hash
    return hashlib.sha256(plain_body(data, header_pairs(call.headers))).hexdigest()


def canonical_json(data: bytes) -> bytes | None:
    """JSON with equal content as equal bytes; None where the data is no JSON."""
    try:
        return json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return None


def _query_key(query: dict[str, Any]) -> Hashable:
    return tuple((name, _hashable(value)) for name, value in sorted(query.items()))


def _hashable(value: Any) -> Hashable:
    """A value of a query, or a list of them; a hand-written plugin, or somebody's cassette, may hold anything."""
    if isinstance(value, str):
        return value
    return tuple(map(_hashable, value)) if isinstance(value, list) else repr(value)
