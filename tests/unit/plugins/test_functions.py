"""`function_plugin`: what the app sees bare, recorded and replayed is the same, for every kind of function."""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from timetracer_otel import ConfigurationError, PluginNotFoundError, ReplayMismatchError, record, replay
from timetracer_otel.base import plugin_names
from timetracer_otel.calls import functions, registry
from timetracer_otel.plugins import function_plugin
from timetracer_otel.session import ReplaySession

SOURCE = """
class Refused(Exception):
    def __init__(self, who, code=3):
        super().__init__(who, code)
        self.code = code

made = []

def plain(n, *, twice=False):
    made.append("plain")
    return {"n": n, "list": [n, (n, None)], "twice": twice, "made": len(made)}

async def awaited(n):
    made.append("awaited")
    return n + 1

def refuses(n):
    made.append("refuses")
    raise Refused("them")

def changes(items):
    made.append("changes")
    items.append("changed by the call")
    return items

class Point:
    def __init__(self, x):
        self.x = x

class Client:
    def __init__(self, base):
        self.base = base

    def method(self, n):
        made.append("method")
        return self.base + n

    @staticmethod
    def static(n):
        made.append("static")
        return n * 2

    @classmethod
    def of_class(cls, n):
        made.append("of_class")
        return [cls.__name__, n]

    async def async_method(self, n):
        made.append("async_method")
        return self.base * n

    def point(self):
        made.append("point")
        return Point(self.base)
"""


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module: Any = types.ModuleType("timetracer_test_bank")
    exec(SOURCE, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    before = dict(module.__dict__), dict(module.Client.__dict__)
    yield module
    assert (dict(module.__dict__), dict(module.Client.__dict__)) == before, "the library is as it was"


TARGETS = [
    f"timetracer_test_bank:{name}"
    for name in (
        "plain",
        "awaited",
        "refuses",
        "changes",
        "Client.method",
        "Client.static",
        "Client.of_class",
        "Client.async_method",
    )
]


def use(bank: Any) -> list[Any]:
    client = bank.Client(10)
    seen = [bank.plain(1), bank.plain(2, twice=True), bank.plain(1), asyncio.run(bank.awaited(4))]
    seen += [client.method(5), client.static(6), bank.Client.static(7), bank.Client.of_class(8), client.of_class(9)]
    seen += [asyncio.run(client.async_method(3)), bank.changes(["mine"])]
    with pytest.raises(bank.Refused) as caught:
        bank.refuses(1)
    return [*seen, type(caught.value), caught.value.args, caught.value.code]


def test_every_kind_of_function(library: Any, tmp_path: Path) -> None:
    function_plugin("bank", TARGETS)
    bare = use(library)
    library.made.clear()
    with record(tmp_path / "x.msgpack") as recorded:
        assert use(library) == bare
    assert len(recorded.events) == len(library.made) == 12
    library.made.clear()
    with replay(tmp_path / "x.msgpack", fail_on_unused=True):
        assert use(library) == bare
    assert library.made == []


def test_a_function_says_what_it_takes_as_before(library: Any, tmp_path: Path) -> None:
    def signatures() -> list[str]:
        functions = [library.plain, library.awaited, library.Client(1).method, library.Client.static]
        return [str(inspect.signature(function)) for function in [*functions, library.Client.of_class]]

    function_plugin("bank", TARGETS)
    bare = signatures()
    assert bare[0] == "(n, *, twice=False)"
    with record(tmp_path / "x.msgpack"):
        assert signatures() == bare


@pytest.mark.parametrize("live", ["bank", "custom"])
def test_it_may_stay_live(library: Any, tmp_path: Path, live: str) -> None:
    function_plugin("bank", TARGETS)
    with record(tmp_path / "x.msgpack"):
        use(library)
    library.made.clear()
    with replay(tmp_path / "x.msgpack", live_plugins=[live]) as session:
        use(library)
    assert isinstance(session, ReplaySession)
    assert (len(library.made), dict(session.live_calls)) == (12, {"bank": 12})


def test_what_counts_is_what_describe_says(library: Any, tmp_path: Path) -> None:
    function_plugin("bank", TARGETS[:1], describe=lambda args, kwargs: {"n": args[0]})
    with record(tmp_path / "x.msgpack"):
        live = library.plain(1)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False):
        assert library.plain(1, twice=True) == live
        with pytest.raises(ReplayMismatchError) as caught:
            library.plain(2)
    assert str(caught.value).splitlines()[0] == "No recorded call matches: bank plain"


def test_results_are_packed_and_unpacked(library: Any, tmp_path: Path) -> None:
    function_plugin(
        "bank", ["timetracer_test_bank:Client.point"], pack=lambda point: point.x, unpack=lambda x: library.Point(x)
    )
    with record(tmp_path / "x.msgpack"):
        assert library.Client(4).point().x == 4
    with replay(tmp_path / "x.msgpack"):
        assert library.Client(5).point().x == 4
    assert library.made == ["point"]


def test_a_result_without_encoding_reaches_the_app_and_cannot_be_replayed(library: Any, tmp_path: Path) -> None:
    function_plugin("bank", ["timetracer_test_bank:Client.point"])
    with record(tmp_path / "x.msgpack") as recorded:
        assert type(library.Client(4).point()) is library.Point
    assert "its result has no faithful encoding" in str(recorded.events[0].not_replayable)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError, match="no faithful"):
        library.Client(4).point()


def test_calls_have_spans_where_there_is_a_provider(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr(functions, "has_real_provider", lambda: True)
    function_plugin("bank", TARGETS)
    with record(tmp_path / "x.msgpack"):
        library.plain(1)
    with replay(tmp_path / "x.msgpack"):
        library.plain(1)
    seen = [(span.name, span.kind, dict(span.attributes or {})) for span in kept.get_finished_spans()]
    assert seen == [
        ("bank plain", trace.SpanKind.CLIENT, {}),
        ("bank plain", trace.SpanKind.CLIENT, {"timetracer.replayed": True}),
    ]


def test_an_entry_point_registers_it(library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder: Any = types.ModuleType("timetracer_test_bank_plugin")
    holder.plugin = function_plugin("bank", TARGETS)
    monkeypatch.setitem(sys.modules, holder.__name__, holder)
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_loaded", None)
    entry_point = EntryPoint("bank", "timetracer_test_bank_plugin:plugin", plugin_names.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "installed", lambda: {"bank": entry_point})
    with record(tmp_path / "x.msgpack") as session:
        library.plain(1)
    assert [event.signature.lib for event in session.events] == ["bank"]


def test_by_hand_and_without_a_session(library: Any, tmp_path: Path) -> None:
    plugin = function_plugin("bank", TARGETS)
    original = library.plain
    plugin.enable()
    assert library.plain is not original
    assert library.plain(1)["n"] == 1
    plugin.disable()
    assert library.plain is original
    with pytest.raises(PluginNotFoundError):
        function_plugin("nobody", ["timetracer_test_nowhere:f"]).enable()


@pytest.mark.parametrize("targets", [["bank.f"], [":f"], ["bank:"], []])
def test_targets_of_another_form_are_refused(targets: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"targets: .*'module:function'"):
        function_plugin("x", targets)
