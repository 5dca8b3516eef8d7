"""Files of VCR.py as plain data, and back. A file is a stranger's: no tag of YAML makes an object of Python."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

__all__ = ["dumped", "loaded"]

_BASE: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_MOST_LEVELS: Final = 500
"""PyYAML builds its nodes by recursion in C: before 6.0.4, a file that nests deeply enough ends the process."""


class _Loader(_BASE):  # type: ignore[misc]
    """A safe loader that reads the tags by which VCR.py wrote bodies that were files or iterators, as their bytes."""


def _text(loader: Any, node: Any) -> Any:
    return loader.construct_scalar(node)


def _items(loader: Any, node: Any) -> Any:
    return loader.construct_sequence(node, deep=True)


def _buffer(loader: Any, node: Any) -> Any:
    state = loader.construct_mapping(node, deep=True).get("state") or (b"",)
    return state[0]


def _iterator(loader: Any, node: Any) -> Any:
    args: Any = loader.construct_mapping(node, deep=True).get("args") or ([],)
    return args[0]


_PYTHON: Final = "tag:yaml.org,2002:python/"
for _tag, _constructor in (
    ("str", _text),
    ("unicode", _text),
    ("tuple", _items),
    ("object/new:_io.BytesIO", _buffer),
    ("object/apply:builtins.iter", _iterator),
):
    _Loader.add_constructor(_PYTHON + _tag, _constructor)


def loaded(data: bytes) -> Any:
    """The content of a file.

    Raises:
        ValueError: It is neither JSON nor YAML, or nested too deeply, or YAML with tags that stand for other objects
            of Python.
    """
    try:
        return json.loads(data)
    except ValueError:
        pass  # YAML, then.
    except RecursionError as fault:
        raise ValueError("it is nested too deeply") from fault
    try:
        _check_levels(data)
        return yaml.load(data, Loader=_Loader)  # noqa: S506 # nosec B506 - a subclass of the safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise ValueError(" ".join(str(fault).split())) from fault


def _check_levels(data: bytes) -> None:
    """Pass over the events of a file, which nest in nothing. It takes a sixth of the time of reading it."""
    levels = 0
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            levels += 1
            if levels > _MOST_LEVELS:
                raise ValueError("it is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            levels -= 1


def dumped(content: Any) -> bytes:
    """YAML, with the keys in their order."""
    made: bytes = yaml.dump(content, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, encoding="utf-8")
    return made
