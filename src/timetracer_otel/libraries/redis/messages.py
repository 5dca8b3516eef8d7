"""Messages of Kombu, in which Celery sends its tasks over Redis: what in them says who sent them.

The number of the process with the name of its host (``origin``), and an address for replies that is made of the
process's and the thread's number (``reply_to``): all messages of one thread have the same, and which thread sends
what differs from run to run. Neither is part of what is asked for.

https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["may_have_sender", "without_sender"]

_MARK: Final = '"delivery_tag"'
"""Every message has one."""
_MARK_BYTES: Final = _MARK.encode()
_DIGITS: Final = "[0-9a-f]"
_SENDER: Final = re.compile(
    rf"""
    (?P<name>"origin":\s*)"[a-z]*\d+@[^"\\]*"
    # Kombu makes an UUID of names, which is of version 3 or 5. Whoever chooses an address chooses another form.
    | (?P<address>"reply_to":\s*)"{_DIGITS}{{8}}-{_DIGITS}{{4}}-[35]{_DIGITS}{{3}}-{_DIGITS}{{4}}-{_DIGITS}{{12}}"
    """,
    re.VERBOSE,
)


def without_sender(args: Any) -> Any:
    """The words of a command, or of several, without what the messages in them say of their sender. The same object
    where there is no message.
    """
    return [_without_sender(word) for word in args] if type(args) is list and _has_message(args) else args


def may_have_sender(packed: bytes) -> bool:
    """Whether there may be a message in a command, from the bytes that hold it."""
    return _MARK_BYTES in packed


def _has_message(words: list[Any]) -> bool:
    for word in words:
        kind = type(word)
        if (
            (kind is str and _MARK in word)
            or (kind is list and _has_message(word))
            or (kind is bytes and _MARK_BYTES in word)
        ):
            return True
    return False


def _without_sender(word: Any) -> Any:
    if type(word) is str:
        return _SENDER.sub(_blank, word) if _MARK in word else word
    if type(word) is bytes:
        return _without_sender(word.decode("latin-1")).encode("latin-1") if _MARK_BYTES in word else word
    return without_sender(word)


def _blank(found: re.Match[str]) -> str:
    return f'{found["name"] or found["address"]}""'
