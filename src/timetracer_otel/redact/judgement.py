"""Whether a value under a secret name is a secret: an empty text, an object of settings and a word are none.

A recording replaces what is judged a secret, and a replay masks it, in the recorded call and in the present one. Both
judge by the form of a value alone, which its pseudonym has as well. So what a recording left as it is is compared as
it is, and two calls that differ in it are two calls.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote_plus
from uuid import UUID

from timetracer_otel.constants import DRIVER_TYPE
from timetracer_otel.redact.secret_names import HASH_FIELDS
from timetracer_otel.redact.splice import MASK
from timetracer_otel.redact.urls import split_url
from timetracer_otel.redact.value_forms import UUID as UUID_FORM
from timetracer_otel.redact.value_forms import looks_plain, looks_random

__all__ = ["Judgement", "Masks", "is_escaped", "is_piece_of_a_text", "is_plain_address", "may_be_secret", "text_of"]

_OF_A_TEXT: Final = re.compile(rb'"(?:logprob|top_logprobs|start_offset|end_offset|position|pos_?tag)"\s*:')
"""What stands beside a ``token`` that is a piece of a text: OpenAI's logprobs, Elasticsearch's ``_analyze``."""
_NEAR_BYTES: Final = 400
_LONGEST_ADDRESS: Final = 16 * 1024
"""Characters. To look into a text of megabytes under a secret name costs memory, and it is no address."""
_WORDS_OF_TEXT: Final = frozenset({"token"})


def may_be_secret(name: str, text: str) -> bool:
    """Whether a text may be the secret that a secret name says: under ``password_hash``, "bcrypt" is a word."""
    if name not in HASH_FIELDS:
        return True
    bare = text.strip()
    # The digits of MD5 are as many as those of a UUID.
    return looks_random(bare) or UUID_FORM.fullmatch(bare) is not None


def is_piece_of_a_text(data: bytes, start: int, stop: int, name: str) -> bool:
    """Whether a JSON value under a name is a word that a language model or a text search speaks of."""
    return name in _WORDS_OF_TEXT and bool(
        _OF_A_TEXT.search(data, max(0, start - _NEAR_BYTES // 4), stop + _NEAR_BYTES)
    )


def is_plain_address(text: str) -> bool:
    """Whether a text is a URL, in which a secret would stand in places of its own."""
    if len(text) > _LONGEST_ADDRESS or "://" not in text or "-----" in text:
        return False
    return split_url(text).scheme is not None


def is_escaped(data: bytes, start: int, stop: int) -> bool:
    """Whether what stands between these places is a text in double quotes with escapes in it."""
    return data[start - 1 : start] == b'"' == data[stop : stop + 1] and b"\\" in data[start:stop]


def text_of(data: bytes) -> str | None:
    """The text that bytes are; None where they are none."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() or "\n" in text else None


