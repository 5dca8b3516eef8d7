"""Seams of a module go in all together or not at all, and what stands in their place goes when they come back."""

from __future__ import annotations

import importlib
import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import requests

import timetracer_otel
from tests.examples import sampled
from tests.seams.program import Http, Server, arrived
from tests.unplugged import unplugged
from timetracer_otel.base import faults
from timetracer_otel.base.patching import Patch, SeamFailure, Seams
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.exceptions import NetworkBlockedError, ReplayFailedError, ReplayMismatchError
from timetracer_otel.guard import network_guard
from timetracer_otel.plugins import (
    aiohttp_plugin,
    function_plugin,
    httpx_plugin,
    redis_plugin,
    requests_plugin,
    sqlalchemy_plugin,
)

PLUGINS = {
    "httpx": httpx_plugin.plugin,
    "requests": requests_plugin.plugin,
    "aiohttp": aiohttp_plugin.plugin,
    "redis": redis_plugin.plugin,
    "sqlalchemy": sqlalchemy_plugin.plugin,
}


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(faults, "_warned", set())


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = Server(Http)
    yield f"http://{server.address}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A library with two functions."""
    module = ModuleType("seams_library")
    exec("def first():\n    return 'first'\n\ndef second():\n    return 'second'\n", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


NEXT_STEP = "install a release of seams_library that this timetracer-otel supports, or a newer timetracer-otel."


class _Failing(Patch):
    """A patch that fails when it has come half of its way."""

    def apply(self) -> None:
        super().apply()
        raise RuntimeError("half-way")


class _Refusing(Patch):
    def __init__(self, module: ModuleType) -> None:
        super().__init__(module, "first", lambda _: lambda: "refused")


def _shouting(original: Callable[[], str]) -> Callable[[], str]:
    return lambda: original().upper()


def test_a_patch_that_fails_half_way_leaves_none_in_place(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    before = dict(vars(library))
    seams = Seams(
        "some",
        [library.__name__],
        lambda module: [Patch(module, "first", _shouting), _Failing(module, "second", _shouting)],
    )
    with caplog.at_level(logging.WARNING):
        seams.install()
        seams.install()
    assert dict(vars(library)) == before
    (failure,) = seams.failures
    assert failure == SeamFailure(
        library="some",
        module="seams_library",
        versions=(),
        missing=(),
        error="RuntimeError: half-way",
        next_step=NEXT_STEP,
    )
    (said,) = caplog.messages
    assert said == (
        "timetracer-otel: calls of some cannot be seen with seams_library (no version known): patching raised "
        f"RuntimeError: half-way. Nothing was changed; the app goes on. What to do: {NEXT_STEP}"
    )
    assert not any(record.exc_info for record in caplog.records)
    seams.remove()
    assert seams.failures == ()
    assert dict(vars(library)) == before


def test_no_patch_is_made_where_the_check_finds_a_name_missing(library: ModuleType) -> None:
    made: list[str] = []

    def patches(module: ModuleType) -> list[Patch]:
        made.append(module.__name__)
        return [Patch(module, "first", _shouting)]

    missing = ["seams_library:third"]
    seams = Seams("some", [library.__name__], patches, check=lambda _: missing)
    seams.install()
    assert (made, library.first()) == ([], "first")
    missing.clear()
    seams.install()
    assert (made, library.first(), seams.failures) == ([library.__name__], "FIRST", ())
    missing.append("seams_library:third")
    seams.install()
    assert library.first() == "FIRST", "seams that are in place are not asked for again"
    seams.remove()
    assert library.first() == "first"


def test_the_failure_of_a_check_is_a_failure_of_the_seams(library: ModuleType) -> None:
    def check(_: ModuleType) -> list[str]:
        raise ImportError("a name is gone")

    seams = Seams("some", [library.__name__], lambda module: [Patch(module, "first", _shouting)], check=check)
    seams.install()
    assert library.first() == "first"
    assert seams.failures[0].error == "ImportError: a name is gone"
    seams.remove()


@pytest.mark.parametrize("broken", ["_needed", "_install_in", "_undo", "_put_in", "_apply"])
def test_a_fault_at_an_import_does_not_reach_the_app_and_calls_are_refused(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"seams_imported_with_broken{broken}"
    (tmp_path / f"{name}.py").write_text("def first():\n    return 'first'\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    seams = Seams(
        "some",
        [name],
        lambda module: [Patch(module, "first", _shouting)],
        instead=lambda module, _: [_Refusing(module)],
    )

    def fault(*_: Any) -> Any:
        raise RuntimeError("a fault of ours")

    seams.listen()
    if broken != "_needed":
        seams.install()
    try:
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(seams, broken, fault)
            library = importlib.import_module(name)
        (failure,) = seams.failures
        assert (failure.module, failure.error) == (name, "RuntimeError: a fault of ours")
        assert "patching raised RuntimeError: a fault of ours" in caplog.text
        assert library.first() == "refused"
        seams.install()
        assert library.first() == "refused", "they would fail again"
        seams.remove()
        assert (library.first(), seams.failures) == ("first", ())
        seams.install()
        assert library.first() == "FIRST"
    finally:
        seams.remove()
        sys.modules.pop(name, None)


def test_what_refuses_stays_in_where_a_fault_keeps_it_from_being_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "seams_imported_twice"
    (tmp_path / f"{name}.py").write_text("def first():\n    return 'first'\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found: list[list[str]] = [["third"]]

    def check(_: ModuleType) -> list[str]:
        # The second time, it has nothing to give.
        return found.pop()

    seams = Seams("some", [name], lambda _: [], check=check, instead=lambda module, _: [_Refusing(module)])
    seams.install()
    library = importlib.import_module(name)
    try:
        assert library.first() == "refused"
        before = faults.fault_counts().get("some.install", 0)
        seams._imported(library)
        assert library.first() == "refused"
        assert faults.fault_counts()["some.install"] == before + 1
        seams.remove()
        assert library.first() == "first"
    finally:
        seams.remove()
        sys.modules.pop(name, None)


def _snapshot(plugin: LibraryPlugin) -> dict[tuple[str, str], Any]:
    """Every attribute of every class of the library that is loaded, and the code of its functions."""
    found: dict[tuple[str, str], Any] = {}
    packages = {module.partition(".")[0] for module in plugin.modules}
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] in packages]:
        for cls in [item for item in vars(module).values() if isinstance(item, type)]:
            for name, item in list(vars(cls).items()):
                if callable(item) or isinstance(item, (property, staticmethod, classmethod)):
                    found[f"{cls.__module__}.{cls.__qualname__}", name] = (item, getattr(item, "__code__", None))
    return found


@pytest.mark.sweep
@pytest.mark.parametrize("name", PLUGINS)
def test_wherever_a_plugin_fails_none_of_its_patches_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = PLUGINS[name]
    for module in plugin.modules:
        importlib.import_module(module)
    plugin.enable()
    plugin.disable()
    before = _snapshot(plugin)
    # What stands in the place of the seams is not what is looked at here.
    monkeypatch.setattr(plugin._seams, "_instead", None)
    patches = _count_of_patches(plugin)
    assert patches > 1
    for fails_at in sampled(range(1, patches + 1), 6):
        assert _enabled_with_failure(plugin, fails_at)
        assert _snapshot(plugin) == before
    assert not _enabled_with_failure(plugin, patches + 1)
    assert _snapshot(plugin) == before


def _count_of_patches(plugin: LibraryPlugin) -> int:
    applied = itertools.count()
    apply = Patch.apply

    def counted(self: Patch) -> None:
        apply(self)
        next(applied)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Patch, "apply", counted)
        plugin.enable()
    plugin.disable()
    return next(applied)


def _enabled_with_failure(plugin: LibraryPlugin, fails_at: int) -> bool:
    """Enable it while the given one of its patches fails, then disable it; whether there are that many."""
    patched = itertools.count(1)
    apply = Patch.apply

    def failing(self: Patch) -> None:
        apply(self)
        if next(patched) == fails_at:
            raise RuntimeError("half-way")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Patch, "apply", failing)
        plugin.enable()
    failures = plugin.failures
    if failures:
        assert [failure.error for failure in failures] == ["RuntimeError: half-way"]
        assert plugin._seams._installed[failures[0].module] == []
    plugin.disable()
    return bool(failures)


