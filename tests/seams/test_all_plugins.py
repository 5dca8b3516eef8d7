"""What blocks do with all plugins at once: a library has its seams whenever it is imported; others cost nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from timetracer_otel import record
from timetracer_otel.base import plugin_names
from timetracer_otel.base.patching import Patch
from timetracer_otel.calls import registry
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.process.surroundings import Surroundings


@pytest.fixture(autouse=True)
def _registered_here_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_all", None)
    monkeypatch.setattr(plugin_names, "register", lambda *_: None)
    yield
    monkeypatch.undo()
    # The plugins of these tests take no more part in the sessions of others.
    with record():
        pass


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of a library that nobody has imported."""
    name = f"timetracer_test_library_{request.node.name.partition('[')[0]}"
    (tmp_path / f"{name}.py").write_text("def first() -> str:\n    return 'first'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, name, sys)  # so that it is taken out behind the test
    del sys.modules[name]
    return name


def added(library: str, change: Callable[[str], str] = str.upper) -> LibraryPlugin:
    """A plugin of the library, whose seam changes what the function gives."""

    def seam(original: Callable[[], str]) -> Callable[[], str]:
        return lambda: change(original())

    plugin = LibraryPlugin("test_library", "custom", [library], lambda module: [Patch(module, "first", seam)])
    registry.register(plugin)
    return plugin


def test_a_library_that_is_imported_inside_of_a_block_has_its_seams_until_the_last_block_ends(library: str) -> None:
    added(library)
    with record("first.msgpack"):
        pass
    with record("first.msgpack"):
        with record("second.msgpack"):
            first = importlib.import_module(library)
            assert first.first() == "FIRST"
        assert first.first() == "FIRST"
    assert first.first() == "first"
    for _ in range(2):
        with record("first.msgpack"):
            assert first.first() == "FIRST"
        assert first.first() == "first"


def test_a_library_that_is_imported_between_blocks_has_no_seams_before_the_next(library: str) -> None:
    added(library)
    with record("first.msgpack"):
        pass
    module = importlib.import_module(library)
    assert module.first() == "first"
    with record("second.msgpack"):
        assert module.first() == "FIRST"


def test_an_enabled_library_that_is_imported_behind_a_block_has_its_seams(library: str) -> None:
    plugin = added(library)
    plugin.enable()
    with record("first.msgpack"):
        pass
    module = importlib.import_module(library)
    assert module.first() == "FIRST"
    with record("first.msgpack"):
        plugin.disable()
        assert module.first() == "FIRST"
    assert module.first() == "first"


def test_a_library_that_is_imported_and_disabled_inside_of_a_block_has_its_seams_as_long(library: str) -> None:
    plugin = added(library)
    plugin.enable()
    with record("first.msgpack"):
        module = importlib.import_module(library)
        plugin.disable()
        assert module.first() == "FIRST"
    assert module.first() == "first"


def test_a_plugin_that_is_switched_off_inside_of_a_block_awaits_nothing_behind_it(library: str) -> None:
    plugin = added(library)
    plugin.activate()
    with record("first.msgpack"):
        plugin.deactivate()
    assert importlib.import_module(library).first() == "first"


def test_the_seams_of_a_module_that_the_app_takes_out_again_go_with_the_block(library: str) -> None:
    added(library)
    with record("first.msgpack"):
        gone = importlib.import_module(library)
        assert gone.first() == "FIRST"
        del sys.modules[library]
    assert gone.first() == "first"
    again = importlib.import_module(library)
    with record("second.msgpack"):
        assert (gone.first(), again.first()) == ("first", "FIRST")


@pytest.mark.parametrize("imported", ["before", "inside"])
def test_a_plugin_in_whose_place_another_is_registered_takes_no_more_part(library: str, imported: str) -> None:
    added(library)
    if imported == "before":
        importlib.import_module(library)
    with record("first.msgpack"):
        added(library, lambda said: f"{said}, then")
        with record("second.msgpack"):
            assert importlib.import_module(library).first() == "first, then"
    assert importlib.import_module(library).first() == "first"


def test_a_plugin_that_is_no_library_plugin_is_activated_by_each_block() -> None:
    calls: list[str] = []

    class Plugin:
        name = "test_other"

        def activate(self) -> None:
            calls.append("activate")

        def deactivate(self) -> None:
            calls.append("deactivate")

    registry.register(Plugin())
    with record("first.msgpack"), record("second.msgpack"):
        calls.append("both")
    assert calls == ["activate", "activate", "both", "deactivate", "deactivate"]


def test_a_block_costs_nothing_more_for_plugins_whose_libraries_nobody_has_imported(library: str) -> None:
    def calls() -> int:
        with record("first.msgpack") as session:
            pass
        counted = 0

        def count(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal counted
            counted += event == "call"

        sys.setprofile(count)
        try:
            Surroundings(session, False).end()
        finally:
            sys.setprofile(None)
        return counted

    calls()
    before = calls()
    for number in range(200):
        registry.register(LibraryPlugin(f"test_{number}", "custom", [f"{library}_{number}"], lambda module: []))
    calls()
    # A few more or less is what else happens in a process.
    assert calls() < before + 100
