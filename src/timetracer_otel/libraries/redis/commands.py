"""Commands as they stand on the wire: read back, named, and written down without their secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from timetracer_otel.constants import REDACTED

__all__ = [
    "Command",
    "arguments",
    "expects_stream",
    "has_span",
    "is_subscription",
    "is_transaction",
    "method_of",
    "mutes",
    "parse",
    "redact_reply",
    "secrets_of",
    "text",
]

Command = list[bytes]

_LONGEST_ARGUMENT: Final = 64 * 1024
"""Bytes; a longer argument stands in the cassette as its digest. Part of the signature: the same for ever."""

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

_STREAMS: Final = frozenset({b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR"})
_MUTES: Final = ([b"CLIENT", b"REPLY", b"OFF"], [b"CLIENT", b"REPLY", b"SKIP"])
_SECRET_SETTINGS: Final = frozenset(
    {"requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass"}
)
_SECRET_SENTINEL: Final = frozenset({"auth-pass", "sentinel-pass"})
_ACL_SECRETS: Final = (">", "<", "#", "!")
"""What a rule of `ACL SETUSER` begins with where the rest is a password or the hash of one."""
_HASH_LENGTH: Final = 64


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
        return _name(commands[0])
    return "MULTI" if is_transaction(commands) else "PIPELINE"


def _name(command: Command) -> str:
    words = [part.decode("latin-1").upper() for part in command[:2]]
    if not words:
        return ""
    return " ".join(words) if words[0] in _CONTAINERS else words[0]


def is_transaction(commands: Sequence[Command]) -> bool:
    """Whether a batch is a transaction, from ``MULTI`` to ``EXEC``."""
    return len(commands) > 1 and commands[0] == [b"MULTI"] and commands[-1] == [b"EXEC"]


def arguments(commands: Sequence[Command]) -> list[list[Any]]:
    """What is matched and kept of each command: its words as text where they are UTF-8, passwords replaced."""
    return [_redacted([_word(part) for part in command]) for command in commands]


def secrets_of(commands: Sequence[Command]) -> list[str]:
    """The words of commands that `arguments` gives without their passwords, longest first."""
    found = {
        word
        for command in commands
        for words in [[_word(part) for part in command]]
        for word, kept in zip(words, _redacted(words), strict=True)
        if word is not kept and isinstance(word, str)
    }
    return sorted(found, key=len, reverse=True)


def _word(part: bytes) -> str | bytes:
    if len(part) > _LONGEST_ARGUMENT:
        return f"sha256:{hashlib.sha256(part).hexdigest()} of {len(part)} bytes"
    return text(part)


def text(part: bytes) -> str | bytes:
    """UTF-8 as text, other bytes as they are."""
    try:
        return part.decode()
    except UnicodeDecodeError:
        return part


def _redacted(words: list[Any]) -> list[Any]:
    if not words or not isinstance(words[0], str):
        return words
    name = words[0].upper()
    redact = _REDACTORS.get(name)
    if redact is None and len(words) > 1 and isinstance(words[1], str):
        redact = _REDACTORS.get(f"{name} {words[1].upper()}")
    return redact(words) if redact is not None else words


def _auth(words: list[Any]) -> list[Any]:
    return [*words[:-1], REDACTED] if len(words) > 1 else words


def _after_auth(words: list[Any]) -> list[Any]:
    """``HELLO 3 AUTH user password``, ``MIGRATE … AUTH password`` and ``MIGRATE … AUTH2 user password``."""
    redacted = list(words)
    for index, word in enumerate(words):
        following = {"AUTH": 1 if words[0].upper() == "MIGRATE" else 2, "AUTH2": 2}.get(_upper(word))
        if following is not None and index + following < len(words):
            redacted[index + following] = REDACTED
    return redacted


def _settings(secret: frozenset[str]) -> Callable[[list[Any]], list[Any]]:
    """``CONFIG SET name value …`` and the like: the word behind a secret name."""

    def redact(words: list[Any]) -> list[Any]:
        return [
            REDACTED if index > 2 and _upper(words[index - 1]).lower() in secret else word
            for index, word in enumerate(words)
        ]

    return redact


def _acl_rules(words: list[Any]) -> list[Any]:
    return [
        word[0] + REDACTED if index > 2 and isinstance(word, str) and word.startswith(_ACL_SECRETS) else word
        for index, word in enumerate(words)
    ]


_REDACTORS: Final[dict[str, Callable[[list[Any]], list[Any]]]] = {
    "AUTH": _auth,
    "HELLO": _after_auth,
    "MIGRATE": _after_auth,
    "CONFIG SET": _settings(_SECRET_SETTINGS),
    "SENTINEL SET": _settings(_SECRET_SENTINEL),
    "SENTINEL CONFIG": _settings(_SECRET_SENTINEL),
    "ACL SETUSER": _acl_rules,
}


def redact_reply(commands: Sequence[Command], index: int, reply: Any) -> Any:
    """The reply to one of the commands of a batch, without the passwords that some commands ask for."""
    command = commands[index]
    if command[:1] == [b"EXEC"] and isinstance(reply, list):
        queued = commands[1:-1] if is_transaction(commands) else ()
        if len(queued) != len(reply):
            # What was queued was sent earlier, one by one: look everywhere.
            return [_password_hashes(_secret_settings(item)) for item in reply]
        return [redact_reply(queued, number, item) for number, item in enumerate(reply)]
    redact = _REPLY_REDACTORS.get(_name(command))
    return redact(reply) if redact is not None else reply


def _secret_settings(reply: Any) -> Any:
    if isinstance(reply, dict):
        return {
            name: _like(value) if _upper(name).lower() in _SECRET_SETTINGS and value else value
            for name, value in reply.items()
        }
    if isinstance(reply, list):
        return [
            _like(item) if index % 2 and item and _upper(reply[index - 1]).lower() in _SECRET_SETTINGS else item
            for index, item in enumerate(reply)
        ]
    return reply


def _password_hashes(reply: Any) -> Any:
    if isinstance(reply, dict):
        return {name: _password_hashes(value) for name, value in reply.items()}
    if isinstance(reply, list):
        return [_password_hashes(item) for item in reply]
    if isinstance(reply, (str, bytes)):
        space = " " if isinstance(reply, str) else b" "
        return space.join(_without_hash(word) for word in reply.split(space))  # type: ignore[arg-type]
    return reply


def _without_hash(word: Any) -> Any:
    digits = word[-_HASH_LENGTH:]
    if len(word) not in (_HASH_LENGTH, _HASH_LENGTH + 1) or not digits.isalnum():
        return word
    return word[: len(word) - _HASH_LENGTH] + _like(word)


def _like(secret: Any) -> Any:
    return REDACTED.encode() if isinstance(secret, bytes) else REDACTED


_REPLY_REDACTORS: Final[dict[str, Callable[[Any], Any]]] = {
    "CONFIG GET": _secret_settings,
    "ACL GETUSER": _password_hashes,
    "ACL LIST": _password_hashes,
    "ACL GENPASS": _like,
}


def _upper(word: Any) -> str:
    if isinstance(word, bytes):
        word = word.decode("latin-1")
    return str(word).upper() if isinstance(word, str) else ""
