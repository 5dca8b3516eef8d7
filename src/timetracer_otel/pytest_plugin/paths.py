"""The path of a test's cassette."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest

__all__ = ["path_for_scope", "path_for_test"]

_UNSAFE = re.compile(r"[^\w.\-\[\]]+", re.ASCII)
_LONGEST = 100
_OF_CLASS = "setUpClass"
_modules: pytest.StashKey[Mapping[str, list[Path]]] = pytest.StashKey()


def path_for_test(item: pytest.Item | pytest.Class, folder: Path, name: str | None = None) -> Path:
    """The path of a test's cassette in a folder of cassettes.

    Without a name it is ``<test file>/<class>.<function>[<parameters>].msgpack``. In the folder of the ini option,
    which all test files share, ``<folder of the test file>/`` stands before it. A given name is taken as it is, but a
    parametrised test adds its parameters, since each set of them has its own calls. Characters that some file system
    forbids become ``_``. A name that was changed, or is long, ends in a hash, so that no two tests get the same.

    In the folder of the ini option, a cassette without the test file's folder in its path is used if it is there,
    unless a test file of another folder has a test of the same name: it may belong to that test.

    That of a class, for what is done before its tests, is named ``setUpClass``. A given name gets that behind it.
    """
    file = _file(item, name)
    common = item.config.getini("timetracer_cassette_dir")
    if name is not None or not common or folder != item.config.rootpath / common:
        return folder / file
    path, older = folder / _module_folder(item) / file, folder / file
    return older if not path.exists() and older.exists() and _is_alone(item) else path


def path_for_scope(item: pytest.Item, scope: str, folder: Path, name: str | None) -> Path:
    """The path of the cassette of a test's class, module, package or run, in a folder of cassettes.

    Without a name it is ``<test file>/<class>.msgpack``, ``<test file>.msgpack``, ``package.msgpack`` or
    ``session.msgpack``, in the folder of the ini option below the test file's folder as above. A given name is taken
    as it is.
    """
    if name is not None:
        given = Path(name.removesuffix(".msgpack"))
        return folder / given.with_name(f"{given.name}.msgpack")
    stems = {
        "class": Path(item.path.stem, _safe(".".join(_classes(item)))),
        "module": Path(item.path.stem),
        "package": Path("package"),
        "session": Path("session"),
    }
    common = item.config.getini("timetracer_cassette_dir")
    below = common and folder == item.config.rootpath / common and scope != "session"
    stem = (_module_folder(item) if below else Path()) / stems[scope]
    return folder / stem.with_name(f"{stem.name}.msgpack")


def _file(item: pytest.Item | pytest.Class, name: str | None) -> Path:
    parameters = item.name[item.name.index("[") :] if "[" in item.name and hasattr(item, "callspec") else ""
    if name is None:
        function = item.name.removesuffix(parameters) if parameters else item.name
        if isinstance(item, pytest.Class):
            function = _OF_CLASS
        stem = Path(item.path.stem, _safe(".".join([*_classes(item), function]) + parameters))
    else:
        given = Path(name.removesuffix(".msgpack"))
        if isinstance(item, pytest.Class):
            given = given.with_name(f"{given.name}.{_OF_CLASS}")
        stem = given.with_name(given.name + _safe(parameters)) if parameters else given
    return stem.with_name(stem.name + ".msgpack")


def _classes(item: pytest.Item | pytest.Class) -> list[str]:
    return [node.name for node in item.listchain() if isinstance(node, pytest.Class)]


def _safe(text: str) -> str:
    safe = _UNSAFE.sub("_", text)
    parameters = safe.partition("[")[2]
    # On a file system that ignores case, "[A]" and "[a]" would be one file.
    if safe == text and len(safe) <= _LONGEST and parameters == parameters.lower():
        return safe
    return f"{safe[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _module_folder(item: pytest.Item | pytest.Class) -> Path:
    """The folder of the test file, relative to the root folder. A folder outside of that becomes a single name."""
    folder, root = item.path.parent, item.config.rootpath
    if folder.is_relative_to(root):
        return folder.relative_to(root)
    return Path(_safe(Path(os.path.relpath(folder, root)).as_posix()))


def _is_alone(item: pytest.Item | pytest.Class) -> bool:
    """Whether no other test file of this name has a test of this name, in this run or not."""
    # A method may be inherited, so that only the name of its class stands in the file.
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
