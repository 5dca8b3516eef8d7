"""Names of plugins and groups: who belongs where, and what a list of names covers. Imports nothing of ours."""

from __future__ import annotations

import difflib
from collections.abc import Collection

__all__ = ["GROUPS", "forget", "group_of", "known_names", "mocks", "register", "unknown_names"]

GROUPS = ("http", "db", "redis", "custom")

_BUILT_IN = {"httpx": "http", "requests": "http", "aiohttp": "http", "sqlalchemy": "db", "redis": "redis"}
_group_by_name: dict[str, str] = dict(_BUILT_IN)


def register(name: str, group: str) -> None:
    """Say that a plugin belongs to a group; the last word counts."""
    _group_by_name[name] = group


def forget(name: str) -> None:
    """Undo `register`."""
    _group_by_name.pop(name, None)
    if name in _BUILT_IN:
        _group_by_name[name] = _BUILT_IN[name]


def group_of(name: str) -> str:
    """The group of a plugin; a group's name and an unknown name stand for themselves."""
    return _group_by_name.get(name, name)


def known_names() -> frozenset[str]:
    """Every name that the mock and live lists may hold."""
    return frozenset((*GROUPS, *_group_by_name))


def mocks(name: str, mock: Collection[str], live: Collection[str]) -> bool:
    """Whether ``name`` (of a plugin or a group) is mocked: live wins over mock, an empty mock list means all."""
    group = group_of(name)
    if live and (name in live or group in live):
        return False
    return not mock or name in mock or group in mock


def unknown_names(names: Collection[str], known: Collection[str]) -> list[tuple[str, str | None]]:
    """The names that are not known, each with the nearest known one (None where nothing is near)."""
    return [
        (name, next(iter(difflib.get_close_matches(name, known, n=1)), None)) for name in names if name not in known
    ]
