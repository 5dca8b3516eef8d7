"""Where a test has its cassette."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest

__all__ = ["cassette_path"]

_UNSAFE = re.compile(r"[^\w.\-\[\]]+", re.ASCII)
_LONGEST = 100
_modules: pytest.StashKey[Mapping[str, list[Path]]] = pytest.StashKey()


def cassette_path(item: pytest.Item, folder: Path, name: str | None = None) -> Path:
    """The path of a test's cassette, in the folder of its cassettes.

    Without a name: ``<test file>/<class>.<function>[<parameters>].msgpack``; in that of the ini option, which all
    test files have in common, behind ``<folder of the test file>/``. A name is taken as it is; a parametrised test
    adds its parameters, since each set has calls of its own. Characters that some file system forbids become ``_``,
    and a name that was changed, or is long, ends in a hash that tells it from others.

    A cassette of the ini option's folder that was recorded before test files' folders were part of the path goes on
    being used, unless a file of another folder has the same test: nobody knows whose it is then.
    """
    file = _file(item, name)
    common = item.config.getini("timetracer_cassette_dir")
    if name is not None or not common or folder != item.config.rootpath / common:
        return folder / file
    path, older = folder / _module_folder(item) / file, folder / file
    return older if not path.exists() and older.exists() and _is_alone(item) else path


def _file(item: pytest.Item, name: str | None) -> Path:
    parameters = item.name[item.name.index("[") :] if "[" in item.name and hasattr(item, "callspec") else ""
    if name is None:
        function = item.name.removesuffix(parameters) if parameters else item.name
        stem = Path(item.path.stem, _safe(".".join([*_classes(item), function]) + parameters))
    else:
        given = Path(name.removesuffix(".msgpack"))
        stem = given.with_name(given.name + _safe(parameters)) if parameters else given
    return stem.with_name(stem.name + ".msgpack")


def _classes(item: pytest.Item) -> list[str]:
    return [node.name for node in item.listchain() if isinstance(node, pytest.Class)]


def _safe(text: str) -> str:
    safe = _UNSAFE.sub("_", text)
    parameters = safe.partition("[")[2]
    # File systems that keep no case would take two sets of parameters for one.
    if safe == text and len(safe) <= _LONGEST and parameters == parameters.lower():
        return safe
    return f"{safe[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _module_folder(item: pytest.Item) -> Path:
    """The folder of the test file, seen from the root folder; one that is not below it becomes a single name."""
    folder, root = item.path.parent, item.config.rootpath
    if folder.is_relative_to(root):
        return folder.relative_to(root)
    return Path(_safe(Path(os.path.relpath(folder, root)).as_posix()))


def _is_alone(item: pytest.Item) -> bool:
    """Whether no test file of the same name has a test of the same name, be it part of this run or not."""
    # Methods may be inherited from elsewhere, and stand in the text by their class alone.
    named = _classes(item)[:1] or [item.name.partition("[")[0]]
    word = re.compile(rf"\b{re.escape(named[0])}\b")
    others = (path for path in _test_files(item.config).get(item.path.name, ()) if path != item.path)
    return not any(word.search(path.read_text("utf-8", errors="replace")) for path in others)


def _test_files(config: pytest.Config) -> Mapping[str, list[Path]]:
    """Every Python file where pytest looks for tests, by its name."""
    if _modules not in config.stash:
        found: dict[str, list[Path]] = {}
        passed_over = config.getini("norecursedirs")
        for folder, folders, names in os.walk(config.rootpath):
            is_environment = "pyvenv.cfg" in names
            folders[:] = [
                name for name in folders if not is_environment and not any(fnmatch(name, one) for one in passed_over)
            ]
            for name in names if not is_environment else ():
                if name.endswith(".py"):
                    found.setdefault(name, []).append(Path(folder, name))
        config.stash[_modules] = found
    return config.stash[_modules]
