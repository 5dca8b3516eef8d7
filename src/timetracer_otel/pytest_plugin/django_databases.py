"""Databases of Django's tests: what is done for many tests has a session of its own, or needs no database.

A `django.test.TestCase` makes the data of its class before its first test: a cassette of the class has that.
pytest-django makes the databases for a whole run: where every test that asks them is replayed, none is
made.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from timetracer_otel import plugins
from timetracer_otel.config import TraceConfig, is_set
from timetracer_otel.context import reset_session, set_session
from timetracer_otel.exceptions import PluginNotFoundError
from timetracer_otel.pytest_plugin.paths import path_for_test
from timetracer_otel.pytest_plugin.sessions import TestSession, default_record_mode
from timetracer_otel.session import ReplaySession, TraceSession

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["begin"]

_MARKER = "timetracer"
_ASKING = frozenset(
    {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback", "live_server"}
)
"""Fixtures of pytest-django with which a test asks a database."""


def begin(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest, item: pytest.Item
) -> Callable[[], object] | None:
    """A fixture is set up which many tests share; the result, if there is one, is called when it is there.

    Args:
        fixturedef: The fixture.
        request: Of the fixture.
        item: The test for which it is set up.
    """
    if fixturedef.argname == "django_db_setup":
        return _before_databases(item)
    cls = getattr(request.node, "obj", None)
    if isinstance(cls, type) and _asks(cls) and request.node.get_closest_marker(_MARKER) is not None:
        stack = ExitStack()
        # It runs behind those that the fixture adds itself.
        fixturedef.addfinalizer(stack.close)
        stack.enter_context(TestSession(request, _folder(item), item).open())
    return None


def _asks(cls: type) -> bool:
    """Whether a class of tests asks a database."""
    module = sys.modules.get("django.test")
    return module is not None and issubclass(cls, module.TransactionTestCase)


def _before_databases(item: pytest.Item) -> Callable[[], object] | None:
    items = [each for each in item.session.items if _is_of_database(each)]
    marked = [each for each in items if each.get_closest_marker(_MARKER) is not None]
    if not marked:
        return None
    # Connections that are opened now are those of the tests. Not every driver takes over one that was opened before,
    # or tells where that goes to.
    plugins.enable_django_orm()
    for enable in (
        plugins.enable_mysqlclient,
        plugins.enable_psycopg,
        plugins.enable_psycopg2,
        plugins.enable_sqlite3,
    ):
        with suppress(PluginNotFoundError):
            enable()
    if len(marked) < len(items) or not all(map(_is_replayed, marked)):
        return None
    recording = TraceSession(TraceConfig())
    recording.finalize()
    token = set_session(ReplaySession(recording.to_cassette(), ""))
    return lambda: reset_session(token)


def _is_of_database(item: pytest.Item) -> bool:
    cls = getattr(item, "cls", None)
    return (
        item.get_closest_marker("django_db") is not None
        or not _ASKING.isdisjoint(getattr(item, "fixturenames", ()))
        or (isinstance(cls, type) and _asks(cls))
    )


def _is_replayed(item: pytest.Item) -> bool:
    marker = item.get_closest_marker(_MARKER)
    assert marker is not None
    config = _config_of(item)
    if config is None:
        return False
    settings = {**config, **marker.kwargs}
    mode = item.config.getoption("--timetracer-record-mode") or settings.get("record_mode") or settings.get("mode")
    if not mode:
        mode = TraceConfig.from_env().record_mode if is_set("RECORD_MODE") else default_record_mode()
    name = marker.args[0] if marker.args else settings.get("name")
    return mode == "none" or (mode == "once" and path_for_test(item, _folder(item), name).exists())


def _config_of(item: pytest.Item) -> Mapping[str, Any] | None:
    """What `timetracer_config` will give for a test; None where that is not known before the test runs.

    The fixture that sets the databases up is of the whole run, and that of another test cannot be asked from there.
    Its function can, where it needs no other fixture.
    """
    manager = getattr(item.session, "_fixturemanager", None)
    config: Any = {}
    # The first one is ours, and each other one overrides the one before it.
    for fixture in (manager.getfixturedefs("timetracer_config", item) or ())[1:] if manager is not None else ():
        needed = [*inspect.signature(fixture.func).parameters]
        waits = inspect.isgeneratorfunction(fixture.func) or inspect.iscoroutinefunction(fixture.func)
        if waits or needed not in ([], ["timetracer_config"]):
            return None
        try:
            config = fixture.func(*([config] if needed else []))
        except Exception:
            return None  # The test will say it.
    return config if isinstance(config, Mapping) else None


def _folder(item: pytest.Item) -> Path:
    """The folder of a test's cassettes, where the suite does not override the fixture."""
    named = item.config.getini("timetracer_cassette_dir")
    return item.config.rootpath / named if named else item.path.parent / "cassettes"
