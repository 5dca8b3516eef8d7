"""The pytest fixtures, loaded by pytest wherever this distribution is installed.

    def test_checkout(timetracer_auto):
        with timetracer_auto("checkout.msgpack"):
            ...  # recorded where the cassette is missing, replayed where it is there

Nothing of ours is imported before a fixture is used: test runs that do not use them pay for this file alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = [
    "pytest_addoption",
    "timetracer_auto",
    "timetracer_cassette_dir",
    "timetracer_record",
    "timetracer_replay",
]

_INI = "timetracer_cassette_dir"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option ``timetracer_cassette_dir``."""
    parser.addini(
        _INI,
        "Folder of the cassettes, relative to the root folder of the tests (default: cassettes beside the test file)",
        default="",
    )


@pytest.fixture
def timetracer_cassette_dir(request: pytest.FixtureRequest) -> Path:
    """The folder of the cassettes: that of the ini option, else ``cassettes/`` beside the test file.

    Override this fixture to decide otherwise; the folder need not exist.
    """
    named = request.config.getini(_INI)
    return request.config.rootpath / named if named else request.path.parent / "cassettes"


@pytest.fixture
def timetracer_replay(timetracer_cassette_dir: Path) -> Callable[..., AbstractContextManager[ReplaySession]]:
    """A function that replays a cassette.

        with timetracer_replay("name.msgpack") as session:

    Its parameters are ``cassette_path`` (relative to `timetracer_cassette_dir`, or absolute), ``strict`` (False:
    a JSON body with equal content counts as equal) and ``plugins`` (groups or libraries that are
    answered from the cassette, the others stay live; all where it is left out). It raises `CassetteNotFoundError`
    where the file is missing.
    """

    def replay(
        cassette_path: str | Path, strict: bool = False, plugins: Sequence[str] | None = None
    ) -> AbstractContextManager[ReplaySession]:
        return _replaying(timetracer_cassette_dir / cassette_path, strict, plugins)

    return replay


@pytest.fixture
def timetracer_record(
    timetracer_cassette_dir: Path, tmp_path: Path
) -> Callable[..., AbstractContextManager[TraceSession]]:
    """A function that records a cassette.

        with timetracer_record("name.msgpack") as session:

    Its parameters are ``cassette_name`` (relative to `timetracer_cassette_dir`, or absolute; named after the
    time and the session where it is left out), ``plugins`` (groups or libraries that are recorded; all where it
    is left out) and ``use_tmp`` (True: below the test's ``tmp_path``). A cassette that stands there is replaced.
    """

    def record(
        cassette_name: str | Path | None = None, plugins: Sequence[str] | None = None, use_tmp: bool = False
    ) -> AbstractContextManager[TraceSession]:
        return _recording(tmp_path if use_tmp else timetracer_cassette_dir, cassette_name, plugins)

    return record


@pytest.fixture
def timetracer_auto(timetracer_cassette_dir: Path) -> Callable[..., AbstractContextManager[BaseSession]]:
    """A function that replays a cassette where it is there, and records it where it is not.

    Its parameters are ``cassette_name`` and ``plugins``, as in `timetracer_record` and `timetracer_replay`.
    Delete the file to record anew.
    """

    def auto(cassette_name: str | Path, plugins: Sequence[str] | None = None) -> AbstractContextManager[BaseSession]:
        path = timetracer_cassette_dir / cassette_name
        if path.exists():
            return _replaying(path, False, plugins)
        return _recording(timetracer_cassette_dir, cassette_name, plugins)

    return auto


@contextmanager
def _replaying(path: Path, strict: bool, plugins: Sequence[str] | None) -> Iterator[ReplaySession]:
    import timetracer_otel

    names = _checked(plugins)
    with timetracer_otel.replay(path, strict_replay=strict, mock_plugins=names) as session:
        yield session


@contextmanager
def _recording(folder: Path, name: str | Path | None, plugins: Sequence[str] | None) -> Iterator[TraceSession]:
    import timetracer_otel

    path = None if name is None else folder / name
    names = _checked(plugins)
    with timetracer_otel.record(path, cassette_dir=str(folder), capture=names) as session:
        yield session


def _checked(plugins: Sequence[str] | None) -> list[str]:
    """The names, where each is known: one that nobody knows would silently leave its calls live."""
    from timetracer_otel._names import known_names, unknown_names
    from timetracer_otel.bridge import load_plugins
    from timetracer_otel.exceptions import ConfigurationError

    load_plugins()  # each says its name
    names = [plugins] if isinstance(plugins, str) else list(plugins or ())
    for name, nearest in unknown_names(names, known_names()):
        meant = f"; did you mean {nearest!r}?" if nearest else f". Known: {', '.join(sorted(known_names()))}."
        raise ConfigurationError(f"plugins=: nobody knows a plugin or group called {name!r}{meant}")
    return names
