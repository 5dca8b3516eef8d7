"""The forms of secret values: what of a value says only which kind of secret it is, and may stay in its pseudonym."""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "HASH_HEAD",
    "IP_ADDRESS",
    "JWE",
    "JWT",
    "KNOWN_PREFIX",
    "MOMENT",
    "PEM",
    "UUID",
    "is_distinctive",
    "is_iban",
    "looks_plain",
    "looks_random",
    "passes_luhn",
]

UUID: Final = re.compile(
    r"[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}|[0-9A-F]{8}(-?)(?:[0-9A-F]{4}\2){3}[0-9A-F]{12}"
)
JWT: Final = re.compile(r"(eyJ[\w-]{4,})\.(ey[\w-]{2,})\.([\w-]*)", re.ASCII)
"""RFC 7519: header, claims and signature."""
JWE: Final = re.compile(r"(eyJ[\w-]{4,})((?:\.[\w-]*){4})", re.ASCII)
"""RFC 7516: a header, and four parts that nobody can read without the key."""
PEM: Final = re.compile(
    r"(-----BEGIN (?P<label>[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----)(?P<body>.*?)(-----END (?P=label)-----)", re.DOTALL
)
"""RFC 7468, and what OpenSSH and OpenPGP write. Certificates and public keys are no secrets."""
HASH_HEAD: Final = re.compile(
    r"\$argon2\w*\$v=\d+\$[\w=,]+\$|\$(?:[156y]|scrypt)\$(?:[\w=,]+\$)?|\{\w+\}|"
    r"pbkdf2:\w+(?::\d+)?\$|scrypt(?::\d+){3}\$|"
    r"(?:pbkdf2_\w+|scrypt|argon2|bcrypt_sha256|bcrypt|md5|sha1)\$(?:\d+\$)?"
)
"""What stands before salt and hash of a password: the algorithm and its cost."""
MOMENT: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)?(?P<between>[ T]?)(?P<clock>\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?"
)
"""A date, a time or both (ISO 8601)."""
IP_ADDRESS: Final = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
KNOWN_PREFIX: Final = re.compile(
    r"sk-(?:proj-|svcacct-|admin-|ant-(?:api\d\d-|admin\d\d-|oat\d\d-)?|or-v1-|lf-)?"
    r"|(?:sk|rk|pk|sess|ek)_(?:live_|test_)?|whsec_|gh[oprsu]_|github_pat_"
    r"|gl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|imt|agent|ffct)-|(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)"
    r"|xox[abceoprs](?:\.xox[bp])?-|xapp-\d-|AIza|GOCSPX-|ya29\.|1//0|SG\.|key-|hf_|gsk_|xai-|pplx-|r8_|tgp_v1_|nvapi-"
    r"|npm_|pypi-|rubygems_|dckr_pat_|dckr_oat_|do[oprt]_v1_|shp(?:at|ca|pa|ss)_|dapi|dose|dp\.[a-z]{2,5}\.(?:\w+\.)?"
    r"|hv[bsr]\.|gl(?:c|sa)_|NRAK-|NRAL-|sntrys_|sntryu_|PMAK-|lin_(?:api|oauth)_|ntn_|secret_|figd_|sbp_|sb_secret_"
    r"|pscale_(?:tkn|pw|oauth)_|fm2_|fo1_|HRKU-|ATATT3|ATCTT3|ATBB|EAAA|sq0(?:atp|csp|idp)-|sqOatp-|FLWSECK(?:_TEST)?-"
    r"|rzp_(?:live|test)_|access_token\$(?:production|sandbox)\$|SK|AGE-SECRET-KEY-1|CFPAT-|rdme_|vercel_|tfp_"
)
"""What well-known secrets begin with, and what says which of a service's keys it is."""

_LOWER: Final = re.compile(r"[a-z]")
_UPPER: Final = re.compile(r"[A-Z]")
_DIGIT: Final = re.compile(r"[0-9]")
_WORDS: Final = re.compile(r"[^\W\d_]+(?:[ _./:-][^\W\d_]+)*")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,:]\d+)*")
_PLAIN: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ].*)?|https?://.*|[\w.+-]+@[\w-]+\.[\w.-]+|[\d.,:+-]+|(?:[\w-]+\.)+[a-z]{2,}(?:/.*)?",
    re.DOTALL,
)
"""Dates, addresses and numbers."""
_ALGORITHM: Final = re.compile(
    r"(?:argon2|bcrypt|pbkdf2|scrypt|hmac|sha|aes|rsa|md5)(?:[_-]?(?:id?|d|hmac|sha\d{0,3}|gcm|cbc|\d{1,4}))*",
    re.IGNORECASE,
)
_SHORTEST = 6
_SHORTEST_NUMBER = 8
_LONG_WORDS = 24


def is_distinctive(value: str) -> bool:
    """Whether a value is met by hardly any chance, so that it is the same secret wherever else it stands.

    A password such as "postgres" is no such value: the name of the user, of the database and of the server's kind are
    the same word.
    """
    if len(value) < _SHORTEST:
        return False
    if value.isascii() and value.isalnum() and not value.isalpha() and not value.isdigit():
        # It is neither a number nor words, as most tokens.
        rest = value.replace(value[0], "")
        return rest != "" and rest.replace(rest[0], "") != ""
    if _NUMBER.fullmatch(value):
        return sum(map(str.isdigit, value)) >= _SHORTEST_NUMBER and _PLAIN.fullmatch(value) is not None
    if _WORDS.fullmatch(value):
        mixed = re.search(r"[a-z][A-Z]", value) is not None and len(value) >= 16
        return mixed or len(value) >= _LONG_WORDS or not value.isascii()
    return len(set(value)) > 2


def looks_plain(value: str) -> bool:
    """Whether a value in the company of secrets is none: a word, a date, a number, an address, an algorithm."""
    return len(value) < _SHORTEST - 2 or any(form.fullmatch(value) for form in (_PLAIN, UUID, _WORDS, _ALGORITHM))


def looks_random(value: str) -> bool:
    """Whether a value looks like a secret by itself, in the company of secrets."""
    if len(value) < 8 or looks_plain(value):
        return False
    if any(map(str.isspace, value)) and "-----BEGIN" not in value:
        return False
    classes = sum(pattern.search(value) is not None for pattern in (_LOWER, _UPPER, _DIGIT))
    return classes >= 2 or len(value) >= 20


_IBAN: Final = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?")


def is_iban(text: str) -> bool:
    """ISO 13616: the country and the check digits go behind the rest, letters count from 10, modulo 97."""
    # Hardly any text begins with two large letters.
    if not text[:2].isupper() or not _IBAN.fullmatch(text):
        return False
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812, as that of a card number."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + position % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0
