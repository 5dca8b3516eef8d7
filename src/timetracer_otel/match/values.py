"""Values that are not met by chance, and times: found in a text, with their kind and their form.

A text becomes pieces: what stands between the values, each value, and each text that stands encoded in it (base64 of
JSON, as Celery and JWTs have it). URL- and JSON-escapes within and around a value are seen through.

Two values have the same form where each fits the other's pattern: the same length, the same alphabet, hyphens, and
version of a UUID; the same marks and time zone of a time.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote

from timetracer_otel.redact.content_encoding import OpaqueError, encode_body, unpacked

__all__ = [
    "KINDS",
    "RANDOM",
    "SECRET",
    "SNOWFLAKE",
    "TIME",
    "ULID",
    "UUID",
    "Instant",
    "Literals",
    "Nested",
    "Piece",
    "Value",
    "capture",
    "nested_at",
    "pieces_of",
    "replaced",
    "skeleton",
    "values_in",
    "within",
]

SECRET: Final = "secret"  # noqa: S105 - the name of a kind
UUID: Final = "uuid"
ULID: Final = "ulid"
RANDOM: Final = "random"
SNOWFLAKE: Final = "snowflake"
TIME: Final = "time"
KINDS: Final = (SECRET, UUID, ULID, RANDOM, SNOWFLAKE, TIME)
"""The kinds of variables, as the setting ``variables`` names them."""

_DEEPEST = 3
"""How many texts may stand encoded in one another."""
_LONGEST_RUN = 4096
"""A longer run of letters and digits is data, and no identifier."""
_LONGEST_BINARY = 64 * 1024
"""How much is looked through of what has a zero in it. An image or an archive looks like one random text behind
another, and to look at each takes a second for a megabyte."""


class Instant(NamedTuple):
    """What a time says."""

    at_s: float
    """Seconds since the epoch; as in UTC, where the zone is unknown."""
    lasts_s: float
    """How long it lasts: a day, a minute, a second, or a part of one."""
    is_naive: bool
    """Whether its zone is unknown."""


class Value(NamedTuple):
    """A value in a text."""

    raw: str
    """As it stands in the text."""
    kind: str
    form: str
    """A pattern that all values of this form have, as a regular expression."""
    value: str
    """The same for each way to write the value: a UUID with and without hyphens, a token escaped or not."""
    instant: Instant | None = None
    """Of what may be a time. A number may be a time or an identifier, depending on when it is seen: its ``kind`` is
    `SNOWFLAKE` then, or `TIME` where it is too short for an identifier."""


class Nested(NamedTuple):
    """A text that stands in another one in base64."""

    raw: str
    pieces: tuple[Piece, ...]
    safe: bool
    """Whether the alphabet is that for URLs."""
    packing: str = ""
    """How the text is packed before, as the name of an encoding. Celery compresses messages so."""


Piece: TypeAlias = "str | Value | Nested"


class Literals(NamedTuple):
    """Known values of a recording that are found by their text: pseudonyms of secrets."""

    pattern: re.Pattern[str]
    values: Mapping[str, str]
    """By the text as it may stand (plain, or escaped): the value."""

    @classmethod
    def of(cls, values: Iterable[str]) -> Literals | None:
        """Take the values; None where there are none."""
        from json import dumps
        from urllib.parse import quote, quote_plus

        ways = {}
        for value in values:
            if value:
                for way in (quote(value, safe=""), quote(value), quote_plus(value), dumps(value)[1:-1], value):
                    ways[way] = value
        if not ways:
            return None
        longest_first = sorted(ways, key=len, reverse=True)
        return cls(re.compile("|".join(map(re.escape, longest_first))), ways)


_COLON = "(?::|%3[Aa])"
_ZONE = r"(?:Z|(?:[+-]|%2[Bb])\d\d(?::|%3[Aa])?\d\d|(?:[+-]|%2[Bb])\d\d(?!\d))"
_UUID_LOWER = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID_UPPER = "[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}"
_WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_MONTHS = {name: number for number, name in enumerate(_MONTH[3:-1].split("|"), 1)}
_SPACE = r"(?:\ |\+|%20)"
_END = "(?![0-9A-Za-z])"
_WHOLE = rf"""
    (?P<uuid>(?:{_UUID_LOWER}|{_UUID_UPPER}){_END})
    | (?P<http>{_WEEKDAY}(?:,|%2[Cc]){_SPACE}\d\d{_SPACE}{_MONTH}{_SPACE}\d{{4}}{_SPACE}
        \d\d{_COLON}\d\d{_COLON}\d\d{_SPACE}(?:GMT|[+-]0000){_END})
    | (?P<iso>\d{{4}}-\d\d-\d\d
        (?:(?:[Tt_]|{_SPACE})\d\d{_COLON}\d\d(?:{_COLON}\d\d(?:[.,]\d{{1,9}})?)?{_ZONE}?)?{_END})
    | (?P<basic>\d{{8}}T\d{{6}}(?:\.\d{{1,9}})?Z?{_END})
