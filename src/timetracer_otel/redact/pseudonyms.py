"""`Pseudonyms`: a text for each secret of a recording, of the same form as the secret.

The pseudonyms come from a key that is made for the recording and never written. So nobody can tell from a cassette
what a secret was, or whether two cassettes have the same one. Within a recording, one secret has one pseudonym, and
different secrets have different ones.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import struct
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from string import hexdigits
from typing import Any, Final

from timetracer_otel.redact.password_hashes import is_password_hash, like_hash
from timetracer_otel.redact.private_keys import like_private_key
from timetracer_otel.redact.value_forms import (
    HASH_HEAD,
    IP_ADDRESS,
    JWE,
    JWT,
    KNOWN_PREFIX,
    MOMENT,
    PEM,
    UUID,
    is_iban,
    passes_luhn,
)

__all__ = ["Pseudonyms"]

_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
_UPPER: Final = _LOWER.upper()
_DIGITS: Final = "0123456789"
_ALPHABETS: Final = {
    **dict.fromkeys(_LOWER, _LOWER),
    **dict.fromkeys(_UPPER, _UPPER),
    **dict.fromkeys(_DIGITS, _DIGITS),
}
_HEX: Final = re.compile(r"(?=[\da-f]{8,}\Z)(?=.*\d)(?=.*[a-f]).*|(?=[\dA-F]{8,}\Z)(?=.*\d)(?=.*[A-F]).*")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{14,}={0,2}|[A-Za-z0-9_-]{14,}={0,2}")
_SHORTEST_BASE64: Final = 14
_UUID_LENGTHS: Final = (32, 36)
"""Without hyphens, and with them."""
_CONTROL: Final = re.compile(rb"[\0-\x1f\x7f]")
"""What no text has that can be printed."""
_ROWS: Final = {
    alphabet: [alphabet[number % len(alphabet)] for number in range(256)] for alphabet in (_LOWER, _UPPER, _DIGITS)
}
_DRAWN: Final = [_ROWS[_ALPHABETS[char]] if char in _ALPHABETS else [char] * 256 for char in map(chr, range(128))]
"""What takes the place of a character in ASCII, by its code and by the byte that was drawn. Letters of one alphabet
share a row: with a row each, nearly every look into it would wait for memory."""
_FEWEST_CARD_DIGITS: Final = 12
_BANK_DIGITS: Final = 6
"""The first digits of a card number name the bank. PCI DSS 4.0 lets them be kept (requirement 3.4)."""
_SHORTEST_BEHIND_PREFIX: Final = 8
_MOST_TRIES: Final = 64
_SHORTEST_TOLD: Final = 8
"""A shorter secret stands in another text by chance."""
_BLOCK: Final = 32


class Pseudonyms:
    """The secrets of one recording, each with its pseudonym. Safe from any thread.

    Args:
        known: Pseudonyms that stand in the recording already. They stay as they are.

    Attributes:
        added: Called with each secret, its pseudonym, and whether it is surely one; where somebody set it.
        stays_up_to: Texts of no more characters have no pseudonym. More than 0 for a recording that has pseudonyms
            already, whose list leaves out short ones.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._key = os.urandom(32)
        self._lock = threading.Lock()
        self._given: dict[str, str] = {name: name for name in known}
        self._taken = set(self._given)
        self._known = frozenset(self._given)
        self._doubtful: set[str] = set()
        self.added: Callable[[str, str, bool], None] | None = None
        self.stays_up_to: int = 0

    def of(self, secret: str, *, only_here: bool = False, surely: bool = False) -> str:
        """The pseudonym of a secret. That of the empty text is empty, and that of a pseudonym is itself.

        Args:
            secret: A text.
            only_here: It is doubtful that it is a secret, so that `added` is not called.
            surely: Its form tells that it is one, so that it is the same secret wherever it stands.
        """
        found = self._given.get(secret)
        if found is None:
            if len(secret) <= self.stays_up_to:
                return secret
            with self._lock:
                found = self._given.get(secret)
                if found is None:
                    found = self._new(secret)
                    self._given[secret] = found
                    self._taken.add(found)
                    self._doubtful.add(secret)
        if surely or (self._doubtful and not only_here and secret in self._doubtful):
            with self._lock:
                if self.added is not None and (secret in self._doubtful or surely) and secret not in self._known:
                    self._doubtful.discard(secret)
                    self.added(secret, found, surely)
        return found

    def set(self, secret: str, pseudonym: str) -> None:
        """Give a secret a pseudonym that the caller has made, where it has none."""
        with self._lock:
            if secret and secret not in self._given:
                self._given[secret] = pseudonym
                self._taken.add(pseudonym)
                if self.added is not None:
                    self.added(secret, pseudonym, True)

    def keep(self, secret: str, pseudonym: str) -> None:
        """Give a secret the pseudonym that it has in the recording that goes on, where it has none yet."""
        with self._lock:
            if secret and self._given.setdefault(secret, pseudonym) == pseudonym and secret != pseudonym:
                self._doubtful.add(secret)

    def is_one(self, text: str) -> bool:
        """Whether a text is the pseudonym of a secret that was found before."""
        return text in self._taken

    def names(self) -> list[str]:
        """The pseudonyms up to now, in the order in which their secrets were found."""
        with self._lock:
            return list(dict.fromkeys(self._given.values()))

    def has_shorter(self, length: int) -> bool:
        """Whether one of the pseudonyms has fewer characters."""
        with self._lock:
            return any(len(name) < length for name in self._given.values())

    def avoid(self, texts: Iterable[str]) -> None:
        """Make none of these texts a pseudonym."""
        with self._lock:
            self._taken.update(texts)

    def secrets(self) -> dict[str, str]:
        """The secrets that were found, each with its pseudonym, without those known from the start."""
        with self._lock:
            return {secret: name for secret, name in self._given.items() if secret not in self._known}

    def again(self, pseudonyms: Iterable[str]) -> None:
        """Forget these pseudonyms, which turned out to be values of the recording. Their secrets get others."""
        with self._lock:
            gone = set(pseudonyms) - self._known
            self._taken |= gone
            # Their secrets are new ones again.
            self._given = {secret: name for secret, name in self._given.items() if name not in gone}

    def _new(self, secret: str) -> str:
        longer = secret
        for attempt in range(4 * _MOST_TRIES):
            if attempt and not attempt % _MOST_TRIES:
                # There are too few values of this length, for instance of one digit.
                longer += longer[-1]
            made = _shaped(longer, _Draw(self._key, f"{attempt}:{secret}"))
            # What holds the secret would tell it, and would be replaced again and again.
            tells = made == secret or (len(secret) >= _SHORTEST_TOLD and secret in made)
            if not tells and made not in self._taken and made not in self._given:
                return made
        return _plain(secret * 4, _Draw(self._key, secret))


