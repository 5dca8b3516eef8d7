"""Signatures: the facts that a call and a recorded event must have in common, in one canonical form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast
from urllib.parse import unquote_plus

from timetracer_otel.cassette import Unencodable, pack
from timetracer_otel.constants import BodyEnd
from timetracer_otel.match.body_content import plain_body, plain_content
from timetracer_otel.match.canonical import canonical, outline, packed_if_plain
from timetracer_otel.match.rules import MatchRules
from timetracer_otel.match.stable_form import stable_form
from timetracer_otel.match.trace_context import may_be_traced, untraced
from timetracer_otel.redact.forms import form_of
from timetracer_otel.redact.redactor import RedactedBody, Redactor, content_headers
from timetracer_otel.redact.urls import same_target, split_url, values_by_name
from timetracer_otel.types import (
    Call,
    CallSnapshot,
    CallView,
    DependencyEvent,
    EventSignature,
    HeaderMap,
    HeaderPairs,
    header_pairs,
)

__all__ = [
    "PARTIAL_BODY",
    "BodyKind",
    "Key",
    "RedactedCall",
    "Signer",
    "Target",
    "body_kind",
    "canonical_json",
    "compares_body_as_it_is",
    "in_buckets",
    "key_of",
]

PARTIAL_BODY = "partial"
"""The value of the hash for a body that was not sent to its end, as the call failed first."""

_OF_NO_BODY = (None, PARTIAL_BODY)
_LONGEST_BODY = 16 * 1024
"""Bytes of the recorded bodies that are looked up. To look up a longer one is not much quicker than to hash it."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Key(NamedTuple):
    """A signature in the form that the index looks up: hashable, and by the rules of the replay."""

    lib: str
    method: str
    target: str | None
    query: Hashable
    body: str | None
    headers: Hashable = ()


_key: Callable[[tuple[Any, ...]], Key] = partial(tuple.__new__, Key)
"""Makes a `Key` from a tuple. The class itself would call a function written in Python, which takes longer."""


class Target(NamedTuple):
    """The parts of a call's URL that are kept and compared."""

    url: str
    """The form in the cassette."""
    key: str | None
    """The form that is compared."""
    query: dict[str, Any]
    query_key: Hashable
    texts: tuple[str, ...]
    """The form in the cassette, and the values of the query."""


