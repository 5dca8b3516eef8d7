"""`Redactor`: masks secrets by their names, so that calls are compared without them.

Both sides of a match are masked, so a call with a secret finds its recording although the recording does not have the
secret. What is stored has a pseudonym in place of each secret: see `timetracer_otel.redact.pseudonymiser`. Copies are
changed, never the app's own objects.
"""

from __future__ import annotations

import base64
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_plus

from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.content_encoding import (
    PACKED,
    OpaqueError,
    decode_body,
    decoded_bound,
    encode_body,
    known_encodings,
    look_into,
    unpacked,
)
from timetracer_otel.redact.echoes import echoes_in_json
from timetracer_otel.redact.errors import as_bytes, with_leaves
from timetracer_otel.redact.judgement import Judgement, Masks, is_escaped
from timetracer_otel.redact.messages import MEDIA_TYPE, begins_with_message, edited_messages, messages
from timetracer_otel.redact.msgpacked import MSGPACK, is_msgpack, msgpack_edits
from timetracer_otel.redact.nested import (
    PICKLE,
    base64_like,
    inflated,
    json_in_base64,
    may_have_packed_base64,
    packed_in_base64,
    with_content_changed,
    with_texts_of_pickle,
)
from timetracer_otel.redact.own_rules import OwnRules
from timetracer_otel.redact.secret_forms import ENTITIES, assigned_secrets, may_hold_assignment
from timetracer_otel.redact.secret_names import (
    COOKIE_HEADERS,
    FIRST_FIELDS,
    FIRST_HEADERS,
    FIRST_QUERY,
    SECRET_FIELDS,
    SECRET_HEADERS,
    SECRET_QUERY,
    URL_HEADERS,
)
from timetracer_otel.redact.splice import (
    MASK,
    MIXED,
    Edit,
    Replacing,
    apart,
    apply_edits,
    form_edits,
    json_edits,
    json_keys,
    json_path_edits,
    json_texts_in_base64,
    json_texts_with_quotes,
    json_values,
    may_be_name_in_json,
    mixed_parts,
    move_boundaries,
    multipart_parts,
    xml_edits,
    xml_patterns,
)
from timetracer_otel.redact.texts import OpenNames, collect, gives_in_single_quotes, gives_quoted, may_be_documents
from timetracer_otel.redact.urls import split_url
from timetracer_otel.types import AppliedPolicies, HeaderMap, HeaderPairs

__all__ = [
    "RedactedBody",
    "Redactor",
    "body_readings",
    "content_headers",
    "edited_body",
    "headers_like",
    "multipart_boundary",
]

_REDACTED = REDACTED.encode()
_first = itemgetter(0)
_DEFAULT_RULES = ("headers", "cookies", "url userinfo", "query", "json fields", "form fields")
_NAME_RULE = "name:"
_NO_PLACES = (_NAME_RULE, "pattern:", "function:")
_SHORTEST_TEXT = 8
_GIVES_ESCAPED = re.compile(rb'[:=]\s*\\+"|\\+"\s*:')
"""A value in quotes, or a name of JSON: its value may be a number or a list."""
_BASE64_OF_JSON = re.compile(rb'"(?:ey[JA]|ewog|W[1-3y])[A-Za-z0-9+/_-]{10}')
_DOCUMENTS = (PICKLE, *PACKED)
_QUOTES = frozenset({b"'", b'"', b"`"})
_TEXTS = frozenset(
    b"application/" + kind
    for kind in (
        b"yaml",
        b"x-yaml",
        b"toml",
        b"javascript",
        b"x-javascript",
        b"ecmascript",
        b"graphql",
        b"sql",
        b"x-sh",
    )
)
_OF_ECHOES = ("loc",)
"""The key beside which a validator repeats an input."""
_MOST_NAMES = 1024
_BRACKETS: frozenset[str | bytes] = frozenset({"{", "[", b"{", b"["})
_OPENING = frozenset(b"{[")
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
    """A body after redaction. ``changed`` is False where nothing was replaced: ``data`` is the same object then.
    Where ``opaque`` is set, ``data`` was not looked into, and must not be kept.
    """

    data: bytes
    sizes: Sequence[int]
    changed: bool
    content_type: bytes = b""
    encoding: bytes = b""
    """``content-type`` and ``content-encoding``, as in the headers; empty where there is no body."""
    opaque: str = ""
    """Why the body cannot be looked into: the end of a sentence about it."""


