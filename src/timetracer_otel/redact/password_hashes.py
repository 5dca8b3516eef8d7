"""The hashes of passwords, which are secrets wherever they stand: who has one may guess at leisure what it is of.

The forms are those of crypt(3) and of the string format of the Password Hashing Competition (PHC), of passlib,
Django, Werkzeug, PostgreSQL and LDAP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["hash_places", "is_password_hash", "like_hash"]

_CRYPT: Final = rb"(?:[./A-Za-z0-9]|\\/)"
"""One letter of an alphabet of crypt(3). Some writers of JSON escape the slash."""
_BASE64: Final = rb"(?:[A-Za-z0-9+/_-]|\\/)"
_WITH_DOLLAR: Final = re.compile(
    rb"\$(?:"
    rb"2[abxy]\$\d\d\$" + _CRYPT + rb"{53}"
    rb"|argon2(?:id|i|d)\$(?:v=\d+\$)?[a-z]+=[^,$\s\"'\\]+(?:,[a-z]+=[^,$\s\"'\\]+)*"
    rb"\$" + _BASE64 + rb"{8,}={0,2}\$" + _BASE64 + rb"{16,}={0,2}"
    rb"|scrypt\$ln=\d+,r=\d+,p=\d+\$" + _BASE64 + rb"{8,}={0,2}\$" + _BASE64 + rb"{16,}={0,2}"
    rb"|pbkdf2(?:-sha\d+)?\$\d+\$" + _CRYPT + rb"*\$" + _CRYPT + rb"{20,}"
    rb"|bcrypt-sha256\$[^$\s\"'\\]+\$" + _CRYPT + rb"{22}\$" + _CRYPT + rb"{31}"
    rb"|(?:[156]|apr1|sha1|y|gy)\$(?:rounds=\d+\$|\d+\$|"
    + _CRYPT
    + rb"{3}\$)?"
    + _CRYPT
    + rb"{1,64}\$"
    + _CRYPT
    + rb"{20,}"
    rb"|[PH]\$" + _CRYPT + rb"{31}(?![./A-Za-z0-9])"
    rb")"
)
_BEFORE_DOLLAR: Final = re.compile(rb"(?<![A-Za-z0-9_])(?:argon2|bcrypt(?:_sha256)?\$)$")
"""What Django writes before such a hash."""
_LED: Final = re.compile(
    rb"(?<![A-Za-z0-9_])(?:"
    rb"pbkdf2(?:_sha\d+\$\d+|:sha\d+(?::\d+)?)\$[^$\s\"'\\]{1,64}\$" + _BASE64 + rb"{20,}={0,2}"
    rb"|scrypt(?::\d+){3}\$[^$\s\"'\\]{1,64}\$[0-9a-f]{64,}"
    rb"|scrypt\$\d+\$[^$\s\"'\\]{1,64}\$\d+\$\d+\$" + _BASE64 + rb"{20,}={0,2}"
    rb"|SCRAM-SHA-(?:1|256)\$\d+:"
    + _BASE64
    + rb"{8,}={0,2}\$"
    + _BASE64
    + rb"{20,}={0,2}:"
    + _BASE64
    + rb"{20,}={0,2}"
    rb")"
)
_LEADS: Final = ("pbkdf2", "scrypt", "SCRAM-")
_OF_LDAP: Final = re.compile(rb"\{(?:S?SHA(?:-?\d{3})?|S?MD5)\}" + _BASE64 + rb"{20,}={0,2}", re.IGNORECASE)
_PARTS: Final = re.compile(r"[$:}]")
_KEPT: Final = re.compile(
    r"\d{0,8}|[\w-]{1,3}|[a-z]{1,8}=[^$,=]{1,20}(?:,[a-z]{1,8}=[^$,=]{1,20})*|\{\S+|argon2\w{0,2}|pbkdf2(?:[_-]sha\d+)?|sha\d+|scrypt"
    r"|bcrypt(?:[_-]sha256)?|SCRAM-SHA-\d+|apr1"
)
"""Parts of a hash that say how it was made: the algorithm, and what it costs."""
_SALT_LENGTH: Final = 22


def hash_places(data: bytes, text: str) -> Iterator[tuple[int, int]]:
    """The places of hashes in a text. ``text`` is the same in ISO 8859-1, in which to search is cheaper."""
    if "$" in text:
        for found in _WITH_DOLLAR.finditer(data):
            before = _BEFORE_DOLLAR.search(data, max(0, found.start() - 16), found.start())
            yield (before.start() if before is not None else found.start()), found.end()
        if any(lead in text for lead in _LEADS):
            yield from (found.span() for found in _LED.finditer(data))
    # To look for a word from the end takes a third of the time.
    if "{" in text and (
        ("H" in text and text.rfind("SHA") >= 0) or ("M" in text and "5" in text and text.rfind("MD5") >= 0)
    ):
        yield from (found.span() for found in _OF_LDAP.finditer(data))


def is_password_hash(text: str) -> bool:
    """Whether a text is a hash, and nothing else."""
    data = text.encode("latin-1", "replace")
    return any(place == (0, len(data)) for place in hash_places(data, text))


def like_hash(text: str, made: Callable[[str], str]) -> str:
    """A hash with other salt and digest. The algorithm and its cost stay.

    Args:
        text: One of which `is_password_hash` is true.
        made: Gives a text of the same form for a salt or a digest.
    """
    pieces, position = [], 0
    for mark in [*_PARTS.finditer(text), None]:
        end = mark.start() if mark is not None else len(text)
        part = text[position:end]
        pieces.append(part if _KEPT.fullmatch(part) else _other(part, text, made))
        if mark is not None:
            pieces.append(mark[0])
            position = mark.end()
    return "".join(pieces)


def _other(part: str, text: str, made: Callable[[str], str]) -> str:
    if "$2" in text and len(part) > 50:
        # The salt of bcrypt has a last letter of which two bits count.
        return part[:_SALT_LENGTH] + made(part[_SALT_LENGTH:])
    if text.startswith(("$P$", "$H$")):
        # The first letter is the cost.
        return part[0] + made(part[1:])
    return made(part)