class Signer:
    """Makes signatures under one set of redaction rules. Immutable, safe from any thread.

    Args:
        redactor: The rules.
        ignored: The setting ``ignore_sql_params``. Only a replay has it.
        rules: Which parts of a call count, where that is not the default. Only a replay has them.
        behind: For a recording: the signer of all recordings with the same rules. It knows the URLs without secrets.
    """

    def __init__(
        self,
        redactor: Redactor,
        ignored: Sequence[str] = (),
        rules: MatchRules | None = None,
        behind: Signer | None = None,
    ) -> None:
        self.redactor: Redactor = redactor
        self.ignored: tuple[str, ...] = tuple(ignored)
        self.rules: MatchRules | None = rules
        # Services call the same few URLs again and again, and parsing a URL takes longer than the rest of a
        # signature.
        self._known_target: Callable[[str], Target] = (
            lru_cache(maxsize=4096)(self._parse_target) if behind is None else behind._known_target
        )
        self.open_target: Callable[[str], Target | None] = (
            lru_cache(maxsize=4096)(self._target_if_open) if behind is None else behind.open_target
        )
        """Gives the parts of a URL that has no secret, and None for any other."""
        self._bodies: dict[tuple[bytes, bytes], str] = {}
        """By a recorded body that is compared as it is, and its content type: its hash. Only the signer of a replay
        has any."""
        self._kinds: dict[str, set[BodyKind]] = {}
        """By the hash of a recorded body: the kinds of the bodies that have it. Likewise."""
        if behind is None:
            # One function less for each call.
            object.__setattr__(self, "target", self._known_target)

    def redacted(self, call: Call, headers: HeaderPairs | None = None) -> RedactedCall:
        """The call in the form in which it is kept, looked up and shown. Each part is redacted once.

        Args:
            call: Not redacted.
            headers: Its header lines, redacted, where the caller has them.
        """
        return RedactedCall(call, self, headers)

    def recorded_view(self, event: DependencyEvent) -> CallView:
        """A recorded call as a matcher sees it."""
        event = self.compared(event)
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
            self.without_ignored(signature.lib, call.args),
        )

    def recorded_key(self, event: DependencyEvent, *, hash_anew: bool = False) -> Key:
        """The key that a recorded event is found by.

        Args:
            event: Of the cassette.
            hash_anew: Hash its arguments, and do not take the hash that the recording made of them. Older recordings
                hashed mappings in the order in which the app gave them.
        """
        event = self.compared(event)
        signature = event.signature
        key = key_of(signature)
        hashes = hash_anew or bool(self.ignored)
        if self.rules is None and not hashes and (key.body in _OF_NO_BODY or not event.may_hold_body):
            return key  # What the event has besides is not decoded for it.
        call = event.call
        args: Any = call.args if call is not None else None
        if args is not None and hashes and (hash_anew or self.without_ignored(signature.lib, args) is not args):
            key = key._replace(body=self.arguments_hash(signature.lib, args))
        elif call is not None and call.body is not None:
            key = key._replace(body=_recorded_body_hash(call, call.body.data, key.body))
            if self.rules is None:
                self._keep_body(call, key.body)
        if self.rules is None:
            return key
        return self.ruled(self.rules, key, signature.query, self.recorded_view(event))

    def _keep_body(self, call: CallSnapshot, digest: str | None) -> None:
        """Remember a recorded body for `key_as_recorded`, and its kind for `RedactedCall.key_among`."""
        data = call.body.data if call.body is not None else None
        if type(data) is not bytes or digest is None or digest == PARTIAL_BODY:
            return
        kind = body_kind(header_pairs(call.headers))
        self._kinds.setdefault(digest, set()).add(kind)
        if len(data) <= _LONGEST_BODY and _compares_as_it_is(kind) and not may_be_traced(data):
            self._bodies.setdefault((data, kind.content_type), digest)

    def is_recorded_as(self, digest: str, kind: BodyKind) -> bool:
        """Whether a recorded body of this kind has this hash."""
        return kind in self._kinds.get(digest, ())

    def key_as_recorded(self, lib: str, method: str, url: str, body: bytes, content_type: bytes) -> Key | None:
        """The `RedactedCall.key` of an HTTP call, without making one; None where it takes more to tell.

        A body stands in the recording as it is redacted. So a body that is equal to a recorded one of its content
        type has the same hash, and is neither searched for secrets nor hashed.

        Args:
            lib: The plugin.
            method: Of the call.
            url: Of the call.
            body: All of its body, which its headers let compare as it is (`compares_body_as_it_is`).
            content_type: Of the body, from its `body_kind`.
        """
        digest = None
        if body:
            digest = self._bodies.get((body, content_type))
            if digest is None:
                return None
        target = self.target(url)
        return _key((lib, method, target.key, target.query_key, digest, ()))

    def key_of_arguments(self, lib: str, method: str, url: str, args: Any) -> Key | None:
        """The `RedactedCall.key` of a call that is no HTTP and has the arguments of a recorded one as they are.

        Args:
            lib: The plugin.
            method: Of the call.
            url: Of the call.
            args: Its arguments, not redacted.

        Returns:
            None where it takes more to tell.
        """
        if self.ignored:
            return None
        try:
            digest = self.arguments_hash(lib, args)
        except Unencodable:
            return None
        target = self.target(url)
        return _key((lib, method, target.key, target.query_key, digest, ()))

    def key_of_packed(self, lib: str, method: str, url: str, packed: bytes) -> Key | None:
        """`key_of_arguments` of arguments in the form in which they are compared, encoded."""
        if self.ignored or may_be_traced(packed):
            return None
        target = self.target(url)
        return _key((lib, method, target.key, target.query_key, hashlib.sha256(packed).hexdigest(), ()))

    def compared(self, event: DependencyEvent) -> DependencyEvent:
        """A recorded event in the form in which calls are compared: the pseudonyms under secret names are masked.

        The same object where its call has none.
        """
        if not event.pseudonyms or not self.redactor.active:
            return event
        redactor, signature, call = self.redactor, event.signature, event.call
        query = {name: _masked(redactor, name, value) for name, value in signature.query.items()}
        signature = replace(signature, query=query)
        if call is not None:
            headers = HeaderMap(redactor.headers(header_pairs(call.headers)))
            body, args = call.body, call.args
            if body is not None and isinstance(body.data, bytes):
                body = replace(body, data=redactor.body(body.data, header_pairs(call.headers)).data)
            if args is not None:
                args = form_of(signature.lib).arguments(args, redactor)
            call = CallSnapshot(headers, body, args)
            with suppress(Unencodable):
                signature.body_hash = self.snapshot_hash(signature.lib, call, signature.body_hash)
        return replace(event, signature=signature, call=call)

    def snapshot_hash(self, lib: str, call: CallSnapshot, before: str | None) -> str | None:
        """The hash of a recorded body or of recorded arguments, after something in them was replaced.

        Args:
            lib: The call's library.
            call: The recorded call.
            before: Its hash before. A body that was not sent to its end has none to compare.

        Raises:
            Unencodable: The arguments cannot be kept in a cassette.
        """
        if before in (None, PARTIAL_BODY):
            return before
        if call.args is not None:
            return self.arguments_hash(lib, call.args)
        if call.body is None or not isinstance(call.body.data, bytes):
            return before
        return hashlib.sha256(plain_body(call.body.data, header_pairs(call.headers))).hexdigest()

    def ruled(self, rules: MatchRules, key: Key, query: dict[str, Any], view: CallView) -> Key:
        """A key without the parts that do not count by the rules."""
        ignored = rules.ignored_in(view.lib, view.method, view.url, view.args)
        return Key(
            key.lib,
            key.method if rules.method else "",
            key.target if rules.url else None,
            _query_key(rules.query_of(query, ignored)),
            PARTIAL_BODY if key.body == PARTIAL_BODY and rules.body else rules.body_key(view, key.body, ignored),
            rules.header_key(view.headers, ignored),
        )

    def without_ignored(self, lib: str, args: Any) -> Any:
        """Redacted arguments without the values that ``ignore_sql_params`` leaves out. The same object where it
        leaves out none.
        """
        return form_of(lib).without_ignored(args, self.ignored) if self.ignored and args is not None else args

    def redacted_arguments(self, lib: str, args: Any) -> Any:
        """The arguments of a call, as they are kept and compared."""
        return form_of(lib).arguments(args, self.redactor)

    def arguments_hash(self, lib: str, args: Any) -> str:
        """SHA-256 of redacted arguments in the form in which they are compared.

        Raises:
            Unencodable: They cannot be kept in a cassette.
        """
        form = form_of(lib)
        compared = form.in_any_order(self.without_ignored(lib, form.compared(args)))
        packed = packed_if_plain(compared)
        if packed is None:
            packed = pack(canonical(compared))
        # To look through the encoded form is quicker than to look through the values, at every call.
        if may_be_traced(packed):
            packed = pack(canonical(untraced(compared)))
        return hashlib.sha256(packed).hexdigest()

    def target(self, url: str) -> Target:
        """The parts of a URL, redacted."""
        found = self.open_target(url)
        return found if found is not None else self._parse_target(self.redactor.url(url), renamed=True)

    def _target_if_open(self, url: str) -> Target | None:
        """The parts of a URL that has no secret; None for any other."""
        return self._known_target(url) if self.redactor.url(url) == url else None

    def _parse_target(self, url: str, *, renamed: bool = False) -> Target:
        parts = split_url(url)
        scheme = (parts.scheme or "").lower()
        user, at, host = (parts.netloc or "").rpartition("@")
        netloc = host.lower() if self.redactor.active else f"{user}{at}{host.lower()}"
        netloc = netloc.removesuffix(_DEFAULT_PORTS.get(scheme, "/"))
        prefix = f"{scheme}://{netloc}" if scheme else netloc
        pairs = []
        for field in parts.query.split("&") if parts.query else ():
            raw_name, _, raw_value = field.partition("=")
            name = unquote_plus(raw_name, errors="backslashreplace")
            value = unquote_plus(raw_value, errors="backslashreplace")
            pairs.append((name, value if renamed else self.redactor.parameter(name, value)))
        query = values_by_name(sorted(pairs))
        url = prefix + parts.path
        return Target(url, same_target(url) or None, query, _query_key(query), (url, *[value for _, value in pairs]))


