"""What kinds of calls there are to redaction: each knows where secrets are in its arguments and its results."""

from __future__ import annotations

from typing import Any

from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.statements import is_sql, redacted_arguments, redacted_error, redacted_reply
from timetracer_otel.types import EventResult

__all__ = ["CallKind", "kind_of"]


class CallKind:
    """Calls whose arguments and results are plain values, with secrets under secret names."""

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        """A call's arguments, redacted."""
        return redactor.value(args)

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        """Redact what came of a call, besides what stands under a secret name.

        Args:
            result: Changed in place.
            args: The call's arguments as they were given, not redacted: results quote them.
            redactor: The rules.
        """


class Statement(CallKind):
    """Statements for a database: names are those of bound values and of columns."""

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        return redacted_arguments(args, redactor)

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        if type(result.reply) is dict:
            result.reply = redacted_reply(result.reply, args["statement"], redactor)
        if result.exception is not None:
            result.exception = redacted_error(result.exception, args, redactor)
            result.error = result.exception.message


_PLAIN, _STATEMENT = CallKind(), Statement()


def kind_of(args: Any) -> CallKind:
    """The kind of a call, by its arguments (redacted or not)."""
    return _STATEMENT if is_sql(args) else _PLAIN
