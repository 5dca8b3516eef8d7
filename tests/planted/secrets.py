"""Secrets to plant: each tells by a mark and a number which it is, whatever is written around it.

A secret is found by its mark alone, as it is or in base64. So no list of ways to escape a text can be too short.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from timetracer_otel.redact.value_forms import passes_luhn

__all__ = ["FORMS", "Found", "Planted", "digits", "odd", "plain", "traces"]

_MIXED: Final = "Zq7Kx9"
_HEX: Final = "c0ffee5e7"
_CAPITAL: Final = "ZQ7KXWV"
_DIGITS: Final = "31415926"


class Planted(NamedTuple):
    """One secret, where it was planted, and why it has to be found."""

    number: int
    place: str
    why: str
    text: str


def plain(number: int) -> str:
    """Letters and digits, of no known form."""
    return f"h3Wd{_MIXED}{number:04}tNb5uR"


def odd(number: int) -> str:
    """What URLs, JSON, HTML, SQL and Python write in other ways."""
    return f"p/9\"{_MIXED}{number:04}+='&<% \\x8"


def digits(number: int) -> str:
    """A number that no card has: the pseudonym of a card's keeps the first digits, and may look planted by chance."""
    numbers = (f"{_DIGITS}{number:04}{end}" for end in ("30", "31"))
    return next(one for one in numbers if not passes_luhn(one))


def _letters(number: int) -> str:
    return "".join("ABCDEFGHIJ"[int(digit)] for digit in f"{number:04}")


def _mixed(number: int, length: int) -> str:
    return f"aB{_MIXED}{number:04}" + ("cD5eF6gH7iJ8kL9m" * 5)[: length - 12]


def _hex(number: int, length: int) -> str:
    return f"{_HEX}{number:04}" + ("a1b2c3d4e5f60718" * 4)[: length - 13]


def _jwt(number: int) -> str:
    head, claims = ({"alg": "HS256", "typ": "JWT"}, {"sub": "ada", "exp": 4102444800})
    packed = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, claims)]
    return ".".join([*packed, _mixed(number, 43)])


def _pem(number: int) -> str:
    lines = "\n".join([_mixed(number, 64), _mixed(number, 64), "aB3d" * 7 + "aQ=="])
    return f"-----BEGIN EC PRIVATE KEY-----\n{lines}\n-----END EC PRIVATE KEY-----\n"


FORMS: Final[dict[str, Callable[[int], str]]] = {
    "aws": lambda n: "AKIA" + f"{_CAPITAL}{_letters(n)}234567"[:16],
    "github": lambda n: "ghp_" + _mixed(n, 36),
    "gitlab": lambda n: "glpat-" + _mixed(n, 20),
    "stripe": lambda n: "sk_live_" + _mixed(n, 24),
    "jwt": _jwt,
    "slack": lambda n: "xoxb-123456789012-123456789012-" + _mixed(n, 24),
    "openai": lambda n: "sk-proj-" + _mixed(n, 48),
    "anthropic": lambda n: "sk-ant-api03-" + _mixed(n, 80),
    "google": lambda n: "AIza" + _mixed(n, 35),
    "sendgrid": lambda n: "SG." + "aB3dE5fG7hI9jK1mN2oP3q" + "." + _mixed(n, 43),
    "hugging face": lambda n: "hf_" + _mixed(n, 34),
    "shopify": lambda n: "shpat_" + _hex(n, 32),
    "twilio": lambda n: "SK" + _hex(n, 32),
    "npm": lambda n: "npm_" + _mixed(n, 36),
    "vault": lambda n: "hvs." + _mixed(n, 28),
    "address": lambda n: f"postgresql://app:{_mixed(n, 20)}@db.internal:5432/shop",
    "bearer": lambda n: f"Authorization: Bearer {_mixed(n, 30)}",
    "basic": lambda n: "Authorization: Basic " + base64.b64encode(f"ada:{_mixed(n, 20)}".encode()).decode(),
    "azure": lambda n: f"AccountName=x;AccountKey={_mixed(n, 84)}ab==;EndpointSuffix=core.windows.net",
    "pem": _pem,
    "bcrypt": lambda n: "$2b$12$abcdefghijklmnopqrstuu" + _mixed(n, 31),
    "argon2": lambda n: "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2E$" + _mixed(n, 43),
}
"""Texts of well-known forms, or with a secret that its surroundings tell."""


class Found(NamedTuple):
    """A secret that stands somewhere."""

    number: int | None
    around: bytes


def traces(data: bytes) -> Iterator[Found]:
    """The secrets in these bytes, as they are and in base64."""
    for mark, read in _MARKS:
        at = data.find(mark)
        while at >= 0:
            yield Found(read(data, at), data[max(0, at - 60) : at + 60])
            at = data.find(mark, at + 1)


def _number_behind(mark: str) -> Callable[[bytes, int], int | None]:
    def read(data: bytes, at: int) -> int | None:
        behind = data[at + len(mark) : at + len(mark) + 4].translate(bytes.maketrans(b"ABCDEFGHIJ", b"0123456789"))
        return int(behind) if re.fullmatch(rb"\d{4}", behind) else None

    return read


def _number_in_base64(skipped: int) -> Callable[[bytes, int], int | None]:
    def read(data: bytes, at: int) -> int | None:
        start = at - (0, 2, 3)[skipped]
        run = re.match(rb"[A-Za-z0-9+/_-]*", data[max(0, start) : start + 40])
        text = (run[0] if run is not None else b"").replace(b"-", b"+").replace(b"_", b"/")
        content = base64.b64decode(text[: len(text) // 4 * 4])
        found = re.search(_MIXED.encode() + rb"(\d{4})", content)
        return int(found[1]) if found is not None else None

    return read


_MARKS: Final = [
    *((mark.encode(), _number_behind(mark)) for mark in (_MIXED, _HEX, _CAPITAL, _DIGITS)),
    *(
        (
            base64.b64encode(b"\0" * skipped + _MIXED.encode())[
                (0, 2, 3)[skipped] : (skipped + len(_MIXED)) * 8 // 6
            ],
            _number_in_base64(skipped),
        )
        for skipped in range(3)
    ),
]