class BodyKind(NamedTuple):
    """What the headers say by which a body is searched for secrets and compared."""

    content_type: bytes
    encoding: bytes


def body_kind(headers: HeaderPairs) -> BodyKind:
    """The kind of a body. Clients make up the boundary of multipart parts at random, so it is left out."""
    return _kind_of(*content_headers(headers))


def _kind_of(content_type: bytes, encoding: bytes) -> BodyKind:
    if content_type[:10].lower() == _MULTIPART:
        content_type = content_type.partition(b";")[0].rstrip().lower()
    return BodyKind(content_type, encoding)


_MULTIPART = b"multipart/"


def compares_body_as_it_is(headers: HeaderPairs) -> bool:
    """Whether the headers of a call say nothing by which its body has another form when it is compared."""
    return _compares_as_it_is(body_kind(headers))


def _compares_as_it_is(kind: BodyKind) -> bool:
    # Of a form, only the fields of trace context would be cut out, and those a recorded body does not have.
    return not kind.encoding and not kind.content_type.startswith(_MULTIPART)


_NOT_MADE: Any = object()


class RedactedCall:
    """A call that is made now, redacted. Its signature, its key, its event and the text of a miss are made of this.

    Each part is made once, when it is first asked for. So a body of many megabytes is searched for secrets once, and
    what is stored, compared and shown is the same. Not safe from several threads at once.

    Attributes:
        call: The call, not redacted.
        signer: The signer whose rules apply. The replay of a cassette with other rules has another signer.
    """

    # `_NOT_MADE` is the value of a part that was not asked for yet, where None is a valid value. The defaults stand
    # in the class, since an object is made for each call.
    _args: Any = _NOT_MADE
    _body: RedactedBody | None = None
    _body_hash: str | None = _NOT_MADE
    _digest: str | None = None
    _headers: HeaderMap | None = None
    _key: Key | None = None
    _plain_body: bytes | None = None
    _view: CallView | None = None

    def __init__(self, call: Call, signer: Signer, headers: HeaderPairs | None = None) -> None:
        self.call = call
        self.signer = signer
        if headers is not None:
            self._headers = HeaderMap(headers)
        self._target = signer.target(call.url) if call.url is not None else _NO_TARGET

    def outlined(self) -> RedactedCall:
        """The same call with an outline of its arguments, where these cannot be kept in a cassette."""
        return RedactedCall(replace(self.call, args=outline(self.args)), self.signer)

    @property
    def headers(self) -> HeaderMap:
        """Its headers, redacted."""
        if self._headers is None:
            self._headers = HeaderMap(self.signer.redactor.headers(self.call.headers))
        return self._headers

    @property
    def args(self) -> Any:
        """The arguments of a call that is no HTTP, redacted; None where there are none."""
        if self._args is _NOT_MADE:
            call = self.call
            self._args = self.signer.redacted_arguments(call.lib, call.args) if call.args is not None else None
        return self._args

    @property
    def body(self) -> RedactedBody:
        """Its body, redacted."""
        if self._body is None:
            call = self.call
            self._body = self.signer.redactor.body(call.body, call.headers) if call.body else _NO_BODY
        return self._body

    @property
    def plain_body(self) -> bytes:
        """Its redacted body in the form in which bodies are compared (`plain_content`)."""
        if self._plain_body is None:
            body = self.body
            self._plain_body = plain_content(body.data, body.content_type, body.encoding)
        return self._plain_body

    @property
    def body_digest(self) -> str:
        """SHA-256 of the redacted body, hexadecimal."""
        if self._digest is None:
            self._digest = hashlib.sha256(self.body.data).hexdigest()
        return self._digest

    @property
    def body_hash(self) -> str | None:
        """SHA-256 of the redacted body in the form in which it is compared, or of the redacted arguments without
        HTTP.

        Raises:
            Unencodable: The arguments cannot be kept in a cassette.
        """
        if self._body_hash is _NOT_MADE:
            call = self.call
            if call.body_end is not BodyEnd.COMPLETE:
                self._body_hash = PARTIAL_BODY
            elif call.args is not None:
                self._body_hash = self._arguments_hash()
            elif not call.body:
                self._body_hash = None
            else:
                plain = self.plain_body
                self._body_hash = hashlib.sha256(plain).hexdigest()
                if plain is self.body.data:
                    self._digest = self._body_hash
        return self._body_hash

    def _arguments_hash(self) -> str:
        call, signer = self.call, self.signer
        try:
            return signer.arguments_hash(call.lib, self.args)
        except Unencodable:
            self._args = signer.redacted_arguments(call.lib, stable_form(call.args))
            return signer.arguments_hash(call.lib, self._args)

    @property
    def signature(self) -> EventSignature:
        """The signature for the cassette; a new object each time.

        Raises:
            Unencodable: As for `body_hash`.
        """
        signature = self.unhashed_signature
        signature.body_hash = self.body_hash
        return signature

    @property
    def unhashed_signature(self) -> EventSignature:
        """The signature without the hash, for a call whose arguments cannot be kept."""
        target = self._target
        return EventSignature(
            lib=self.call.lib, method=self.call.method, url=target.url or None, query=dict(target.query)
        )

    @property
    def key(self) -> Key:
        """The key that the call is looked up by.

        Raises:
            Unencodable: As for `body_hash`.
        """
        if self._key is None:
            call, target, signer = self.call, self._target, self.signer
            is_empty = not call.body and call.args is None and call.body_end is BodyEnd.COMPLETE
            body = None if is_empty else self.body_hash
            key = _key((call.lib, call.method, target.key, target.query_key, body, ()))
            self._key = key if signer.rules is None else signer.ruled(signer.rules, key, target.query, self.view)
        return self._key

    def key_among(self, is_known: Callable[[Key], bool]) -> Key:
        """The `key`, by the shorter way where that is open.

        A body that is equal to a recorded one of its kind need not be searched for secrets: what was recorded has
        none that would be replaced. In a body of another kind there may be some: what is a password in a form is none
        in a text.

        Args:
            is_known: Whether any recorded event has this key.

        Raises:
            Unencodable: As for `body_hash`.
        """
        call, signer = self.call, self.signer
        if call.body and self._key is None and call.body_end is BodyEnd.COMPLETE and signer.rules is None:
            content = content_headers(call.headers)
            target, digest = self._target, hashlib.sha256(plain_content(call.body, *content)).hexdigest()
            key = _key((call.lib, call.method, target.key, target.query_key, digest, ()))
            if is_known(key) and signer.is_recorded_as(digest, _kind_of(*content)):
                self._key = key
        return self.key

    @property
    def view(self) -> CallView:
        """The call as a matcher sees it."""
        if self._view is None:
            call, target = self.call, self._target
            self._view = CallView(
                call.lib,
                call.method,
                target.url or None,
                target.query,
                self.headers,
                self.body.data or None,
                self.signer.without_ignored(call.lib, self.args),
            )
        return self._view