class _Draw:
    """Numbers by chance that are the same for the same key and secret."""

    def __init__(self, key: bytes, secret: str) -> None:
        self._seed = secret.encode("utf-8", "surrogatepass")
        self._key = key
        # RFC 7693. It takes half the time of what gives more bytes, and is enough for most secrets.
        self._bytes = hashlib.blake2b(self._seed, key=key).digest()
        self._at = 0

    def number(self, below: int) -> int:
        return int.from_bytes(self.bytes(4), "big") % below

    def bytes(self, length: int) -> bytes:
        if self._at + length > len(self._bytes):
            # A key in front is all that this hash needs to be a keyed one: it has no length extension (NIST SP
            # 800-185).
            more = hashlib.shake_256(self._key + self._seed).digest(2 * (self._at + length))
            self._bytes = self._bytes[: self._at] + more[self._at :]
        found = self._bytes[self._at : self._at + length]
        self._at += length
        return found

    def numbers(self, count: int) -> tuple[int, ...]:
        """So many numbers of 32 bits, drawn at once: a token has dozens of characters."""
        return struct.unpack(f">{count}I", self.bytes(4 * count))

    def pick(self, alphabet: Sequence[str]) -> str:
        return alphabet[self.number(len(alphabet))]

    def picks(self, alphabet: str, count: int) -> str:
        size = len(alphabet)
        return "".join([alphabet[number % size] for number in self.numbers(count)])


