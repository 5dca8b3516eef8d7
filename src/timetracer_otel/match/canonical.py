"""Arguments in the form whose bytes are compared: equal mappings give equal bytes, whatever their order."""

from __future__ import annotations

from typing import Any, Final

from timetracer_otel.cassette import pack

__all__ = ["canonical"]

_TEXT: Final = frozenset({str})
_LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes})


def canonical(value: Any) -> Any:
    """The value with all its mappings in the order of their keys. What is no mapping keeps its order.

    The order of a mapping often comes from a set, and so from the hash seed of the process. Example: SQLAlchemy puts
    the parameters of an INSERT with several rows together in the order of a set.

    Raises:
        Unencodable: A key has no encoding.
    """
    kind = type(value)
    if kind is dict:
        if len(value) > 1:
            # Keys of several types have no order of their own, and that of frozensets is no total one.
            keys = sorted(value) if _TEXT.issuperset(map(type, value)) else sorted(value, key=pack)
            return {key: canonical(value[key]) for key in keys}
        return {key: canonical(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        if _LEAVES.issuperset(map(type, value)):
            return value
        return kind(map(canonical, value))
    return value
