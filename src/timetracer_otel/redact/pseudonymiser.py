"""`Pseudonymiser`: the redactor of a recording. It puts a pseudonym in the place of each secret that it finds.

Secrets are found by name, as `Redactor` masks them, and by form. A value under a secret name is judged by what stands
there: an object stays an object, and a word of a language model's answer stays.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias
from urllib.parse import quote, quote_plus, unquote, unquote_plus
from uuid import UUID

from timetracer_otel.constants import DRIVER_TYPE
from timetracer_otel.redact.judgement import is_escaped, is_piece_of_a_text, is_plain_address, may_be_secret, text_of
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.secret_forms import ENTITIES, SHORTEST_RUN, personal_data, well_known_secrets
from timetracer_otel.redact.secret_names import HASH_FIELDS
from timetracer_otel.redact.splice import Edit, apart, apply_edits, json_edits, json_values
from timetracer_otel.redact.value_forms import looks_plain, looks_random
from timetracer_otel.types import HeaderPairs

__all__ = ["Pseudonymiser"]

_SCHEME: Final = re.compile(r"\s*(?P<scheme>[A-Za-z][\w.+-]{1,30})(?P<space>\s+)(?P<rest>\S(?:.*\S)?)\s*", re.DOTALL)
_CREDENTIALS: Final = re.compile(r'(?P<name>[A-Za-z_][\w-]*)=(?P<value>"[^"]*"|[^,\s"]+)')
_OPEN_CREDENTIALS: Final = frozenset(
    {
        *("username", "realm", "uri", "algorithm", "qop", "nc", "signedheaders", "oauth_consumer_key", "oauth_nonce"),
        *(
            "oauth_signature_method",
            "oauth_timestamp",
            "oauth_version",
            "keyid",
            "headers",
            "created",
            "expires",
            "nonce",
        ),
        *("opaque", "version", "timestamp", "date", "userhash", "charset"),
    }
)
"""Parameters of credentials that open nothing (RFC 7616, RFC 5849, AWS signature version 4)."""
_NUMBER: Final = re.compile(r"(-?)(\d+)((?:\.\d+)?)((?:[eE][+-]?\d+)?)")
_SESSION_COOKIE: Final = re.compile(rb"sess|sid|auth|token|csrf|xsrf|jwt|sso|remember|login|secret|pass|key|id$")
_TOO_SHORT: Final = 4
_MOST_HEADERS: Final = 256

_Line: TypeAlias = tuple[bytes, bytes]


class Pseudonymiser(Redactor):
    """The rules of one recording, and its secrets. Safe from any thread.

    Args:
        rules: Which names are secret. Recordings with the same settings share it.
        pseudonyms: The secrets of the recording.

    Attributes:
        used: Called with each pseudonym that is put somewhere.
        searched: Values of headers, redacted, in which what is secret by its form was noted.
        in_urls: Called with the password of a URL that stands in a text, and with what takes its place.
    """

    renames = True

    def __init__(self, rules: Redactor, pseudonyms: Pseudonyms) -> None:
        # Each request makes one of these: what is costly to make is that of the shared rules. Nothing in it refers
        # back to it: what a circle of references holds stays in memory until Python looks for circles.
        self.__dict__ = vars(rules).copy()
        del self.url
        self.rules_by_name: Redactor = rules
        self.pseudonyms: Pseudonyms = pseudonyms
        self.used: Callable[[str], object] = _nothing
        self.in_urls: Callable[[str, str], object] = _nothing
        self.notes_later: Callable[[bytes], object] = _nothing
        self.holds_packed: Callable[[], object] = _nothing
        self._lines: dict[_Line, tuple[_Line, list[str]]] = {}
        """By the header lines whose names are not open: what they become, and the pseudonyms in them. An app sends
        the same token and cookies in each call."""
        self.searched: set[bytes] = set()

    def forget(self) -> None:
        """Forget what headers became: some pseudonyms are others now."""
        self._lines = {}
        self.searched = set()

    # What stands alone

    def secret(self, value: Any, name: str = "", otherwise: Callable[[Any], Any] | None = None) -> Any:
        """The pseudonym of a value under a secret name, of the same type."""
        kind = type(value)
        if kind is str:
            return self._composed(value, name)
        if value is None or kind is bool:
            return value
        if kind is bytes:
            text = text_of(value)
            return _bytes_of(self._composed(text, name) if text is not None else self._of(_utf8(value)))
        if name in HASH_FIELDS and isinstance(value, (int, float, Decimal)):
            return value
        if kind is int:
            return self._whole_number(value)
        if kind is float:
            return float(self._number(repr(value)))
        if kind is Decimal:
            return Decimal(self._number(str(value))) if value.is_finite() else value
        if kind is UUID:
            return UUID(self._of(str(value)))
        if kind is list or kind is tuple:
            return kind([self.secret(item, name, otherwise) for item in value])
        if kind is dict and DRIVER_TYPE not in value:
            return {key: self._in_company(key, item) for key, item in value.items()}
        return otherwise(value) if otherwise is not None else value

    def _in_company(self, key: Any, item: Any) -> Any:
        """A value within an object under a secret name."""
        plain = key.decode("latin-1") if type(key) is bytes else key
        if type(plain) is str and plain.lower() in self._fields:
            return self.secret(item, plain.lower())
        if type(item) is str:
            return self._doubtful(item)
        if type(item) is bytes:
            text = text_of(item)
            return self.secret(item) if text is None else _bytes_of(self._doubtful(text))
        if type(item) is dict:
            return {name: self._in_company(name, part) for name, part in item.items()}
        if type(item) in (list, tuple):
            return type(item)([self._in_company(None, part) for part in item])
        return item

    def _doubtful(self, text: str) -> str:
        """A text in the company of secrets."""
        if looks_random(text):
            return self._composed(text, "")
        return text if looks_plain(text) else self._of(text, only_here=True)

    def _of(self, secret: str, *, only_here: bool = False, surely: bool = False) -> str:
        made = self.pseudonyms.of(secret, only_here=only_here, surely=surely)
        self.used(made)
        return made

    def _whole_number(self, value: int) -> int:
        made = int(self._of(str(abs(value))))
        return -made if value < 0 else made

    def _number(self, text: str) -> str:
        found = _NUMBER.fullmatch(text)
        if found is None:
            return text
        sign, whole, fraction, exponent = found.groups()
        return sign + self._of(whole) + (fraction and "." + self._of(fraction[1:])) + exponent

    def _composed(self, text: str, name: str) -> str:
        """The pseudonym of a text that may hold more than the secret: a scheme, a user's name, a whole document."""
        bare = text.strip()
        if not bare or not may_be_secret(name, bare):
            return text
        if bare[0] in "{[":
            made = self._document_under_name(bare)
            if made is not None:
                return text.replace(bare, made, 1)
        if "://" in bare and "-----" not in bare:
            made = self.url(bare)
            if made != bare:
                return text.replace(bare, made, 1)
            if is_plain_address(bare):
                return text
        found = _SCHEME.fullmatch(text)
        if found is not None and "-----BEGIN" not in text:
            made = self._credentials(found["scheme"], found["rest"], name)
            if made is not None:
                return text[: found.start("rest")] + made + text[found.end("rest") :]
        made = self._of(bare)
        return made if bare == text else text.replace(bare, made, 1)

    def _credentials(self, scheme: str, rest: str, name: str) -> str | None:
        """The value of ``Authorization`` behind its scheme (RFC 9110 section 11.4); None where it is none."""
        if scheme.lower() == "basic":
            try:
                pair = base64.b64decode(rest, validate=True).decode()
            except (ValueError, binascii.Error):
                pair = ""
            user, colon, password = pair.partition(":")
            if not colon:
                return self._of(rest)
            if not password:
                # Some services take the secret for the name.
                made = base64.b64encode(f"{self._of(user)}:".encode()).decode()
            else:
                made = base64.b64encode(f"{user}:{self._of(password)}".encode()).decode()
            self.pseudonyms.set(rest, made)
            self.used(made)
            return made
        if _CREDENTIALS.match(rest) and ("," in rest or '="' in rest):
            return _CREDENTIALS.sub(self._credential, rest)
        if name in self._headers and " " not in rest:
            return self._of(rest)
        return None

    def _credential(self, found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        bare = value.strip('"')
        if name.lower() in _OPEN_CREDENTIALS or not bare:
            return found[0]
        if name.lower() == "credential":  # AWS: the id of the key, then the scope.
            identity, slash, scope = bare.partition("/")
            return f"{name}={value.replace(bare, self._of(identity) + slash + scope)}"
        return f"{name}={value.replace(bare, self._of(bare))}"

    def _document_under_name(self, text: str) -> str | None:
        """JSON that is the value of a secret name, as that of ``SecretString`` of AWS; None where it is none."""
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return None
        data = text.encode("utf-8", "surrogatepass")
        return self._container(data).decode("utf-8", "surrogatepass")

    # What stands in URLs, headers and bodies

    def url(self, url: str) -> str:
        """The URL with pseudonyms in the place of its secrets."""
        # The shared rules remember which URLs have no secret.
        return url if self.rules_by_name.url(url) == url else self._url(url)

    def _userinfo(self, user: str) -> str:
        name, colon, password = user.partition(":")
        if not colon:
            return quote(self._of(unquote(user)), safe="") if looks_random(unquote(user)) else user
        return f"{name}:{quote(self._of(unquote(password)), safe='')}" if password else user

    def _query_value(self, value: str, name: str) -> str:
        plain = unquote_plus(value, errors="surrogateescape")
        return _quoted_like(value, self._composed(plain, name))

    def _header_lines(self, pairs: HeaderPairs) -> tuple[_Line, ...]:
        made, pseudonyms = self.header_lines(pairs)
        for pseudonym in pseudonyms:
            self.used(pseudonym)
        return made

    def header_lines(self, pairs: HeaderPairs) -> tuple[tuple[_Line, ...], tuple[str, ...]]:
        """Header lines with secrets replaced, and the pseudonyms in them."""
        known, lines = self._open_headers, self._lines
        made: list[_Line] = []
        pseudonyms: list[str] = []
        for line in pairs:
            if line[0] in known:
                made.append(line)
            else:
                found = lines.get(line)
                if found is None:
                    found = self._line(line)
                made.append(found[0])
                pseudonyms += found[1]
        return tuple(made), tuple(dict.fromkeys(pseudonyms)) if len(pseudonyms) > 1 else tuple(pseudonyms)

    def _line(self, line: _Line) -> tuple[_Line, list[str]]:
        """What a header line becomes, and the pseudonyms in it."""
        used: list[str] = []
        found = self._aside(used)._header_line(line), used
        if found[0] is line:
            return found
        made = rest = found[0][1]
        # Longest first: one may be a part of another.
        for pseudonym in sorted(used, key=len, reverse=True):
            rest = rest.replace(_bytes_of(pseudonym), b" ")
        if len(rest) >= SHORTEST_RUN or not rest.strip().isalpha():
            # Otherwise it is the name of a scheme, if anything.
            self.note(rest)
        if len(self._lines) >= _MOST_HEADERS:
            self._lines.clear()
            self.searched.clear()
        self.searched.add(made)
        self._lines[line] = found
        return found

    def _aside(self, used: list[str]) -> Pseudonymiser:
        """The same, but what it puts somewhere is taken by a list."""
        aside = object.__new__(Pseudonymiser)
        aside.__dict__ = vars(self).copy()
        aside.used = used.append
        return aside

    def _secret_header(self, value: bytes, name: str) -> bytes:
        return _header_edit(value, lambda text: self._composed(text, name))

    def _cookie(self, content: bytes, name: bytes) -> bytes:
        return _header_edit(content, lambda text: self._cookie_value(text, name))

    def _cookie_value(self, content: str, name: bytes) -> str:
        bare = content.strip().strip('"')
        plain = unquote(bare)
        if not bare or not (_SESSION_COOKIE.search(name) or not name or looks_random(plain)):
            return content
        if plain != bare and quote(plain, safe="") == bare:
            return content.replace(bare, quote(self._of(plain), safe=""))
        return content.replace(bare, self._of(bare))

    def _edits_of_text(self, data: bytes, *, quoted: bool = False) -> list[Edit]:
        return [
            Edit(edit.start, edit.stop, self._assigned(data, edit.start, edit.stop))
            for edit in super()._edits_of_text(data, quoted=quoted)
        ]

    def _assigned(self, data: bytes, start: int, stop: int) -> bytes:
        """The pseudonym of a value that a text gives to a name. Code has escapes in quotes, as JSON has."""
        value = data[start:stop]
        if is_escaped(data, start, stop):
            made = self._json_scalar(b'"' + value + b'"', "")
            return value if made is None else made[1:-1]
        if data.endswith(ENTITIES, 0, start):
            return self.in_xml(value, "")
        return self.in_part(value, "")

    def note(
        self, data: bytes, long: list[bytes] | None = None, lowered: Callable[[], Sequence[bytes]] | None = None
    ) -> None:
        """Take note of what is secret by its form in a text, so that it is replaced wherever it stands.

        Args:
            data: The text.
            long: See `well_known_secrets`.
            lowered: As well.
        """
        inner: list[bytes] = []
        places = well_known_secrets(data, inner, long, lowered)
        if places:
            self._note_places(data, places)
        for text in inner:
            self._note_places(text, well_known_secrets(text))
        if self.mode == "strict":
            for start, stop in personal_data(data):
                self._of(_utf8(data[start:stop]), surely=True)
        if self.own.finders:
            for secret in self.own.found_in(_utf8(data)):
                self._of(secret, surely=True)

    def _note_places(self, data: bytes, places: list[tuple[int, int]]) -> None:
        for start, stop in places:
            text = _utf8(data[start:stop])
            if self.pseudonyms.is_one(text):
                continue
            before = data[start - 1 : start]
            if before == b":" and data[stop : stop + 1] == b"@":
                # The password in a URL, which may be a word that stands in other places by chance.
                plain = unquote(text)
                self.in_urls(text, quote(self._of(plain), safe=""))
            elif "-----" in text:
                # Where Python breaks the lines of a text that it shows, each has its end and an escape of it.
                if "\\n" in text and "\n" in text:
                    self._of(text, surely=True)
                self._of(text.replace("\\n", "\n"), surely=True)
            else:
                # Some writers of JSON escape a slash, which the hash of a password may have.
                self._of(text.replace("\\/", "/"), surely=True)

    # The protocol `Replacing`

    def in_json(self, data: bytes, start: int, stop: int, name: str) -> bytes | None:
        """The pseudonym of a JSON value, as JSON."""
        first = data[start : start + 1]
        if first in (b"{", b"["):
            value = data[start:stop]
            made = self._container(value, name)
            return None if made == value else made
        if is_piece_of_a_text(data, start, stop, name):
            return None
        return self._json_scalar(data[start:stop], name)

    def _json_scalar(self, value: bytes, name: str) -> bytes | None:
        text = value.decode("utf-8", "surrogateescape")
        if value[:1] != b'"' and name in HASH_FIELDS:
            return None
        if value[:1] != b'"':
            return self._number(text).encode("utf-8", "surrogateescape")
        try:
            plain: str = json.loads(text, strict=False)
        except ValueError:
            # It is cut off, or no JSON.
            ends = len(text) > 1 and text.endswith('"')
            bare = text[1:-1] if ends else text[1:]
            return f'"{self._of(bare)}{chr(34) if ends else ""}'.encode("utf-8", "surrogateescape")
        if not plain:
            return None
        composed = self._composed(plain, name)
        if composed == plain:
            return None
        made = json.dumps(composed, ensure_ascii=value.isascii())
        if b"\\/" in value:
            made = made.replace("/", "\\/")
        return made.encode("utf-8", "surrogateescape")

    def _container(self, data: bytes, name: str = "") -> bytes:
        """An object or a list under a secret name, with pseudonyms for what is secret in it."""
        edits = list(json_edits(data, self._json_keys, self))
        for start, stop, under in json_values(data):
            value = data[start:stop]
            if under is None:
                made = self._json_scalar(value, name)
            elif under in self._fields:
                continue
            else:
                try:
                    plain: str = json.loads(value)
                except ValueError:
                    continue
                text = self._doubtful(plain)
                made = None if text == plain else json.dumps(text, ensure_ascii=value.isascii()).encode()
            if made is not None:
                edits.append(Edit(start, stop, made))
        return apply_edits(data, apart(edits))

    def in_form(self, value: bytes, name: str) -> bytes | None:
        """The pseudonym of a form's field, with its escapes."""
        text = value.decode("latin-1")
        return self._query_value(text, name).encode("latin-1", "replace")

    def in_part(self, value: bytes, name: str) -> bytes:
        """The pseudonym of bytes without escapes."""
        made: bytes = self.secret(value, name)
        return made

    def in_xml(self, value: bytes, name: str) -> bytes:
        """The pseudonym of a text in XML, with its escapes."""
        plain = html.unescape(_utf8(value))
        made = self._composed(plain, name)
        return html.escape(made, quote=b"&quot;" in value).encode("utf-8", "surrogateescape")


def _nothing(*_: object) -> None:
    """Nobody wants to know."""


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _header_edit(value: bytes, edit: Callable[[str], str]) -> bytes:
    # Most are ASCII. Others are UTF-8 (RFC 9110 section 5.5 calls them opaque), or else ISO 8859-1.
    text = text_of(value)
    encoding = "latin-1" if text is None else "utf-8"
    text = value.decode("latin-1") if text is None else text
    made = edit(text)
    return value if made == text else made.encode(encoding, "replace")


def _quoted_like(before: str, plain: str) -> str:
    """A text with the escapes of another one."""
    safe = "".join({char for char in before if not char.isalnum() and char not in "%+"})
    if "%20" in before or "+" not in before:
        return quote(plain, safe=safe, errors="surrogateescape")
    return quote_plus(plain, safe=safe, errors="surrogateescape")
