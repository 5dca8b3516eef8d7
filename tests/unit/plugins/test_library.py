"""A plugin of a library: what happens around its seams."""

from __future__ import annotations

import json
import logging
import sys
from types import ModuleType
from typing import Any

import pytest

from timetracer_otel.base import plugin_names
from timetracer_otel.calls import library
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.exceptions import PluginNotFoundError


class Broken:
    """An instrumentor whose library lacks a part (SQLAlchemy 2.1 without greenlet)."""

    is_instrumented_by_opentelemetry = False
    asked = 0

    def instrumentation_dependencies(self) -> list[str]:
        return ["json >= 1"]

    def instrument(self, **kwargs: Any) -> None:
        type(self).asked += 1
        raise ImportError("the library lacks a part\nand more")


def test_an_instrumentor_that_does_not_come_up_costs_its_spans_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = ModuleType("broken_instrumentor")
    module.Broken = Broken  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "broken_instrumentor", module)
    monkeypatch.setattr(library, "has_real_provider", lambda: True)
    monkeypatch.setattr(plugin_names, "register", lambda *_: None)
    plugin = LibraryPlugin("json", "custom", [json.__name__], lambda _: [], ["broken_instrumentor:Broken"])
    with caplog.at_level(logging.WARNING):
        plugin.enable()
        plugin.enable()
    plugin.disable()
    (said,) = caplog.messages
    assert said == (
        "timetracer-otel: broken_instrumentor:Broken cannot be switched on: the library lacks a part. "
        "Calls are recorded and replayed all the same; spans of theirs may be missing."
    )
    assert Broken.asked == 1, "what it did before it failed was done again"


@pytest.mark.parametrize("module", ["nobody_has_it", "nobody_has_it.driver"])
def test_a_library_that_is_not_installed_is_said(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_names, "register", lambda *_: None)
    plugin = LibraryPlugin("nobody", "custom", [module], lambda _: [])
    with pytest.raises(PluginNotFoundError, match="nobody"):
        plugin.enable()
