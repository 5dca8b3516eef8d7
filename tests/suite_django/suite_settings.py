"""Settings of Django's own tests. ``SUITE_DATABASE`` is a URL of PostgreSQL, or empty for sqlite in memory."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

SECRET_KEY = "suite"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "suite_runner.Runner"


def _database(name: str) -> dict[str, Any]:
    place = os.environ.get("SUITE_DATABASE", "")
    if not place:
        return {"ENGINE": "django.db.backends.sqlite3"}
    url = urlsplit(place)
    asked = {key: values[0] for key, values in parse_qs(url.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": url.username or asked.get("user", ""),
        "PASSWORD": url.password or "",
        "HOST": asked.get("host", url.hostname or ""),
        "PORT": url.port or "",
    }


DATABASES = {"default": _database("suite"), "other": _database("suite_other")}
