"""Whether a text that a setting or a command was given names a place of object storage, and not a path."""

# pyright: strict

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_url"]

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""Two characters at least: ``C:`` is a drive."""


def is_url(text: str) -> bool:
    """Whether a text is a URL (``s3://bucket/recordings``, ``memory://x``), by its beginning alone."""
    return _URL.match(text) is not None
