"""Well-known secrets, found by their form in any text: keys of services, tokens, private keys, passwords in URLs.

The forms are those that the services document, or that their keys have shown for years. A form is in the list if a
text of it is hardly ever anything else.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from timetracer_otel.redact.echoes import echoes_in_text, may_echo
from timetracer_otel.redact.judgement import may_be_secret
from timetracer_otel.redact.password_hashes import hash_places
from timetracer_otel.redact.splice import apart
from timetracer_otel.redact.value_forms import is_iban, passes_luhn

__all__ = [
    "ENTITIES",
    "IN_RUN",
    "SHORTEST_RUN",
    "assigned_secrets",
    "may_hold_assignment",
    "personal_data",
    "well_known_secrets",
]

_SHORTEST: Final = 6
"""The least bytes of a text with a secret in it: ``://:x@``."""
SHORTEST_RUN: Final = 20
_RUN: Final = b"a" * SHORTEST_RUN
IN_RUN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_CLASSES: Final = bytes(97 if code in IN_RUN else 32 for code in range(256))
"""Nearly all keys have a run of letters and digits of this length. To look for runs first is ten times as fast as to
look for each form."""
_KNOWN: Final = re.compile(
    rb"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])"
    rb"|gh[oprsu]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{22,255}"
    rb"|gl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|imt|agent|ffct)-[\w-]{20,}"
    rb"|xox[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{20,}"
    rb"|sk-[A-Za-z0-9_-]{20,}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{20,}={0,2}"
    rb"|AIza[\w-]{35}|GOCSPX-[\w-]{20,}|hf_[A-Za-z0-9]{24,}|gsk_[A-Za-z0-9]{24,}|xai-[A-Za-z0-9]{24,}"
    rb"|pplx-[A-Za-z0-9]{24,}|r8_[A-Za-z0-9]{24,}|nvapi-[\w-]{24,}"
    rb"|npm_[A-Za-z0-9]{30,}|pypi-AgE[\w-]{40,}|rubygems_[0-9a-f]{48}|dckr_(?:pat|oat)_[\w-]{20,}"
    rb"|do[oprt]_v1_[0-9a-f]{40,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|dapi[0-9a-f]{32}(?:-\d)?"
    rb"|gl(?:c|sa)_[\w=-]{30,}|NRAK-[A-Z0-9]{27}|sntry[su]_[\w+/=-]{30,}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}"
    rb"|lin_(?:api|oauth)_[A-Za-z0-9]{30,}|ntn_[A-Za-z0-9]{30,}|secret_[A-Za-z0-9]{40,}|fig[dou]_[\w-]{30,}"
    rb"|sb(?:p|_secret)_[\w-]{20,}|pscale_(?:tkn|pw|oauth)_[\w.=-]{30,}|HRKU-[\w-]{30,}|AT[AC]TT3[\w=+/-]{40,}"
    rb"|EAAA[\w-]{50,}|sq0(?:atp|csp|idp)-[\w-]{20,}|rzp_(?:live|test)_[A-Za-z0-9]{14,}|FLWSECK(?:_TEST)?-[\w-]{20,}"
    rb"|SK[0-9a-f]{32}(?![A-Za-z0-9])|key-[0-9a-f]{32}(?![A-Za-z0-9])|[0-9a-f]{32}-us\d{1,2}(?![A-Za-z0-9])"
    rb"|AGE-SECRET-KEY-1[A-Z0-9]{50,}|[MNO][A-Za-z\d]{23,25}\.[\w-]{6}\.[\w-]{27,}|pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"
    rb"|eyJ[\w-]{10,}\.ey[\w-]{2,}\.[\w-]*|eyJ[\w-]{10,}(?:\.[\w-]*){4}"
    rb"|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}|[A-Za-z0-9~.]{3}8Q~[\w~.-]{31,34}"
)
_LED: Final = re.compile(
    rb"(?:SG\.[\w-]{16,32}\.[\w-]{16,64}|ya29\.[\w-]{20,}|hv[bsr]\.[\w-]{24,}|dp\.[a-z]{2,5}\.(?:\w+\.)?[\w-]{30,}"
    rb"|1//0[\w-]{30,}|\d{8,10}:AA[\w-]{33}|access_token\$(?:production|sandbox)\$[a-z0-9]+\$[0-9a-f]{32})"
)
"""Forms whose long run stands behind something else."""
_LEADS: Final = frozenset(b".:/$")
_ID: Final = re.compile(rb"[0-9a-f-]+(?![A-Za-z0-9_+/=-])")
_BEFORE_PARTS: Final = _LEADS | {43}
"""A run that is all hexadecimal, and no part of something longer, is an id: of a request, of a row. No form is so."""
_BEFORE_RUN: Final = re.compile(
    rb"(?:SG\.|ya29\.|hv[bsr]\.|dp\.[a-z]{2,5}\.(?:\w+\.)?|1//|\d{8,10}:|access_token\$\w+\$\w*\$?)$"
)
_ADDRESS: Final = re.compile(rb"://[^\s/?#@:\"'<>\\]*:([^\s/?#@\"'<>\\]+)@")
"""It begins with its mark: to search for letters that might be the scheme takes a hundred times as long."""
_PRIVATE_KEY: Final = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----"
    rb"(?:(?:(?!-----)[^'\"<>{}])*-----END \1-----|(?:\s|\\[nr]|[A-Za-z0-9+/=]{16,})+)"
)
"""Where an error cuts a text off, there is no end."""
_SCHEME: Final = re.compile(rb"\b(?i:(basic)|bearer)[ +]+([A-Za-z0-9._~+/=-]{8,})")
_OTHERS: Final = (
    re.compile(rb"AccountKey=([A-Za-z0-9+/]{40,}={0,2})"),
    re.compile(rb"SharedAccessKey=([A-Za-z0-9+/]{30,}={0,2})"),
    re.compile(rb"hooks\.slack\.com/(?:services|workflows)/\w+/\w+/([\w/]{16,})"),
    re.compile(rb"discord(?:app)?\.com/api/webhooks/\d+/([\w-]{40,})"),
)