class Judgement:
    """The judge of one set of names. Immutable, so safe from any thread.

    Args:
        fields: The names of secret fields, in lower case.
        masked_url: Gives a URL without its secrets.
    """

    def __init__(self, fields: frozenset[str], masked_url: Callable[[str], str]) -> None:
        self._fields = fields
        self._masked_url = masked_url

    def is_secret(self, value: Any, name: str = "") -> bool:
        """Whether a value under a secret name is one, or holds one."""
        if isinstance(value, str):
            return self._is_secret_text(value, name)
        if isinstance(value, bytes):
            text = text_of(value)
            return text is None or self._is_secret_text(text, name)
        if isinstance(value, (int, float, Decimal)):
            is_number = type(value) is int or (type(value) is not bool and math.isfinite(value))
            return is_number and name not in HASH_FIELDS
        if isinstance(value, (list, tuple)):
            return any(self.is_secret(item, name) for item in value)
        if isinstance(value, dict):
            return DRIVER_TYPE not in value and any(map(self._is_secret_beside, value, value.values()))
        return isinstance(value, UUID)

    def is_secret_json(self, data: bytes, start: int, stop: int, name: str) -> bool:
        """The same for a value in JSON, as the text between these places. What is cut off is a secret."""
        if data[start : start + 1] == b'"' and stop - start > 2 * _LONGEST_ADDRESS and name not in HASH_FIELDS:
            return True
        try:
            # Objects become tuples of pairs: a key may stand in one twice.
            value = json.loads(data[start:stop], object_pairs_hook=tuple, strict=False)
        except (ValueError, RecursionError):
            return True
        return not is_piece_of_a_text(data, start, stop, name) and self._is_secret_part(value, name)

    def _is_secret_text(self, text: str, name: str) -> bool:
        bare = text.strip()
        if not bare or not may_be_secret(name, bare):
            return False
        if bare[0] in "{[":
            try:
                return self._is_secret_part(json.loads(bare, object_pairs_hook=tuple))
            except (ValueError, RecursionError):
                return True
        return not is_plain_address(bare) or self._masked_url(bare) != bare

    def _is_secret_part(self, value: Any, name: str = "") -> bool:
        """Whether a value of a JSON document under a secret name is a secret, or holds one."""
        if type(value) is tuple:
            return any(self._is_secret_entry(key, item) for key, item in value)
        if type(value) is list:
            texts = (item for item in value if isinstance(item, str))
            return any(self._is_secret_text(text, name) for text in texts) or any(map(self._holds_one, value))
        return self.is_secret(value, name)

    def _is_secret_entry(self, key: str, item: Any) -> bool:
        if key.lower() in self._fields:
            return self._is_secret_part(item, key.lower())
        return self._is_doubtful(item) if isinstance(item, str) else self._holds_one(item)

    def _holds_one(self, value: Any) -> bool:
        if type(value) is tuple:
            return any(self._is_secret_entry(key, item) for key, item in value)
        return type(value) is list and any(
            self._is_doubtful(item) if isinstance(item, str) else self._holds_one(item) for item in value
        )

    def _is_secret_beside(self, key: Any, item: Any) -> bool:
        """Whether a value within a mapping under a secret name is a secret, or holds one."""
        name = key.decode("latin-1") if type(key) is bytes else key
        if type(name) is str and name.lower() in self._fields:
            return self.is_secret(item, name.lower())
        if isinstance(item, bytes):
            text = text_of(item)
            return text is None or self._is_doubtful(text)
        if isinstance(item, dict):
            return any(map(self._is_secret_beside, item, item.values()))
        if isinstance(item, (list, tuple)):
            return any(self._is_secret_beside(None, part) for part in item)
        return isinstance(item, str) and self._is_doubtful(item)

    def _is_doubtful(self, text: str) -> bool:
        """Whether a text in the company of secrets may be one."""
        return self._is_secret_text(text, "") if looks_random(text) else not looks_plain(text)


class Masks:
    """One text in the place of each secret (the protocol `Replacing`). Immutable, so safe from any thread."""

    def __init__(self, judgement: Judgement) -> None:
        self._judgement = judgement

    def in_json(self, data: bytes, start: int, stop: int, name: str) -> bytes | None:
        """For a JSON value."""
        is_one = self._judgement.is_secret_json(data, start, stop, name)
        return MASK.in_json(data, start, stop, name) if is_one else None

    def in_form(self, value: bytes, name: str) -> bytes | None:
        """For the value of a form's field, with its escapes."""
        plain = unquote_plus(value.decode("latin-1"), errors="surrogateescape")
        return MASK.in_form(value, name) if self._judgement.is_secret(plain, name) else None

    def in_part(self, value: bytes, name: str) -> bytes | None:
        """For the bytes of a part, with no escapes."""
        return MASK.in_part(value, name) if self._judgement.is_secret(value, name) else None

    def in_xml(self, value: bytes, name: str) -> bytes | None:
        """For the text of an element or of an attribute, with its escapes."""
        plain = html.unescape(value.decode("utf-8", "surrogateescape"))
        return MASK.in_xml(value, name) if self._judgement.is_secret(plain, name) else None
