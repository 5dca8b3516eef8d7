"""Names of plugins and groups: who belongs where, and what a list of names covers.

No library is named here. A plugin says its name and group when it is made (`register`). Before that, the entry points
of the installed distributions say which names there are, and the one that is asked for is loaded.
"""

# pyright: strict

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING

from timetracer_otel.base import faults

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "ENTRY_POINT_GROUP",
    "GROUPS",
    "group_of",
    "installed",
    "is_captured_now",
    "is_covered_scope",
    "is_wholly_captured",
    "known_names",
    "library_of_scope",
    "mocks",
    "register",
    "unknown_live_names",
    "unknown_names",
]

ENTRY_POINT_GROUP = "timetracer_otel_plugin"
"""The group of entry points by which a distribution offers plugins: a name, and an object with `activate` and
`deactivate`."""

GROUPS = ("http", "db", "nosql", "redis", "rpc", "ws", "messaging", "custom")

_group_by_name: dict[str, str] = {}
_scopes: set[str] = set()
_captured_now: dict[str, Callable[[], bool]] = {}
"""By scope: whether the plugin sees the call whose span begins now."""
_OWN_SCOPES = "timetracer_otel."
"""How the names of our own tracers begin."""


@cache
def installed() -> Mapping[str, EntryPoint]:
    """The plugins that installed distributions offer, by name, not loaded. Looked up once: it takes milliseconds."""
    # Imported here: it costs half of what all of OpenTelemetry's API does, and importing `record` imports this file.
    from importlib.metadata import entry_points

    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}


def register(name: str, group: str, scopes: Collection[str] = (), captures: Callable[[], bool] | None = None) -> None:
    """Say that a plugin belongs to a group; the last word counts.

    Args:
        name: The plugin's name.
        group: Its group.
        scopes: Names of the tracers that make spans for the calls which the plugin captures.
        captures: Whether the plugin sees the call whose span begins now; None where it sees all.
    """
    _group_by_name[name] = group
    _scopes.update(scopes)
    if captures is not None:
        _captured_now.update(dict.fromkeys(scopes, captures))


def is_covered_scope(scope: str | None) -> bool:
    """Whether a plugin captures the calls that a tracer of this name makes spans for."""
    return scope is not None and (scope in _scopes or scope.startswith(_OWN_SCOPES))


def is_wholly_captured(scope: str | None) -> bool:
    """The same, and whether it captures all of them, so that none need be asked for."""
    return is_covered_scope(scope) and scope not in _captured_now


def is_captured_now(scope: str | None) -> bool:
    """Whether a plugin captures the call for which a tracer of this name begins a span now."""
    return is_covered_scope(scope) and (scope not in _captured_now or _captured_now[scope or ""]())


def library_of_scope(scope: str | None) -> str:
    """The library that a tracer's spans are about: ``psycopg2`` of ``opentelemetry.instrumentation.psycopg2``."""
    return (scope or "unknown").rpartition(".")[2]


def group_of(name: str) -> str:
    """The group of a plugin; a group's name and an unknown name stand for themselves.

    A plugin that is installed and was not loaded yet is loaded, since only the plugin knows its group. Example: a
    program asks ``TraceConfig(mock_plugins=["http"]).should_mock_plugin(...)`` before any session begins.
    """
    if name not in _group_by_name and name not in GROUPS and name in installed():
        _load(name)
    return _group_by_name.get(name, name)


def known_names() -> frozenset[str]:
    """Every name that the mock and live lists may hold: of groups, and of plugins, loaded or only installed."""
    return frozenset((*GROUPS, *_group_by_name, *installed()))


def mocks(name: str, mock: Collection[str], live: Collection[str]) -> bool:
    """Whether ``name`` (of a plugin or a group) is mocked: live wins over mock, an empty mock list means all."""
    group = group_of(name)
    if live and (name in live or group in live):
        return False
    return not mock or name in mock or group in mock


def unknown_live_names(names: Collection[str], known: Collection[str]) -> list[tuple[str, str | None]]:
    """As `unknown_names`, for what stays live: packages without a plugin may be named, too."""
    return unknown_names([name for name in names if name in known or not _is_package(name)], known)


def unknown_names(names: Collection[str], known: Collection[str]) -> list[tuple[str, str | None]]:
    """The names that are not known, each with the nearest known one (None where nothing is near)."""
    return [
        (name, next(iter(difflib.get_close_matches(name, known, n=1)), None)) for name in names if name not in known
    ]


def _is_package(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _load(name: str) -> None:
    try:
        installed()[name].load()
    except Exception as error:
        faults.contain(f"plugin {name}", error)
    # A plugin that cannot be loaded, or that says another name of its own, is not loaded again for each call.
    _group_by_name.setdefault(name, name)