_ESCAPED: Final = ("BEGIN%20", "%3A%2F%2F", "%3a%2f%2f", "asic%20", "earer%20", "Key%3D", "Key%3d", "%24")
"""What tells, in a URL or a form, that there may be a secret which its surroundings tell."""
_WITH_PLUS: Final = ("BEGIN+", "asic+", "earer+")
"""The same, where a space is written as a plus."""


def well_known_secrets(
    data: bytes,
    inner: list[bytes] | None = None,
    long: list[bytes] | None = None,
    lowered: Callable[[], Sequence[bytes]] | None = None,
) -> list[tuple[int, int]]:
    """The places of secrets of well-known forms, in order. They do not overlap.

    Args:
        data: A text in any encoding that has ASCII in it, or packed values.
        inner: Takes the texts that stand in it in base64, and the one that it is without the escapes of URLs, where
            that may show something.
        long: Takes the parts with `SHORTEST_RUN` letters and digits in a row, and more.
        lowered: Gives all parts of the text in lower case, where the caller has most of them. White space may be
            left out.
    """
    found: list[tuple[int, int]] = []
    if len(data) < _SHORTEST:
        return found
    runs = data.translate(_CLASSES)
    # Most texts have no such run. To look from the end takes a part of the time.
    last_run = runs.rfind(_RUN)
    start = runs.find(_RUN) if last_run >= 0 else -1
    text_stop = 0
    while start >= 0:
        stop = runs.find(b" ", start + SHORTEST_RUN)
        stop = stop if stop >= 0 else len(data)
        before = data[start - 1] if start else 0
        if before not in _BEFORE_PARTS and _ID.match(data, start) is not None:
            if long is not None:
                long.append(data[start:stop])
            start = runs.find(_RUN, stop) if stop <= last_run else -1
            continue
        place = _in_run(data, start, stop)
        if place is not None:
            found.append(place)
        if start >= text_stop:
            if before in _PLUS_OR_SLASH or (stop < len(data) and data[stop] in _PLUS_OR_SLASH):
                # Text in base64 may have thousands of runs. All but the last one are gone through at once.
                text_stop = _BASE64_TEXT.match(data, start).end()  # type: ignore[union-attr]
                if inner is not None:
                    inner += _decoded_text(data, start, text_stop)
                last = max(stop, data.rfind(b"+", stop, text_stop) + 1, data.rfind(b"/", stop, text_stop) + 1)
                found += _between_runs(data, stop, last)
                stop = last
            elif inner is not None and place is None and stop - start >= _SHORTEST_INNER:
                inner += _decoded_run(data, start, stop)
        if place is not None:
            stop = max(stop, place[1])
        if long is not None:
            # A form may end within another run.
            end = runs.find(b" ", stop)
            long.append(data[start:end] if end >= 0 else data[start:])
        start = runs.find(_RUN, stop) if stop <= last_run else -1
    # To look for a single character takes a tenth of the time of a word. To look from the end takes half of it.
    text = data.decode("latin-1")
    found += hash_places(data, text)
    if "@" in text and text.rfind("://") >= 0:
        found += [match.span(1) for match in _ADDRESS.finditer(data)]
    if "B" in text and text.rfind("-----BEGIN") >= 0:
        found += [match.span() for match in _PRIVATE_KEY.finditer(data)]
    if inner is not None and (
        ("%" in text and any(text.rfind(mark) >= 0 for mark in _ESCAPED))
        or ("+" in text and any(text.rfind(mark) >= 0 for mark in _WITH_PLUS))
    ):
        inner.append(unquote_to_bytes(data.replace(b"+", b" ")))
    # A scheme is followed by a space, or by what a form writes in its place.
    if ("b" in text or "B" in text) and (" " in text or "+" in text):
        for part in (data.lower(),) if lowered is None else lowered():
            if part.rfind(b"earer") >= 0 or part.rfind(b"asic") >= 0:
                found += _credentials(data, data.lower())
                break
    if ("=" in text and text.rfind("Key=") >= 0) or ("/" in text and text.rfind("hooks") >= 0):
        for pattern in _OTHERS:
            found += [match.span(1) for match in pattern.finditer(data)]
    return apart(found) if len(found) > 1 else found


