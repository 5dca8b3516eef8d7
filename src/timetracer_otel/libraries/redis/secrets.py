"""Where the secrets of Redis are: in arguments, in replies, and in errors, which quote the arguments of a command."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from timetracer_otel.constants import REDACTED
from timetracer_otel.libraries.redis.commands import Command, carries, in_one_order, key_position, text
from timetracer_otel.libraries.redis.messages import without_sender
from timetracer_otel.match.leaves import texts_of
from timetracer_otel.redact.errors import SHORTEST_SECRET, edited_errors, replacing
from timetracer_otel.redact.forms import CallForm
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import DependencyEvent, EventResult, RecordedError

__all__ = ["FORM", "secrets_of", "without_quoted_arguments", "without_secrets", "words_of"]

_LONGEST_ARGUMENT: Final = 64 * 1024
"""Bytes; a longer argument stands in the cassette as its digest. Part of the signature: the same for ever."""

_SECRET_SETTINGS: Final = frozenset(
    {"requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass"}
)
_SECRET_SENTINEL: Final = frozenset({"auth-pass", "sentinel-pass"})
_ACL_SECRETS: Final = (">", "<", "#", "!")
"""What a rule of `ACL SETUSER` begins with where the rest is a password or the hash of one."""
_HASH_LENGTH: Final = 64

_UNKNOWN: Final = "with args beginning with:"
"""The server: ``unknown command 'AUTH', with args beginning with: 'user' 'password'``; some are cut in the middle."""
_IN_PIPELINE: Final = re.compile(r"(Command # \d+ \(\S+) .*?(\) of pipeline caused error)", re.DOTALL)
"""redis-py: ``Command # 2 (AUTH user password) of pipeline caused error: …``."""


_WORD: Final = re.compile(r"args\[(\d+)\](?:\[(\d+)\])?")


class _Commands(CallForm):
    """Commands are words in order, and some of them are secret by where they stand."""

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        if not redactor.active or type(args) is not list:
            return args
        if _is_pipeline(args):
            return redactor.value([_of_command(words, redactor) for words in args])
        return redactor.value(_of_command(args, redactor))

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        """Replace the passwords that a server tells, and what is under keys that a rule names."""
        if not redactor.active or type(args) is not list or type(result.reply) is not dict:
            return
        if args and not redactor.own.keys and _is_plain(args[0]):
            return
        commands = args if _is_pipeline(args) else [args]
        replies = result.reply.get("replies")
        if type(replies) is list:
            made = _redacted_replies(commands, replies, redactor.secret)
            if made is not replies:
                result.reply = {**result.reply, "replies": made}
        if redactor.own.keys and any(redactor.own.is_key("redis", _key_of(words)) for words in commands):
            result.reply = {**result.reply, "replies": _values(result.reply.get("replies"), redactor)}

    def is_open(self, args: Any, result: EventResult, redactor: Redactor) -> bool:
        """Whether nothing is secret by its place in a command, or in the reply to it."""
        if type(args) is not list or not args:
            return True
        return all(_is_plain(words[0]) for words in args if words) if _is_pipeline(args) else _is_plain(args[0])

    def compared(self, args: Any) -> Any:
        args = without_sender(args)
        if type(args) is not list or not args:
            return args
        if type(args[0]) is not list:
            return in_one_order(args)
        return [in_one_order(words) if type(words) is list else words for words in args]

    def error_text(self, text: str) -> str:
        return without_quoted_arguments(text)

    def subject(self, args: Any) -> str | None:
        """The key of a single command, or what else it asks about."""
        if not args or isinstance(args[0], list):
            return None
        position = key_position(args)
        return args[position] if position < len(args) and isinstance(args[position], str) else None

    def held_by_server(self, event: DependencyEvent) -> Iterator[str]:
        """The words of the commands that only ask, and that found something."""
        args, facts = event.call.args if event.call is not None else None, event.result.reply
        replies = facts.get("replies") if type(facts) is dict else None
        if type(args) is not list or not args or type(replies) is not list:
            return
        commands = args if _is_pipeline(args) else [args]
        for words, reply in zip(commands, replies, strict=False):
            if words and str(words[0]).upper() in _ASKING and _found_something(reply):
                yield from texts_of(words)

    def identifies(self, field: str, args: Any) -> bool:
        """Whether a word is a key, or says otherwise what a command asks for."""
        found = _WORD.match(field)
        if found is None:
            return False
        first, second = int(found[1]), found[2]
        if args and isinstance(args[0], list):
            return second is None or first >= len(args) or not carries(args[first], int(second))
        return not carries(args, first)


