"""What errors of Redis quote: the arguments of a command, with the passwords among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.errors import SHORTEST_SECRET, edited_errors, replacing
from timetracer_otel.redact.forms import CallForm

__all__ = ["FORM", "without_quoted_arguments", "without_secrets"]

_UNKNOWN: Final = "with args beginning with:"
"""The server: ``unknown command 'AUTH', with args beginning with: 'user' 'password'``; some are cut in the middle."""
_IN_PIPELINE: Final = re.compile(r"(Command # \d+ \(\S+) .*?(\) of pipeline caused error)", re.DOTALL)
"""redis-py: ``Command # 2 (AUTH user password) of pipeline caused error: …``."""


class _Commands(CallForm):
    """Commands are words in order: which of them are secret, `commands.arguments` says before a call is stated."""

    def error_text(self, text: str) -> str:
        return without_quoted_arguments(text)


FORM: Final = _Commands()


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


def without_secrets(value: Any, secrets: Sequence[str]) -> Any:
    """A copied reply, or error, in whose errors the arguments of the command are not quoted, nor its secrets."""
    replaced = replacing([(secret, REDACTED) for secret in secrets if len(secret) >= SHORTEST_SECRET])
    return edited_errors(value, lambda text: without_quoted_arguments(replaced(text)))