def _in_run(data: bytes, start: int, stop: int) -> tuple[int, int] | None:
    before = data[start - 1] if start else 0
    if before in _LEADS:
        lead = _BEFORE_RUN.search(data, max(0, start - 64), start)
        match = _LED.match(data, lead.start()) if lead is not None else None
        if match is not None:
            return match.span()
    elif before == 37:  # "%": the run begins with the rest of an escape, as in "%3D", or it is the "%" of LIKE
        match = _KNOWN.match(data, start)
        if match is not None:
            return match.span()
        start += 2
    elif before == 92:  # a backslash: "\\n" or "\\u0022"
        start += 5 if data[start : start + 1] == b"u" else 1
    match = _KNOWN.match(data, start)
    if match is None:
        # In a packed value, the bytes of a length stand before a text, and may look like letters.
        if before in _PACKED_SHORT or data[start - 2 : start - 1] in _PACKED_LONG:
            match = _KNOWN.match(data, start + 1)
        elif before in _PACKED_LONG_CODES:
            match = _KNOWN.match(data, start + 2)
    return match.span() if match is not None else None


_PACKED_SHORT: Final = frozenset({0xC4, 0xD9})
_PACKED_LONG: Final = frozenset({b"\xc5", b"\xda"})
_PACKED_LONG_CODES: Final = frozenset({0xC5, 0xDA})
"""What msgpack writes before a length of one byte, or of two."""