def _is_pipeline(args: list[Any]) -> bool:
    """Whether arguments are those of several commands."""
    return bool(args) and all(type(words) is list for words in args)


def _of_command(words: list[Any], redactor: Redactor) -> list[Any]:
    if words and not redactor.own.keys and _is_plain(words[0]):
        return words
    made = _of_own_keys(_redacted(words, redactor.secret), redactor)
    position = _SCRIPTS.get(_upper(words[0]), 0) if words else 0
    if 0 < position < len(made) and type(made[position]) is str:
        made = [*made[:position], redactor.text(made[position]), *made[position + 1 :]]
    return made


_SCRIPTS: Final = {"EVAL": 1, "EVAL_RO": 1, "SCRIPT": 2, "FUNCTION": 2}
"""Where a command has code."""

_ASKING: Final = frozenset(
    {
        *("GET", "MGET", "STRLEN", "GETRANGE", "EXISTS", "TYPE", "TTL", "PTTL", "DUMP", "GETDEL", "GETEX"),
        *("HGET", "HMGET", "HGETALL", "HEXISTS", "HKEYS", "HVALS", "HLEN", "HSCAN"),
        *("LRANGE", "LINDEX", "LLEN", "LPOP", "RPOP", "SMEMBERS", "SISMEMBER", "SCARD"),
        *("ZRANGE", "ZSCORE", "ZRANK", "ZCARD", "XRANGE", "XLEN"),
    }
)
"""Commands that find nothing under a name that was just made up."""


def _found_something(reply: Any) -> bool:
    """Whether the reply to one of these commands says that there is something under the name."""
    if isinstance(reply, RecordedError):
        return False
    if isinstance(reply, (list, tuple, dict)):
        items = reply.values() if isinstance(reply, dict) else reply
        return any(map(_found_something, items))
    return reply not in (None, 0, -1, -2, "none", b"none", "fields", b"", "")


def _key_of(words: list[Any]) -> Any:
    position = key_position(words)
    return words[position] if position < len(words) else None


def _of_own_keys(words: list[Any], redactor: Redactor) -> list[Any]:
    """The words of a command, without the values that it brings along for a key that a rule names."""
    if not redactor.own.keys or not redactor.own.is_key("redis", _key_of(words)):
        return words
    return [
        redactor.secret(word)
        if carries(words, index) and type(word) in (str, bytes)
        else _values(word, redactor)
        if type(word) is dict
        else word
        for index, word in enumerate(words)
    ]


