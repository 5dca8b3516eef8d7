"""Fields of hashes and their values, as mappings in events and in cassettes.

A connection carries a hash as a list of names and values. A mapping is redacted like any other: the value of a field
named ``password`` is replaced, in the command and in the reply. Where a name occurs more than once, each pair of name
and value is a mapping by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from timetracer_otel.libraries.redis.commands import Command, is_transaction

__all__ = ["folded_arguments", "folded_replies", "folded_reply", "has_fields", "unfolded_reply"]

_MARK: Final = "fields"
"""First part of the pair that stands for a folded reply; no parser gives tuples."""
_STREAM_READS: Final = frozenset(
    {b"XRANGE", b"XREVRANGE", b"XREAD", b"XREADGROUP", b"XCLAIM", b"XAUTOCLAIM", b"XINFO"}
)
_WITH_NAMES: Final = frozenset({b"HGETALL", b"HRANDFIELD", b"HSCAN"})
"""Commands whose replies have names beside values."""
_NAMED: Final = frozenset({b"HGETEX", b"HGETDEL"})
"""Commands that name fields behind ``FIELDS`` and their number, and answer with their values."""
_WRITES: Final = frozenset({"HSET", "HMSET", "HSETNX"})


def folded_arguments(words: list[Any]) -> list[Any]:
    """The words of a command, with the fields that it writes as a mapping."""
    name = words[0].upper() if words and isinstance(words[0], str) else ""
    if name in _WRITES:
        return _folded(words, 2)
    if name == "XADD":
        return _folded(words, _behind_identifier(words))
    if name == "HSETEX":
        return _folded(words, _behind_number(words))
    return words


def has_fields(name: str) -> bool:
    """Whether `folded_arguments` may fold the words of a command with this name, in upper case."""
    return name in _WRITES or name in ("XADD", "HSETEX")


def _behind_number(words: Sequence[Any]) -> int:
    """Where the fields begin that stand behind ``FIELDS`` and their number; behind all words where there are none."""
    names = [word.upper() if isinstance(word, (bytes, str)) else word for word in words[2:]]
    return next((index + 4 for index, name in enumerate(names) if name in ("FIELDS", b"FIELDS")), len(words))


def _behind_identifier(words: list[Any]) -> int:
    """Where the fields of an ``XADD`` begin: behind the key, options (some with arguments) and the identifier."""
    index = 2
    while index < len(words) and isinstance(words[index], str) and words[index].upper() in _XADD_OPTIONS:
        index += _XADD_OPTIONS[words[index].upper()]
        if index - 1 < len(words) and words[index - 1] in ("=", "~"):
            index += 1
    return index + 1


_XADD_OPTIONS: Final = {
    "NOMKSTREAM": 1,
    "KEEPREF": 1,
    "DELREF": 1,
    "ACKED": 1,
    "MAXLEN": 2,
    "MINID": 2,
    "LIMIT": 2,
    "IDMP": 3,
    "IDMPAUTO": 2,
}
"""Words of each option of ``XADD``, itself included, but for the sign that may stand in front of a limit."""


def _folded(words: list[Any], start: int) -> list[Any]:
    fields, values = words[start::2], words[start + 1 :: 2]
    if not values or len(fields) != len(values):
        return words
    return [*words[:start], _mapping(fields, values)]


def _mapping(fields: Sequence[Any], values: Sequence[Any]) -> dict[Any, Any] | list[dict[Any, Any]]:
    pairs = list(zip(fields, values, strict=True))
    mapping = dict(pairs)
    return mapping if len(mapping) == len(pairs) else [{name: value} for name, value in pairs]


def folded_replies(commands: Sequence[Command], replies: Sequence[Any]) -> list[Any]:
    """The replies to a batch, each as `folded_reply` has it; there may be fewer of them than commands."""
    return [folded_reply(commands, index, reply) for index, reply in enumerate(replies)]


_PLAIN: Final = frozenset({bytes, str, int, type(None)})
_WITHOUT_FIELDS: Final = frozenset({b"GET", b"SET", b"INCR", b"DEL", b"EXISTS", b"EXPIRE"})
"""Frequent commands; nothing that such a reply to them has is told to be a field."""


def folded_reply(commands: Sequence[Command], index: int, reply: Any) -> Any:
    """The reply to one of the commands of a batch, with names and values of a hash as a mapping."""
    command = commands[index]
    if type(reply) in _PLAIN and command and command[0] in _WITHOUT_FIELDS:
        return reply
    if command[:1] == [b"EXEC"] and type(reply) is list and is_transaction(commands):
        queued = commands[1:-1]
        if len(queued) == len(reply):
            return [folded_reply(queued, number, item) for number, item in enumerate(reply)]
        return reply
    name = command[0].upper() if command else b""
    if name == b"HGETALL" and type(reply) is list and len(reply) % 2 == 0:
        return _marked(reply[::2], reply[1::2], reply)
    if name == b"HMGET" and type(reply) is list and len(reply) == len(command) - 2:
        return _marked(command[2:], reply, reply)
    # In a transaction, the server first says that it has queued the command.
    if name == b"HGET" and type(reply) in (bytes, str) and len(command) == 3 and reply not in (b"QUEUED", "QUEUED"):
        return _marked(command[2:], [reply], reply)
    if name in _NAMED and type(reply) is list:
        fields = command[_behind_number(command) :]
        return _marked(fields, reply, reply) if len(fields) == len(reply) else reply
    if name == b"HSCAN" and type(reply) is list and len(reply) == 2 and b"NOVALUES" not in map(bytes.upper, command):
        return [reply[0], _pairs_marked(reply[1])]
    if name == b"HRANDFIELD" and command[-1].upper() == b"WITHVALUES":
        return _pairs_marked(reply)
    return _with_folded_entries(reply) if name in _STREAM_READS else reply


def _pairs_marked(reply: Any) -> Any:
    """Names and values in turn, or (RESP3, some commands) a list of pairs."""
    if type(reply) is not list:
        return reply
    if all(type(item) is list and len(item) == 2 for item in reply):
        return [_marked(item[:1], item[1:], item) for item in reply]
    return _marked(reply[::2], reply[1::2], reply) if len(reply) % 2 == 0 else reply


def _with_folded_entries(reply: Any) -> Any:
    """Entries of streams, wherever they stand in a reply: lists of an identifier and of names and values."""
    if type(reply) is dict:
        return {name: _with_folded_entries(item) for name, item in reply.items()}
    if type(reply) is not list:
        return reply
    if len(reply) == 2 and type(reply[1]) is list and len(reply[1]) % 2 == 0 and _is_identifier(reply[0]):
        marked = _marked(reply[1][::2], reply[1][1::2], reply[1])
        # If not, then streams and places in them may be called like entries.
        if _is_marked(marked):
            return [reply[0], marked]
    return [_with_folded_entries(item) for item in reply]


def _is_identifier(item: Any) -> bool:
    if type(item) is bytes:
        item = item.decode("latin-1")
    head, dash, tail = item.partition("-") if type(item) is str else ("", "", "")
    return bool(dash) and head.isdigit() and tail.isdigit()


def _with_unfolded_entries(reply: Any) -> Any:
    if type(reply) is dict:
        return {name: _with_unfolded_entries(item) for name, item in reply.items()}
    if type(reply) is list:
        return [_with_unfolded_entries(item) for item in reply]
    return [part for pair in _pairs(reply) for part in pair] if _is_marked(reply) else reply


def _is_marked(reply: Any) -> bool:
    return type(reply) is tuple and len(reply) == 2 and reply[0] == _MARK and type(reply[1]) in (dict, list)


def _pairs(marked: Any) -> list[tuple[Any, Any]]:
    mappings = marked[1] if type(marked[1]) is list else [marked[1]]
    return [pair for mapping in mappings for pair in mapping.items()]


def _marked(fields: Sequence[Any], values: Sequence[Any], reply: Any) -> Any:
    if not fields or not all(type(field) in (bytes, str) for field in fields):
        return reply
    return (_MARK, _mapping(fields, values))


def unfolded_reply(commands: Sequence[Command], index: int, reply: Any) -> Any:
    """What `folded_reply` was given."""
    command = commands[index]
    if type(reply) is list and command[:1] == [b"EXEC"] and is_transaction(commands):
        queued = commands[1:-1]
        if len(queued) == len(reply):
            return [unfolded_reply(queued, number, item) for number, item in enumerate(reply)]
        return reply
    name = command[0].upper() if command else b""
    if name in _STREAM_READS or name in _WITH_NAMES:
        return _with_unfolded_entries(reply)
    if not _is_marked(reply):
        return reply
    values = [value for _, value in _pairs(reply)]
    return values[0] if name == b"HGET" else values
