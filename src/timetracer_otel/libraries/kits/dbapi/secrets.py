"""Statements as arguments: secrets among their values and rows, and what of them is compared.

A plugin for a database states its calls as ``{"statement": text, "parameters": values by name or in order}``
(``"many"``: a list of those; ``"options"``: what else was given by name), and its results as
``{"description": columns, "rows": rows}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from timetracer_otel.constants import REDACTED
from timetracer_otel.libraries.kits.dbapi.ignored_parameters import base_name, ignored_by
from timetracer_otel.libraries.kits.dbapi.stand_ins import stand_in
from timetracer_otel.redact.errors import SHORTEST_SECRET, edited, replacing
from timetracer_otel.redact.forms import CallForm, OwnSetting, declare_group
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import EventResult, RecordedError

__all__ = ["STATEMENT", "StatementForm", "is_statement"]

_LABEL: Final = re.compile(r"\.\"?(\w+)\"?\s+AS\s+\"?(\w+)", re.IGNORECASE)
_IGNORE_PARAMETERS: Final = OwnSetting("ignore_sql_params", ("args.parameters", "args.many"))


def is_statement(args: Any) -> bool:
    """Whether a call's arguments are a statement."""
    return type(args) is dict and type(args.get("statement")) is str


class StatementForm(CallForm):
    """Statements for a database: secret names are those of bound values and of columns.

    A call of a library in the group ``db`` whose arguments are no statement has the form of plain values.
    """

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        return _redacted_arguments(args, redactor) if is_statement(args) else redactor.value(args)

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        if not is_statement(args):
            return
        if type(result.reply) is dict:
            result.reply = _redacted_reply(result.reply, args["statement"], redactor)
        if result.exception is not None:
            result.exception = _redacted_error(result.exception, args, redactor)
            result.error = result.exception.message

    def without_ignored(self, args: Any, rules: Sequence[str]) -> Any:
        return ignored_by(tuple(rules)).applied(args) if rules and is_statement(args) else args

    def shown(self, args: Any) -> Sequence[tuple[str, Any]]:
        if not is_statement(args):
            return ()
        return ("statement", args["statement"]), ("parameters", args.get("parameters", args.get("many")))

    def likeness(self, args: Any) -> str | None:
        return args["statement"] if is_statement(args) else None

    def own_setting(self, args: Any) -> OwnSetting | None:
        return _IGNORE_PARAMETERS if is_statement(args) else None


STATEMENT: Final = StatementForm()
# Plugins of others state statements in the same way, as docs/how-to-add-a-plugin.md tells.
declare_group("db", STATEMENT)


def _redacted_arguments(args: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    """A statement's arguments with the values of secret names replaced."""
    if not redactor.active:
        return args
    made = dict(args)
    for part in made.keys() & {"parameters", "options"}:
        made[part] = _redacted_values(made[part], redactor)
    if "many" in made:
        made["many"] = [_redacted_values(values, redactor) for values in made["many"]]
    return made


def _redacted_values(values: Any, redactor: Redactor) -> Any:
    values = redactor.value(values)
    if type(values) is not dict:
        return values
    return {
        name: REDACTED if value is not None and redactor.is_secret_field(base_name(name)) else value
        for name, value in values.items()
    }


def _redacted_error(error: RecordedError, args: dict[str, Any], redactor: Redactor) -> RecordedError:
    """A statement's error in whose texts the secret values of the statement are replaced: servers repeat them."""
    secrets = {value for value in _secret_texts(args, redactor) if len(value) >= SHORTEST_SECRET}
    if not secrets:
        return error
    pairs = [(secret, REDACTED) for secret in sorted(secrets, key=len, reverse=True)]
    redacted: RecordedError = edited(error, replacing(pairs))
    return redacted


def _secret_texts(args: dict[str, Any], redactor: Redactor) -> Iterator[str]:
    for values in (args.get("parameters"), args.get("options"), *args.get("many", ())):
        if type(values) is dict:
            for name, value in values.items():
                if type(value) is str and redactor.is_secret_field(base_name(name)):
                    yield value


def _redacted_reply(reply: dict[str, Any], statement: str, redactor: Redactor) -> dict[str, Any]:
    """A statement's result with the values of secret columns replaced by others of the same type."""
    columns = reply.get("description")
    if not redactor.active or not columns or not reply.get("rows"):
        return reply
    sources = {label: column for column, label in _LABEL.findall(statement)}
    secret = [
        position
        for position, column in enumerate(columns)
        if any(redactor.is_secret_field(str(name)) for name in (column[0], sources.get(column[0], "")))
    ]
    if not secret:
        return reply
    rows = []
    for row in reply["rows"]:
        items = list(row)
        for position in secret:
            items[position] = stand_in(items[position])
        rows.append(tuple(items))
    return {**reply, "rows": rows}
