"""Tests with ``pytest.mark.vcr`` run unchanged, on timetracer-otel: a plugin of pytest in place of pytest-recording.

    # conftest.py of the root folder
    pytest_plugins = ["timetracer_otel_exporter_vcr.pytest_shim"]

It has the fixtures of pytest-recording that test suites override: ``vcr_config``, ``vcr_cassette_dir``,
``default_cassette_name``, ``record_mode`` and ``disable_recording``. A test that has a cassette of VCR.py is replayed
from that. What is recorded anew is a cassette of ours beside it (``.msgpack``), which is then used in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from timetracer_otel.audit import redacted
from timetracer_otel.cassette import save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import CassetteNotFoundError
from timetracer_otel.pytest_plugin.paths import path_for_test
from timetracer_otel.types import Cassette, DependencyEvent
from timetracer_otel_exporter_vcr._reading import read
from timetracer_otel_exporter_vcr._settings import settings_of

__all__ = ["default_cassette_name", "disable_recording", "record_mode", "vcr", "vcr_cassette_dir", "vcr_config"]

_INSTEAD_OF = {"recording": "pytest_recording", "vcr": "pytest_vcr"}
"""The plugins with the same markers and options, by their names in pytest."""
_MODES = ("once", "new_episodes", "none", "all", "rewrite")
_FORBIDDEN = "<>?%*:|\"'/\\"
"""Characters that pytest-recording replaces in names of files."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The options of pytest-recording that a shell or a workflow may give."""
    for name, module in _INSTEAD_OF.items():
        if find_spec(module) is not None and not pluginmanager.is_blocked(name):
            raise pytest.UsageError(
                f"timetracer_otel_exporter_vcr.pytest_shim stands in the place of {module.replace('_', '-')}. "
                f"Uninstall that, or give pytest -p no:{name}."
            )
    group = parser.getgroup("vcr", "VCR.py's markers on timetracer-otel")
    group.addoption("--record-mode", choices=_MODES, help="the record mode of tests with pytest.mark.vcr")
    group.addoption("--disable-recording", action="store_true", help="let these tests make their calls for real")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "vcr(*cassettes, **vcr_config): replay, by VCR.py's own cassettes or by ours.")
    config.addinivalue_line("markers", "default_cassette(name): the name of the cassette of a test.")


@pytest.fixture
def vcr_config() -> dict[str, Any]:
    """The arguments of ``VCR.use_cassette``. Override it, with any scope."""
    return {}


@pytest.fixture(scope="module")
def vcr_cassette_dir(request: pytest.FixtureRequest) -> str:
    """The folder of a module's cassettes."""
    return str(request.path.parent / "cassettes" / request.path.stem)


@pytest.fixture
def default_cassette_name(request: pytest.FixtureRequest) -> str:
    """The name of a test's cassette, without a suffix."""
    marker = request.node.get_closest_marker("default_cassette")
    if marker is not None:
        return str(marker.args[0])
    name = f"{request.cls.__name__}.{request.node.name}" if request.cls else request.node.name
    return "".join("-" if character in _FORBIDDEN else character for character in name)


@pytest.fixture(scope="session")
def record_mode(request: pytest.FixtureRequest) -> str:
    """What the command line says, else ``none``: no test makes a call for real."""
    return request.config.getoption("--record-mode") or "none"


@pytest.fixture(scope="session")
def disable_recording(request: pytest.FixtureRequest) -> bool:
    """Whether the command line says that all tests make their calls for real."""
    return bool(request.config.getoption("--disable-recording"))


@pytest.fixture(autouse=True)
def vcr(request: pytest.FixtureRequest, disable_recording: bool) -> Any:
    """The session of a marked test: a replay, or a recording. None for any other test."""
    markers = list(request.node.iter_markers("vcr"))
    if not markers or disable_recording:
        return None
    config: dict[str, Any] = dict(request.getfixturevalue("vcr_config"))
    for marker in reversed(markers):  # the nearest one wins
        config.update(marker.kwargs)
    # As for pytest-recording, what a test says wins over the command line.
    config.setdefault("record_mode", request.getfixturevalue("record_mode"))
    settings = settings_of(config)
    suffix = str(config.get("serializer", "yaml"))
    folder = Path(config.get("cassette_library_dir") or request.getfixturevalue("vcr_cassette_dir"))
    name = request.getfixturevalue("default_cassette_name")
    theirs = [folder / f"{name.removesuffix(f'.{suffix}')}.{suffix}"]
    theirs += [folder / path for marker in markers for path in marker.args]
    marked = _path(request, folder, name, theirs, settings)
    request.node.add_marker(pytest.mark.timetracer(str(marked), **settings))
    return request.getfixturevalue("timetracer_session")


def _path(
    request: pytest.FixtureRequest, folder: Path, name: str, theirs: list[Path], settings: Mapping[str, Any]
) -> Path:
    """The name by which the marker of ours finds the cassette, which is there unless it is to be recorded."""
    parameters = request.node.name[request.node.name.index("[") :] if "[" in request.node.name else ""
    name = name.removesuffix(parameters)  # The marker adds them.
    own = path_for_test(request.node, folder, name)
    if own.exists() or settings["record_mode"] == "all":
        return folder / name
    files = [path for path in dict.fromkeys(theirs) if path.exists()]
    if not files:
        if settings["record_mode"] == "none":
            raise CassetteNotFoundError(str(theirs[0]))
        return folder / name
    if settings["record_mode"] == "new_episodes":
        # What is recorded in addition needs a place. From then on, secrets are redacted there.
        save_cassette(redacted(_whole(files), TraceConfig.from_env()), own)
        return folder / name
    beside: Path = request.getfixturevalue("tmp_path_factory").mktemp("vcr")
    save_cassette(_whole(files), path_for_test(request.node, beside, name))
    return beside / name


def _whole(files: list[Path]) -> Cassette:
    """The calls of several files, in their order, as one cassette."""
    cassettes = [read(file.read_bytes()).cassette for file in files]
    events: list[DependencyEvent] = [event for cassette in cassettes for event in cassette.events]
    return replace(cassettes[0], events=[replace(each, eid=eid) for eid, each in enumerate(events, 1)])
