"""A service of a small shop: ``python -m tests.verify._one_app PORT``. ``UPSTREAM`` says whom it asks."""

from __future__ import annotations

import os
import sys

import flask
import httpx
from opentelemetry import trace

__all__ = ["make_app"]

TRACER = trace.get_tracer("opentelemetry.instrumentation.some_model")


def make_app() -> flask.Flask:
    """The app; where ``CHANGE`` is set, it answers otherwise than when it was recorded."""
    app = flask.Flask(__name__)

    @app.get("/users/<int:user>")
    def users(user: int) -> dict[str, str]:
        asked = user + 1 if os.environ.get("CHANGE") == "call" else user
        name = httpx.get(f"{os.environ['UPSTREAM']}/users/{asked}").json()["name"]
        return {"greeting": f"{'Hi' if os.environ.get('CHANGE') == 'answer' else 'Hello'} {name}!"}

    @app.get("/ask")
    def ask() -> dict[str, str]:
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1"}
        with TRACER.start_as_current_span("chat m-1", kind=trace.SpanKind.CLIENT, attributes=attributes):
            answer = httpx.post(f"{os.environ['UPSTREAM']}/v1/chat/completions", json={"model": "m-1"}).json()
        return {"said": answer["choices"][0]["message"]["content"]}

    return app


if __name__ == "__main__":
    make_app().run(host="127.0.0.1", port=int(sys.argv[1]), threaded=True)
