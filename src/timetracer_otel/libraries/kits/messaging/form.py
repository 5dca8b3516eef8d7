"""What of a message the text of a miss shows, and what it is found by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timetracer_otel.redact.forms import CallForm

__all__ = ["MessageForm"]


class MessageForm(CallForm):
    """Fields and headers are plain values by name, and the body of a message is a document.

    Args:
        naming: The fields that say where a message goes.
    """

    def __init__(self, *naming: str) -> None:
        self._naming = naming

    def shown(self, args: Any) -> Sequence[tuple[str, Any]]:
        """The fields, and the message."""
        return tuple(args.items()) if type(args) is dict else ()

    def likeness(self, args: Any) -> str | None:
        """All of it."""
        return repr(args)

    def subject(self, args: Any) -> str | None:
        """Where it goes: ``exchange routing_key``, or the topic."""
        if type(args) is not dict:
            return None
        return " ".join(str(args[name]) for name in self._naming if args.get(name)) or None

    def identifies(self, field: str, args: Any) -> bool:
        """The names of topics, queues, exchanges and routes."""
        return field.removeprefix("args.") in self._naming
