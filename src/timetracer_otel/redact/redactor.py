"""`Redactor`: replaces secrets before anything is stored, and before anything is matched.

Both sides of a match are redacted, so a call with a secret finds its recording although the recording does not have
the secret. Copies are redacted, never the app's own objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_plus

from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.content_encoding import decode_body, encode_body, known_encodings
from timetracer_otel.redact.secret_names import (
    COOKIE_HEADERS,
    SECRET_FIELDS,
    SECRET_HEADERS,
    SECRET_QUERY,
    URL_HEADERS,
)
from timetracer_otel.redact.splice import (
    Edit,
    apply_edits,
    form_edits,
    json_edits,
    json_key_pattern,
    move_boundaries,
    multipart_edits,
)
from timetracer_otel.redact.urls import split_url
from timetracer_otel.types import HeaderPairs

__all__ = ["RedactedBody", "Redactor", "content_headers", "multipart_boundary"]

_REDACTED = REDACTED.encode()
_DEFAULT_RULES = ("headers", "cookies", "url userinfo", "query", "json fields", "form fields")
_NAME_RULE = "name:"
_COOKIE_ATTRIBUTES = frozenset(
    {
        b"comment",
        b"commenturl",
        b"discard",
        b"domain",
        b"expires",
        b"httponly",
        b"max-age",
        b"partitioned",
        b"path",
        b"port",
        b"priority",
        b"samesite",
        b"secure",
        b"version",
    }
)
"""Attributes of ``Set-Cookie``, which are no cookies: RFC 6265, 2109 and 2965, and those of browsers. They stay as
they are, since a cookie jar refuses, for instance, a cookie whose version it does not know."""


class RedactedBody(NamedTuple):
    """A body after redaction. ``changed`` is False where nothing was replaced: ``data`` is the same object then."""

    data: bytes
    sizes: Sequence[int]
    changed: bool
    content_type: bytes = b""
    encoding: bytes = b""
    """``content-type`` and ``content-encoding``, as in the headers; empty where there is no body."""


class Redactor:
    """The rules of one session. Immutable, so safe from any thread.

    Args:
        mode: ``"default"``, or ``"off"`` for none.
        extra: Names that are secret besides the default ones, in headers, queries and fields alike.
    """

    def __init__(self, mode: str = "default", extra: Sequence[str] = ()) -> None:
        self.active: bool = mode != "off"
        more = frozenset(name.lower() for name in extra)
        self._extra = more
        self._headers = SECRET_HEADERS | more
        self._fields = SECRET_FIELDS | more
        self._query = SECRET_QUERY | more
        self._json_keys = json_key_pattern(self._fields)
        self.url: Callable[[str], str] = lru_cache(maxsize=4096)(self._url)

    @classmethod
    def of(cls, mode: str, extra: Sequence[str]) -> Redactor:
        """The redactor of these rules. All callers share it, and so its cache of URLs: apps call the same few URLs
        again and again.
        """
        return _redactor(mode, tuple(extra))

    @property
    def rules(self) -> list[str]:
        """The rules as the cassette's header has them. `from_rules` makes an equal redactor of them."""
        if not self.active:
            return []
        return [*_DEFAULT_RULES, *(_NAME_RULE + name for name in sorted(self._extra))]

    @classmethod
    def from_rules(cls, mode: str, rules: Sequence[str]) -> Redactor:
        """The redactor that a cassette was recorded with."""
        return cls.of(mode, cls.names_in(rules))

    @staticmethod
    def names_in(rules: Sequence[str]) -> list[str]:
        """The extra names of a list of `rules`."""
        return [rule.removeprefix(_NAME_RULE) for rule in rules if rule.startswith(_NAME_RULE)]

    def is_secret_parameter(self, name: str) -> bool:
        """Whether the value of a query parameter is replaced."""
        return self.active and name.lower() in self._query

    def is_secret_field(self, name: str) -> bool:
        """Whether the value of a field (of a JSON object, a form, a table) is replaced."""
        return self.active and name.lower() in self._fields

    def _url(self, url: str) -> str:
        """The URL with secret parameters in query and fragment replaced, and user information as well."""
        if not self.active or ("?" not in url and "@" not in url and "#" not in url):
            return url
        parts = split_url(url)
        netloc = parts.netloc
        if netloc is not None and "@" in netloc:
            netloc = f"{quote(REDACTED)}@{netloc.rpartition('@')[2]}"
        # OAuth puts tokens into fragments (RFC 6749 section 4.2.2). A fragment may begin with a path of its own
        # ("#/in?token=").
        fragment = parts.fragment and "?".join(self._fields_of_url(part) for part in parts.fragment.split("?"))
        query = parts.query and self._fields_of_url(parts.query)
        return parts._replace(netloc=netloc, query=query, fragment=fragment).unsplit()

    def _fields_of_url(self, fields: str) -> str:
        return "&".join(self._query_field(field) for field in fields.split("&"))

    def _query_field(self, field: str) -> str:
        name, _, value = field.partition("=")
        return f"{name}={quote(REDACTED)}" if value and unquote_plus(name).lower() in self._query else field

    def headers(self, pairs: HeaderPairs) -> tuple[tuple[bytes, bytes], ...]:
        """Header lines with secrets replaced."""
        if not self.active:
            return tuple(pairs)
        return tuple((name, self._header(name.decode("latin-1").lower(), value)) for name, value in pairs)

    def _header(self, name: str, value: bytes) -> bytes:
        if name in self._headers:
            return _REDACTED
        if name in COOKIE_HEADERS:
            return _redact_cookies(value, name == "set-cookie")
        if name in URL_HEADERS:
            text = value.decode("latin-1")
            redacted = self.url(text)
            return value if redacted == text else redacted.encode("latin-1")
        return value

    def body(self, data: bytes, headers: HeaderPairs, sizes: Sequence[int] = ()) -> RedactedBody:
        """A body with secret fields replaced, by the content type and content encoding that its headers name.

        A compressed body is decoded to look, and compressed again only where something was replaced; chunk
        sizes follow the edits, or stay in proportion where the body was compressed.
        """
        if not data:
            return RedactedBody(data, sizes, False)
        content_type, coding = content_headers(headers)
        unchanged = RedactedBody(data, sizes, False, content_type, coding)
        if not self.active:
            return unchanged
        for plain, encoding in _readings(data, coding.decode("latin-1")):
            edits = self._edits(plain, content_type)
            if not edits:
                continue
            redacted = apply_edits(plain, edits)
            if plain is data:
                return RedactedBody(redacted, move_boundaries(sizes, edits), True, content_type, coding)
            encoded = encode_body(redacted, encoding)
            return RedactedBody(encoded, _in_proportion(sizes, len(encoded)), True, content_type, coding)
        return unchanged

    def is_damaged(self, data: bytes, headers: HeaderPairs) -> bool:
        """Whether a body is damaged, so that decoding it by its headers fails. A redacted body would decode, so the
        app would not get the same error.
        """
        encoding = known_encodings(content_headers(headers)[1].decode("latin-1"))
        return decode_body(data, encoding) is None and decode_body(data, encoding, damaged_too=True) is not None

    def _edits(self, data: bytes, content_type: bytes) -> list[Edit]:
        kind = content_type.partition(b";")[0].strip().lower()
        if kind == b"application/x-www-form-urlencoded":
            return list(form_edits(data, self._fields))
        if kind.startswith(b"multipart/"):
            boundary = multipart_boundary(content_type)
            return list(multipart_edits(data, boundary, self._fields, self._json_keys)) if boundary else []
        textual = b"json" in kind or kind.startswith(b"text/") or (not kind and data.lstrip()[:1] in (b"{", b"["))
        return list(json_edits(data, self._json_keys)) if textual else []

    def value(self, value: Any) -> Any:
        """Arguments of a call that is no HTTP, with the values of secret keys replaced at any depth."""
        if not self.active:
            return value
        if type(value) is dict:
            return {key: self._entry(key, item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.value(item) for item in value)
        return value

    def _entry(self, key: Any, item: Any) -> Any:
        name = key.decode("latin-1") if type(key) is bytes else key
        if type(name) is not str or name.lower() not in self._fields or item is None:
            return self.value(item)
        return _REDACTED if type(item) is bytes else REDACTED


def _readings(data: bytes, coding: str) -> Iterator[tuple[bytes, str]]:
    """The readings of a body, each with the encoding that it was decoded from: decoded, in part, and as it is."""
    encoding = known_encodings(coding) if coding else ""
    plain = decode_body(data, encoding) if encoding else data
    if plain is not None:
        yield plain, encoding
        return
    # The body is damaged, or is not encoded although its headers say so. Both readings are searched for secrets.
    plain = decode_body(data, encoding, damaged_too=True)
    if plain is not None:
        yield plain, encoding
    yield data, ""


def content_headers(headers: HeaderPairs) -> tuple[bytes, bytes]:
    """The last ``content-type``, and all of ``content-encoding`` in one; empty where they are missing."""
    content_type = encoding = b""
    for name, value in headers:
        # Both names begin with "c", and few others do. To check that first is cheaper than to lower each name.
        if name[:1] in (b"c", b"C"):
            lowered = name.lower()
            if lowered == b"content-type":
                content_type = value
            elif lowered == b"content-encoding":
                encoding = encoding + b", " + value if encoding else value
    return content_type, encoding


def multipart_boundary(content_type: bytes) -> bytes:
    """The boundary parameter of a multipart content type; empty where there is none."""
    for parameter in content_type.split(b";")[1:]:
        name, _, value = parameter.strip().partition(b"=")
        if name.lower() == b"boundary":
            return value.strip(b'"')
    return b""


def _redact_cookies(value: bytes, sets_one: bool) -> bytes:
    pieces = []
    for position, piece in enumerate(value.split(b";")):
        name, equals, content = piece.partition(b"=")
        if sets_one and position > 0 and (not equals or name.strip().lower() in _COOKIE_ATTRIBUTES):
            pieces.append(piece)
        elif not equals:
            # A cookie without a name.
            pieces.append(piece.replace(piece.strip(), _REDACTED) if piece.strip() else piece)
        else:
            pieces.append(name + equals + (_REDACTED if content else b""))
    return b";".join(pieces)


def _in_proportion(sizes: Sequence[int], total: int) -> list[int]:
    before = sum(sizes)
    if not before:
        return []
    position = cut = 0
    scaled = []
    for size in sizes:
        position += size
        boundary = total * position // before
        scaled.append(boundary - cut)
        cut = boundary
    return scaled


@lru_cache(maxsize=16)
def _redactor(mode: str, extra: tuple[str, ...]) -> Redactor:
    return Redactor(mode, extra)
