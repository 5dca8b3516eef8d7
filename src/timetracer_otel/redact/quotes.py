"""What errors of Redis quote: the arguments of a command, with the passwords among them."""

from __future__ import annotations

import re
from typing import Final

from timetracer_otel.constants import REDACTED

__all__ = ["without_quoted_arguments"]

_UNKNOWN: Final = "with args beginning with:"
"""The server: ``unknown command 'AUTH', with args beginning with: 'user' 'password'``; some are cut in the middle."""
_IN_PIPELINE: Final = re.compile(r"(Command # \d+ \(\S+) .*?(\) of pipeline caused error)", re.DOTALL)
"""redis-py: ``Command # 2 (AUTH user password) of pipeline caused error: …``."""


def without_quoted_arguments(text: str) -> str:
    """An error's text, or its traceback, without the arguments that are quoted in it."""
    if "of pipeline caused error" in text:
        text = _IN_PIPELINE.sub(rf"\1 {REDACTED}\2", text)
    if _UNKNOWN not in text:
        return text
    lines = []
    for line in text.split("\n"):
        head, mark, _ = line.partition(_UNKNOWN)
        lines.append(f"{head}{mark} {REDACTED}" if mark else line)
    return "\n".join(lines)
