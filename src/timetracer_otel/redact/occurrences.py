"""`Occurrences`: finds secrets that are known already, wherever else they stand, and puts their pseudonyms there.

A secret stands in other places as it is, or as URLs, JSON, HTML, base64 and quoted errors write it.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus

from timetracer_otel.redact.content_encoding import PACKED, OpaqueError
from timetracer_otel.redact.errors import as_bytes, with_leaves
from timetracer_otel.redact.msgpacked import MSGPACK, msgpack_edits
from timetracer_otel.redact.nested import (
    PICKLE,
    base64_like,
    inflated,
    may_have_packed_base64,
    packed_in_base64,
    packed_runs,
    with_content_changed,
    with_texts_of_pickle,
)
from timetracer_otel.redact.secret_forms import IN_RUN, SHORTEST_RUN
from timetracer_otel.redact.splice import Edit, apply_edits
from timetracer_otel.redact.value_forms import is_distinctive
from timetracer_otel.types import HeaderMap

__all__ = ["Occurrences"]

_WHOLE_BELOW: Final = 12
"""A shorter secret is replaced only where it stands alone: it may be a part of other words by chance."""
_GRAM: Final = 6
_FEW: Final = 24
"""So many texts are looked for one by one. More are looked for by their first bytes."""
_RUN: Final = re.compile(rb"[A-Za-z0-9%+/=_.~\\-]{6,}")
_BASE64_RUN: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_URL_BASE64_RUN: Final = re.compile(rb"[A-Za-z0-9_-]*={0,2}")
_ALONE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_SHORTEST_CORE: Final = 7
_SHORTEST_PART: Final = 8
"""The least characters of a secret that is cut off. Fewer of them protect nothing."""
_LONGEST_CUT: Final = 256 * 1024
"""Bytes of a text that is searched for secrets that are cut off. Errors are shorter."""
_MOST_SHOWN: Final = 4096
"""The most bytes of a secret that are looked for beside a cut. Errors show fewer."""
_CUT: Final = re.compile(rb"\.\.\.|\xe2\x80\xa6|' (?:at line|for key) ")
"""Where an error cuts off what it quotes: asyncpg after 40 characters, SQLAlchemy and Pydantic in the middle,
PostgreSQL at both sides, MySQL without a mark of its own."""
_HALF_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?)?\Z")


class _Needle(NamedTuple):
    """One text to look for."""

    text: bytes
    new: bytes
    whole: bool
    """Whether it counts only where no letter or digit stands beside it."""
    skipped: int = -1
    """For base64: how many bytes stand before the secret in its group of three; -1 for other texts."""
    secret: bytes = b""


_needle: Callable[[tuple[bytes, bytes, bool, int, bytes]], _Needle] = partial(tuple.__new__, _Needle)
"""Makes a `_Needle` from a tuple. The class itself would call a function written in Python, which takes longer."""


class Occurrences:
    """The secrets of one recording that are replaced wherever they stand. Safe from any thread.

    Attributes:
        version: Another one once a secret was added.
    """

    def __init__(self) -> None:
        self.version = 0
        self._lock = threading.Lock()
        self._needles: dict[bytes, _Needle] = {}
        self._grams: dict[bytes, list[_Needle]] = {}
        self._one_by_one: list[_Needle] = []
        self._marks: list[tuple[str, str]] = []
        """The texts of those, each byte as a character, each with a long run in it: to look for a part of a text
        takes a fifth of the time."""
        self._numbers: dict[int, int] = {}
        self._names: dict[bytes, str] = {}

    def add(self, secret: str, pseudonym: str, surely: bool = False) -> None:
        """Look for this secret from now on, unless it is met by chance.

        Args:
            secret: A text.
            pseudonym: What takes its place.
            surely: Its form tells that it is a secret, even if it is a word.
        """
        if secret == pseudonym or not (surely or is_distinctive(secret)) or len(secret) < _GRAM:
            return
        with self._lock:
            if _raw(secret) in self._needles:
                return
            needles = _needles(secret, pseudonym)
            if len(self._needles) + len(needles) <= _FEW:
                self._put_few(needles, pseudonym)
            else:
                for needle in needles:
                    self._put(needle, pseudonym)
            if secret.isdigit() and pseudonym.isdigit() and len(secret) < 20:
                self._numbers[int(secret)] = int(pseudonym)

    def forget(self, pseudonyms: Iterable[str]) -> None:
        """Do not look any more for the secrets of these pseudonyms."""
        gone = set(pseudonyms)
        with self._lock:
            kept = [(needle, self._names[text]) for text, needle in self._needles.items()]
            self._needles, self._names, self._grams, self._one_by_one, self._marks = {}, {}, {}, [], []
            for needle, name in kept:
                if name not in gone:
                    self._put(needle, name)
            self._numbers = {number: name for number, name in self._numbers.items() if str(name) not in gone}

    def add_in_urls(self, old: str, new: str) -> None:
        """Look for this password in URLs from now on: ``:old@`` becomes ``:new@``."""
        if old != new:
            with self._lock:
                for one, other in zip(_written(f":{old}@"), _written(f":{new}@"), strict=False):
                    self._put(_Needle(one, other, False), new)

    def _put_few(self, needles: list[_Needle], pseudonym: str) -> None:
        """`_put` for needles that are looked for one by one: those of the first secrets, which most recordings have
        no more of.
        """
        known, names = self._needles, self._names
        one_by_one, marks = self._one_by_one, self._marks
        for needle in needles:
            text = needle[0]
            if text not in known:
                names[text] = pseudonym
                known[text] = needle
                one_by_one.append(needle)
                if len(text) >= SHORTEST_RUN and text.isalnum():
                    mark = text.decode()
                    marks.append((mark, mark))
                else:
                    marks.append(_mark(needle))
        self.version += 1

    def _put(self, needle: _Needle, pseudonym: str) -> None:
        # Other threads may search at this moment: what they go through is only ever made longer, or replaced.
        if needle.text in self._needles:
            return
        text = needle.text
        self.version += 1
        self._names[text] = pseudonym
        self._needles[text] = needle
        if len(self._needles) <= _FEW or not _RUN.fullmatch(text[:_GRAM]):
            self._one_by_one.append(needle)
            self._marks.append(_mark(needle))
        elif self._grams:
            self._grams.setdefault(needle.text[:_GRAM], []).append(needle)
        else:
            grams: dict[bytes, list[_Needle]] = {}
            rest = []
            for other in (*self._one_by_one, needle):
                if _RUN.fullmatch(other.text[:_GRAM]):
                    grams.setdefault(other.text[:_GRAM], []).append(other)
                else:
                    rest.append(other)
            self._grams = grams
            self._one_by_one = rest
            self._marks = [_mark(other) for other in rest]

    def __bool__(self) -> bool:
        return bool(self._needles)

    def may_be_in(self, data: bytes, long: list[bytes] | None = None) -> bool:
        """Whether a secret may stand in these bytes.

        Args:
            data: The bytes.
            long: The parts of them with many letters and digits in a row (see `well_known_secrets`). Most secrets
                have such a part themselves, and are looked for in these alone. Packed files in base64 are not looked
                into then.
        """
        text = data.decode("latin-1") if long is None else None
        in_long = b" ".join(long).decode("latin-1") if long is not None else ""
        for mark, core in self._marks:
            if long is None or core in in_long:
                if text is None:
                    text = data.decode("latin-1")
                if mark in text:
                    return True
        if self._grams and any(True for _ in self._by_grams(data)):
            return True
        if _may_be_cut(data) and any(True for _ in self._cut_off(data)):
            return True
        return long is None and may_have_packed_base64(data.decode("latin-1")) and self._may_be_in_packed(data)

    def edits(self, data: bytes, used: set[str] | None = None) -> list[Edit]:
        """The places of secrets in these bytes, in order, each with what belongs there.

        Args:
            data: A text in any encoding that has ASCII in it.
            used: Takes the pseudonyms of the secrets that were found.
        """
        found: list[tuple[Edit, bytes]] = []
        for needle in self._one_by_one:
            at = data.find(needle.text)
            while at >= 0:
                edit = _edit(data, at, needle)
                if edit is not None:
                    found.append((edit, needle.text))
                at = data.find(needle.text, at + 1)
        if self._grams:
            for at, needle in self._by_grams(data):
                edit = _edit(data, at, needle)
                if edit is not None:
                    found.append((edit, needle.text))
        if _may_be_cut(data):
            found += self._cut_off(data)
        if may_have_packed_base64(data.decode("latin-1")):
            found += self._in_packed(data, used)
        if not found:
            return []
        found.sort(key=lambda one: (one[0].start, one[0].start - one[0].stop))
        edits: list[Edit] = []
        end = -1
        for edit, text in found:
            if edit.start >= end:
                edits.append(edit)
                end = edit.stop
                if used is not None and text:
                    used.add(self._names[text])
        return edits

    def _by_grams(self, data: bytes) -> Iterable[tuple[int, _Needle]]:
        grams = self._grams
        for run in _RUN.finditer(data):
            for at in range(run.start(), run.end() - _GRAM + 1):
                for needle in grams.get(data[at : at + _GRAM], ()):
                    if data.startswith(needle.text, at):
                        yield at, needle

    def _may_be_in_packed(self, data: bytes) -> bool:
        for start, stop in packed_runs(data):
            file = packed_in_base64(data[start:stop])
            with suppress(OpaqueError):
                if file is not None and self.may_be_in(inflated(file) or b""):
                    return True
        return False

    def _in_packed(self, data: bytes, used: set[str] | None) -> Iterator[tuple[Edit, bytes]]:
        """The packed files in base64 that hold secrets."""
        for start, stop in packed_runs(data):
            text = data[start:stop]
            file = packed_in_base64(text)
            if file is not None:
                made = self._raw_leaf(file, used)
                if made != file:
                    yield Edit(start, stop, base64_like(text, made)), b""

    def _cut_off(self, data: bytes) -> Iterator[tuple[Edit, bytes]]:
        """The secrets of which an error shows the beginning or the end, each with the text that it is a part of."""
        if len(data) > _LONGEST_CUT:
            return
        marks = [mark.span() for mark in _CUT.finditer(data)]
        near = data
        if 2 * _MOST_SHOWN * len(marks) < len(data):
            near = b"\0".join([data[max(0, start - _MOST_SHOWN) : stop + _MOST_SHOWN] for start, stop in marks])
        # Other threads may add secrets meanwhile.
        for needle in list(self._needles.values()):
            text = needle.text
            if len(text) <= _SHORTEST_PART:
                continue
            if text[:_SHORTEST_PART] in near:
                for start, stop in _beginnings(data, [stop for stop, _ in marks], needle):
                    if not (needle.whole and start and data[start - 1] in _ALONE and not _is_escape(data, start)):
                        yield from _part_edit(data, start, stop, needle, is_end=False)
            if text[-_SHORTEST_PART:] in near:
                for start, stop in _ends(data, [start for _, start in marks], text):
                    if not (needle.whole and data[stop : stop + 1].isalnum()):
                        yield from _part_edit(data, start, stop, needle, is_end=True)

    def _raw_leaf(self, value: bytes, used: set[str] | None) -> bytes:
        """Bytes that may be a document of their own: what is packed, and a pickle or msgpack, which say how long
        their texts are.
        """
        if value.startswith(PACKED):
            made = with_content_changed(value, lambda content: self._raw_leaf(content, used))
            if made is not None:
                return made
        if value.startswith(PICKLE) and self.may_be_in(value):
            value = with_texts_of_pickle(value, lambda text, _: self._leaf(text, used))
        elif value[:1] in MSGPACK and self.may_be_in(value):
            value = apply_edits(value, self.packed_edits(value, used))
        return self.bytes(value, used)

    def packed_edits(self, data: bytes, used: set[str] | None = None) -> list[Edit]:
        """The edits of a value in msgpack, which says how long its texts are."""
        return msgpack_edits(data, lambda leaf: self._leaf(leaf, used))

    def bytes(self, data: bytes, used: set[str] | None = None) -> bytes:
        """These bytes with pseudonyms in place of secrets. The same object where there are none."""
        # What a secret hides may hold another one: a token within the base64 of a document.
        for _ in range(3):
            edits = self.edits(data, used)
            if not edits:
                break
            data = apply_edits(data, edits)
        return data

    def text(self, text: str, used: set[str] | None = None) -> str:
        """This text with pseudonyms in place of secrets. The same object where there are none."""
        data = _raw(text)
        made = self.bytes(data, used)
        return text if made is data else made.decode("utf-8", "surrogateescape")

    def value(self, value: Any, used: set[str] | None = None) -> Any:
        """A value with pseudonyms in place of secrets, in keys as well. The same object where there are none."""
        return with_leaves(value, lambda leaf: self._leaf(leaf, used))

    def _leaf(self, value: Any, used: set[str] | None) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value, used) if len(value) >= _GRAM else value
        if kind is bytes:
            return self._raw_leaf(value, used) if len(value) >= _GRAM else value
        if kind is int:
            made = self._numbers.get(value) if self._numbers else None
            if made is not None and used is not None:
                used.add(str(made))
            return value if made is None else made
        if kind is HeaderMap:
            pairs = tuple((name, self.bytes(item, used)) for name, item in value.pairs)
            return HeaderMap(pairs) if pairs != value.pairs else value
        if kind in (bytearray, memoryview):
            return as_bytes(value, lambda data: self._raw_leaf(data, used))
        return value


_LONG_RUN: Final = re.compile(f"[{IN_RUN.decode()}]{{{SHORTEST_RUN},}}")


def _mark(needle: _Needle) -> tuple[str, str]:
    """A text to look for, and a part of it that has many letters and digits in a row; empty where it has none."""
    mark = needle.text.decode("latin-1")
    if len(mark) >= SHORTEST_RUN and needle.text.isalnum():
        return mark, mark
    found = _LONG_RUN.search(mark)
    return mark, found[0] if found is not None else ""


def _edit(data: bytes, at: int, needle: _Needle) -> Edit | None:
    stop = at + len(needle.text)
    if needle.skipped >= 0:
        return _base64_edit(data, at, needle)
    if needle.whole:
        before, behind = data[at - 1 : at] if at else b"", data[stop : stop + 1]
        if before and before[0] in _ALONE and not _is_escape(data, at):
            return None
        if behind and behind[0] in _ALONE:
            return None
    return Edit(at, stop, needle.new)


def _may_be_cut(data: bytes) -> bool:
    """Whether something may be cut off there. To look for a single byte takes a tenth of the time. To look from the
    end for several takes a fifth.
    """
    return (
        (0x2E in data and data.rfind(b"...") >= 0)
        or (0xE2 in data and b"\xe2\x80\xa6" in data)
        or (0x27 in data and (b"' at line" in data or b"' for key" in data))
    )


def _beginnings(data: bytes, marks: Iterable[int], needle: _Needle) -> Iterator[tuple[int, int]]:
    """The places of beginnings of a text that end at these marks, or before a space there. In base64, the last byte
    of a secret may go on behind its text.
    """
    text, head = needle.text, needle.text[:_SHORTEST_PART]
    for mark in marks:
        before = 2 if needle.skipped >= 0 else data[mark - 1 : mark] == b" "
        for stop in range(mark, mark - before - 1, -1):
            first = max(0, stop - len(text))
            start = data.rfind(head, first, max(0, stop))
            while start >= 0 and not text.startswith(data[start:stop]):
                start = data.rfind(head, first, start + _SHORTEST_PART - 1)
            if start >= 0:
                yield start, stop
                break


def _ends(data: bytes, marks: Iterable[int], text: bytes) -> Iterator[tuple[int, int]]:
    """The places of ends of a text that begin at these marks, or behind a space there."""
    tail = text[-_SHORTEST_PART:]
    for mark in marks:
        for start in (mark, mark + 1) if data[mark : mark + 1] == b" " else (mark,):
            last = start + len(text)
            at = data.find(tail, start, last)
            while at >= 0 and not text.endswith(data[start : at + _SHORTEST_PART]):
                at = data.find(tail, at + 1, last)
            if at >= 0:
                yield start, at + _SHORTEST_PART
                break


def _part_edit(data: bytes, start: int, stop: int, needle: _Needle, *, is_end: bool) -> Iterator[tuple[Edit, bytes]]:
    """The edit that puts as much of the pseudonym there; none where that is the same, as the prefix of a key is."""
    old, new = data[start:stop], needle.new
    if needle.skipped >= 0:
        packed = binascii.b2a_base64(bytes(needle.skipped) + new, newline=False)
        new = packed[_STARTS[needle.skipped] : (needle.skipped + len(new)) * 8 // 6]
        new = new if b"+" in needle.text or b"/" in needle.text else new.translate(_TO_URL)
    made = new[-len(old) :] if is_end else new[: len(old)]
    if not is_end and not _HALF_ESCAPE.search(old) and (half := _HALF_ESCAPE.search(made)):
        made = made[: half.start()]
    if made != old:
        yield Edit(start, stop, made), needle.text


def _is_escape(data: bytes, at: int) -> bool:
    """Whether the letter or digits before a place belong to an escape, of a URL or of JSON."""
    return data[at - 3 : at - 2] == b"%" or data[at - 2 : at - 1] == b"\\"


def _base64_edit(data: bytes, at: int, needle: _Needle) -> Edit | None:
    start = at - _STARTS[needle.skipped]
    if start < 0:
        return None
    for pattern, alphabet in ((_BASE64_RUN, None), (_URL_BASE64_RUN, b"-_")):
        run = pattern.match(data, start)
        if run is None or run.end() < at + len(needle.text):
            continue
        text = run[0]
        bare = text.rstrip(b"=")
        if len(bare) % 4 == 1:
            bare = bare[:-1]
        try:
            content = base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=alphabet, validate=True)
        except (ValueError, binascii.Error):
            continue
        place = content.find(needle.secret)
        if place != needle.skipped:
            continue
        made = base64.b64encode(
            content[:place] + needle.new + content[place + len(needle.secret) :], altchars=alphabet
        )
        rest = text[len(bare) :]
        made = made if rest.startswith(b"=") or not -len(bare) % 4 else made.rstrip(b"=")
        return Edit(start, start + len(text), made + rest.lstrip(b"=") if rest else made)
    return None


def _needles(secret: str, pseudonym: str) -> list[_Needle]:
    """The texts that a secret stands in other places as."""
    whole = len(secret) < _WHOLE_BELOW or secret.isdigit()
    if not whole and (both := secret + pseudonym).isascii() and both.isalnum():
        return _needles_of_token(secret.encode(), pseudonym.encode())
    if _is_unreserved(secret) and _is_unreserved(pseudonym):
        # All of them write it as it is.
        encoded = {secret.encode(): pseudonym.encode()}
        needles = [_needle((secret.encode(), pseudonym.encode(), whole, -1, b""))]
    else:
        encoded = dict(zip(_in_base64(secret), _in_base64(pseudonym), strict=True))
        needles = [_Needle(old, new, whole) for old, new in zip(_written(secret), _written(pseudonym), strict=True)]
    for raw, new in encoded.items():
        for skipped, start in enumerate(_STARTS):
            # What `base64.b64encode` does, in one step.
            packed = binascii.b2a_base64(bytes(skipped) + raw, newline=False)
            core = packed[start : (skipped + len(raw)) * 8 // 6]
            if len(core) >= _SHORTEST_CORE:
                needles.append(_needle((core, new, False, skipped, raw)))
                if not core.isalnum():
                    needles.append(_needle((core.translate(_TO_URL), new, False, skipped, raw)))
    return needles


def _needles_of_token(raw: bytes, new: bytes) -> list[_Needle]:
    """The same for one of letters and digits, as most tokens are. All writings but base64 have it as it is, and in
    its base64 there are only letters and digits as well.
    """
    needles = [_needle((raw, new, False, -1, b""))]
    length = len(raw)
    for skipped, start in _SKIPPED:
        core = binascii.b2a_base64(_ZEROS[skipped] + raw, newline=False)[start : (skipped + length) * 8 // 6]
        needles.append(_needle((core, new, False, skipped, raw)))
    return needles


_ZEROS: Final = (b"", b"\0", b"\0\0")
_STARTS: Final = (0, 2, 3)
"""Where the base64 of a text begins that does not depend on what stands before it: behind no, one, two bytes."""
_SKIPPED: Final = tuple(enumerate(_STARTS))


def _in_base64(text: str) -> tuple[bytes, bytes, bytes]:
    """What is encoded: the text itself, or a document of JSON that holds it."""
    return (
        _raw(text),
        json.dumps(text)[1:-1].encode(),
        json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace"),
    )


_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]+")
"""RFC 3986 section 2.3."""


def _is_unreserved(text: str) -> bool:
    # Most tokens are letters and digits, which is told in a fraction of the time.
    return (text.isascii() and text.isalnum()) or _UNRESERVED.fullmatch(text) is not None


_TO_URL: Final = bytes.maketrans(b"+/", b"-_")


def _raw(text: str) -> bytes:
    """A text in UTF-8. Bytes that were no UTF-8 come back as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _written(text: str) -> list[bytes]:
    """A text as URLs, JSON, HTML, Python and SQL write it, and Redis in errors; always as many forms, in the same
    order.
    """
    plain = _raw(text)
    quoted = quote(plain, safe="")
    in_json = json.dumps(text)[1:-1]
    return [
        plain,
        quoted.encode(),
        quote(plain, safe="/").encode(),
        quote(plain, safe="/:@!$&'()*+,;=-._~").encode(),
        quote_plus(plain).encode(),
        re.sub(r"%..", lambda found: found[0].lower(), quoted).encode(),
        quote(quoted, safe="").encode(),
        in_json.encode(),
        json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace"),
        in_json.replace("/", "\\/").encode(),
        json.dumps(in_json)[1:-1].encode(),
        html.escape(text).encode("utf-8", "replace"),
        html.escape(text, quote=False).encode("utf-8", "replace"),
        repr(text)[1:-1].encode("utf-8", "replace"),
        repr(plain)[2:-1].encode(),
        quote(quote_plus(plain), safe="").encode(),
        _raw(text.replace("'", "''")),
        _raw(text.replace("%", "%%")),
        _raw(text.replace("\\", "\\\\").replace("'", "''")),
        _raw(text.replace("\\", "\\\\").replace("'", "''").replace("%", "%%")),
        _raw(text.replace("'", "''").replace("%", "%%")),
        _raw(text.replace("\r\n", "  ").replace("\n", " ")),
    ]
