"""Run in a process of its own, over a shop of `tests.django_shop` in sqlite: what Django does by itself.

Usage: ``django_program.py FOLDER``. Prints what was seen as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

FOLDER = Path(sys.argv[1])
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_shop.settings"
os.environ["SHOP_DATABASE"] = str(FOLDER / "shop.db")
django.setup()

from django.core.management import call_command  # noqa: E402 - Django must be set up
from django.db import connection  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402

from tests.django_shop.models import Item  # noqa: E402
from timetracer_otel import record, replay  # noqa: E402
from timetracer_otel.cassette import read_cassette  # noqa: E402

FETCHED: list[Any] = []


def _fetches(connection: Any, **_: object) -> None:
    with connection.cursor() as cursor:
        FETCHED.append(cursor.execute("PRAGMA busy_timeout").fetchone())


def _recorded(name: str, work: Callable[[], Any]) -> Any:
    with record(FOLDER / f"{name}.msgpack"):
        return work()


def _replayed(name: str, work: Callable[[], Any]) -> list[str]:
    """What a replay on a connection of its own gives, or the error that it raises, and its verdict."""
    connection.close()
    with replay(FOLDER / f"{name}.msgpack", fail_on_miss=False) as session:
        try:
            seen = str(work())
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
    return [seen, str(session.verdict()).splitlines()[0]]


def _asks() -> Any:
    # As when a request begins.
    connection.close_if_unusable_or_obsolete()
    return Item.objects.count(), connection.features.supports_json_field


def _made_for_tests() -> Any:
    before = connection.settings_dict["NAME"]
    name = connection.creation.create_test_db(verbosity=0)
    during = connection.settings_dict["NAME"]
    connection.creation.destroy_test_db(before, verbosity=0)
    return [Path(str(each)).name for each in (name, during, connection.settings_dict["NAME"])]


def main() -> None:
    seen: dict[str, Any] = {}
    call_command("migrate", verbosity=0)
    connection.close()
    _recorded("first", Item.objects.count)
    _recorded("second", Item.objects.count)
    seen["methods"] = [[event.signature.method for event in _events(name)] for name in ("first", "second")]
    seen["stays"] = _replayed("second", Item.objects.count)
    Item.objects.create(name="tea", price=1)
    seen["live again"] = Item.objects.count()

    connection_created.connect(_fetches)
    connection.close()
    _recorded("fetching", Item.objects.count)
    seen["fetches"] = [_replayed("fetching", Item.objects.count), _replayed("second", Item.objects.count)]
    connection_created.disconnect(_fetches)

    connection.close()
    _recorded("opens", lambda: connection.features.supports_json_field)
    _recorded("knows", _asks)
    vars(connection.features).pop("supports_json_field")
    seen["knows"] = _replayed("knows", _asks)

    _recorded("migration", lambda: call_command("migrate", "django_shop", "zero", verbosity=0))
    call_command("migrate", verbosity=0)
    seen["unapplies"] = _replayed("migration", lambda: call_command("migrate", "django_shop", "zero", verbosity=0))
    _recorded("nothing to do", lambda: call_command("migrate", verbosity=0))
    seen["nothing to do"] = _replayed("nothing to do", lambda: call_command("migrate", verbosity=0))
    seen["for tests"] = _replayed("second", _made_for_tests)
    seen["files"] = sorted(path.name for path in FOLDER.glob("*.db*"))
    print(json.dumps(seen))


def _events(name: str) -> Any:
    return read_cassette(FOLDER / f"{name}.msgpack").events


if __name__ == "__main__":
    main()
