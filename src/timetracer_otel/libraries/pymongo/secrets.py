"""Documents as arguments: secrets under the names in them, and what of a command is compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from timetracer_otel.constants import DRIVER_TYPE, DRIVER_VALUE
from timetracer_otel.match.leaves import texts_of
from timetracer_otel.redact.forms import CallForm
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["FORM"]

_ORDERED: Final = frozenset({"sort", "$sort", "hint", "key", "min", "max"})
"""Fields whose document means something else in another order."""
_ASKING: Final = frozenset({"find", "aggregate", "count", "distinct"})
_OBJECT_ID: Final = re.compile("[0-9a-f]{24}")


class _Documents(CallForm):
    """Commands are documents, and secrets stand under secret names at any depth."""

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        """The command, redacted."""
        return redactor.value(_without_secrets(args, redactor)) if redactor.active else args

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        """Replace secret values of types that only BSON has."""
        if redactor.active and type(result.reply) is dict:
            result.reply = _without_secrets(result.reply, redactor)

    def compared(self, args: Any) -> Any:
        """The command without limits of time, which change with the time that is left; what is ordered, in order."""
        if type(args) is not dict:
            return args
        if "endSessions" in args:
            # How many sessions a client has had depends on what it did at once.
            return {"endSessions": None}
        made = {name: _in_order(name, value) for name, value in args.items() if name != "maxTimeMS"}
        concern = made.get("readConcern")
        if type(concern) is dict:
            # The time of the last reply to the same session.
            made["readConcern"] = {name: value for name, value in concern.items() if name != "afterClusterTime"}
        return made

    def shown(self, args: Any) -> Sequence[tuple[str, Any]]:
        """The fields of the command, its name first."""
        return tuple(args.items()) if type(args) is dict else ()

    def likeness(self, args: Any) -> str | None:
        """What is asked for."""
        return repr(args)

    def identifies(self, field: str, args: Any) -> bool:
        """All but the documents of an insert say which documents a command is about."""
        return not field.startswith("args.documents")

    def held_by_server(self, event: DependencyEvent) -> Iterator[str]:
        """The values of a question that found documents."""
        reply = event.result.reply
        if event.call is None or event.signature.method not in _ASKING or type(reply) is not dict:
            return
        answer = reply.get("reply")
        cursor = answer.get("cursor") if type(answer) is dict else None
        if type(cursor) is dict and cursor.get("firstBatch"):
            yield from texts_of(event.call.args)


FORM: Final = _Documents()


def _in_order(name: Any, value: Any) -> Any:
    if type(value) is dict:
        if name in _ORDERED and DRIVER_TYPE not in value:
            return [[key, _in_order(None, item)] for key, item in value.items()]
        return {key: _in_order(key, item) for key, item in value.items()}
    return [_in_order(None, item) for item in value] if type(value) is list else value


def _without_secrets(value: Any, redactor: Redactor) -> Any:
    """The value with what a document holds under a secret name replaced, where that is of a type that only BSON has,
    beneath an operator, or under a path of names. The same object where there is nothing of that.
    """
    if type(value) is list:
        made = [_without_secrets(item, redactor) for item in value]
        return made if any(one is not other for one, other in zip(made, value, strict=True)) else value
    if type(value) is not dict or DRIVER_TYPE in value:
        return value
    changed = {}
    for name, item in value.items():
        last = name.rpartition(".")[2].lower() if type(name) is str else ""
        made = _hidden(item, last, redactor) if redactor.is_secret_field(last) else _without_secrets(item, redactor)
        if made is not item:
            changed[name] = made
    return {**value, **changed} if changed else value


def _hidden(value: Any, name: str, redactor: Redactor) -> Any:
    if type(value) is list:
        return [_hidden(item, name, redactor) for item in value]
    if type(value) is dict:
        if DRIVER_TYPE in value:
            return {**value, DRIVER_VALUE: _hidden_parts(value[DRIVER_TYPE], value[DRIVER_VALUE], name, redactor)}
        if value and all(type(key) is str and key.startswith("$") for key in value):
            return {key: _hidden(item, name, redactor) for key, item in value.items()}
    return redactor.secret(value, name)


def _hidden_parts(kind: str, parts: Any, name: str, redactor: Redactor) -> Any:
    """The parts of a secret value of a type of BSON. It stays one of this type."""
    if kind == "ObjectId":
        made = redactor.secret(parts, name)
        return made if _OBJECT_ID.fullmatch(made) else "0" * len(parts)
    if kind == "Decimal128":
        return str(redactor.secret(Decimal(parts), name)) if type(parts) is str else "0"
    if kind == "Binary":
        return [parts[0], redactor.secret(parts[1], name)]
    if kind in ("Code", "Regex"):
        return [redactor.secret(parts[0], name), *parts[1:]]
    return redactor.secret(parts, name) if kind == "Int64" else parts