def _between_runs(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The places of secrets in text in base64, for the runs that begin behind a plus or a slash between these places.

    Args:
        data: All of the text.
        start: The end of a run.
        stop: The beginning of another one, which is not looked into.
    """
    if start + 1 >= stop:
        return
    # A form may go on behind the text in base64.
    begins = [
        found.end() for pattern in _BETWEEN_RUNS for found in pattern.finditer(data, start, stop + _LONGEST_BEHIND)
    ]
    position = start
    for begin in sorted(begins):
        place = _in_run(data, begin, stop) if position <= begin < stop else None
        if place is not None:
            yield place
            position = place[1]


_PLUS_OR_SLASH: Final = frozenset(b"+/")
_BASE64_TEXT: Final = re.compile(rb"[A-Za-z0-9+/_-]*")
_KNOWN_RUN: Final = rb"(?=[A-Za-z0-9_-]{%d})(?=%b)" % (SHORTEST_RUN, _KNOWN.pattern)
_BETWEEN_RUNS: Final = (
    re.compile(rb"\+" + _KNOWN_RUN),
    re.compile(rb"/(?:" + _KNOWN_RUN + rb"|(?<=1//)(?=0[\w-]{30}))"),
)
"""They end where a run begins. To look for one character at a time takes half of the time."""
_LONGEST_BEHIND: Final = 256


def _decoded_run(data: bytes, start: int, stop: int) -> list[bytes]:
    """What a run says that is base64 of ASCII; empty for any other."""
    # In a packed value, the byte of a length may look like a letter.
    text = _from_base64(data[start + (start > 0 and data[start - 1] in _PACKED_SHORT) : stop])
    return [text] if text.isascii() else []


def _decoded_text(data: bytes, start: int, stop: int) -> list[bytes]:
    """What is said by text in base64, or by the end of it that is ASCII. A path may stand before it, which looks like
    a part of it, so it may begin with any of its characters: it is decoded from each of four in a row.
    """
    before = data[max(0, start - _MOST_BEFORE) : start]
    start -= len(before) - len(before.rstrip(_IN_BASE64))
    found = []
    for left in range(4):
        shortest = _SHORTEST_INNER + left
        # Most is the base64 of no text, which the end of it tells.
        if shortest <= stop - start and _from_base64(data[stop - shortest : stop]).isascii():
            text = _from_base64(data[start + (stop - start - left) % 4 : stop])
            turned = text[::-1]
            beyond = _BEYOND_ASCII.search(turned)
            found.append(text if beyond is None else text[len(text) - beyond.start() :])
    return found


def _from_base64(text: bytes) -> bytes:
    # One character behind groups of four has no byte of its own.
    bare = text[: len(text) - (len(text) % 4 == 1)].translate(_FROM_URL)
    return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4))


_SHORTEST_INNER: Final = 24
_MOST_BEFORE: Final = 1024
_IN_BASE64: Final = IN_RUN + b"+/"
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]")


def _credentials(data: bytes, lowered: bytes) -> list[tuple[int, int]]:
    found = []
    for scheme in (b"bearer", b"basic"):
        at = lowered.rfind(scheme)
        while at >= 0:
            match = _SCHEME.match(data, at)
            if match is not None and _is_credential(match):
                found.append(match.span(2))
            at = lowered.rfind(scheme, 0, at)
    return found


def _is_credential(match: re.Match[bytes]) -> bool:
    value = match[2]
    if not match[1]:
        return len(value) >= SHORTEST_RUN or (len(value) >= 12 and any(48 <= code < 58 for code in value))
    try:
        return b":" in base64.b64decode(value + b"=" * (-len(value) % 4), altchars=b"-_" if b"-" in value else None)
    except (ValueError, binascii.Error):
        return False


_STEMS: Final = ("pass", "secret", "token", "pwd", "key", "auth", "cred", "signature", "ident")
_ASSIGNED: Final = re.compile(
    rb"(?<![\w.-])(?P<name>[\w.-]{0,40}?(?:pass|secret|token|pwd|key|auth|cred|signature)[\w-]{0,30})"
    rb"(?:\\?[\"'`\]]|&(?:\#x27|\#39|quot);)?\s*(?:=>|:=|!=|<>|[=:])\s*(?:(?:basic|bearer|negotiate)\s+)?"
    rb"(?:\"(?P<double>(?:[^\"\\]|\\.)*)\"|(?P<quote>\\?[\"']|&(?:\#x27|\#39|quot);)(?P<quoted>(?:(?!(?P=quote))[^\\]|\\(?!\\?[\"']).|'')*?)(?P=quote)(?!')"
    rb"|(?P<bare>[^\s'\"&;,()<>{}\[\]\\:$%@?*|=][^\s'\"&;,()<>{}\[\]\\]{3,}))",
    re.IGNORECASE | re.DOTALL,
)
ENTITIES: Final = (b"&#x27;", b"&#39;", b"&quot;")
"""Quotes as HTML writes them in what it shows."""
_FLAG: Final = re.compile(rb"--(?P<name>[\w-]{2,40})[= ]+(?P<bare>[^\s'\"-][^\s'\"]{3,})")
_IDENTIFIED: Final = re.compile(
    rb"\b(?:identified\s+(?:with\s+\S+\s+)?by\s|password\s|password\s*\()\s*'(?P<quoted>(?:[^']|'')+)'", re.IGNORECASE
)
_IN_SQL: Final = re.compile(
    rb"\b(?P<column>\w+)[\"`\]]?\s+(?:not\s+)?(?:in\s*\(\s*|i?like\s+)(?P<listed>'(?:[^']|'')*'(?:\s*,\s*'(?:[^']|'')*')*)"
    rb"|'(?P<labelled>(?:[^']|'')+)'\s+as\s+[\"`\[]?(?P<label>\w+)"
    rb"|\b(?!(?:in|values|any|all)\b)\w+\(\s*'(?:\w+\.)*(?P<named>\w+)'\s*,\s*'(?P<given>(?:[^']|'')+)'",
    re.IGNORECASE,
)
"""``password IN ('x', 'y')``, ``'x' AS token``, ``set_config('app.token', 'x')``."""
_QUOTED: Final = re.compile(rb"'((?:[^']|'')+)'")
_NOTHING: Final = frozenset(
    {b"null", b"none", b"true", b"false", b"excluded", b"default", b"undefined", b"redacted", b"password", b"token"}
)


def may_hold_assignment(data: bytes) -> bool:
    """Whether `assigned_secrets` is worth its time."""
    lowered = data.lower().decode("latin-1")
    return any(lowered.rfind(stem) >= 0 for stem in _STEMS)


def assigned_secrets(data: bytes, names: frozenset[str]) -> list[tuple[int, int]]:
    """The places of values that a text gives to secret names: ``password = 'x'``, ``token: x``, ``--api-key x``.

    Args:
        data: SQL, a log line, an error, a document of no known syntax.
        names: Of secret fields, in lower case.
    """
    return list(_assigned(data, names)) if len(data) <= _LONGEST_KEPT else list(_find_assigned(data, names))


_LONGEST_KEPT: Final = 4096


@lru_cache(maxsize=2048)
def _assigned(data: bytes, names: frozenset[str]) -> tuple[tuple[int, int], ...]:
    # An app has few statements, and repeats them.
    return tuple(_find_assigned(data, names))


def _find_assigned(data: bytes, names: frozenset[str]) -> list[tuple[int, int]]:
    if not may_hold_assignment(data):
        return []
    found_places = [place for pattern in (_ASSIGNED, _FLAG) for place in _given(pattern, data, names)]
    if b"'" in data:
        found_places += [
            found.span("quoted") for found in _IDENTIFIED.finditer(data) if not _ASSIGNED.search(found[0])
        ]
        found_places += _in_sql(data, names)
    if may_echo(data):
        found_places += echoes_in_text(data, lambda name: name in names or name.replace("-", "_") in names)
    return apart(found_places)


def _in_sql(data: bytes, names: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The literals that a statement compares with secret columns, or gives to secret names in other ways."""
    for found in _IN_SQL.finditer(data):
        name = (found["column"] or found["label"] or found["named"]).decode("latin-1").lower()
        if name not in names:
            continue
        if found["listed"] is not None:
            places = [one.span(1) for one in _QUOTED.finditer(data, *found.span("listed"))]
        else:
            places = [found.span("labelled" if found["labelled"] is not None else "given")]
        yield from (place for place in places if may_be_secret(name, data[slice(*place)].decode("latin-1")))


def _given(pattern: re.Pattern[bytes], data: bytes, names: frozenset[str]) -> Iterator[tuple[int, int]]:
    position = 0
    while (found := pattern.search(data, position)) is not None:
        places = list(_value_of(found, names))
        yield from places
        # What an open name is given may give a value to a secret one: ``KeyError: 'token: x'``.
        position = found.end() if places else found.end("name")


def _value_of(found: re.Match[bytes], names: frozenset[str]) -> Iterator[tuple[int, int]]:
    name = found["name"].decode("latin-1").lower().rpartition(".")[2]
    if name not in names and name.replace("-", "_") not in names:
        return
    part = next(part for part in ("bare", "double", "quoted") if found.groupdict().get(part) is not None)
    value = found[part]
    if value and value.lower() not in _NOTHING and may_be_secret(name.replace("-", "_"), value.decode("latin-1")):
        yield found.span(part)


_MAIL: Final = re.compile(rb"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?![\w-])")
_CARD: Final = re.compile(
    rb"(?<![\w.-])[2-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{1,7}(?![\w-])|(?<![\w.-])3[47]\d{2}([ -]?)\d{6}\2\d{5}(?!\w)"
)
_IBAN: Final = re.compile(rb"(?<![\w-])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![\w-])")
_PHONE: Final = re.compile(rb"(?<![\w.+-])(?:\+|00)[1-9](?:[ ()./-]{0,2}\d){7,14}(?![\w-])")


def personal_data(data: bytes) -> list[tuple[int, int]]:
    """The places of e-mail addresses, card numbers, IBANs and telephone numbers, in order."""
    found: list[tuple[int, int]] = []
    if b"@" in data:
        found += [match.span() for match in _MAIL.finditer(data)]
    found += [match.span() for match in _CARD.finditer(data) if _is_card(match[0])]
    found += [match.span() for match in _IBAN.finditer(data) if is_iban(match[0].decode())]
    if b"+" in data or b"00" in data:
        found += [match.span() for match in _PHONE.finditer(data)]
    return apart(found)


def _is_card(text: bytes) -> bool:
    digits = text.replace(b" ", b"").replace(b"-", b"").decode()
    return 13 <= len(digits) <= 19 and passes_luhn(digits)
