"""What of a method of AMQP the text of a miss shows, and what it is found by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from timetracer_otel.redact.forms import CallForm

__all__ = ["FORM"]

_NAMING: Final = ("exchange", "routing_key", "queue", "source", "destination")


class _Methods(CallForm):
    """Fields, properties and headers are plain values by name, and the body of a message is a document."""

    def shown(self, args: Any) -> Sequence[tuple[str, Any]]:
        """The fields, and the message."""
        return tuple(args.items()) if type(args) is dict else ()

    def likeness(self, args: Any) -> str | None:
        """All of it."""
        return repr(args)

    def subject(self, args: Any) -> str | None:
        """Where it goes: ``exchange routing_key``, or the queue."""
        if type(args) is not dict:
            return None
        return " ".join(str(args[name]) for name in _NAMING if args.get(name)) or None

    def identifies(self, field: str, args: Any) -> bool:
        """The names of queues, exchanges and routes."""
        return field.removeprefix("args.") in _NAMING


FORM: Final = _Methods()