def _shaped(secret: str, draw: _Draw) -> str:
    """A text of the form of the secret."""
    if not secret.isascii() and any("\udc80" <= char <= "\udcff" for char in secret):
        # Bytes that are no text.
        length = len(secret.encode("utf-8", "surrogateescape"))
        return draw.bytes(length).decode("utf-8", "surrogateescape")
    if "-----BEGIN" in secret and PEM.search(secret):
        return PEM.sub(lambda found: found[1] + _pem_body(found, draw) + found[4], secret)
    if secret.startswith("eyJ"):
        found = JWT.fullmatch(secret)
        if found is not None:
            return _jwt(found, draw)
        found = JWE.fullmatch(secret)
        if found is not None:
            return found[1] + "".join("." + _url_base64(part, draw) for part in found[2].split(".")[1:])
    # A look at what is cheap to know comes first: most tokens are none of these.
    if secret.isascii() and secret.isdigit():
        # One of 32 digits has the form of a UUID as well. A number stays one.
        return _number(secret, draw)
    if len(secret) in _UUID_LENGTHS and UUID.fullmatch(secret):
        return _uuid(secret, draw)
    found = MOMENT.fullmatch(secret) if ":" in secret or "-" in secret else None
    if found is not None and (found["day"] or found["clock"]):
        return _moment(found, draw)
    if is_iban(secret):
        return _iban(secret, draw)
    if "." in secret and IP_ADDRESS.fullmatch(secret):
        return ".".join(str(draw.number(256)) for _ in range(4))
    if secret[:1] in hexdigits and not secret.strip(hexdigits) and _HEX.fullmatch(secret):
        return _hex(secret, draw)
    has_head = "$" in secret or secret[:1] == "{"
    if has_head and is_password_hash(secret):
        return like_hash(secret, lambda part: _digest(part, draw))
    for heads in (HASH_HEAD, KNOWN_PREFIX) if has_head else (KNOWN_PREFIX,):
        found = heads.match(secret)
        if found is not None and len(secret) - found.end() >= _SHORTEST_BEHIND_PREFIX:
            rest = secret[found.end() :]
            return found[0] + (_hex(rest, draw) if _HEX.fullmatch(rest) else _plain(rest, draw))
    return _base64(secret, draw) or _plain(secret, draw)


def _plain(secret: str, draw: _Draw) -> str:
    """Letters become letters, in the same case, and digits become digits. All else stays where it is, unless there is
    nothing but that.
    """
    drawn = draw.bytes(len(secret))
    if secret.isascii():
        made = "".join([_DRAWN[code][number] for code, number in zip(secret.encode(), drawn, strict=True)])
    else:
        made = "".join(
            [
                _DRAWN[ord(char)][number] if char < "\x80" else _beside(char, draw)
                for char, number in zip(secret, drawn, strict=True)
            ]
        )
    # A short text may come out as it was, by chance: the caller draws again.
    if made != secret or any(char in _ALPHABETS or char >= "\x80" for char in secret):
        return made
    return draw.picks("!#$%&*+-=?@^_~", len(secret))


def _beside(char: str, draw: _Draw) -> str:
    """A character of the same kind, of the same script, and of as many bytes in UTF-8."""
    first, kind = ord(char) // _BLOCK * _BLOCK, _kind(char)
    return draw.pick([near for code in range(first, first + _BLOCK) if _kind(near := chr(code)) == kind])


def _kind(char: str) -> tuple[str, bool]:
    # One of the control characters is white space, U+0085. A text of nothing else is judged to be no secret.
    return unicodedata.category(char), char.isspace()


def _moment(found: re.Match[str], draw: _Draw) -> str:
    """Another date or time, which exists."""
    day, clock = found["day"], found["clock"]
    if day:
        day = f"{1970 + draw.number(60)}-{1 + draw.number(12):02}-{1 + draw.number(28):02}"
    if clock:
        fraction = "".join(draw.pick(_DIGITS) if char.isdigit() else char for char in clock[8:])
        clock = f"{draw.number(24):02}:{draw.number(60):02}:{draw.number(60):02}"[: len(clock)] + fraction
    return f"{day or ''}{found['between']}{clock or ''}{found['zone'] or ''}"


def _number(secret: str, draw: _Draw) -> str:
    first = "0" if secret[0] == "0" else draw.pick("123456789")
    if len(secret) < _FEWEST_CARD_DIGITS or not passes_luhn(secret):
        return first + draw.picks(_DIGITS, len(secret) - 1)
    middle = draw.picks(_DIGITS, len(secret) - 1 - _BANK_DIGITS)
    return next(made for last in _DIGITS if passes_luhn(made := secret[:_BANK_DIGITS] + middle + last))


def _iban(secret: str, draw: _Draw) -> str:
    """Another account in the same country, with its check digits (ISO 13616)."""
    rest = _plain(secret[4:], draw)
    bare = rest.replace(" ", "")
    check = 98 - int("".join(str(int(char, 36)) for char in f"{bare}{secret[:2]}00")) % 97
    return f"{secret[:2]}{check:02}{rest}"


def _hex(secret: str, draw: _Draw) -> str:
    alphabet = _DIGITS + ("ABCDEF" if secret.isupper() else "abcdef")
    while True:
        made = draw.picks(alphabet, len(secret))
        if _HEX.fullmatch(made):
            return made


def _uuid(secret: str, draw: _Draw) -> str:
    alphabet = _DIGITS + ("ABCDEF" if secret.isupper() else "abcdef")
    places = [at for at, char in enumerate(secret) if char != "-"]
    kept = {places[12], places[16]}  # RFC 9562: the version and the variant
    return "".join(char if char == "-" or at in kept else draw.pick(alphabet) for at, char in enumerate(secret))


