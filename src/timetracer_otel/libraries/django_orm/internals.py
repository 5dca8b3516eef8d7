"""Private names of Django's ORM, by module: the wrapper around a connection, and what makes databases for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import ref

__all__ = ["RELIED_UPON", "SETS_UP", "AskedOnce", "asking_property", "name_for_tests", "wrapper_of"]

RELIED_UPON = {
    "django.db.backends.base.base": (
        "django.db.backends.base.base:BaseDatabaseWrapper.close_if_health_check_failed",
        "django.db.backends.base.base:BaseDatabaseWrapper.connect",
        "django.db.backends.base.base:BaseDatabaseWrapper.ensure_connection",
        "django.db.backends.base.base:BaseDatabaseWrapper.init_connection_state",
    ),
    "django.db.backends.base.creation": (
        "django.db.backends.base.creation:BaseDatabaseCreation._get_test_db_name",
        "django.db.backends.base.creation:BaseDatabaseCreation.create_test_db",
        "django.db.backends.base.creation:BaseDatabaseCreation.destroy_test_db",
    ),
    "django.db.backends.mysql.base": ("django.db.backends.mysql.base:DatabaseWrapper.mysql_server_data",),
    # From 6.1 on it has a loader of psycopg's.
    "django.db.backends.postgresql.psycopg_any": (),
    # A pool (from 5.1 on) sets connections up in a thread of its own.
    "django.db.backends.postgresql.base": (
        "django.db.backends.postgresql.base:DatabaseWrapper.init_connection_state",
    ),
    "django.db.backends.sqlite3.features": (
        "django.db.backends.sqlite3.features:DatabaseFeatures.supports_json_field",
    ),
    "django.db.migrations.executor": (
        "django.db.migrations.executor:MigrationExecutor.apply_migration",
        "django.db.migrations.executor:MigrationExecutor.unapply_migration",
    ),
}
"""By module: what the seams replace, and what they call."""

SETS_UP = ("close_if_health_check_failed", "connect", "_configure_connection")
"""The methods of a wrapper that set up a connection, or look whether it is alive. Some releases lack the last one."""

_OF_WRAPPER = ("mysql_server_data",)
_OF_FEATURES = ("supports_json_field",)
"""What is asked once for each wrapper around a connection, and kept in its dictionary or in that of its features."""


def asking_property(where: Any) -> tuple[str, Any] | None:
    """The property by which Django asks its server once, before it needs a connection, with its name; its ``func``
    asks. None where a class of wrappers or of features has none of its own.
    """
    own = vars(where)
    return next(((name, own[name]) for name in (*_OF_WRAPPER, *_OF_FEATURES) if hasattr(own.get(name), "func")), None)


def wrapper_of(asking: Any) -> Any:
    """The wrapper around a connection, of itself or of its features."""
    return asking if hasattr(asking, "features") else asking.connection


class AskedOnce:
    """What Django has asked its server for one wrapper, and asks no more.

    Args:
        wrapper: Around the connection.
    """

    __slots__ = ("_asked_in", "_places", "_told_in")

    def __init__(self, wrapper: Any) -> None:
        self._places = ((_OF_WRAPPER, vars(wrapper)), (_OF_FEATURES, vars(wrapper.features)))
        self._asked_in: dict[str, Callable[[], object]] = {}
        self._told_in: Callable[[], object] | None = None

    def asked(self, name: str, session: Any) -> None:
        """Something is asked now, and this recording has the answer. A replay of it asks again."""
        self._asked_in[name] = ref(session)

    def __call__(self, session: Any) -> Mapping[str, Any]:
        """What was known before a recording began."""
        found = {name: kept[name] for names, kept in self._places for name in names if name in kept}
        for name, asked_in in self._asked_in.items():
            if asked_in() is session:
                found.pop(name, None)
        return found

    def tell(self, session: Any, asked: Mapping[str, Any]) -> None:
        """Let Django know what it had asked when it was recorded. It may forget that and ask again: a replay tells it
        once.
        """
        if not asked or (self._told_in is not None and self._told_in() is session):
            return
        self._told_in = ref(session)
        for names, kept in self._places:
            for name in names:
                if name in asked:
                    kept.setdefault(name, asked[name])


def name_for_tests(creation: Any) -> str:
    """The name of the database that Django would make for tests."""
    name: str = creation._get_test_db_name()
    return name
