"""Private names of Django's ORM, by module: the wrapper around a connection, and what makes databases for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["RELIED_UPON", "SETS_UP", "asked_once", "asking_property", "know", "known", "name_for_tests"]

RELIED_UPON = {
    "django.db.backends.base.base": (
        "django.db.backends.base.base:BaseDatabaseWrapper.close_if_health_check_failed",
        "django.db.backends.base.base:BaseDatabaseWrapper.close_if_unusable_or_obsolete",
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
    # A pool (from 5.1 on) sets connections up in a thread of its own.
    "django.db.backends.postgresql.base": (
        "django.db.backends.postgresql.base:DatabaseWrapper.init_connection_state",
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


def asking_property(wrapper_class: Any) -> Any:
    """The property of MySQL's wrapper by which Django asks its server once, before it needs a connection; None for
    another wrapper. Its ``func`` asks.
    """
    return vars(wrapper_class).get(_OF_WRAPPER[0])


def known(wrapper: Any) -> Any:
    """What that property has given; None where it has not been asked."""
    return vars(wrapper).get(_OF_WRAPPER[0])


def asked_once(wrapper: Any) -> dict[str, Any]:
    """What Django has asked the server by now, and asks no more."""
    places = ((_OF_WRAPPER, vars(wrapper)), (_OF_FEATURES, vars(wrapper.features)))
    return {name: kept[name] for names, kept in places for name in names if name in kept}


def know(wrapper: Any, asked: Mapping[str, Any]) -> None:
    """Let Django know what it had asked when it was recorded."""
    for names, kept in ((_OF_WRAPPER, vars(wrapper)), (_OF_FEATURES, vars(wrapper.features))):
        for name in names:
            if name in asked:
                kept.setdefault(name, asked[name])


def name_for_tests(creation: Any) -> str:
    """The name of the database that Django would make for tests."""
    name: str = creation._get_test_db_name()
    return name
