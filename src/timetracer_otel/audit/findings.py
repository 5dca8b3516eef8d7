"""What looks like a secret in a file, by place: by our own rules of today, and by a second scanner."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from timetracer_otel.audit.files import file_stem
from timetracer_otel.audit.leaves import Leaf, text_leaves
from timetracer_otel.audit.second_scanner import SecondScanner
from timetracer_otel.audit.todays_rules import Applied, apply, book_of
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.redactor import first_reading
from timetracer_otel.redact.secret_forms import assigned_secrets
from timetracer_otel.redact.secret_names import SECRET_FIELDS
from timetracer_otel.redact.value_forms import KNOWN_PREFIX

__all__ = ["OWN", "Finding", "in_cassette", "in_text"]

OWN: Final = "timetracer-otel"
"""What our own detector is called."""
FILE_NAME: Final = "the file's name"
_SHORTEST_PART: Final = 6
_WORD: Final = re.compile(r"[^\s\"'`,;:=<>(){}\[\]&?/@]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that looks like one of a secret. The secret itself is in none of its fields."""

    file: str
    event: int | None
    """The position of the event, as `show` counts; None for what belongs to the recording as a whole."""
    place: str
    scanner: str
    rule: str
    mask: str
    """``ghp_…``: what says which kind of secret it is, and no more."""
    length: int
    """In characters."""


def in_cassette(
    path: str, config: TraceConfig, second: SecondScanner | None, *, pseudonyms_too: bool = False
) -> list[Finding]:
    """What looks like a secret in a cassette, or in the part of a recording under way.

    A pseudonym looks like a secret and is none. It is known by the list in the header of its recording.

    Args:
        path: The file.
        config: Today's rules.
        second: The second scanner, where there is one.
        pseudonyms_too: Whether what the header calls a pseudonym is listed too, where the second scanner finds it.

    Raises:
        CassetteError: The file cannot be read.
    """
    applied = apply(lambda: read_cassette(path), config)
    found = list(_own(path, applied))
    name = _in_name(path, applied)
    found += [name] if name is not None else []
    if second is not None:
        known = () if pseudonyms_too else applied.before.pseudonyms
        places = [new for _, new in applied.leaves]
        found += _by(second, path, [old for old, _ in applied.leaves], places, known)
    return sorted(found, key=lambda one: (one.event or 0, one.place, one.scanner != OWN, one.rule))


def in_text(
    path: str, data: bytes, config: TraceConfig, second: SecondScanner | None, known: tuple[str, ...]
) -> list[Finding]:
    """What looks like a secret in a file that is no cassette.

    Args:
        path: The file.
        data: What it holds.
        config: Today's rules.
        second: The second scanner, where there is one.
        known: The pseudonyms of the recordings that it may be about.
    """
    book = book_of(config, known)
    old = list(text_leaves(data, "text"))
    kind = b"application/json" if data.lstrip()[:1] in (b"{", b"[") else b"text/plain"
    plain = first_reading(data, "") or data
    redacted = book.redactor.body(plain, [(b"content-type", kind)]).data
    book.redactor.note(redacted)
    made = book.occurrences.bytes(redacted)
    new = list(text_leaves(made, "text"))
    secrets = {secret: name for secret, name in book.pseudonyms.secrets().items() if secret != name}
    found: list[Finding] = []
    if len(old) != len(new):
        new = [leaf._replace(place=book.occurrences.text(leaf.place), text=leaf.text) for leaf in old]
        found = [_finding(path, old[0], OWN, "secret", secret, "text") for secret in secrets]
    for before, after in zip(old, new, strict=True):
        if before.text != after.text:
            secret = _secret_in(before.text, after.text, secrets)
            found.append(_finding(path, before, OWN, _rule_of_text(before), secret, after.place))
    if second is not None:
        found += _by(second, path, old, new, known)
    return sorted(found, key=lambda one: (one.place, one.scanner != OWN, one.rule))


def _own(path: str, applied: Applied) -> Iterator[Finding]:
    for before, after in applied.changed:
        secret = _secret_in(before.text, after.text, applied.secrets)
        rule = _rule(before, secret, applied)
        yield _finding(path, before, OWN, rule, secret, after.place)


def _rule(leaf: Leaf, secret: str, applied: Applied) -> str:
    if secret in applied.sure:
        return "a known form"
    if leaf.name and applied.is_secret_name(leaf.name):
        return f"the name {leaf.name}"
    if "://" in leaf.text and f":{secret}@" in leaf.text:
        return "a password in a URL"
    if assigned_secrets(leaf.text.encode("utf-8", "surrogateescape"), SECRET_FIELDS):
        return "a name in a text"
    return "secret in another place"


def _rule_of_text(leaf: Leaf) -> str:
    return f"the name {leaf.name}" if leaf.name.lower() in SECRET_FIELDS else "a known form"


def _in_name(path: str, applied: Applied) -> Finding | None:
    name = Path(path).name
    old, new = (file_stem(cassette) for cassette in (applied.before, applied.after))
    clean = applied.clean_text(name)
    if clean == name and (old == new or not name.startswith(old)):
        return None
    secret = _secret_in(name, clean, applied.secrets) if clean != name else _changed_part(old, new)
    return _finding(path, Leaf(None, FILE_NAME, "", name), OWN, "secret in another place", secret, FILE_NAME)


def _by(
    second: SecondScanner, path: str, leaves: list[Leaf], places: list[Leaf], known: Iterable[str]
) -> Iterator[Finding]:
    is_pseudonym = _recogniser(known)
    seen: set[tuple[int, str, str]] = set()
    for hit in second.scan(leaves):
        if hit in seen or is_pseudonym(hit.secret):
            continue
        seen.add(hit)
        yield _finding(path, leaves[hit.leaf], second.name, hit.rule, hit.secret, places[hit.leaf].place)


def _recogniser(known: Iterable[str]) -> Callable[[str], bool]:
    """Tells whether what a scanner found is a pseudonym, a part of one, or a text around one."""
    names = [name for name in known if len(name) >= _SHORTEST_PART]
    whole = set(known)

    def is_pseudonym(text: str) -> bool:
        plain = unquote(text)
        if text in whole or plain in whole or REDACTED in plain:
            return True
        return any(name in plain or (len(plain) >= _SHORTEST_PART and plain in name) for name in names)

    return is_pseudonym


def _secret_in(before: str, after: str, secrets: Iterable[str]) -> str:
    """The secret that stands in a text: the longest that is known, or else what was replaced."""
    found = [secret for secret in secrets if secret in before]
    return max(found, key=len) if found else _changed_part(before, after)


def _changed_part(before: str, after: str) -> str:
    start = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    for word in _WORD.finditer(before):
        if word.start() <= start < word.end():
            return word[0]
    return before


def _finding(path: str, leaf: Leaf, scanner: str, rule: str, secret: str, place: str) -> Finding:
    lead = KNOWN_PREFIX.match(secret)
    mask = f"{lead[0] if lead is not None and len(secret) - lead.end() >= 8 else ''}…"
    return Finding(path, leaf.event, place, scanner, rule, mask, len(secret))
