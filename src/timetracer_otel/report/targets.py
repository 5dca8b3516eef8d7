"""What a call to a database, Redis or a broker is about, in a word or two: a table, a collection, a key, a topic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from timetracer_otel.base import plugin_names
from timetracer_otel.constants import EventType

if TYPE_CHECKING:
    from timetracer_otel.types import DependencyEvent

__all__ = ["event_target", "table_of"]

_MOST_COMMANDS: Final = 3
"""So many commands of a pipeline are named."""
_LONGEST: Final = 60
_MOST_SEARCHED: Final = 20_000
"""In so many characters at its beginning, the table of a statement is looked for."""

_ADDRESSES: Final = ("topic", "exchange", "routing_key", "queue", "source", "destination")
"""The fields that say where a message goes, or what of a broker is declared."""

_NAME: Final = r"""((?:"[^"]+"|`[^`]+`|\[[^\]]+\]|[\w$]+)(?:\s*\.\s*(?:"[^"]+"|`[^`]+`|\[[^\]]+\]|[\w$]+))*)"""
_NOISE: Final = re.compile(r"/\*.*?\*/|--[^\n]*|'(?:[^']|'')*'", re.DOTALL)
_AROUND_DOT: Final = re.compile(r"\s*\.\s*")
_ONLY: Final = r"(?:ONLY\s+|IF\s+(?:NOT\s+)?EXISTS\s+|CONCURRENTLY\s+)*"
_PATTERNS: Final = {
    verb: re.compile(pattern.format(only=_ONLY, name=_NAME), re.IGNORECASE)
    for verb, pattern in {
        "INSERT": r"\bINTO\s+{name}",
        "REPLACE": r"\bINTO\s+{name}",
        "MERGE": r"\bINTO\s+{name}",
        "UPDATE": r"\bUPDATE\s+(?:OR\s+\w+\s+)?{only}{name}",
        "DELETE": r"\bFROM\s+{only}{name}",
        "SELECT": r"\bFROM\s+{only}{name}",
        "WITH": r"\b(?:FROM|INTO|UPDATE)\s+{only}{name}",
        "CREATE": r"\b(?:TABLE|INDEX|VIEW|SCHEMA|SEQUENCE|TYPE|DATABASE|EXTENSION)\s+{only}{name}",
        "ALTER": r"\b(?:TABLE|INDEX|VIEW|SCHEMA|SEQUENCE|TYPE|DATABASE)\s+{only}{name}",
        "DROP": r"\b(?:TABLE|INDEX|VIEW|SCHEMA|SEQUENCE|TYPE|DATABASE)\s+{only}{name}",
        "TRUNCATE": r"\bTRUNCATE\s+(?:TABLE\s+)?{only}{name}",
        "COPY": r"\bCOPY\s+{name}",
        "LOCK": r"\bTABLE\s+{only}{name}",
        "LISTEN": r"\bLISTEN\s+{name}",
        "NOTIFY": r"\bNOTIFY\s+{name}",
        "SAVEPOINT": r"\bSAVEPOINT\s+{name}",
        "CALL": r"\bCALL\s+{name}",
        "EXECUTE": r"\bEXECUTE\s+{name}",
        "FETCH": r"\b(?:FROM|IN)\s+{name}",
        "PRAGMA": r"\bPRAGMA\s+{name}",
    }.items()
}


def event_target(event: DependencyEvent) -> str:
    """The table of a statement, the collection of a MongoDB command, the key of a Redis command, or those of a
    pipeline; the topic, the queue, or the exchange with the routing key of a message. Empty where the call has none,
    or is of another kind. Not yet `printable`.
    """
    args: Any = event.call.args if event.call is not None else None
    if event.event_type is EventType.DB_QUERY and isinstance(args, dict):
        statement = args.get("statement")
        if isinstance(statement, str):
            return table_of(event.signature.method or "", statement)
        return _short(args.get(event.signature.method))
    if event.event_type is EventType.REDIS and isinstance(args, list) and args:
        if isinstance(args[0], list):
            named = [_command(each) for each in args if isinstance(each, list) and not _frames(each)]
            more = f", {len(named) - _MOST_COMMANDS} more" if len(named) > _MOST_COMMANDS else ""
            return f"({', '.join(named[:_MOST_COMMANDS])}{more})" if named else ""
        return _short(args[1]) if len(args) > 1 else ""
    if isinstance(args, dict) and plugin_names.group_of(event.signature.lib) == "messaging":
        return _short(" ".join(filter(None, (_short(args.get(name)) for name in _ADDRESSES))))
    return ""


def table_of(verb: str, statement: str) -> str:
    """The first table (or what else a statement of its kind is about) that an SQL statement names; empty for none.

    Args:
        verb: The first word of the statement, in capitals.
        statement: The statement.
    """
    pattern = _PATTERNS.get(verb)
    found = pattern.search(_NOISE.sub(" ", statement[:_MOST_SEARCHED])) if pattern is not None else None
    return re.sub(r"""["`\[\]]""", "", _AROUND_DOT.sub(".", found[1]))[:_LONGEST] if found is not None else ""


def _frames(command: list[Any]) -> bool:
    """Whether a command only frames a transaction."""
    return _short(command[0] if command else "").upper() in {"MULTI", "EXEC"}


def _command(parts: list[Any]) -> str:
    return " ".join(filter(None, map(_short, parts[:2])))


def _short(part: Any) -> str:
    if isinstance(part, bytes):
        part = part.decode("utf-8", "backslashreplace")
    if not isinstance(part, (str, int, float)):
        return ""
    text = str(part)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
