"""A service that asks its database once, or once for each row: ``python -m tests.verify._counting PORT UPSTREAM DB``.

``CHANGE`` says what it does otherwise than when it was recorded.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from typing import Any

import flask
import httpx

PORT, UPSTREAM, DATABASE = int(sys.argv[1]), *sys.argv[2:4]
CHANGE = os.environ.get("CHANGE", "")

app = flask.Flask(__name__)


@app.get("/orders/<int:user>")
def orders(user: int) -> dict[str, Any]:
    if CHANGE == "order":
        found, name = _found(), _name(user)
    else:
        name, found = _name(user), _found()
    return {"name": name, "orders": found}


@app.get("/empty")
def empty() -> dict[str, Any]:
    return {}


def _name(user: int) -> str:
    if CHANGE == "twice":
        httpx.get(f"{UPSTREAM}/items")
    return str(httpx.get(f"{UPSTREAM}/users/{user}").json()["name"])


def _found() -> list[str]:
    connection = sqlite3.connect(DATABASE)
    try:
        if CHANGE == "rows":
            numbers = (1, 2, 3)
            rows = [connection.execute("SELECT name FROM orders WHERE id = ?", (one,)).fetchone() for one in numbers]
        else:
            rows = connection.execute("SELECT name FROM orders WHERE id IN (1, 2, 3)").fetchall()
    finally:
        connection.close()
    return [name for (name,) in rows]


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=PORT, threaded=True)
