"""Settings of the shop. ``SHOP_DATABASE`` is the file of a database of sqlite, or a URL of PostgreSQL or MySQL."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SECRET_KEY = "test"
ALLOWED_HOSTS = ["*"]
LOGGING_CONFIG = None
USE_TZ = True
TIME_ZONE = "Europe/Paris"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.django_shop.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "tests.django_shop"]


def _database(place: str) -> dict[str, Any]:
    more = json.loads(os.environ.get("SHOP_SETTINGS", "{}"))
    if not place.startswith(("mysql", "postgresql")):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": place, "TEST": {"NAME": f"{place}.test"}, **more}
    url = urlsplit(place)
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    return {
        "ENGINE": f"django.db.backends.{url.scheme}",
        "NAME": url.path[1:],
        "USER": url.username or asked.get("user", ""),
        "PASSWORD": url.password or "",
        # MySQL has the file of a socket, and PostgreSQL its folder.
        "HOST": asked.get("unix_socket") or asked.get("host", url.hostname or ""),
        "PORT": url.port or "",
        **more,
    }


DATABASES = {"default": _database(os.environ.get("SHOP_DATABASE", str(Path("shop.db").resolve())))}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{os.environ.get('REDIS_PORT', '1')}/0",
    }
}