def _nothing(*_: object) -> None:
    """Nobody wants to know."""


class Redactor:
    """The rules of one session. Immutable, so safe from any thread.

    Args:
        mode: ``"default"``, or ``"off"`` for none.
        extra: Names that are secret besides the default ones, in headers, queries and fields alike.
        rules: The setting ``redact_rules``.
        first: Whether to mask as for the first recordings, which have no pseudonyms: only what is secret by the names
            of that time, and no free text.
    """

    renames: bool = False
    """Whether secrets get pseudonyms, and not all the same text."""
    _masks: Replacing = MASK
    notes_later: Callable[[bytes], object] = staticmethod(_nothing)
    """Called with a body. Whether somebody else will `note` it."""
    found_open: Callable[[Any, list[str], list[bytes]], object] = staticmethod(_nothing)
    """Called with a value that has no secret by its name, and with the texts and bytes in it."""

    holds_packed: Callable[[], object] = staticmethod(_nothing)
    """Called where a packed file stands in base64 in JSON: a search through that text does not see what is in it."""

    def __init__(
        self, mode: str = "default", extra: Sequence[str] = (), rules: Sequence[Any] = (), *, first: bool = False
    ) -> None:
        self.mode: str = mode
        self.active: bool = mode != "off"
        self.own: OwnRules = OwnRules.of(rules)
        more = frozenset(name.lower() for name in extra) | self.own.names
        self._first = first
        self._extra = more
        self._headers = (FIRST_HEADERS if first else SECRET_HEADERS) | more
        self._fields = (FIRST_FIELDS if first else SECRET_FIELDS) | more
        self._query = (FIRST_QUERY if first else SECRET_QUERY) | more
        self._json_keys = json_keys(self._fields, besides=_OF_ECHOES)
        encoded = (name.encode("utf-8", "surrogatepass") for name in self._fields)
        self._names_apart = tuple(name for name in encoded if not may_hold_assignment(name))
        """The names that `may_hold_assignment` does not look for."""
        self.open_fields: OpenNames = OpenNames(self._fields)
        self._open_headers: set[bytes] = set()
        """Names of headers that have no secrets, as they were written. Clients have few, and repeat them."""
        self.rules_by_name: Redactor = self
        self._judgement: Judgement | None = None
        """None for the first recordings, in which every value under a secret name is masked."""
        if not first:
            self._judgement = Judgement(self._fields, lambda url: self.url(url))
            self._masks = Masks(self._judgement)
        self.url: Callable[[str], str] = lru_cache(maxsize=4096)(self._url)

    @classmethod
    def of(cls, mode: str, extra: Sequence[str], rules: Sequence[Any] = ()) -> Redactor:
        """The redactor of these rules. All callers share it, and so its cache of URLs: apps call the same few URLs
        again and again.
        """
        return _redactor(mode, tuple(extra), tuple(rules), False)

    @property
    def has_rules_of_places(self) -> bool:
        """Whether a rule of the user's judges a value by where it stands, or by a text as a whole."""
        own = self.own
        return bool(own.paths or own.columns or own.keys or own.finders)

    @property
    def rules(self) -> list[str]:
        """The rules as the cassette's header has them. `from_rules` makes an equal redactor of them."""
        if not self.active:
            return []
        return [*_DEFAULT_RULES, *(_NAME_RULE + name for name in sorted(self._extra)), *self.own.texts]

    @classmethod
    def from_policies(cls, policies: AppliedPolicies) -> Redactor:
        """The redactor by which calls are compared with those of a cassette."""
        return _redactor(
            policies.redaction_mode,
            tuple(cls.names_in(policies.redaction_rules)),
            tuple(cls.places_in(policies.redaction_rules)),
            not policies.pseudonymised,
        )

    @classmethod
    def from_rules(cls, mode: str, rules: Sequence[str]) -> Redactor:
        """The redactor that has these `rules`."""
        return cls.of(mode, cls.names_in(rules), cls.places_in(rules))

    @staticmethod
    def names_in(rules: Sequence[str]) -> list[str]:
        """The extra names of a list of `rules`."""
        return [rule.removeprefix(_NAME_RULE) for rule in rules if rule.startswith(_NAME_RULE)]

    @staticmethod
    def places_in(rules: Sequence[str]) -> list[str]:
        """The places of a list of `rules`. An expression of a cassette is not run: it may take for ever."""
        return [rule for rule in rules if ":" in rule and not rule.startswith(_NO_PLACES)]

    def is_secret_column(self, tables: Iterable[str], name: str) -> bool:
        """Whether the value of a column is replaced, in a statement about these tables."""
        if self.is_secret_field(name):
            return True
        return self.active and bool(self.own.columns) and self.own.is_column(tables, name)

    def is_secret_parameter(self, name: str) -> bool:
        """Whether the value of a query parameter is replaced."""
        return self.active and name.lower() in self._query

    def secret(self, value: Any, name: str = "", otherwise: Callable[[Any], Any] | None = None) -> Any:
        """What takes the place of a value under a secret name.

        Args:
            value: Of any type.
            name: The name, where there is one.
            otherwise: Gives a value of the same type that tells nothing. Without it, a text does.
        """
        if otherwise is not None:
            return otherwise(value)
        if not self._is_secret(value, name):
            return value
        return _REDACTED if type(value) is bytes else REDACTED

    def _is_secret(self, value: Any, name: str = "") -> bool:
        return self._judgement is None or self._judgement.is_secret(value, name)

    def parameter(self, name: str, value: str) -> str:
        """The value of a query's parameter, decoded, as it is kept and compared."""
        return self.secret(value, name.lower()) if value and self.is_secret_parameter(name) else value

    def text(self, text: str) -> str:
        """A text of no known syntax, with the values replaced that it gives to secret names (``password = 'x'``)."""
        if not self.active or self._first or ("\n" not in text and len(text) < _SHORTEST_TEXT):
            return text
        data = text.encode("utf-8", "surrogatepass")
        edits = self._edits_of_text(data)
        return apply_edits(data, edits).decode("utf-8", "surrogatepass") if edits else text

    def _edits_of_text(self, data: bytes, *, quoted: bool = False) -> list[Edit]:
        """The values that a text gives to secret names; ``quoted``: those in quotes alone."""
        return [
            Edit(start, stop, _REDACTED)
            for start, stop in assigned_secrets(data, self._fields)
            if (not quoted or data[start - 1 : start] in _QUOTES or data.endswith(ENTITIES, 0, start))
            and self._is_assigned(data, start, stop)
        ]

    def _is_assigned(self, data: bytes, start: int, stop: int) -> bool:
        """Whether a value that a text gives to a secret name is a secret. Code has escapes in quotes, as JSON has."""
        if self._judgement is not None and is_escaped(data, start, stop):
            return self._judgement.is_secret_json(data, start - 1, stop + 1, "")
        return self._is_secret(data[start:stop])

    def _edits_of_json(self, data: bytes) -> list[Edit]:
        """The values of secret keys, and those in texts that are JSON or code: GraphQL, a message of a queue, what
        Python shows of an object, JSON in base64.
        """
        edits: list[Edit] = []
        is_open = not self._json_keys.may_be_in(data)
        if not is_open:
            edits += json_edits(data, self._json_keys, self)
        if self._first:
            return edits
        text = data.decode("latin-1")
        if not is_open and '"loc"' in text and '"input"' in text:
            # A key of a document may stand for any step of a path.
            paths = [path for path in echoes_in_json(data, self._is_secret_anywhere) if "*" not in path]
            edits = apart([*edits, *json_path_edits(data, paths, self)])
        signs = self._signs_of_documents(data, text)
        if signs is None:
            return edits
        quoted, packed, files = signs
        places = set(json_texts_in_base64(data)) if packed or files else set()
        if quoted:
            places.update(json_texts_with_quotes(data))
        names: dict[int, str | None] | None = None
        for start, stop in sorted(places):
            inner = data[start:stop]
            is_quoted = quoted and _gives_quoted(inner) and self._may_hold_names(inner)
            if not is_quoted and not packed and not files:
                continue
            if not is_open or may_be_name_in_json(data, stop):
                # To find what is a name, and under which name each text stands, takes longer than all else.
                if names is None:
                    names = {at: name for at, _, name in json_values(data)}
                if start not in names or names[start] in self._fields:
                    continue
            if packed and (document := json_in_base64(inner[1:-1])) is not None:
                made_document = self._document(document[0])
                if made_document != document[0]:
                    made_text = base64.b64encode(made_document, document[1])
                    edits.append(Edit(start, stop, b'"' + made_text + b'"'))
                continue
            if files and (file := packed_in_base64(inner[1:-1])) is not None:
                made_file = self._file_in_base64(file)
                if made_file != file:
                    edits.append(Edit(start, stop, b'"' + base64_like(inner, made_file) + b'"'))
                continue
            if not is_quoted:
                continue
            try:
                plain: str = json.loads(inner)
            except ValueError:
                continue
            made = self._document(plain) if plain[:1] in _BRACKETS else plain
            # A query of GraphQL begins with a brace, too. What is JSON has been judged by its names.
            if made == plain and not (plain[:1] in _BRACKETS and _is_json(plain)):
                made = self._code(plain)
            if made != plain:
                edits.append(Edit(start, stop, json.dumps(made, ensure_ascii=inner.isascii()).encode()))
        return apart(edits)

    def may_change_json(self, data: bytes, squeezed: bytes) -> bool:
        """Whether something would be replaced in one of several documents of JSON, which stand in one text.

        Args:
            data: The text.
            squeezed: See `squeezed_json`.
        """
        if self._json_keys.may_be_in(data, squeezed):
            return True
        return self._signs_of_documents(data, data.decode("latin-1")) is not None

    def _signs_of_documents(self, data: bytes, text: str) -> tuple[bool, bool, bool] | None:
        """What may stand in the texts of JSON: values in quotes, JSON in base64, packed files in base64.

        None where there is none of them.

        Args:
            data: The JSON.
            text: The same, each byte as a character.
        """
        # To look for one character takes a tenth of the time of two, and most texts have none of these.
        quoted = ("'" in text or "\\" in text) and _gives_quoted(data) and self._may_hold_names(data)
        may_be_packed = (
            ("J" in text and "eyJ" in text)
            or ("A" in text and "eyA" in text)
            or ("w" in text and "ewog" in text)
            or ("W" in text and '"W' in text)
        )
        packed = may_be_packed and _BASE64_OF_JSON.search(data) is not None
        files = may_have_packed_base64(text)
        return (quoted, packed, files) if quoted or packed or files else None

    def reads_as_json(self, data: bytes, content_type: str) -> bool:
        """Whether nothing can be replaced in a body but what `may_change_json` tells of.

        Args:
            data: The body, which has no content encoding.
            content_type: As the headers have it.
        """
        # What is packed begins with no bracket.
        is_json, has_name = _json_type(content_type)
        return (
            data[0] in _OPENING if not has_name else is_json and (data[0] in _OPENING or not data.startswith(PACKED))
        )

    def _file_in_base64(self, file: bytes) -> bytes:
        """A packed file that stands in base64, with its secrets replaced."""
        self.holds_packed()
        if self.renames:
            with suppress(OpaqueError):
                self.note(inflated(file) or b"")
        return with_content_changed(file, self._document) or file

    def _is_secret_anywhere(self, name: str) -> bool:
        """Whether a name is that of a secret field, header or parameter."""
        return name in self._fields or name in self._headers or name in self._query

    def _code(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        edits = self._edits_of_text(data, quoted=True)
        return apply_edits(data, edits).decode("utf-8", "surrogatepass") if edits else text

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
            user, _, host = netloc.rpartition("@")
            netloc = f"{self._userinfo(user)}@{host}"
        # OAuth puts tokens into fragments (RFC 6749 section 4.2.2). A fragment may begin with a path of its own
        # ("#/in?token=").
        fragment = parts.fragment and "?".join(self._fields_of_url(part) for part in parts.fragment.split("?"))
        query = parts.query and self._fields_of_url(parts.query)
        return parts._replace(netloc=netloc, query=query, fragment=fragment).unsplit()

    def _fields_of_url(self, fields: str) -> str:
        return "&".join(self._query_field(field) for field in fields.split("&"))

    def _userinfo(self, user: str) -> str:
        return quote(REDACTED)

    def _query_field(self, field: str) -> str:
        name, _, value = field.partition("=")
        plain = unquote_plus(name).lower()
        return f"{name}={self._query_value(value, plain)}" if value and plain in self._query else field

    def _query_value(self, value: str, name: str) -> str:
        plain = unquote_plus(value, errors="surrogateescape")
        return quote(REDACTED) if self._is_secret(plain, name) else value

    def headers(self, pairs: HeaderPairs) -> tuple[tuple[bytes, bytes], ...]:
        """Header lines with secrets replaced."""
        if not pairs or not self.active:
            return tuple(pairs)
        known = self._open_headers
        # Most calls have no secret in their headers. To ask for all names at once takes a third of the time.
        if known.issuperset(map(_first, pairs)):
            return tuple(pairs)
        return self._header_lines(pairs)

    def are_open_headers(self, names: Iterable[bytes]) -> bool:
        """Whether these names of headers are known to be those of no secret."""
        return self._open_headers.issuperset(names)

    def _header_lines(self, pairs: HeaderPairs) -> tuple[tuple[bytes, bytes], ...]:
        known = self._open_headers
        return tuple([line if line[0] in known else self._header_line(line) for line in pairs])

    def _header_line(self, line: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        raw, value = line
        name = raw.decode("latin-1").lower()
        if name in self._headers:
            return raw, self._secret_header(value, name)
        if name in COOKIE_HEADERS:
            return raw, self._cookies(value, name == "set-cookie")
        if name in URL_HEADERS:
            text = value.decode("latin-1")
            redacted = self.url(text)
            return line if redacted == text else (raw, redacted.encode("latin-1"))
        if len(self._open_headers) < _MOST_NAMES:
            self._open_headers.add(raw)
        return line

    def _secret_header(self, value: bytes, name: str) -> bytes:
        return _REDACTED

    def _cookies(self, value: bytes, sets_one: bool) -> bytes:
        pieces = []
        for position, piece in enumerate(value.split(b";")):
            name, equals, content = piece.partition(b"=")
            if sets_one and position > 0 and (not equals or name.strip().lower() in _COOKIE_ATTRIBUTES):
                pieces.append(piece)
            elif not equals:
                # A cookie without a name.
                bare = piece.strip()
                pieces.append(piece.replace(bare, self._cookie(bare, b"")) if bare else piece)
            else:
                pieces.append(name + equals + (self._cookie(content, name.strip().lower()) if content else b""))
        return b";".join(pieces)

    def _cookie(self, content: bytes, name: bytes) -> bytes:
        return _REDACTED

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
        try:
            if not coding and not data.startswith(PACKED):
                edits = self._edits(data, content_type)
                if not edits:
                    return unchanged
                return edited_body(data, data, "", edits, sizes)._replace(content_type=content_type, encoding=coding)
            for plain, encoding in body_readings(data, coding.decode("latin-1")):
                edits = self._edits(plain, content_type)
                if edits:
                    return edited_body(data, plain, encoding, edits, sizes)._replace(
                        content_type=content_type, encoding=coding
                    )
        except OpaqueError as fault:
            return unchanged._replace(opaque=str(fault))
        return unchanged

    def is_damaged(self, data: bytes, headers: HeaderPairs) -> bool:
        """Whether a body is damaged, so that decoding it by its headers fails, or unpacking it. A redacted body would
        decode, so the app would not get the same error.
        """
        encoding = known_encodings(content_headers(headers)[1].decode("latin-1"))
        plain = decode_body(data, encoding)
        if plain is None:
            return decode_body(data, encoding, damaged_too=True) is not None
        try:
            return unpacked(plain, decoded_bound(len(data))).is_damaged
        except OpaqueError:
            return False

    def _edits(self, data: bytes, content_type: bytes) -> list[Edit]:
        kind = _media(content_type)
        if self.renames:
            if kind.is_no_text:
                return []
            # A part of several may be packed: then a search through the whole body does not see what is in it.
            if kind.is_multipart or not self.notes_later(data):
                self.note(data)
        if kind.is_json and not self.own.paths:
            # Most bodies are JSON: they take the shortest way.
            return self._edits_of_json(data)
        if kind.is_multipart:
            edits_of = self._edits_of_mixed if kind.name == MIXED else self._edits_of_parts
            return list(edits_of(data, kind.boundary)) if kind.boundary else []
        if kind.name == MEDIA_TYPE and begins_with_message(data):
            return [
                Edit(message.payload + edit.start, message.payload + edit.stop, edit.text)
                for message in messages(data)
                for edit in self._edits_by_media(
                    data[message.payload : message.payload_end], _media(message.content_type)
                )
            ]
        return self._edits_by_media(data, kind)

    def _edits_of_mixed(self, data: bytes, boundary: bytes) -> Iterator[Edit]:
        """Those of a body whose parts are bodies with headers of their own.

        Raises:
            OpaqueError: A part cannot be looked into.
        """
        for part in mixed_parts(data, boundary):
            lines = zip(part.lines, self.headers(part.lines), part.places, strict=True)
            for (_, before), (_, after), place in lines:
                if before != after:
                    yield Edit(place, place + len(before), after)
            content = data[part.start : part.stop]
            if content and part.name in self._fields:
                replaced = self.in_part(content, part.name)
                if replaced is not None:
                    yield Edit(part.start, part.stop, replaced)
                continue
            made = self.body(content, part.lines)
            if made.opaque:
                raise OpaqueError(made.opaque)
            if made.changed:
                yield Edit(part.start, part.stop, made.data)

    def _edits_of_parts(self, data: bytes, boundary: bytes) -> Iterator[Edit]:
        """Those of a multipart body.

        Raises:
            OpaqueError: A part cannot be looked into.
        """
        for part in multipart_parts(data, boundary):
            content = data[part.start : part.stop]
            kind = _media(part.content_type)
            if part.name in self._fields:
                made = self.in_part(content, part.name)
                if made is not None:
                    yield Edit(part.start, part.stop, made)
            elif content.startswith(PACKED) and not self._first and not kind.is_no_text:
                made = self._packed_part(content, kind)
                if made is not content:
                    yield Edit(part.start, part.stop, made)
            else:
                json_too = kind.is_json or content[:1] in _BRACKETS
                found = self._edits_at_paths(content) if json_too else []
                if not found and kind.name and not self._first:
                    found = self._edits_by_media(content, kind)
                for edit in found:
                    yield Edit(part.start + edit.start, part.start + edit.stop, edit.text)

    def _packed_part(self, content: bytes, kind: _Media) -> bytes:
        """A part that is a packed file, with its secrets replaced; the same object where it has none."""
        found = unpacked(content)
        if not found.layers:
            return content
        if self.renames:
            self.note(found.content)
        edits = self._edits_by_media(found.content, kind)
        if not edits:
            return content
        if found.is_damaged:
            raise OpaqueError("has a part that is damaged in its encoding, and has a secret")
        return edited_body(content, found.content, found.encoding, edits, ()).data

    def _edits_by_media(self, data: bytes, kind: _Media) -> list[Edit]:
        """Those of a body, or of a part of one, that has no parts itself."""
        if kind.is_json:
            return self._edits_at_paths(data) if self.own.paths else self._edits_of_json(data)
        if kind.is_form:
            return list(form_edits(data, self._fields, self))
        if kind.is_msgpack:
            return self._edits_of_msgpack(data)
        if kind.is_text or ((not kind.name or not self._first) and data.lstrip()[:1] in _BRACKETS):
            edits = self._edits_at_paths(data)
            if edits or self._first:
                return edits
        if self._first:
            return []
        if kind.is_xml or data.lstrip()[:1] == b"<":
            edits = list(xml_edits(data, xml_patterns(self._fields), self))
            return apart([*edits, *self._edits_of_text(data, quoted=True)] if kind.is_html else edits)
        if kind.is_text or kind.is_code:
            # In code, a word behind a name is the name of something else.
            return self._edits_of_text(data, quoted=kind.is_script)
        return []

    def _edits_at_paths(self, data: bytes) -> list[Edit]:
        """Those of JSON, with the values at the paths that rules name."""
        edits = self._edits_of_json(data)
        if self.own.paths:
            edits = apart([*edits, *json_path_edits(data, self.own.paths, self)])
        return edits

    def note(
        self, data: bytes, long: list[bytes] | None = None, lowered: Callable[[], Sequence[bytes]] | None = None
    ) -> None:
        """Take note of what is secret by its form in a text. Nobody does where secrets are only masked."""

    def value(self, value: Any) -> Any:
        """Arguments of a call that is no HTTP, with the values of secret keys replaced at any depth.

        The same object where nothing in it may be secret by its name.
        """
        if not self.active:
            return value
        texts: list[str] = []
        raw: list[bytes] = []
        if not collect(value, texts, raw, self.open_fields) or (
            not self._first and ((texts and may_be_documents(texts)) or (raw and may_be_documents(raw)))
        ):
            made = self._redacted(value)
            if made is not value:
                return made
        self.found_open(value, texts, raw)
        return value

    def _redacted(self, value: Any) -> Any:
        kind = type(value)
        if kind is dict:
            entries = {key: self._entry(key, item) for key, item in value.items()}
            return value if all(map(operator.is_, entries.values(), value.values())) else entries
        if kind is list or kind is tuple:
            items = [self._redacted(item) for item in value]
            return value if all(map(operator.is_, items, value)) else kind(items)
        if self._first:
            return value
        if kind is bytearray or kind is memoryview:
            return as_bytes(value, self._document)
        return self._document(value) if kind is str or kind is bytes else value

    def _entry(self, key: Any, item: Any) -> Any:
        name = key.decode("latin-1") if type(key) is bytes else key
        if type(name) is not str or name.lower() not in self._fields or item is None:
            return self._redacted(item)
        return self.secret(item, name.lower())

    def _document(self, value: Any) -> Any:
        """A text or bytes among the arguments, such as the value of a key in Redis: JSON, a pickle, either of them
        compressed, or a text that gives a value in quotes to a secret name.
        """
        data = value if type(value) is bytes else value.encode("utf-8", "surrogatepass")
        if type(value) is bytes and data.startswith(_DOCUMENTS):
            return self._packed_document(data)
        if type(value) is bytes and data[:1] in MSGPACK and (packed_edits := self._edits_of_msgpack(data)):
            return apply_edits(data, packed_edits)
        edits = self._edits_of_json(data) if data[:1] in _BRACKETS else []
        if not edits and gives_quoted(data.decode("latin-1")):
            # Python shows an object with braces, too.
            edits = self._edits_of_text(data, quoted=True)
        if not edits:
            return value
        made = apply_edits(data, edits)
        return made if type(value) is bytes else made.decode("utf-8", "surrogatepass")

    def documents(self, value: Any) -> Any:
        """A value with secrets replaced in the packed documents in it. An error has those that it was given."""
        return with_leaves(value, self._packed_leaf) if self.active and not self._first else value

    def _packed_leaf(self, leaf: Any) -> Any:
        if type(leaf) is bytearray or type(leaf) is memoryview:
            return as_bytes(leaf, self._packed_leaf)
        is_packed = type(leaf) is bytes and (leaf.startswith(_DOCUMENTS) or leaf[:1] in MSGPACK)
        return self._document(leaf) if is_packed else leaf

    def _packed_document(self, data: bytes) -> bytes:
        made = with_content_changed(data, self._document)
        if made is not None:
            return made
        if not data.startswith(PICKLE) or not self._may_hold_names(data):
            return data
        return with_texts_of_pickle(data, self._pickled)

    def _edits_of_msgpack(self, data: bytes) -> list[Edit]:
        if not self._may_hold_names(data):
            return []
        return msgpack_edits(
            data,
            lambda leaf: leaf if type(leaf) is int else self._document(leaf),
            self._fields,
            lambda item, name: self.secret(item, name),
        )

    def _may_hold_names(self, data: bytes) -> bool:
        """Whether a secret name may stand in a document."""
        if may_hold_assignment(data):
            return True
        lowered = data.lower()
        return any(name in lowered for name in self._names_apart)

    def _pickled(self, text: str | bytes, name: str | bytes | None) -> str | bytes:
        plain = name.decode("latin-1") if isinstance(name, bytes) else name
        if plain is not None and text and plain.lower() in self._fields:
            made: str | bytes = self.secret(text, plain.lower())
        else:
            made = self._document(text)
        return text if made == text else made

    # The protocol `Replacing`

    def in_json(self, data: bytes, start: int, stop: int, name: str) -> bytes | None:
        """What takes the place of a JSON value."""
        return self._masks.in_json(data, start, stop, name)

    def in_form(self, value: bytes, name: str) -> bytes | None:
        """What takes the place of a form's field."""
        return self._masks.in_form(value, name)

    def in_part(self, value: bytes, name: str) -> bytes | None:
        """What takes the place of bytes without escapes."""
        return self._masks.in_part(value, name)

    def in_xml(self, value: bytes, name: str) -> bytes | None:
        """What takes the place of a text in XML."""
        return self._masks.in_xml(value, name)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _gives_quoted(data: bytes) -> bool:
    """The same in a text of JSON, whose double quotes have escapes."""
    if b"'" in data and gives_in_single_quotes(data.decode("latin-1")):
        return True
    # To look for a single byte takes a tenth of the time of two.
    return b"\\" in data and b'\\"' in data and _GIVES_ESCAPED.search(data) is not None


_WITHOUT_TEXT = (b"image/", b"video/", b"audio/", b"font/", b"application/zip")


class _Media(NamedTuple):
    """What the media type of a body says about where secrets may stand in it."""

    name: bytes
    is_form: bool
    is_multipart: bool
    is_json: bool
    is_text: bool
    is_xml: bool
    is_html: bool
    is_code: bool
    is_script: bool
    is_no_text: bool
    is_msgpack: bool
    boundary: bytes


@lru_cache(maxsize=256)
def _json_type(content_type: str) -> tuple[bool, bool]:
    """Whether a media type is that of JSON, and whether there is one."""
    kind = _media(content_type.encode("latin-1", "replace"))
    return kind.is_json, bool(kind.name)


@lru_cache(maxsize=256)
def _media(content_type: bytes) -> _Media:
    name = content_type.partition(b";")[0].strip().lower()
    return _Media(
        name,
        name == b"application/x-www-form-urlencoded",
        name.startswith(b"multipart/"),
        b"json" in name and not name.startswith(b"multipart/"),
        name.startswith(b"text/"),
        b"xml" in name,
        b"html" in name,
        name in _TEXTS,
        b"script" in name or b"graphql" in name,
        name.startswith(_WITHOUT_TEXT),
        is_msgpack(name),
        multipart_boundary(content_type),
    )


def edited_body(
    data: bytes, plain: bytes, encoding: str, edits: Sequence[Edit], sizes: Sequence[int]
) -> RedactedBody:
    """A body with edits made.

    Args:
        data: The body as it is.
        plain: The same, decoded; the same object where it has no encoding.
        encoding: What it was decoded from.
        edits: Of the decoded body, in order.
        sizes: Of its chunks.

    Raises:
        OpaqueError: Encoded again, it packs so well that nobody would look into it.
    """
    made = (edited_messages if begins_with_message(plain) else apply_edits)(plain, edits)
    if plain is data:
        return RedactedBody(made, move_boundaries(sizes, edits), True)
    encoded = encode_body(made, encoding)
    if len(made) > decoded_bound(len(encoded)):
        raise OpaqueError(f"packs to {len(encoded)} bytes without its secrets")
    return RedactedBody(encoded, _in_proportion(sizes, len(encoded)), True)


def body_readings(data: bytes, coding: str) -> Iterator[tuple[bytes, str]]:
    """The readings of a body, each with the encoding that it was decoded from: decoded, in part, and as it is.

    Raises:
        OpaqueError: It cannot be looked into.
    """
    encoding = known_encodings(coding) if coding else ""
    plain = look_into(data, encoding) if encoding else data
    if plain is not None:
        # A packed file may be compressed once more to be sent.
        found = unpacked(plain, decoded_bound(len(data))) if plain.startswith(PACKED) else None
        if found is not None and found.layers:
            yield found.content, f"{found.encoding}, {encoding}" if encoding else found.encoding
        if found is None or not found.layers or found.is_damaged:
            yield plain, encoding
        return
    # The body is damaged, or is not encoded although its headers say so. Both readings are searched for secrets.
    plain = look_into(data, encoding, damaged_too=True)
    if plain is not None:
        yield plain, encoding
    yield data, ""


def first_reading(data: bytes, coding: str) -> bytes | None:
    """The first of the readings of a body; None where it cannot be looked into."""
    try:
        return next((plain for plain, _ in body_readings(data, coding)), data)
    except OpaqueError:
        return None


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


def headers_like(before: dict[str, str], lines: HeaderPairs) -> dict[str, str]:
    """Header lines in the form that the headers had before: exact, or a plain dictionary of a hand-written plugin."""
    if isinstance(before, HeaderMap):
        return HeaderMap(lines)
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in lines}


def multipart_boundary(content_type: bytes) -> bytes:
    """The boundary parameter of a multipart content type; empty where there is none."""
    for parameter in content_type.split(b";")[1:]:
        name, _, value = parameter.strip().partition(b"=")
        if name.lower() == b"boundary":
            return value.strip(b'"')
    return b""


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
def _redactor(mode: str, extra: tuple[str, ...], rules: tuple[Any, ...] = (), first: bool = False) -> Redactor:
    return Redactor(mode, extra, rules, first=first)
