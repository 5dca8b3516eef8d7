"""Whether a name that a plugin relies upon is there, in each form in which a plugin states one."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from timetracer_otel.calls.relied_upon import missing_names

SOURCE = """
class Base:
    def __init__(self):
        self._given = 1

class Client(Base):
    __slots__ = ("_slot",)
    constant = 1

    @property
    def computed(self):
        return self._read_by_a_property

    def call(self, url, *, timeout=None):
        def inner(local):
            return local

    def anything(self, **keywords):
        pass
"""


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("relied_upon_library")
    exec(SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize(
    "path",
    [
        *("Client", "Client.constant", "Client._slot", "Client._given", "Client.computed"),
        *("Client._read_by_a_property", "Client.call(timeout)", "Client.anything(whatever)"),
    ],
)
def test_what_is_there_is_not_missing(path: str) -> None:
    assert missing_names(["relied_upon_library", f"relied_upon_library:{path}"]) == []


@pytest.mark.parametrize(
    "name",
    [
        *("no_such_library", "relied_upon_library:Server", "relied_upon_library:Server.call"),
        *("relied_upon_library:Client.gone", "relied_upon_library:Client.local"),
        *("relied_upon_library:Client.call(gone)", "relied_upon_library:Client.gone(url)"),
    ],
)
def test_what_is_not_there_is_missing(name: str) -> None:
    assert missing_names(["relied_upon_library:Client", name, name]) == [name, name]


def test_a_name_is_looked_for_again_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    name, other = "relied_upon_library:Client._given", "relied_upon_library:Client.constant"
    library = sys.modules["relied_upon_library"]
    assert missing_names([name, other]) == []
    init = library.Base.__init__
    monkeypatch.setattr(library.Base, "__init__", lambda self: None)
    monkeypatch.delattr(library.Client, "constant")
    assert missing_names([name, other]) == [name, other]
    monkeypatch.setattr(library.Client, "begin", init, raising=False)
    assert missing_names([name, other]) == [other]
    module = ModuleType("relied_upon_library")
    exec(SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert missing_names([name, other]) == []
