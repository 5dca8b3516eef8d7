"""Commands as they stand on the state: read back, named, and written down without their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

__all__ = [
    "Command",
    "carries",
    "expects_stream",
    "has_span",
    "is_subscription",
    "is_transaction",
    "key_position",
    "method_of",
    "mutes",
    "name_of",
    "parse",
    "text",
]

Command = list[bytes]

_CONTAINERS: Final = frozenset(
    {
        "ACL",
        "CLIENT",
        "CLUSTER",
        "COMMAND",
        "CONFIG",
        "DEBUG",
        "FUNCTION",
        "LATENCY",
        "MEMORY",
        "MODULE",
        "OBJECT",
        "PUBSUB",
        "SCRIPT",
        "SENTINEL",
        "SLOWLOG",
        "XGROUP",
        "XINFO",
    }
)
"""Commands whose first argument belongs to their name."""

_BRINGING: Final = frozenset(
    {
        *(
            "SET",
            "SETEX",
            "PSETEX",
            "SETNX",
            "GETSET",
            "APPEND",
            "HSET",
            "HMSET",
            "HSETNX",
            "HSETEX",
            "MSET",
            "MSETNX",
        ),
        *("LPUSH", "RPUSH", "LPUSHX", "RPUSHX", "SADD", "ZADD", "XADD", "PFADD", "GEOADD", "PUBLISH", "SPUBLISH"),
        *("EVAL", "EVALSHA", "FCALL", "SETRANGE", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"),
    }
)
"""Commands that bring values along, behind their key."""

_STREAMS: Final = frozenset({b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR"})
_MUTES: Final = ([b"CLIENT", b"REPLY", b"OFF"], [b"CLIENT", b"REPLY", b"SKIP"])


def parse(packed: Any) -> list[Command]:
    """The commands in what a connection was told to send: bytes, text, or pieces of bytes.

    Raises:
        ValueError: These are no commands of the Redis protocol.
    """
    if isinstance(packed, str):
        packed = packed.encode()
    data: bytes = packed if isinstance(packed, bytes) else b"".join(packed)
    commands: list[Command] = []
    position = 0
    while position < len(data):
        count, position = _number(data, position, b"*")
        command: Command = []
        for _ in range(count):
            size, position = _number(data, position, b"$")
            command.append(data[position : position + size])
            position += size + 2
        commands.append(command)
    if position != len(data):
        raise ValueError("the last command is cut")
    return commands


def _number(data: bytes, position: int, mark: bytes) -> tuple[int, int]:
    if data[position : position + 1] != mark:
        raise ValueError(f"{mark!r} expected at {position}")
    end = data.index(b"\r\n", position)
    return int(data[position + 1 : end]), end + 2


def expects_stream(command: Command) -> bool:
    """Whether the replies to a command come whenever there are some, and not once."""
    return bool(command) and command[0].upper() in _STREAMS


def mutes(command: Command) -> bool:
    """Whether the server gives no reply to a command, nor to the next one or all that follow."""
    return len(command) == 3 and [word.upper() for word in command] in _MUTES


def has_span(commands: Sequence[Command]) -> bool:
    """Whether OpenTelemetry's instrumentation makes a span for what is sent so; not for a subscription."""
    return not any(map(expects_stream, commands))


def is_subscription(method: str) -> bool:
    """The same of a command's name."""
    return method.encode() in _STREAMS


def method_of(commands: Sequence[Command]) -> str:
    """The name of a command; ``MULTI`` for a transaction that is sent at once, ``PIPELINE`` for other batches."""
    if len(commands) == 1:
        return name_of(commands[0])
    return "MULTI" if is_transaction(commands) else "PIPELINE"


def name_of(command: Command) -> str:
    """The name of one command, in upper case; of those with subcommands, with the subcommand."""
    words = [part.decode("latin-1").upper() for part in command[:2]]
    if not words:
        return ""
    return " ".join(words) if words[0] in _CONTAINERS else words[0]


def key_position(words: Sequence[Any]) -> int:
    """Where in a command its key stands, or what else it asks about; behind the words where it has none."""
    return 2 if words and str(words[0]).upper() in _CONTAINERS else 1


def carries(words: Sequence[Any], position: int) -> bool:
    """Whether a word of a command is a value that it brings along, and not what it asks for."""
    return bool(words) and str(words[0]).upper() in _BRINGING and position > key_position(words)


def is_transaction(commands: Sequence[Command]) -> bool:
    """Whether a batch is a transaction, from ``MULTI`` to ``EXEC``."""
    return len(commands) > 1 and commands[0] == [b"MULTI"] and commands[-1] == [b"EXEC"]


def text(part: bytes) -> str | bytes:
    """UTF-8 as text, other bytes as they are."""
    try:
        return part.decode()
    except UnicodeDecodeError:
        return part
