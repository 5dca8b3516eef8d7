"""What an app of this folder is made of: lines, each a small program of its own. It knows nothing of us.

An app is a module with ``LINES``, and maybe ``before`` and ``after``: what it does when it starts, and behind them.
`told` says what a line saw: values with their classes, in their order, and errors with their texts and causes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from tests.contract.observation import class_name, observe_error

__all__ = ["Anew", "Lines", "told"]

Function = TypeVar("Function", bound=Callable[[], Any])
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Anew:
    """A value that a server makes anew in each run: that of the recording is that of the replay.

    Args:
        value: It.
    """

    def __init__(self, value: object) -> None:
        self.value = value


class Lines(dict[str, Callable[[], Any]]):
    """The lines of an app, by name."""

    def add(self, function: Function) -> Function:
        """Decorate a function: it is a line."""
        self[function.__name__] = function
        return function

    def outcome(self, name: str) -> Any:
        """What a line gives or the error that it raises, told."""
        try:
            return told(self[name]())
        except Exception as error:
            return told(error)


def told(value: Any) -> Any:
    """A value as JSON that another process compares: classes stand in it, addresses do not."""
    if isinstance(value, BaseException):
        return told({"raises": observe_error(value)})
    if isinstance(value, Anew):
        return {"anew": told(value.value)}
    if type(value) in {list, tuple}:
        return [class_name(value), *map(told, value)]
    if type(value) in {set, frozenset}:
        return [class_name(value), *sorted(map(told, value), key=repr)]
    if type(value) is dict:
        return [class_name(value), *([told(key), told(item)] for key, item in value.items())]
    return f"{class_name(value)} {_ADDRESS.sub('', repr(value))}"
