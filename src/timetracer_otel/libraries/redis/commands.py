"""Commands as they stand on the state: read back, named, and written down without their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from timetracer_otel.cassette import pack
from timetracer_otel.libraries.redis.messages import may_have_sender

__all__ = [
    "Command",
    "are_plain",
    "carries",
    "expects_stream",
    "has_span",
    "is_one_plain",
    "is_subscription",
    "is_transaction",
    "key_position",
    "method_of",
    "mutes",
    "name_of",
    "in_one_order",
    "parse",
    "plain_words",
    "simple_method",
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

_UNORDERED: Final = {
    **dict.fromkeys(("SADD", "SREM", "ZREM", "HDEL", "PFADD", "PFMERGE", "SUNIONSTORE", "SINTERSTORE"), 2),
    **dict.fromkeys(("DEL", "UNLINK", "EXISTS", "TOUCH", "WATCH", "SUNION", "SINTER", "PFCOUNT"), 1),
}
"""Commands that do the same in whatever order some of their words are given: where these words begin.

Not among them are commands whose reply follows the order, such as ``MGET``.
"""
_PAIRS: Final = {"HSET": 2, "HMSET": 2, "ZADD": 2, "MSET": 1, "MSETNX": 1}
"""The same, for words that come in pairs of a name and a value; those of ``ZADD`` have their name behind."""
_ZADD_OPTIONS: Final = frozenset({"NX", "XX", "GT", "LT", "CH", "INCR"})
_TEXT: Final = frozenset({str})

_STREAMS: Final = frozenset({b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR"})
_MUTES: Final = ([b"CLIENT", b"REPLY", b"OFF"], [b"CLIENT", b"REPLY", b"SKIP"])


_LINES: Final = {b"*%d" % words: 2 * words + 1 for words in range(1, 100)}
"""By the first line of a command: how many lines it has, where each word is one."""
_LENGTHS: Final = {length: b"$%d" % length for length in range(1024)}
"""By the length of a word: the line that stands before it."""


def parse(packed: Any) -> list[Command]:
    """The commands in what a connection was told to send: bytes, text, or pieces of bytes.

    Raises:
        ValueError: These are no commands of the Redis protocol.
    """
    if isinstance(packed, str):
        packed = packed.encode()
    data: bytes = packed if isinstance(packed, bytes) else b"".join(packed)
    quick = _by_lines(data)
    return _by_lengths(data) if quick is None else quick


def _by_lines(data: bytes) -> list[Command] | None:
    """The commands, where each word is a line of its own, as nearly all are; None where one has several lines. To
    split takes a third of the time of going from length to length.
    """
    lines = data.split(b"\r\n")
    last = len(lines) - 1
    commands: list[Command] = []
    words: list[bytes] = []
    lengths: list[bytes] = []
    position = 0
    while position < last:
        number = _LINES.get(lines[position])
        if number is None:
            return None
        end = position + number
        command = lines[position + 2 : end : 2]
        commands.append(command)
        words += command
        lengths += lines[position + 1 : end : 2]
        position = end
    # So the words are those that their lengths give, each of them.
    if position != last or lines[last]:
        return None
    fits = list(map(_LENGTHS.get, map(len, words))) == lengths or [b"$%d" % len(word) for word in words] == lengths
    return commands if fits else None


_LONGEST_PLAIN: Final = 256
_size_mark: Final = [f"${size}" for size in range(_LONGEST_PLAIN + 1)].__getitem__
_HEADS: Final = {2 * count + 2: f"*{count}" for count in range(_LONGEST_PLAIN)}
"""By the number of lines of a command, with an empty one at its end: its first line."""


def plain_words(packed: Any) -> list[str] | None:
    """The words of one short command that is all ASCII and no message of Kombu's, as nearly all are, from what a
    connection was told to send; None for anything else. It takes a fifth of the time of `parse` and what follows.
    """
    data = packed[0] if type(packed) is list and len(packed) == 1 else packed
    if type(data) is not bytes or len(data) > _LONGEST_PLAIN or not data.isascii() or may_have_sender(data):
        return None
    lines = data.decode().split("\r\n")
    # With as many lines, no word has a line break in it, so the words are those that their lengths give.
    if lines[0] != _HEADS.get(len(lines)) or lines[-1]:
        return None
    words = lines[2::2]
    return words if lines[1:-1:2] == [*map(_size_mark, map(len, words))] else None


def _by_lengths(data: bytes) -> list[Command]:
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


_ASKS_MORE: Final = frozenset(
    {b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR", b"CLIENT", b"CLUSTER", b"COMMAND", b"INFO"}
)
"""First words of the commands of which more is to be asked than how they are called: their replies come as messages,
or not at all, or are asked for by the client itself."""
_plain: dict[bytes, bool] = {}
"""By first word, as it was sent, whether it is none of these. An app has few commands."""
_MOST_WORDS: Final = 1024


def is_one_plain(data: bytes) -> bool:
    """Whether these bytes are one command, of which nothing more is to be asked. False where that is not known at
    once.
    """
    lines = data.split(b"\r\n", 3)
    # Whatever else stands in the bytes has lines of its own: a second command, or words of several lines.
    return _LINES.get(lines[0]) == data.count(b"\r\n") and (_plain.get(lines[2]) or _is_plain(lines[2]))


def are_plain(commands: Sequence[Command]) -> bool:
    """Whether nothing more is to be asked of commands that are sent together."""
    return all(commands) and all(map(_is_plain, {command[0] for command in commands}))


def _is_plain(word: bytes) -> bool:
    known = _plain.get(word)
    if known is None:
        known = word.upper() not in _ASKS_MORE
        if len(_plain) < _MOST_WORDS:
            _plain[word] = known
    return known


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


def simple_method(word: str) -> str | None:
    """The `method_of` a single command with this first word; None where more of it counts than its words, in order:
    subcommands, words in any order, messages in the place of a reply.
    """
    name = word.upper()
    more = name in _CONTAINERS or name in _UNORDERED or name in _PAIRS or name.encode() in _STREAMS
    return None if more else name


def key_position(words: Sequence[Any]) -> int:
    """Where in a command its key stands, or what else it asks about; behind the words where it has none."""
    return 2 if words and str(words[0]).upper() in _CONTAINERS else 1


def carries(words: Sequence[Any], position: int) -> bool:
    """Whether a word of a command is a value that it brings along, and not what it asks for."""
    return bool(words) and str(words[0]).upper() in _BRINGING and position > key_position(words)


def in_one_order(words: list[Any]) -> list[Any]:
    """The words of a command, in an order that is the same for all commands that do the same; the same list where
    there is none else.

    An app may give a command the items of a set, which have another order in each process.
    """
    name = words[0] if words else None
    if type(name) is not str:
        return words
    name = name.upper()
    first = _UNORDERED.get(name)
    if first is not None:
        return [*words[:first], *_sorted(words[first:])] if len(words) > first + 1 else words
    first = _PAIRS.get(name)
    if first is None or len(words) < first + 4:
        return words
    if name == "ZADD":
        while first < len(words) and str(words[first]).upper() in _ZADD_OPTIONS:
            first += 1
    names, values = words[first::2], words[first + 1 :: 2]
    if name == "ZADD":
        names, values = values, names
    # Where a name stands there twice, the last value counts.
    if len(names) != len(values) or len(set(map(pack, names))) != len(names):
        return words
    found = [*words[:first]]
    for pair in sorted(zip(names, values, strict=True), key=_first_packed):
        found += pair
    return found


def _sorted(words: list[Any]) -> list[Any]:
    return sorted(words) if _TEXT.issuperset(map(type, words)) else sorted(words, key=pack)


def _first_packed(pair: tuple[Any, Any]) -> bytes:
    return pack(pair[0])


def is_transaction(commands: Sequence[Command]) -> bool:
    """Whether a batch is a transaction, from ``MULTI`` to ``EXEC``."""
    return len(commands) > 1 and commands[0] == [b"MULTI"] and commands[-1] == [b"EXEC"]


def text(part: bytes) -> str | bytes:
    """UTF-8 as text, other bytes as they are."""
    try:
        return part.decode()
    except UnicodeDecodeError:
        return part
