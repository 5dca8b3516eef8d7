"""A worker that polls. ``UPSTREAM`` is a server's URL, ``POLLS`` the numbers of the users that it asks for."""

from __future__ import annotations

import os
from typing import Any

import httpx

from tests.lines._line import Lines

LINES = Lines()


def _asked(number: int) -> Any:
    try:
        return httpx.get(f"{os.environ['UPSTREAM']}/users/{number}").json()["id"]
    except Exception as error:
        return error


@LINES.add
def polls() -> Any:
    return [_asked(int(number)) for number in os.environ["POLLS"].split()]
