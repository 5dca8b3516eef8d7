"""A service whose answers, errors and log have secrets, other ones in each run.

Usage: ``python -m tests.planted.answering PORT``. The environment tells the number of its first secret.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
from typing import Any

import flask
import httpx
import sqlalchemy as sa
from werkzeug.serving import make_server

from tests.planted.secrets import FORMS, odd, plain

__all__ = ["PLACES", "service"]

_numbers = itertools.count(int(os.environ.get("PLANTED_FIRST", "0")))
PLACES = [
    *("json", "list", "text", "html", "header", "cookie", "location", "form", "error", "status", "miss", "statement"),
    *("printed", "logged", "python"),
]
"""The paths that it answers."""


def _named(*, escapes: bool = True) -> str:
    return (odd if escapes else plain)(next(_numbers))


def _form(kind: str) -> str:
    return FORMS[kind](next(_numbers))


def answer(place: str) -> Any:
    """What is answered at one path."""
    if place == "json":
        return {"access_token": _named(), "of": _form("github"), "n": next(_numbers)}
    if place == "list":
        return [{"password": _named()}, _form("stripe")]
    if place == "text":
        return f"it is {_form('npm')}, token: {_named(escapes=False)}", {"Content-Type": "text/plain"}
    if place == "html":
        return f'<input name="csrf_token" value="{_named(escapes=False)}"><p>{_form("aws")}</p>'
    if place == "header":
        return "", {"X-Auth-Token": _named(escapes=False), "X-Of": _form("gitlab")}
    if place == "cookie":
        return "", {"Set-Cookie": f"session={_named(escapes=False)}; Path=/"}
    if place == "location":
        return "", 302, {"Location": f"/x?access_token={_named(escapes=False)}&of={_form('hugging face')}"}
    if place == "form":
        return f"password={_named(escapes=False)}", {"Content-Type": "application/x-www-form-urlencoded"}
    if place == "error":
        raise ValueError(f"password={_named(escapes=False)!r}, of {_form('slack')}, {_form('address')}")
    if place == "status":
        return {"detail": f"Login(token='{_named(escapes=False)}')", "of": _form("vault")}, 400
    if place == "miss":
        # The number makes it another call in each run.
        number = next(_numbers)
        url = f"http://127.0.0.1:1/{number}?api_key={_named(escapes=False)}&of={_form('shopify')}"
        httpx.post(url, headers={"X-Api-Key": _named()}, json={"secret": _named(), "of": _form("openai")})
    if place == "statement":
        with sa.create_engine("sqlite://").connect() as connection:
            number = next(_numbers)
            literal = f"SELECT {number}, '{_named(escapes=False)}' AS token, :password, :of"
            connection.execute(sa.text(literal), {"password": _named(), "of": _form("anthropic")})
    if place == "printed":
        print(f"password='{_named(escapes=False)}' and {_form('sendgrid')}", file=sys.stderr, flush=True)
        return {"n": next(_numbers)}
    if place == "logged":
        logging.getLogger("app").error("refused: Authorization: Bearer %s", _form("google"))
        return {"n": next(_numbers)}
    return json.dumps({"of": str({"password": _named(escapes=False)})}), {"Content-Type": "application/json"}


def service() -> flask.Flask:
    """The app."""
    app = flask.Flask("service")
    app.add_url_rule("/<place>", view_func=answer)
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    make_server("127.0.0.1", int(sys.argv[1]), service()).serve_forever()
