"""Arguments in the form whose bytes are compared.

Equal mappings give equal bytes, whatever their order. Arguments that no cassette can hold have an outline.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

from timetracer_otel.cassette import Unencodable, check, pack, pack_native

__all__ = ["canonical", "outline", "packed_if_plain"]

_TEXT: Final = frozenset({str})
_LISTS: Final = frozenset({list})
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
        given = list(value)
        # Keys of several types have no order of their own, and that of frozensets is no total one.
        keys = sorted(given) if _TEXT.issuperset(map(type, given)) else sorted(given, key=pack)
        if _LEAVES.issuperset(map(type, value.values())):
            return value if keys == given else {key: value[key] for key in keys}
        return {key: item if type(item := value[key]) in _LEAVES else canonical(item) for key in keys}
    if kind is list or kind is tuple:
        if _LEAVES.issuperset(map(type, value)):
            return value
        return kind(map(canonical, value))
    return value


def packed_if_plain(args: Any) -> bytes | None:
    """``pack(canonical(args))``, for arguments as most calls have them: a list or a map of leaves, or of such lists
    and maps. None for any others. It takes a third of the time.
    """
    if type(args) is dict:
        made = {}
        for key in sorted(args) if _TEXT.issuperset(map(type, args)) else ():
            item = args[key]
            kind = type(item)
            if kind is dict:
                if not (_TEXT.issuperset(map(type, item)) and _LEAVES.issuperset(map(type, item.values()))):
                    return None
                keys = sorted(item)
                item = item if keys == list(item) else {name: item[name] for name in keys}
            elif kind not in _LEAVES and not (kind is list and _LEAVES.issuperset(map(type, item))):
                return None
            made[key] = item
        return pack_native(made) if len(made) == len(args) else None
    if type(args) is not list:
        return None
    if not _LEAVES.issuperset(map(type, args)) and not (
        _LISTS.issuperset(map(type, args)) and _LEAVES.issuperset(map(type, chain.from_iterable(args)))
    ):
        return None
    return pack_native(args)


_NO_ENCODING: Final = "timetracer:no-encoding"
_DEEPEST: Final = 50


def outline(value: Any, levels: int = _DEEPEST) -> Any:
    """The value with the type's name in the place of each part that no cassette can hold.

    Two calls that differ in such a part alone have the same outline: an answer that is found by it must not depend on
    that part. An error about the part's type does not.
    """
    kind = type(value)
    if levels and kind is dict:
        return {
            (_NO_ENCODING, _name_of(key)) if _is_strange(key) else key: outline(item, levels - 1)
            for key, item in value.items()
        }
    if levels and (kind is list or kind is tuple):
        return kind(outline(item, levels - 1) for item in value)
    return {_NO_ENCODING: _name_of(value)} if _is_strange(value) else value


def _name_of(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_strange(value: Any) -> bool:
    try:
        check(value)
    except Unencodable:
        return True
    return False
