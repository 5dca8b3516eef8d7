"""What an app sees, as plain values that can be compared: values, types, errors with their causes."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import Any

__all__ = ["attempt", "class_name", "differences", "observe_error", "plain"]


def class_name(value: object) -> str:
    """Module and qualified name of a value's class."""
    return f"{type(value).__module__}:{type(value).__qualname__}"


def plain(value: Any) -> Any:
    """A value as something comparable: containers and scalars as they are, errors opened, others by their class."""
    if type(value) in {bool, int, float, str, bytes, type(None)}:
        return value
    if type(value) in {list, tuple}:
        return type(value)(plain(item) for item in value)
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    if type(value) is dt.timedelta:
        return f"a timedelta, {'not ' if value >= dt.timedelta() else ''}negative"
    if isinstance(value, BaseException):
        return observe_error(value, outermost=False)
    return f"<{class_name(value)}>"


def observe_error(error: BaseException, outermost: bool = True) -> dict[str, Any]:
    """Everything about an error that code could look at, but its traceback.

    Args:
        error: The error.
        outermost: False for causes and arguments: the contexts of those are not promised.
    """
    seen: dict[str, Any] = {
        "class": class_name(error),
        "args": plain(error.args),
        "str": str(error),
        "repr": repr(error),
        # A request or a response hangs on the errors of clients: whoever knows the client observes it.
        "attributes": {k: plain(v) for k, v in sorted(vars(error).items()) if k not in {"_request", "response"}},
        "shown below": _shown_below(error) if outermost else None,
    }
    if isinstance(error, OSError):
        seen["os"] = (error.errno, error.strerror, error.filename)
    if isinstance(error, ssl.SSLError):
        seen["ssl"] = tuple(getattr(error, name, None) for name in ("reason", "library", "verify_code"))
    if error.__cause__ is not None:
        seen["cause"] = observe_error(error.__cause__, outermost=False)
    return seen


def _shown_below(error: BaseException) -> str | None:
    """The class of the error that a printed traceback shows in front of this one."""
    below = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return class_name(below) if below is not None else None


def attempt(function: Any) -> Any:
    """What a function returns, or the error that it raises, as plain values."""
    try:
        return plain(function())
    except Exception as error:
        return {"raises": observe_error(error)}


def differences(expected: Any, actual: Any, where: str = "") -> list[str]:
    """Where two observations differ, in value or in type; one line for each place."""
    if type(expected) is not type(actual):
        return [f"{where}: expected {_short(expected)}, got {_short(actual)}"]
    if isinstance(expected, dict):
        found = []
        if list(expected) != list(actual):
            found.append(f"{where}: expected keys {list(expected)}, got {list(actual)}")
        for key in expected:
            if key in actual:
                found += differences(expected[key], actual[key], f"{where}.{key}")
        return found
    if isinstance(expected, (list, tuple)):
        if len(expected) != len(actual):
            return [f"{where}: expected {len(expected)} items {_short(expected)}, got {len(actual)} {_short(actual)}"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for n, (left, right) in pairs for line in differences(left, right, f"{where}[{n}]")]
    # A NaN differs from itself, and is the same answer.
    same = expected == actual or (expected != expected and actual != actual)
    return [] if same else [f"{where}: expected {_short(expected)}, got {_short(actual)}"]


def _short(value: Any) -> str:
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) < 400 else f"{text[:300]} … {text[-80:]} ({len(text)} characters)"
