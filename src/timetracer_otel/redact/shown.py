"""Texts that are printed and were never redacted: an answer of the present run, what a service has logged."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.secret_forms import well_known_secrets
from timetracer_otel.redact.splice import Edit, apply_edits
from timetracer_otel.redact.value_forms import KNOWN_PREFIX

__all__ = ["without_known_forms"]

_CUT: Final = re.compile(rf"(?<![A-Za-z0-9])({KNOWN_PREFIX.pattern})[\w./+=-]{{6,}}…")
"""The beginning of a long secret, where the rest of the text was left out."""


def without_known_forms(text: str, kept: Collection[str] = ()) -> str:
    """A text without the secrets in it that their form tells.

    Args:
        text: Of any kind; it may be shortened, with ``…`` at its end.
        kept: Pseudonyms, which may be shown.
    """
    data = text.encode("utf-8", "surrogatepass")
    edits = [
        Edit(start, stop, REDACTED.encode())
        for start, stop in well_known_secrets(data)
        if data[start:stop].decode("utf-8", "surrogatepass") not in kept
    ]
    made = apply_edits(data, edits).decode("utf-8", "surrogatepass")
    if "…" not in made:
        return made
    return _CUT.sub(lambda found: found[0] if _begins_one(found[0][:-1], kept) else f"{REDACTED}…", made)


def _begins_one(text: str, kept: Collection[str]) -> bool:
    return any(name.startswith(text) for name in kept)