"""
_AFTER_ESCAPE = r"(?<=%[0-9A-Fa-f][0-9A-Fa-f])(?<!%2[BbFf])|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\[nrtbf\"])"
_TOKEN: Final = rf"""
    {_WHOLE}
    | (?P<packed>
        (?:(?<![0-9A-Za-z+/_-])|{_AFTER_ESCAPE})
        (?:eJ[w-z]|eA[E-H]|eF[4-7]|eN[o-r]|H4sI|Qlpo|/Td6WFoA|XQAA|KLUv/|BCJNG)
        [0-9A-Za-z+/]{{16,}}={{0,2}}(?![0-9A-Za-z+/=_-])
    )
    | (?P<padded>
        # A text that goes on for long is gone through once, from where it begins.
        (?:(?<![0-9A-Za-z])|{_AFTER_ESCAPE})
        # In a path, a slash without an escape is no part of it.
        (?:[0-9A-Za-z]|%2[BbFf]){{18,}}(?:%3[Dd]){{1,2}}(?![0-9A-Za-z=])
        | (?:(?<![0-9A-Za-z+/])|{_AFTER_ESCAPE})
        (?:[0-9A-Za-z+/]|%2[BbFf]|\\{{1,2}}/){{18,}}(?:=|%3[Dd]){{1,2}}(?![0-9A-Za-z=])
    )
    | (?P<escape>%[0-9A-Fa-f]{{2}}|\\u[0-9A-Fa-f]{{4}}|\\[nrtbf"\\/])
    | (?P<number>\d+(?:\.\d+)?(?![0-9A-Za-z_-]))
    | (?P<run>[0-9A-Za-z_-]+)
"""
_PART: Final = rf"{_WHOLE}|(?P<run>[0-9A-Za-z]+)"
"""The parts of a run that is no value as a whole."""
_HAS_WHOLE = re.compile(rf"{_UUID_LOWER}|{_UUID_UPPER}|\d{{4}}-\d\d-\d\d")
_PREFIX = re.compile(r"(?:[A-Z]?[a-z]{3,}|[A-Z]{4,})[_-]+(?=[0-9A-Za-z_-]{11})")
_HEX = re.compile(r"[0-9a-f]{16,}|[0-9A-F]{16,}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}|[0-7][0-9a-hjkmnp-tv-z]{25}")
_FEWEST_DIGITS = 6
"""How many different hexadecimal digits a random text of 16 or more has, but for one of 25,000."""
_FEWEST_LETTERS = 8
_BASE64_TEXT = ("ey", "e3", "e1", "W1", "W3", "Wy")
"""How JSON begins in base64."""
_COMMON = (
    "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri "
    "ro ic ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut "
    "ss so rs un lo wa ge ie wh ee wi em ad ol rt po we na ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi "
    "ci vi pl ig tu ev ld ry mp"
)
_COMMON_PAIRS = frozenset(_COMMON.split())
"""The pairs of letters that four fifths of an English text consist of. Of random letters, a fifth are such pairs."""


def pieces_of(text: str, literals: Literals | None = None, depth: int = 0) -> tuple[Piece, ...]:
    """Take a text apart; joined, the raw texts of the pieces are the text again.

    Args:
        text: Any text; bytes as latin-1.
        literals: Values that are found by their text.
        depth: In how many other texts it stands encoded.
    """
    if literals is None:
        return tuple(_merged(_pieces(text, literals, depth)))
    found: list[Piece] = []
    position = 0
    for match in literals.pattern.finditer(text):
        found += _pieces(text[position : match.start()], literals, depth)
        raw = match.group()
        found.append(Value(raw, SECRET, "", literals.values[raw]))
        position = match.end()
    found += _pieces(text[position:], literals, depth)
    return tuple(_merged(found))


def values_in(pieces: Iterable[Piece]) -> Iterator[Value]:
    """The values of a text, also those in texts that stand encoded in it."""
    for piece in pieces:
        if type(piece) is Value:
            yield piece
        elif type(piece) is Nested:
            yield from values_in(piece.pieces)


def skeleton(pieces: Iterable[Piece]) -> str:
    """A text with the values taken out."""
    return "".join(
        piece if type(piece) is str else "\0" if type(piece) is Value else f"\1{skeleton(piece.pieces)}\2"  # type: ignore[union-attr]
        for piece in pieces
    )


def replaced(pieces: Iterable[Piece], other: Callable[[Value], str | None]) -> str:
    """The text with other values in the places of its own, each written in the same way.

    Args:
        pieces: Of a text.
        other: The value for a value; None where that stays.
    """
    made = []
    for piece in pieces:
        if type(piece) is str:
            made.append(piece)
        elif type(piece) is Value:
            value = other(piece)
            made.append(piece.raw if value is None or value == piece.value else _written(piece, value))
        else:
            assert type(piece) is Nested
            before = replaced(piece.pieces, lambda _: None)
            text = replaced(piece.pieces, other)
            made.append(piece.raw if text == before else _encoded(text, piece))
    return "".join(made)


def capture(value: Value, text: str, position: int) -> tuple[Value, int] | None:
    """The value of the same kind and form that stands at a place of a text, and where it ends; None for none."""
    match = _compiled(value.form).match(text, position)
    if match is None:
        return None
    raw = match.group()
    if value.kind in (TIME, SNOWFLAKE):
        found = _time_or_number(raw)
        if found is None or (value.kind == TIME and found.instant is None):
            return None
        return found, match.end()
    is_hex = _HEX.fullmatch(raw) is not None
    if value.kind == UUID or (is_hex and _HEX.fullmatch(value.raw)):
        return value._replace(raw=raw, value=raw.replace("-", "").lower()), match.end()
    plain = _unescaped(raw)
    if value.kind == RANDOM and (is_hex or _cases(plain) != _cases(value.value) or not _is_chance(plain, 0.5)):
        return None
    return value._replace(raw=raw, value=plain), match.end()


def _cases(text: str) -> tuple[bool, bool]:
    """Whether a text has large letters, and small ones. Text in base36 or in hexadecimal digits is no base62."""
    return text.lower() != text, text.upper() != text


def nested_at(nested: Nested, text: str, position: int) -> tuple[str, int] | None:
    """The text that stands encoded at a place, and where it ends."""
    match = (_SAFE_RUN if nested.safe else _STANDARD_RUN).match(text, position)
    if match is None:
        return None
    if nested.packing:
        opened = _opened(match.group())
        return (opened[0], match.end()) if opened is not None and opened[1] == nested.packing else None
    plain = _decoded(_unescaped(match.group()), nested.safe)
    return None if plain is None else (plain, match.end())


_SAFE_RUN = re.compile(r"[0-9A-Za-z_-]+")
_STANDARD_RUN = re.compile(r"(?:[0-9A-Za-z+/]|%2[BbFf]|\\{1,2}/)+(?:=|%3[Dd]){0,2}")


def _merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    texts: list[str] = []
    for piece in pieces:
        if type(piece) is str:
            texts.append(piece)
        else:
            if any(texts):
                yield "".join(texts)
            texts = []
            yield piece
    if any(texts):
        yield "".join(texts)


def _pieces(text: str, literals: Literals | None, depth: int) -> list[Piece]:
    if len(text) > _LONGEST_BINARY and "\0" in text:
        return [text]
    made: list[Piece] = []
    position = 0
    for match in _large(_TOKEN).finditer(text):
        group = match.lastgroup
        if group == "escape":
            continue
        found = _read(match.group(), group or "", literals, depth)
        if found is not None:
            made.append(text[position : match.start()])
            made += found
            position = match.end()
    made.append(text[position:])
    return made


def _read(raw: str, group: str, literals: Literals | None, depth: int) -> list[Piece] | None:
    """The pieces of one token; None where there is no value in it."""
    if group == "uuid":
        uuid = _uuid(raw)
        return None if uuid is None else [uuid]
    if group == "run":
        return _run(raw, literals, depth) if len(raw) >= 10 else None
    if group == "packed":
        packed = _packed(raw, literals, depth)
        if packed is not None:
            return [packed]
        if not raw.endswith("="):
            return _runs(raw, literals, depth)
    if group in ("padded", "packed"):
        nested = _nested(raw, literals, depth, safe=False)
        if nested is not None:
            return [nested]
        # A path whose last part has escapes: its slashes are no part of that.
        is_path = "%" in raw and "/" in raw and _last_of_path(raw) is not None
        padded = None if is_path else _padded(raw)
        return [padded] if padded is not None else _split(raw, literals, depth)
    found = _time_or_number(raw)
    return [found] if found is not None else None


def _padded(raw: str) -> Value | None:
    """Random bytes in base64, with its padding."""
    plain = _unescaped(raw)
    if len(plain) > _LONGEST_RUN or len(plain) % 4 or not _is_chance(plain, 0.4):
        return None
    body = plain.rstrip("=")
    form = rf"(?:[0-9A-Za-z+/]|%2[BbFf]|\\{{1,2}}/){{{len(body)}}}(?:=|%3[Dd]){{{len(plain) - len(body)}}}"
    return Value(raw, RANDOM, form, plain)


def _split(raw: str, literals: Literals | None, depth: int) -> list[Piece]:
    """What looked like base64, and is none: a path, for instance. What stands before its last part is read anew."""
    padded = _last_of_path(raw)
    last = padded.raw if padded is not None else _PADDING.search(raw)[0]  # type: ignore[index]
    return [*_pieces(raw[: len(raw) - len(last)], literals, depth), last if padded is None else padded]


def _last_of_path(raw: str) -> Value | None:
    """The last part of a path, where it is random bytes in base64. It may have slashes itself, with their escape."""
    for slash in ("/", "%2F", "%2f"):
        end = raw.rfind(slash, 0, len(raw) - _SHORTEST_PADDED)
        while end >= 0:
            padded = _padded(raw[end + len(slash) :])
            if padded is not None:
                return padded
            end = raw.rfind(slash, 0, end)
    return None


_SHORTEST_PADDED = 20
_PADDING = re.compile(r"(?:=|%3[Dd])*\Z")


def _uuid(raw: str) -> Value | None:
    # A version and a variant of RFC 9562; constants such as one of zeros alone have none.
    if raw[14] not in "12345678" or raw[19] not in "89abAB" or len(set(raw)) < _FEWEST_DIGITS:
        return None
    digit = "[0-9a-f]" if raw == raw.lower() else "[0-9A-F]"
    form = f"{digit}{{8}}-{digit}{{4}}-{raw[14]}{digit}{{3}}-{digit}{{4}}-{digit}{{12}}{_END}"
    return Value(raw, UUID, form, raw.replace("-", "").lower())


def _run(raw: str, literals: Literals | None, depth: int) -> list[Piece] | None:
    """Letters, digits, hyphens and underscores: a value as a whole, behind a prefix, or in parts."""
    if _HAS_WHOLE.search(raw) is None:
        nested = _nested(raw, literals, depth, safe=True)
        if nested is not None:
            return [nested]
        prefix = _PREFIX.match(raw)
        start = prefix.end() if prefix is not None and _commonness(prefix.group()) >= 0.5 else 0
        whole = _identifier(raw[start:])
        if whole is not None:
            return [raw[:start], whole]
        if "-" not in raw and "_" not in raw:
            return None
    made: list[Piece] = []
    position = 0
    for match in _large(_PART).finditer(raw):
        text, group = match.group(), match.lastgroup
        if group == "run":
            found: Value | None = _identifier(text) or (_time_or_number(text) if text.isdigit() else None)
        else:
            found = _uuid(text) if group == "uuid" else _time_or_number(text)
        if found is not None:
            made += (raw[position : match.start()], found)
            position = match.end()
    if not made:
        return None
    made.append(raw[position:])
    return made


def _runs(raw: str, literals: Literals | None, depth: int) -> list[Piece] | None:
    """What begins like a packed file in base64, and is none: several runs, as in a path."""
    made: list[Piece] = []
    for part in _MARKS.split(raw):
        made += (_run(part, literals, depth) if len(part) >= 10 else None) or [part]
    return made if any(type(piece) is not str for piece in made) else None


_MARKS = re.compile("([+/])")


def _identifier(text: str) -> Value | None:
    """Text of 64 bits and more that is made of chance, as far as its form tells."""
    length = len(text)
    if not 11 <= length <= _LONGEST_RUN:
        return None
    if text.isdigit():
        return None
    lowered = text.lower()
    if length >= 16 and _HEX.fullmatch(text) is not None and _is_chance(text, 0.4):
        digit = "[0-9a-f]" if text == lowered else "[0-9A-F]"
        return Value(text, RANDOM, f"{digit}{{{length}}}{_END}", lowered)
    if _ULID.fullmatch(text) is not None:
        alphabet = "[0-9A-HJKMNP-TV-Z]" if text == text.upper() else "[0-9a-hjkmnp-tv-z]"
        return Value(text, ULID, f"[0-7]{alphabet}{{25}}{_END}", text)
    if text not in (lowered, text.upper()):
        if _is_chance(text, 0.4):
            return Value(text, RANDOM, f"[0-9A-Za-z_-]{{{length}}}(?![0-9A-Za-z_-])", text)
        return None
    if length >= 16 and text.isalnum() and _is_chance(text, 0.4):
        alphabet = "[0-9a-z]" if text == lowered else "[0-9A-Z]"
        return Value(text, RANDOM, f"{alphabet}{{{length}}}{_END}", text)
    return None


def _is_chance(text: str, most_common: float) -> bool:
    """Whether letters and digits are mixed as they are by chance, and not as in words."""
    upper, lower, digits = (sum(map(test, text)) for test in (str.isupper, str.islower, str.isdigit))
    if _HEX.fullmatch(text) is not None:
        return digits > 0 and upper + lower > 0 and len(set(text)) >= _FEWEST_DIGITS
    if len(set(text)) < _FEWEST_LETTERS:
        return False
    if upper and lower:
        fewest = 3 if len(text) >= 32 else 2
        if upper < fewest or lower < fewest or (len(text) < 16 and not (digits and text.isalnum())):
            return False
    elif digits < (1 if len(text) >= 20 else 2) or upper + lower < 4:
        return False
    return _commonness(text) < (most_common if len(text) >= 16 else 0.3)


def _commonness(text: str) -> float:
    """The share of pairs of neighbours that are common in words, written as in words: small letters behind a large
    one, but no large letter or digit behind a small one.
    """
    pairs = common = 0
    for one, two in pairwise(text):
        if one.isalnum() and two.isalnum() and not (one.isdigit() and two.isdigit()):
            pairs += 1
            common += not (one.islower() and two.isupper()) and (one + two).lower() in _COMMON_PAIRS
    return common / pairs if pairs else 0.0


_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[Tt_ +](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?"
)
_HTTP = re.compile(r"\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) .*")
_EPOCH_DIGITS = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}


def _time_or_number(raw: str) -> Value | None:
    """A number that may be a time or an identifier, or a time in letters."""
    if raw.isdigit() or (raw.count(".") == 1 and raw.replace(".", "").isdigit()):
        return _number(raw)
    plain = unquote(raw)
    http = _HTTP.fullmatch(plain.replace("+", " ") if "+0000" not in plain else plain)
    try:
        if http is not None:
            day, month, year, *clock = http.groups()
            moment = datetime.strptime(f"{year}{_MONTHS[month]:02}{day}{''.join(clock)}+0000", "%Y%m%d%H%M%S%z")
            form = re.sub(_WEEKDAY, _WEEKDAY, re.sub(_MONTH, _MONTH, _with_other_digits(raw)))
            return Value(raw, TIME, form, f"http {moment:%Y%m%d%H%M%S}", Instant(moment.timestamp(), 1.0, False))
        iso = _ISO.fullmatch(plain)
        return None if iso is None else _iso(raw, iso)
    except (ValueError, OverflowError, KeyError):
        return None


def _iso(raw: str, found: re.Match[str]) -> Value:
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    clock = int(hour or 0), int(minute or 0), int(second or 0)
    moment = datetime(int(year), int(month), int(day), *clock, tzinfo=timezone.utc)
    offset = 0.0
    if zone is not None and zone != "Z":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        offset = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
    seconds = moment.timestamp() - offset + (float(f"0.{fraction}") if fraction else 0.0)
    lasts = 86_400.0 if hour is None else 60.0 if second is None else 10.0 ** -len(fraction) if fraction else 1.0
    digits = f"{moment:%Y%m%d}" if hour is None else f"{moment:%Y%m%d%H%M}{second or ''}"
    digits += f".{fraction}" if fraction else ""
    value = f"iso {digits} {'' if zone is None else f'{offset:+.0f}'}".rstrip()
    return Value(raw, TIME, _time_form(raw, second is not None), value, Instant(seconds, lasts, zone is None))


def _with_other_digits(raw: str) -> str:
    """A pattern for the text with any digits in the places of its own. Those of URL escapes stay."""
    parts = enumerate(_URL_ESCAPE.split(raw))
    return "".join(re.escape(part) if at % 2 else re.sub("[0-9]", "[0-9]", re.escape(part)) for at, part in parts)


_URL_ESCAPE = re.compile("(%[0-9A-Fa-f]{2})")


def _time_form(raw: str, has_seconds: bool) -> str:
    """The pattern of an ISO time: other digits, and a fraction of any length or none, as Python leaves out zeros."""
    body, zone = raw, ""
    if ":" in raw or "%3" in raw or has_seconds:
        found = re.search(_ZONE + r"\Z", raw[10:])
        if found is not None and len(raw) > 10:
            body, zone = raw[: 10 + found.start()], found.group()
    body = re.sub(r"[.,]\d+\Z", "", body) if has_seconds else body
    fraction = "(?:[.,][0-9]{1,9})?" if has_seconds else ""
    return f"{_with_other_digits(body)}{fraction}{re.escape(zone)}{_END}"


def _number(raw: str) -> Value | None:
    whole, _, fraction = raw.partition(".")
    length = len(whole)
    unit = _EPOCH_DIGITS.get(length)
    if whole.startswith("0") or (unit is None and (fraction or not 17 <= length <= 20)):
        return None
    instant = None
    if unit is not None:
        lasts = (10.0 ** -len(fraction) if fraction else 1.0) / unit
        instant = Instant(float(raw) / unit, max(lasts, 1e-6), False)
    if fraction:
        return Value(raw, TIME, rf"[0-9]{{{length}}}\.[0-9]+(?![0-9A-Za-z])", raw, instant)
    if length >= 17:
        return Value(raw, SNOWFLAKE, r"[1-9][0-9]{16,19}(?!\.?[0-9A-Za-z])", raw, instant)
    return Value(raw, TIME, rf"[1-9][0-9]{{{length - 1}}}(?!\.?[0-9A-Za-z])", raw, instant)


def _nested(raw: str, literals: Literals | None, depth: int, *, safe: bool) -> Nested | None:
    if depth >= _DEEPEST or len(raw) < 16 or not raw.startswith(_BASE64_TEXT):
        return None
    text = _decoded(_unescaped(raw), safe)
    if text is None or text[:1] not in "{[":
        return None
    nested = Nested(raw, pieces_of(text, literals, depth + 1), safe)
    return nested if _encoded(text, nested) == raw else None


def _packed(raw: str, literals: Literals | None, depth: int) -> Nested | None:
    opened = _opened(raw) if depth < _DEEPEST else None
    return None if opened is None else Nested(raw, pieces_of(opened[0], literals, depth + 1), False, opened[1])


def _opened(raw: str) -> tuple[str, str] | None:
    """The text of a packed file in base64, and how it is packed; None for another text."""
    try:
        found = unpacked(base64.b64decode(raw, validate=True))
        if not found.layers or found.is_damaged:
            return None
        return found.content.decode("utf-8"), found.encoding
    except (binascii.Error, ValueError, OpaqueError):
        return None


def _decoded(text: str, safe: bool) -> str | None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if safe else None, validate=True)
        return data.decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _encoded(text: str, nested: Nested) -> str:
    packed = encode_body(text.encode(), nested.packing) if nested.packing else text.encode()
    data = base64.b64encode(packed, altchars=b"-_" if nested.safe else None).decode()
    return data.rstrip("=") if nested.safe else _escaped_like(data, nested.raw)


def _unescaped(raw: str) -> str:
    if "%" in raw:
        raw = unquote(raw)
    # JSON that stands in JSON escapes the escape as well.
    return raw.replace("\\\\/", "/").replace("\\/", "/") if "\\" in raw else raw


def _escaped_like(value: str, raw: str) -> str:
    if "%" in raw:
        return value.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    for escaped in ("\\\\/", "\\/"):
        if escaped in raw:
            return value.replace("/", escaped)
    return value


def _written(place: Value, value: str) -> str:
    """Another value in the way in which this one is written."""
    raw = place.raw
    if place.kind == SECRET:
        return value if raw == place.value else _escaped_as_secret(place, value)
    if place.kind == TIME and (value.startswith(("iso ", "http "))):
        return _written_time(raw, value)
    if place.kind in (UUID, RANDOM) and _HEX.fullmatch(place.raw.replace("-", "")):
        made = value if raw == raw.lower() else value.upper()
        if "-" in raw:
            made = "-".join((made[:8], made[8:12], made[12:16], made[16:20], made[20:]))
        return made
    return _escaped_like(value, raw)


def _escaped_as_secret(place: Value, value: str) -> str:
    from json import dumps
    from urllib.parse import quote, quote_plus

    for way in (lambda text: dumps(text)[1:-1], quote, lambda text: quote(text, safe=""), quote_plus):
        if way(place.value) == place.raw:
            return str(way(value))
    return value


def _written_time(raw: str, value: str) -> str:
    """A time in the form of another one."""
    digits = re.sub(r"[^0-9]", "", value.split(" ")[1].partition(".")[0])
    fraction = value.split(" ")[1].partition(".")[2]
    if value.startswith("http "):
        moment = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
        names = re.split(r"[^0-9A-Za-z%]+", f"{moment:%a %d %b %Y %H %M %S}")
        made = re.sub(_WEEKDAY, names[0], re.sub(_MONTH, names[2], raw))
        return _filled(made, names[1] + names[3] + "".join(names[4:]), "")
    return _filled(raw, digits, fraction)


def _filled(raw: str, digits: str, fraction: str) -> str:
    """The text with other digits in it; digits of escapes and of the zone stay."""
    made, at, position = [], 0, 0
    while position < len(raw):
        if raw[position] == "%":
            made.append(raw[position : position + 3])
            position += 3
        elif raw[position].isdigit() and at < len(digits):
            made.append(digits[at])
            at += 1
            position += 1
        elif raw[position] in ".," and at == len(digits):
            end = position + 1
            while end < len(raw) and raw[end].isdigit():
                end += 1
            made.append(raw[position] + fraction if fraction else "")
            fraction = ""
            position = end
        else:
            if fraction and at == len(digits):
                made.append(f".{fraction}")
                fraction = ""
            made.append(raw[position])
            position += 1
    return "".join(made) + (f".{fraction}" if fraction else "")


@lru_cache
def _large(pattern: str) -> re.Pattern[str]:
    """A large pattern, compiled when it is first needed: most replays need none."""
    return re.compile(pattern, re.VERBOSE)


@lru_cache(maxsize=1024)
def _compiled(form: str) -> re.Pattern[str]:
    return re.compile(form)


def within(instant: Instant, windows: Iterable[tuple[float, float]]) -> bool:
    """Whether a time lies in one of the windows, in any zone where its own is unknown."""
    seconds, lasts, naive = instant
    for start, end in windows:
        offsets = range(-56, 57) if naive else (0,)
        for quarter in offsets:
            at = seconds + quarter * 900.0
            if at <= end and at + lasts >= start:
                return True
    return False