def _cassette(path: Path, call: Callable[[], Any]) -> Path:
    with timetracer_otel.record(path):
        call()
    return path


def test_a_library_has_its_seams_again_when_the_fault_is_gone(
    tmp_path: Path, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> str:
        with httpx.Client(trust_env=False) as client:
            return client.get(upstream).text

    cassette = _cassette(tmp_path / "whole.msgpack", call)
    plain = httpx.HTTPTransport.handle_request
    httpx_plugin.plugin.enable()
    try:
        with monkeypatch.context() as patch:
            httpx_plugin.plugin.disable()
            patch.delattr(httpx, "AsyncHTTPTransport")
            httpx_plugin.plugin.enable()
            assert [failure.missing for failure in httpx_plugin.plugin.failures] == [
                ("httpx:AsyncHTTPTransport.handle_async_request",)
            ]
            with timetracer_otel.replay(cassette, fail_on_miss=False) as session, pytest.raises(ReplayMismatchError):
                call()
            assert not session.verdict().ok
        httpx_plugin.plugin.enable()
        assert httpx_plugin.plugin.failures == ()
        with timetracer_otel.replay(cassette) as session:
            call()
        assert str(session.verdict()) == "1 hit, 0 missed, 0 unused, 0 live"
    finally:
        httpx_plugin.plugin.disable()
    assert httpx.HTTPTransport.handle_request is plain


def test_where_there_is_no_entry_point_a_replay_refuses_connections(
    tmp_path: Path, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> str:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(upstream).text

    cassette = _cassette(tmp_path / "whole.msgpack", call)
    before = len(arrived)
    monkeypatch.setattr(requests_plugin.plugin, "entry_points", {"requests": [["requests:Session.gone"]]})
    monkeypatch.delattr(requests.adapters, "BaseAdapter")
    with (
        unplugged("urllib3"),
        pytest.raises(ReplayFailedError),
        timetracer_otel.replay(cassette) as session,
        pytest.raises(NetworkBlockedError) as refused,
    ):
        call()
    assert "calls of requests cannot be seen with requests" in str(refused.value)
    assert "requests.adapters:BaseAdapter not found" in str(refused.value)
    assert len(arrived) == before
    assert not session.verdict().ok
    assert not network_guard.guarded, "nothing is refused after the replay"
    with timetracer_otel.record(tmp_path / "nothing.msgpack"):
        assert call() == call()
    with timetracer_otel.replay(cassette, fail_on_miss=False, live_plugins=["requests", "urllib3"]) as session:
        call()
    assert session.verdict().ok


def test_other_libraries_are_answered_while_one_is_refused(
    tmp_path: Path, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> str:
        with httpx.Client(trust_env=False) as client:
            return client.get(upstream).text

    cassette = _cassette(tmp_path / "whole.msgpack", call)
    monkeypatch.delattr(requests.adapters, "BaseAdapter")
    with timetracer_otel.replay(cassette) as session:
        call()
    assert str(session.verdict()) == "1 hit, 0 missed, 0 unused, 0 live"


def test_a_function_plugin_refuses_in_a_replay_where_one_of_its_targets_is_gone(
    tmp_path: Path, library: ModuleType
) -> None:
    plugin = function_plugin("seams_library", ["seams_library:first", "seams_library:third"])
    with timetracer_otel.record(tmp_path / "nothing.msgpack"):
        assert library.first() == "first"
    with timetracer_otel.replay(tmp_path / "nothing.msgpack", fail_on_miss=False) as session:
        with pytest.raises(ReplayMismatchError, match="seams_library:third not found"):
            library.first()
        assert plugin.failures[0].missing == ("seams_library:third",)
    assert not session.verdict().ok
    assert library.first() == "first"
