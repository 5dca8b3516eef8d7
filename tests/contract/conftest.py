"""The fixtures that the contract's classes share."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.children import ROOT
from tests.contract.framework import Contract, Runs, deadline
from tests.servers._upstream import SharedUpstream
from tests.servers.postgres import Postgres
from timetracer_otel.cassette import reader


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a class leaves to another one, unless a test is asked for by name."""
    if any("::" in argument for argument in config.args):
        return
    left: list[pytest.Item] = [
        item
        for item in items
        if isinstance(item, pytest.Function)
        and (shares := getattr(item.cls, "shared_tests", None)) is not None
        and shares.leaves(item.cls, item.originalname)
    ]
    if left:
        set_aside = set(left)
        items[:] = [item for item in items if item not in set_aside]
        config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="package", autouse=True)
def _misses_are_looked_at() -> Iterator[None]:
    """These tests catch the misses that they provoke; the end of a replay raises for none of them again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIMETRACER_FAIL_ON_MISS", "false")
        yield


@pytest.fixture(scope="class", autouse=True)
def _events_are_decoded_in_both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Half of the classes replay as long cassettes do, whose events are decoded when a call is answered."""
    with pytest.MonkeyPatch.context() as patch:
        if zlib.crc32(request.node.nodeid.encode()) % 2:
            patch.setattr(reader, "DECODED_AT_ONCE", 0)
        yield


@pytest.fixture(scope="class")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The runs of a class's cases, of those selected; the servers are stopped behind them."""
    cls: type[Contract] = request.cls
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and item.cls is cls]
    cases: list[Any] = [item.callspec.params["case"] for item in items if hasattr(item, "callspec")]
    chosen = {case.name for case in cases}
    folder = tmp_path_factory.mktemp(cls.flavour.name)
    try:
        cls.flavour.start(folder)
        yield Runs(cls.flavour, [case for case in cls.cases if case.name in chosen], folder, adding=cls.adding)
    finally:
        cls.flavour.disable()
        cls.flavour.tear_down()


@pytest.fixture(scope="class")
def probes(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """The program of a test class; it forks a process for each order, since most of what one costs are imports."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(request.cls.program)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        yield program
    assert program.returncode == 0


@pytest.fixture(scope="session")
def shared_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedUpstream]:
    """Servers that are started once; use `upstream`."""
    upstream = SharedUpstream(tmp_path_factory.mktemp("upstream"))
    yield upstream
    upstream.close()


@pytest.fixture
def upstream(request: pytest.FixtureRequest, shared_upstream: SharedUpstream) -> Iterator[SharedUpstream]:
    """Servers for one test, which may stop them. The flavour of a test class, if it has one, is told of them."""
    shared_upstream.start()
    flavour = getattr(request.cls, "flavour", None)
    if flavour is not None:
        flavour.upstream = shared_upstream
    with deadline(240):
        yield shared_upstream
    if flavour is not None:
        flavour.disable()
        instrumentor = flavour.instrumentor()
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
        assert flavour.is_untouched()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for the tests of one file, which may stop it."""
    server = Postgres()
    yield server
    server.start()
    server.close()