def _values(value: Any, redactor: Redactor) -> Any:
    if type(value) is dict:
        return {name: _values(item, redactor) for name, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([_values(item, redactor) for item in value])
    if type(value) in (str, bytes) and value not in _STATUSES:
        return redactor.secret(value)
    return value


_STATUSES: Final[frozenset[str | bytes]] = frozenset({"OK", b"OK", "QUEUED", b"QUEUED", "fields", b""})
"""What a server answers by itself, and the mark of `timetracer_otel.libraries.redis.fields`."""

FORM: Final = _Commands()


def without_quoted_arguments(text: str) -> str:
    """An error's text, or its traceback, without the arguments that are quoted in it."""
    if "of pipeline caused error" in text:
        text = _IN_PIPELINE.sub(rf"\1 {REDACTED}\2", text)
    if _UNKNOWN not in text:
        return text
    lines = []
    for line in text.split("\n"):
        head, mark, _ = line.partition(_UNKNOWN)
        lines.append(f"{head}{mark} {REDACTED}" if mark else line)
    return "\n".join(lines)


def without_secrets(value: Any, secrets: Sequence[str]) -> Any:
    """A copied reply, or error, in whose errors the arguments of the command are not quoted, nor its secrets."""
    replaced = replacing([(secret, REDACTED) for secret in secrets if len(secret) >= SHORTEST_SECRET])
    return edited_errors(value, lambda text: without_quoted_arguments(replaced(text)))


def words_of(commands: Sequence[Command]) -> list[list[Any]]:
    """What is matched and kept of each command: its words as text where they are UTF-8; passwords are still there."""
    try:
        # Nearly all words are short text. A function less for each of them is much for a pipeline of hundreds.
        return [
            [part.decode() if len(part) <= _LONGEST_ARGUMENT else _word(part) for part in command]
            for command in commands
        ]
    except UnicodeDecodeError:
        return [[_word(part) for part in command] for command in commands]


def secrets_of(commands: Sequence[Command]) -> list[str]:
    """The words of commands that are passwords, or hold one, longest first."""
    found = {
        word
        for words in words_of(commands)
        for word, kept in zip(words, _redacted(words, _like), strict=True)
        if word is not kept and isinstance(word, str)
    }
    return sorted(found, key=len, reverse=True)


def _word(part: bytes) -> str | bytes:
    if len(part) > _LONGEST_ARGUMENT:
        return f"sha256:{hashlib.sha256(part).hexdigest()} of {len(part)} bytes"
    return text(part)


_Replace: TypeAlias = Callable[[Any], Any]
"""Gives what takes the place of a secret."""
_Redact: TypeAlias = Callable[[list[Any], _Replace], list[Any]]


def _redacted(words: list[Any], secret: _Replace) -> list[Any]:
    if not words or not isinstance(words[0], str):
        return words
    name = words[0].upper()
    redact = _REDACTORS.get(name)
    if redact is None and len(words) > 1 and isinstance(words[1], str):
        redact = _REDACTORS.get(f"{name} {words[1].upper()}")
    return redact(words, secret) if redact is not None else words


def _auth(words: list[Any], secret: _Replace) -> list[Any]:
    return [*words[:-1], secret(words[-1])] if len(words) > 1 else words


def _after_auth(words: list[Any], secret: _Replace) -> list[Any]:
    """``HELLO 3 AUTH user password``, ``MIGRATE … AUTH password`` and ``MIGRATE … AUTH2 user password``."""
    redacted = list(words)
    for index, word in enumerate(words):
        following = {"AUTH": 1 if words[0].upper() == "MIGRATE" else 2, "AUTH2": 2}.get(_upper(word))
        if following is not None and index + following < len(words):
            redacted[index + following] = secret(words[index + following])
    return redacted


def _settings(names: frozenset[str]) -> _Redact:
    """``CONFIG SET name value …`` and the like: the word behind a secret name."""

    def redact(words: list[Any], secret: _Replace) -> list[Any]:
        return [
            secret(word) if index > 2 and _upper(words[index - 1]).lower() in names else word
            for index, word in enumerate(words)
        ]

    return redact


def _acl_rules(words: list[Any], secret: _Replace) -> list[Any]:
    return [
        word[0] + secret(word[1:]) if index > 2 and isinstance(word, str) and word.startswith(_ACL_SECRETS) else word
        for index, word in enumerate(words)
    ]


_REDACTORS: Final[dict[str, _Redact]] = {
    "AUTH": _auth,
    "HELLO": _after_auth,
    "MIGRATE": _after_auth,
    "CONFIG SET": _settings(_SECRET_SETTINGS),
    "SENTINEL SET": _settings(_SECRET_SENTINEL),
    "SENTINEL CONFIG": _settings(_SECRET_SENTINEL),
    "ACL SETUSER": _acl_rules,
}


def _redacted_replies(commands: Sequence[list[Any]], replies: list[Any], secret: _Replace) -> list[Any]:
    """The replies to commands, without the passwords that some of them ask for. The same object where none does."""
    for words in commands:
        if words and _upper(words[0]) in _TELLING:
            break
    else:
        return replies
    known = len(commands)
    return [
        _redacted_reply(commands, index, reply, secret) if index < known else reply
        for index, reply in enumerate(replies)
    ]


def _redacted_reply(commands: Sequence[list[Any]], index: int, reply: Any, secret: _Replace) -> Any:
    words = commands[index]
    if len(words) == 1 and _upper(words[0]) == "EXEC" and isinstance(reply, list):
        queued = commands[1:-1] if len(commands) > 1 and commands[0] == ["MULTI"] else ()
        if len(queued) != len(reply):
            # What was queued was sent earlier, one by one: look everywhere.
            return [_password_hashes(_secret_settings(item, secret), secret) for item in reply]
        return [_redacted_reply(queued, number, item, secret) for number, item in enumerate(reply)]
    redact = _REPLY_REDACTORS.get(" ".join(map(_upper, words[:2])))
    return redact(reply, secret) if redact is not None else reply


def _secret_settings(reply: Any, secret: _Replace) -> Any:
    if isinstance(reply, dict):
        return {
            name: secret(value) if _upper(name).lower() in _SECRET_SETTINGS and value else value
            for name, value in reply.items()
        }
    if isinstance(reply, list):
        return [
            secret(item) if index % 2 and item and _upper(reply[index - 1]).lower() in _SECRET_SETTINGS else item
            for index, item in enumerate(reply)
        ]
    return reply


def _password_hashes(reply: Any, secret: _Replace) -> Any:
    if isinstance(reply, dict):
        return {name: _password_hashes(value, secret) for name, value in reply.items()}
    if isinstance(reply, list):
        return [_password_hashes(item, secret) for item in reply]
    if isinstance(reply, (str, bytes)):
        space = " " if isinstance(reply, str) else b" "
        return space.join(_without_hash(word, secret) for word in reply.split(space))  # type: ignore[arg-type]
    return reply


def _without_hash(word: Any, secret: _Replace) -> Any:
    digits = word[-_HASH_LENGTH:]
    if len(word) not in (_HASH_LENGTH, _HASH_LENGTH + 1) or not digits.isalnum():
        return word
    return word[: len(word) - _HASH_LENGTH] + secret(digits)


def _generated(reply: Any, secret: _Replace) -> Any:
    return secret(reply) if isinstance(reply, (str, bytes)) else reply


def _like(secret: Any) -> Any:
    return REDACTED.encode() if isinstance(secret, bytes) else REDACTED


_REPLY_REDACTORS: Final[dict[str, Callable[[Any, _Replace], Any]]] = {
    "CONFIG GET": _secret_settings,
    "ACL GETUSER": _password_hashes,
    "ACL LIST": _password_hashes,
    "ACL GENPASS": _generated,
}
_TELLING: Final = frozenset({"CONFIG", "ACL", "EXEC"})


_WITH_SECRETS: Final = _TELLING.union(name.partition(" ")[0] for name in (*_REDACTORS, *_SCRIPTS))
"""What commands begin with that may have secrets in their words or in their replies, or code."""


def _is_plain(verb: Any) -> bool:
    """Whether nothing is secret by its place in a command of this name, as in nearly all."""
    return type(verb) is str and verb.upper() not in _WITH_SECRETS and " " not in verb


def _upper(word: Any) -> str:
    if type(word) is str:
        return word.upper()
    if isinstance(word, bytes):
        word = word.decode("latin-1")
    return str(word).upper() if isinstance(word, str) else ""
