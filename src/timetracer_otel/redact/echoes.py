"""What a validator says of an input that it refuses: it repeats the input, and names its place beside it.

Pydantic does so, and FastAPI in its answers of status 422: ``{"loc": ["body", "password"], "input": "…"}``. Clients
quote a header's value that no header may have, and do not say which header it was for. It counts as secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["echoes_in_json", "echoes_in_text", "may_echo"]

_VALUE: Final = (
    rb"(?:'(?P<quoted>(?:[^'\\]|\\.)*)'"
    rb"|\"(?P<double>(?:[^\"\\]|\\.)*)\""
    rb"|(?P<bare>[^\s'\"{}\[\](),]+))"
)
"""As Python shows it."""
_SHOWN: Final = (
    re.compile(
        rb"(?:^|\n|\\n)(?P<path>[\w.-]+)(?:\n|\\n)  [^\n]{0,2000}?\[type=\w+, input_value="
        + _VALUE
        + rb", input_type="
    ),
    re.compile(
        rb"['\"]loc['\"]: ?[(\[](?P<path>[^()\[\]]{0,1000})[)\]]"
        rb"(?:(?!['\"]loc['\"]).){0,4000}?['\"]input['\"]: ?" + _VALUE,
        re.DOTALL,
    ),
)
"""``str()`` of an error of Pydantic, and its list of errors."""
_HEADER_VALUE: Final = re.compile(rb"eader value:? b?" + _VALUE)
"""Of h11 (``Illegal header value b'...'``), `http.client` (``Invalid ...``), and requests (``... value: '...'``)."""
_STEP: Final = re.compile(rb"['\"]([^'\"]*)['\"]")


def may_echo(data: bytes) -> bool:
    """Whether the functions of this module are worth their time."""
    return (b"input" in data and (b"input_value=" in data or b"loc" in data)) or b"eader value" in data


def echoes_in_json(data: bytes, is_secret: Callable[[str], bool]) -> Iterator[tuple[str, ...]]:
    """The paths of inputs in a JSON document that were refused at a secret name.

    Args:
        data: The document; one that is damaged has none.
        is_secret: Whether a name of a field, a header or a parameter, in lower case, is secret.
    """
    try:
        yield from _echoes(json.loads(data), (), is_secret)
    except (ValueError, RecursionError):
        return


def _echoes(value: Any, path: tuple[str, ...], is_secret: Callable[[str], bool]) -> Iterator[tuple[str, ...]]:
    if type(value) is dict:
        loc = value.get("loc")
        if type(loc) is list and "input" in value and (name := _last_name(loc)) and is_secret(name):
            yield (*path, "input")
        for key, item in value.items():
            yield from _echoes(item, (*path, key), is_secret)
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from _echoes(item, (*path, str(index)), is_secret)


def _last_name(loc: list[Any]) -> str:
    """The last name of a place. Behind it may be the number of an item."""
    return next((step.lower() for step in reversed(loc) if isinstance(step, str)), "")


def echoes_in_text(data: bytes, is_secret: Callable[[str], bool]) -> list[tuple[int, int]]:
    """The places of inputs in a text of Python that were refused at a secret name."""
    places = []
    for pattern in _SHOWN:
        for found in pattern.finditer(data):
            steps = _STEP.findall(found["path"]) or found["path"].split(b".")
            names = [step.decode("latin-1").lower() for step in steps if not step.isdigit()]
            if names and is_secret(names[-1]):
                places += [found.span(part) for part in ("quoted", "double", "bare") if found[part]]
    for found in _HEADER_VALUE.finditer(data):
        places += [found.span(part) for part in ("quoted", "double") if found[part]]
    return places
