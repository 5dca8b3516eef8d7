"""Statements as arguments: secrets among their values and rows, and what of them is compared.

A plugin for a database states its calls as ``{"statement": text, "parameters": values by name or in order}``
(``"many"``: a list of those; ``"options"``: what else was given by name), and its results as
``{"description": columns, "rows": rows}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, TypeGuard

from timetracer_otel.cassette import pack
from timetracer_otel.libraries.kits.dbapi.ignored_parameters import base_name, ignored_by, tables_of
from timetracer_otel.libraries.kits.dbapi.stand_ins import stand_in
from timetracer_otel.libraries.kits.dbapi.statements import verb_of
from timetracer_otel.match.canonical import canonical
from timetracer_otel.match.leaves import texts_of
from timetracer_otel.redact.errors import SHORTEST_SECRET, Edit, edited, replacing
from timetracer_otel.redact.forms import CallForm, declare_group
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import DependencyEvent, EventResult, SentRows

__all__ = ["STATEMENT", "StatementForm", "is_statement"]

_LABEL: Final = re.compile(
    r"""(?<![\w'])(?<!\bFROM\s)(?<!\bJOIN\s)["`\[]?(?!AS\b)(\w+)["`\]]?(?=\s+(?:AS\s+)?(?!AS\b)["`\[]?(\w+))""",
    re.IGNORECASE,
)
"""A word and the one behind it: a column and its label, where it has one. Others are no labels of the result."""
_BOUND_VALUE: Final = re.compile(r"args\.(?:parameters|many\[\d+\])(?:\.(?P<name>[^\s.\[\]]+)|\[(?P<position>\d+)\])")
_FROM: Final = re.compile(r"\bFROM\b", re.IGNORECASE)
_INSERT: Final = re.compile(
    r"\s*(?:INSERT|REPLACE)\s+(?:\w+\s+)?INTO\s+\S+?\s*\((?P<columns>[^()]*)\)\s*VALUES\s*\(", re.IGNORECASE
)
_CHANGES: Final = re.compile(
    r"\s*(?:INSERT|UPDATE|DELETE|REPLACE|MERGE)\b(?!.*\b(?:RETURNING|OUTPUT)\b)", re.IGNORECASE | re.DOTALL
)
"""A statement that changes rows and gives none back."""
_INSERTED: Final = re.compile(r"\s*(?:'(?P<text>(?:[^']|'')*)'|[^,()']+)\s*(?P<end>,|\)(?:\s*,\s*\()?)")
"""One value of an INSERT, and what stands behind it. A function call ends the search."""
_BRINGING: Final = frozenset({"INSERT", "REPLACE"})
"""What a statement begins with that only brings values along."""


_NOT_OPEN: Final = frozenset({"fetch_error", "more"})
"""Parts of a result in which secrets may stand besides its rows."""


def _packed(values: Any) -> bytes:
    return pack(canonical(values))


def is_statement(args: Any) -> bool:
    """Whether a call's arguments are a statement."""
    return type(args) is dict and type(args.get("statement")) is str


class StatementForm(CallForm):
    """Statements for a database: secret names are those of bound values and of columns.

    A call of a library in the group ``db`` whose arguments are no statement has the form of plain values.
    """

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        """The statement's arguments, with the values under secret names replaced."""
        return _redacted_arguments(args, redactor) if is_statement(args) else redactor.value(args)

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        """Replace secret columns of the rows, and secret values that an error quotes."""
        if not is_statement(args):
            return
        statement, reply = args["statement"], result.reply
        if type(reply) is dict:
            made = _redacted_reply(reply, statement, redactor)
            if type(made.get("value")) is dict:
                # What a `function_plugin` packs stands there.
                made = {**made, "value": _redacted_reply(made["value"], statement, redactor)}
            if "more" in made:
                # A call of several results.
                others: Any = made["more"]
                made = {**made, "more": [_redacted_reply(each, statement, redactor) for each in others]}
            if "fetch_error" in made and (edit := _edit_of(args, redactor)) is not None:
                made = {**made, "fetch_error": edited(made["fetch_error"], edit)}
            result.reply = made
        if result.exception is not None and (edit := _edit_of(args, redactor)) is not None:
            result.exception = exception = edited(result.exception, edit)
            result.error = exception.message

    def is_open(self, args: Any, result: EventResult, redactor: Redactor) -> bool:
        """Whether the statement, the names of its values and the columns of its rows tell of no secret."""
        if not is_statement(args):
            return True
        reply = result.reply
        if type(reply) is dict and (not reply.keys().isdisjoint(_NOT_OPEN) or type(reply.get("value")) is dict):
            return False
        return _has_open_names(args, redactor) and (
            type(reply) is not dict or not _secret_columns(reply, args["statement"], redactor)
        )

    def without_ignored(self, args: Any, rules: Sequence[str]) -> Any:
        """The arguments without the values that ``ignore_sql_params`` and ``sql:`` rules of ``ignore`` name."""
        return ignored_by(tuple(rules)).applied(args) if rules and is_statement(args) else args

    def in_any_order(self, args: Any) -> Any:
        """The arguments with the rows of an ``executemany`` in one order.

        SQLAlchemy's ORM collects what it writes in sets of objects, whose order is another one in each process.
        """
        rows = args.get("many") if is_statement(args) else None
        if rows is None or len(rows) < 2 or not _CHANGES.match(args["statement"]):
            return args
        return {**args, "many": sorted(rows, key=_packed)}

    def shown(self, args: Any) -> Sequence[tuple[str, Any]]:
        """The statement and its values by name, as a miss shows them."""
        if not is_statement(args):
            return ()
        return ("statement", args["statement"]), ("parameters", args.get("parameters", args.get("many")))

    def likeness(self, args: Any) -> str | None:
        """The statement's text, by which a miss finds the nearest recorded calls."""
        return args["statement"] if is_statement(args) else None

    def subject(self, args: Any) -> str | None:
        """The statement's text."""
        return args["statement"] if is_statement(args) else None

    def identifies(self, field: str, args: Any) -> bool:
        """Whether a value says which rows a statement is about: all may but those that an INSERT brings along."""
        return is_statement(args) and verb_of(args["statement"]) not in _BRINGING

    def held_by_server(self, event: DependencyEvent) -> Iterator[str]:
        """The bound values, and the text, of a SELECT that found rows."""
        args: Any = event.call.args if event.call is not None else None
        reply = event.result.reply
        if not is_statement(args) or type(reply) is not dict or not reply.get("rows"):
            return
        if verb_of(args["statement"]) == "SELECT" and _FROM.search(args["statement"]) is not None:
            yield from texts_of(args)

    def rule_for(self, field: str, args: Any) -> str | None:
        """``sql:INSERT orders.created_at`` for a bound value; None for other fields."""
        found = _BOUND_VALUE.fullmatch(field) if is_statement(args) else None
        if found is None:
            return None
        statement = args["statement"]
        name = base_name(found["name"]) if found["name"] else str(int(found["position"]) + 1)
        table = next(iter(tables_of(statement)), "*")
        return f"sql:{verb_of(statement)} {table}.{name}".replace(": ", ":")


STATEMENT: Final = StatementForm()
# Plugins of others state statements in the same way, as docs/how-to-add-a-plugin.md tells.
declare_group("db", STATEMENT)


def _redacted_arguments(args: Any, redactor: Redactor) -> Any:
    """A statement's arguments with the values of secret names replaced. The same object where there are none."""
    if not redactor.active:
        return args
    if _has_open_names(args, redactor) and (len(args) == 1 or redactor.value(args) is args):
        return args
    made = {**args, "statement": redactor.text(_without_literals(args["statement"], redactor))}
    tables = tables_of(args["statement"]) if redactor.own.columns else ()
    for part in made.keys() & {"parameters", "options"}:
        made[part] = _redacted_values(made[part], redactor, tables)
    if "many" in made:
        made["many"] = [_redacted_values(values, redactor, tables) for values in made["many"]]
    return made


def _has_open_names(args: dict[str, Any], redactor: Redactor) -> bool:
    """Whether neither the statement's text nor the names of its values say that something in it is secret."""
    statement = args["statement"]
    if len(statement) > _LONGEST_KEPT:
        return False
    names: set[Any] = set()
    for values in (args.get("parameters"), args.get("options"), *args.get("many", ())):
        if type(values) is dict:
            names.update(values)
    return _is_open(statement, frozenset(names), redactor.rules_by_name)


_LONGEST_KEPT: Final = 4096


@lru_cache(maxsize=512)
def _is_open(statement: str, names: frozenset[Any], rules: Redactor) -> bool:
    # An app has few statements, and repeats them.
    tables = tables_of(statement) if rules.own.columns else ()
    if any(isinstance(name, str) and rules.is_secret_column(tables, base_name(name)) for name in names):
        return False
    return rules.text(_without_literals(statement, rules)) == statement


def _without_literals(statement: str, redactor: Redactor) -> str:
    """An INSERT without the literals that it gives to secret columns."""
    head = _INSERT.match(statement) if "'" in statement else None
    if head is None:
        return statement
    tables = tables_of(statement) if redactor.own.columns else ()
    names = [name.strip().strip('"`[]') for name in head["columns"].split(",")]
    secret = [redactor.is_secret_column(tables, name) for name in names]
    if not any(secret):
        return statement
    pieces, position, done = [], head.end(), 0
    column = 0
    while (found := _INSERTED.match(statement, position)) is not None:
        if found["text"] is not None and column < len(secret) and secret[column]:
            made = redactor.secret(found["text"].replace("''", "'"), names[column].lower()).replace("'", "''")
            pieces += [statement[done : found.start("text")], made]
            done = found.end("text")
        column = 0 if found["end"].startswith(")") else column + 1
        position = found.end()
    return "".join([*pieces, statement[done:]])


def _redacted_values(values: Any, redactor: Redactor, tables: Sequence[str]) -> Any:
    made = redactor.value(values)
    if type(values) is not dict:
        return made
    return {
        name: _secret_of(values, name, redactor)
        if value is not None and redactor.is_secret_column(tables, base_name(name))
        else made.get(name, value)
        for name, value in values.items()
    }


def _secret_of(values: dict[str, Any], name: str, redactor: Redactor) -> Any:
    return redactor.secret(values[name], base_name(name))


def _edit_of(args: dict[str, Any], redactor: Redactor) -> Edit | None:
    """Takes the secret values of a statement out of the texts of its errors, in which servers repeat them; None where
    it has none.
    """
    secrets = {value: name for value, name in _secret_texts(args, redactor) if len(value) >= SHORTEST_SECRET}
    ordered = sorted(secrets, key=len, reverse=True)
    return replacing([(secret, redactor.secret(secret, secrets[secret])) for secret in ordered]) if secrets else None


def _secret_texts(args: dict[str, Any], redactor: Redactor) -> Iterator[tuple[str, str]]:
    """The secret values, each with its name: what takes the place of one depends on it."""
    for values in (args.get("parameters"), args.get("options"), *args.get("many", ())):
        if type(values) is dict:
            for name, value in values.items():
                if type(value) is str and redactor.is_secret_field(base_name(name)):
                    yield value, base_name(name)


def _redacted_reply(reply: dict[str, Any], statement: str, redactor: Redactor) -> dict[str, Any]:
    """A statement's result with the values of secret columns replaced by others of the same type."""
    secret, rows = _secret_columns(reply, statement, redactor), reply.get("rows")
    if not secret or not _is_listed(rows):
        return reply
    redacted = []
    for row in rows:
        items = list(row)
        for position, name in secret:
            items[position] = redactor.secret(items[position], name, otherwise=stand_in)
        redacted.append(tuple(items))
    return {**reply, "rows": redacted}


_ROWS: Final = frozenset({list, tuple, SentRows})


def _secret_columns(reply: dict[str, Any], statement: str, redactor: Redactor) -> tuple[tuple[int, str], ...]:
    """The secret columns of the rows in a result: where each stands, and its name."""
    columns, rows = reply.get("description"), reply.get("rows")
    if not redactor.active or type(rows) not in _ROWS or not rows or not _is_listed(columns):
        return ()
    return _secret_positions(statement, tuple([str(column[0]) for column in columns]), redactor.rules_by_name)


@lru_cache(maxsize=512)
def _secret_positions(statement: str, columns: tuple[str, ...], rules: Redactor) -> tuple[tuple[int, str], ...]:
    """The secret columns: where each stands, and its name."""
    sources: dict[str, list[str]] = {}
    for column, label in _LABEL.findall(statement):
        sources.setdefault(label, []).append(column)
    tables = tables_of(statement) if rules.own.columns else ()
    return tuple(
        (position, one.lower())
        for position, name in enumerate(columns)
        for one in [
            next((one for one in (name, *sources.get(name, ())) if rules.is_secret_column(tables, one)), None)
        ]
        if one is not None
    )


def _is_listed(found: Any) -> TypeGuard[Sequence[Sequence[Any]]]:
    """Whether columns or rows are a list of lists, and not something else of an app that has these names."""
    return type(found) in (list, tuple) and bool(found) and set(map(type, found)) <= {list, tuple}