def _url_base64(part: str, draw: _Draw) -> str:
    made = base64.urlsafe_b64encode(draw.bytes(len(part) * 3 // 4 + 1)).decode()
    if len(part) % 4 in (0, 2, 3):
        made = base64.urlsafe_b64encode(draw.bytes(len(part) * 3 // 4)).decode().rstrip("=")
    return made[: len(part)]


def _jwt(found: re.Match[str], draw: _Draw) -> str:
    """Header and claims stay, and the signature does not: without it, a token opens nothing."""
    header, claims, signature = found.groups()
    if signature:
        return f"{header}.{claims}.{_url_base64(signature, draw)}"
    try:
        content: Any = json.loads(_decoded(claims, url=True))
    except (ValueError, RecursionError):
        content = None
    texts = [key for key in ("jti", "sid", "sub") if type(content) is dict and type(content.get(key)) is str]
    if not texts:
        return f"{header}.{_url_base64(claims, draw)}."
    content[texts[0]] = _plain(content[texts[0]], draw)
    packed = json.dumps(content, separators=(",", ":")).encode()
    return f"{header}.{base64.urlsafe_b64encode(packed).decode().rstrip('=')}."


def _base64(secret: str, draw: _Draw) -> str | None:
    """The base64 of as many bytes, or of a text of the same form where it holds a text; None where it is none."""
    if len(secret) % 4 == 1:
        return None
    if secret.isalnum() and secret.isascii():
        if len(secret) < _SHORTEST_BASE64:
            return None
    elif not _BASE64.fullmatch(secret) or (len(secret) % 4 and "=" in secret):
        return None
    url = "-" in secret or "_" in secret
    padded = len(secret) % 4 == 0
    if secret.isalnum() and _CONTROL.search(binascii.a2b_base64(secret + "=" * (-len(secret) % 4))):
        return None  # It holds no text, and is as likely a text without any encoding.
    try:
        content = _decoded(secret, url=url)
        if _encoded(content, url=url, padded=padded) != secret:
            return None
    except (ValueError, binascii.Error):
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and text:
        return _encoded(_plain(text, draw).encode(), url=url, padded=padded)
    if "=" not in secret and "+" not in secret and "/" not in secret:
        return None  # It is as likely a text without any encoding.
    return _with_marks_of(secret, _encoded(draw.bytes(len(content)), url=url, padded=padded))


def _with_marks_of(secret: str, made: str) -> str:
    # What URLs escape stands in a pseudonym only if its secret had it, and was escaped where it had to be.
    for mark, letter in ("+", "p"), ("/", "s"):
        made = made if mark in secret else made.replace(mark, letter)
    return made


def _digest(part: str, draw: _Draw) -> str:
    """Another salt or digest. What decodes as base64 does so again: of its last letter, not all bits count."""
    if _HEX.fullmatch(part):
        return _hex(part, draw)
    if _BASE64.fullmatch(part):
        url = "-" in part or "_" in part
        bare = part.rstrip("=")
        try:
            content = _decoded(bare, url=url)
        except (ValueError, binascii.Error):
            return _plain(part, draw)
        if _encoded(content, url=url, padded=False) == bare:
            return _with_marks_of(part, _encoded(draw.bytes(len(content)), url=url, padded="=" in part))
    return _plain(part, draw)


def _decoded(text: str, *, url: bool) -> bytes:
    padded = text + "=" * (-len(text) % 4)
    return base64.b64decode(padded, altchars=b"-_" if url else None, validate=True)


def _encoded(content: bytes, *, url: bool, padded: bool) -> str:
    made = base64.b64encode(content, altchars=b"-_" if url else None).decode()
    return made if padded else made.rstrip("=")


def _pem_body(found: re.Match[str], draw: _Draw) -> str:
    made = like_private_key(found[0], draw.bytes)
    if made is not None:
        parts = PEM.search(made)
        if parts is not None:
            # A key in JSON or in an environment variable has its line ends escaped.
            end = "\\n" if "\\n" in found["body"] else "\n"
            return parts["body"].replace("\n", end)
    return re.sub(
        # The last way: lines that something is written around, as Python does where it shows a text.
        r"(?m)^(?![\w-]+: )[A-Za-z0-9+/]{4,}={0,2}$|(?<=\\n)[A-Za-z0-9+/]{4,}={0,2}"
        r"|(?<![\w+/-])[A-Za-z0-9+/]{16,}={0,2}",
        lambda line: _line(line[0], draw),
        found["body"],
    )


def _line(line: str, draw: _Draw) -> str:
    padding = len(line) - len(line.rstrip("="))
    made = base64.b64encode(draw.bytes(len(line) * 3 // 4 + 3)).decode()
    return made[: len(line) - padding] + "=" * padding
