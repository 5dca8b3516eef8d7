"""Every private name of a library that the code of its plugin uses stands in the one table of that library.

What is read are the files themselves. A name counts as the library's own where no file of the plugin defines it, or
where the table has it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from timetracer_otel.plugins import aiohttp_plugin, httpx_plugin, redis_plugin, requests_plugin, sqlalchemy_plugin

LIBRARIES = Path(__file__).parents[3] / "src/timetracer_otel/libraries"
TABLES = {
    "httpx": "httpx.internals",
    "requests": "requests.private_names",
    "aiohttp": "aiohttp.private_names",
    "redis": "redis.internals",
    "sqlalchemy": "sqlalchemy.internals",
}
FOLDERS = {"sqlalchemy": ("sqlalchemy", "kits/dbapi", "kits/dbapi/drivers")}
"""Where code for a library stands, if not in its own folder alone."""
PROMISED = {"_asdict", "_fields", "_make", "_replace"}
"""Of named tuples, which Python's manual tells of."""
NOT_NAMES = {
    "httpx": {"_util"},  # the module that h11's errors say to come from, where a replay finds them again
    "sqlalchemy": {
        *("_async", "_cursor", "_ss_cursor"),  # ends of the names of drivers and classes
        "_sa_",  # the beginning of a name in SQL
        "_self_bind",  # of our cursors, which are wrapt's proxies, as is the next
        "_self_executemany_by",
        "_diag",  # a slot of a class of ours
    },
}


def _private(name: str) -> bool:
    return bool(re.fullmatch(r"_[A-Za-z]\w*", name))


def _written(tree: ast.AST) -> Iterator[str]:
    """The private names in a file that may be a library's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"[A-Za-z_][\w.]*", node.value):
                yield from node.value.split(".")
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("timetracer_otel"):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)


def _defined(tree: ast.AST) -> Iterator[str]:
    """The names that a file defines: of functions, classes, variables, and attributes of its own objects."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                yield node.attr
        elif isinstance(node, ast.Assign) and any(
            isinstance(to, ast.Name) and to.id == "__slots__" for to in node.targets
        ):
            yield from (part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant))  # type: ignore[misc]


def _foreign(sources: Iterable[str]) -> set[str]:
    trees = [ast.parse(source) for source in sources]
    written = {name for tree in trees for name in _written(tree) if _private(name)}
    marks_of_ours = {name for name in written if name.startswith("_timetracer_")}
    return written - {name for tree in trees for name in _defined(tree)} - marks_of_ours - PROMISED


def _table(library: str) -> set[str]:
    """The parts of all names in the table of a library."""
    table = import_module(f"timetracer_otel.libraries.{TABLES[library]}")
    needed: tuple[str, ...] | Mapping[str, tuple[str, ...]] = table.RELIED_UPON
    names = [name for of in needed.values() for name in of] if isinstance(needed, Mapping) else list(needed)
    return {part for name in [*names, *table.NOT_IN_ALL] for part in re.split(r"[:.() ]", name)}


@pytest.mark.parametrize("library", TABLES)
def test_each_private_name_of_a_library_stands_in_its_table(library: str) -> None:
    folders = FOLDERS.get(library, (library,))
    files = [file for folder in folders for file in sorted((LIBRARIES / folder).glob("*.py"))]
    foreign = _foreign(file.read_text() for file in files) - NOT_NAMES.get(library, set())
    assert sorted(foreign - _table(library)) == [], (
        "add them to RELIED_UPON, or to NOT_IN_ALL with what is done without them"
    )


@pytest.mark.parametrize(
    "line",
    [
        "connection._hidden",
        "getattr(connection, '_hidden', None)",
        "from library import _hidden",
        "from library._hidden import name",
        "import_module('library._hidden')",
        "class Ours(Theirs):\n    def method(self):\n        return self._hidden",
    ],
)
def test_a_private_name_is_seen_however_it_is_written(line: str) -> None:
    assert _foreign([line, "class Other:\n    def __init__(self):\n        self._own = self._own"]) == {"_hidden"}


PLUGINS = (httpx_plugin, requests_plugin, aiohttp_plugin, redis_plugin, sqlalchemy_plugin)
KNOWN = {package: releases for module in PLUGINS for package, releases in module.plugin.knows.items()}


@pytest.mark.parametrize("package", sorted(KNOWN.keys() - {"Python"}))
def test_the_releases_that_a_plugin_says_to_know_are_those_of_the_tests(package: str) -> None:
    first, _, last = KNOWN[package].partition(" to ")
    installed = _numbers(version({"psycopg2": "psycopg2-binary"}.get(package, package)))
    assert _numbers(first) <= installed, "a lower bound of pyproject.toml has changed"
    assert installed[: len(_numbers(last or first))] <= _numbers(last or first), (
        "the plugin runs with a newer release"
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.match(r"[\d.]+", text)[0].rstrip(".").split("."))  # type: ignore[index]
