"""What of a gRPC call is compared, and what the text of a miss shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from timetracer_otel.libraries.grpc.wire import in_one_order, readable
from timetracer_otel.redact.forms import CallForm

__all__ = ["FORM", "FOUND_BY"]

FOUND_BY: Final = "found_by"
"""Key of how many messages a call is found by which the server answered before the app had sent all. The messages
behind these are compared when the app sends them."""


class _Messages(CallForm):
    """Messages are trees of numbered fields: secrets are found in their texts, by their form."""

    def compared(self, args: Any) -> Any:
        """The messages that were sent before the server answered, at most one; the entries of maps in one order."""
        if type(args) is not dict or "messages" not in args:
            return args
        return {**args, "messages": [in_one_order(each) for each in args["messages"][: args.get(FOUND_BY)]]}

    def shown(self, args: Any) -> Sequence[tuple[str, Any]]:
        """The messages."""
        text = self.likeness(args)
        return () if text is None else (("messages", text),)

    def likeness(self, args: Any) -> str | None:
        """The messages, as a text."""
        if type(args) is not dict or "messages" not in args:
            return None
        return ", ".join(map(readable, args["messages"]))


FORM: Final = _Messages()