_NO_TARGET = Target("", None, {}, (), ())
_NO_BODY = RedactedBody(b"", (), False)


def key_of(signature: EventSignature) -> Key:
    """The key of a recorded signature."""
    target = same_target(signature.url) if signature.url is not None else None
    return Key(signature.lib, signature.method, target, _query_key(signature.query), signature.body_hash)


def _recorded_body_hash(call: CallSnapshot, data: Any, body_hash: str | None) -> str | None:
    """The hash of a recorded body in the form in which bodies are compared now.

    Older recordings have the hash of the encoded bytes, and of bytes with trace context.
    """
    if not isinstance(data, bytes) or body_hash in _OF_NO_BODY:
        return body_hash
    if "content-encoding" not in call.headers and not may_be_traced(data):
        return body_hash
    return hashlib.sha256(plain_body(data, header_pairs(call.headers))).hexdigest()


def in_buckets(*values: Any) -> Hashable:
    """What is the same for equal values, and can be looked up; None where that is not known of one of them."""
    found = [_bucket(value) for value in values]
    return None if None in found else tuple(found)


def _bucket(value: Any) -> Hashable:
    if value is None:
        return ()
    if isinstance(value, str):
        return str.__str__(value)
    if type(value) in (int, float, bool, bytes):
        return cast("Hashable", value)
    if type(value) is dict:
        items = [(_bucket(name), _bucket(item)) for name, item in value.items()]
        return None if any(None in pair for pair in items) else ("dict", frozenset(items))
    if type(value) in (list, tuple):
        parts = [_bucket(item) for item in value]
        return None if None in parts else (type(value).__name__, *parts)
    return None


def canonical_json(data: bytes) -> bytes | None:
    """JSON in a form in which equal content gives equal bytes; None where the data is no JSON."""
    try:
        return json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return None


def _masked(redactor: Redactor, name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_masked(redactor, name, item) for item in value]
    return redactor.parameter(name, value) if isinstance(value, str) else value


def _query_key(query: dict[str, Any]) -> Hashable:
    return tuple((name, _hashable(value)) for name, value in sorted(query.items()))


def _hashable(value: Any) -> Hashable:
    """A hashable form of a query's value, or list of values. Hand-written plugins may put anything there."""
    if isinstance(value, str):
        return value
    return tuple(map(_hashable, value)) if isinstance(value, list) else repr(value)
