"""A WSGI app for servers that are killed: it answers with the id of the process that answers."""

from __future__ import annotations

import os
from typing import Any

import flask

app = flask.Flask(__name__)


@app.get("/work/<int:number>")
def work(number: int) -> Any:
    return str(os.getpid())
