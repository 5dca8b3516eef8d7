"""What of a gRPC call is compared, and what the text of a miss shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from timetracer_otel.libraries.grpc.descriptors import shown, without_secrets
from timetracer_otel.libraries.grpc.wire import in_one_order, readable
from timetracer_otel.redact.forms import CallForm
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import EventResult

__all__ = ["FORM", "FOUND_BY", "TYPES"]

FOUND_BY: Final = "found_by"
"""Key of how many messages a call is found by which the server answered before the app had sent all. The messages
behind these are compared when the app sends them."""


TYPES: Final = "types"
"""Key of the full names of a method's messages, where its descriptors were at hand."""


class _Messages(CallForm):
    """Messages are trees of numbered fields: secrets are found in their texts by their form, and by the names of
    fields where the app has loaded these.
    """

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        """The messages of the app, redacted."""
        types = args.get(TYPES) if type(args) is dict else None
        if types and redactor.active:
            args = {**args, "messages": [without_secrets(each, types[0], redactor) for each in args["messages"]]}
        return redactor.value(args)

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        """Redact the messages of the server."""
        types = args.get(TYPES) if type(args) is dict else None
        reply = result.reply
        if types and redactor.active and type(reply) is dict and "messages" in reply:
            messages = [[*facts, without_secrets(tree, types[1], redactor)] for *facts, tree in reply["messages"]]
            result.reply = {**reply, "messages": messages}

    def is_open(self, args: Any, result: EventResult, redactor: Redactor) -> bool:
        """Whether no field of a message has a name."""
        return type(args) is not dict or TYPES not in args

    def displayed(self, args: Any, reply: Any) -> tuple[Any, Any]:
        """The messages with the names of their fields, where these are at hand, or with their sizes."""
        if type(args) is not dict or "messages" not in args:
            return args, reply
        sent, received = args.get(TYPES) or (None, None)
        args = {**args, "messages": [shown(each, sent) for each in args["messages"]]}
        if type(reply) is dict and "messages" in reply:
            reply = {**reply, "messages": [[*facts, shown(tree, received)] for *facts, tree in reply["messages"]]}
        return args, reply

    def compared(self, args: Any) -> Any:
        """The messages that were sent before the server answered, at most one; the entries of maps in one order."""
        if type(args) is not dict or "messages" not in args:
            return args
        args = {name: value for name, value in args.items() if name != TYPES}
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
