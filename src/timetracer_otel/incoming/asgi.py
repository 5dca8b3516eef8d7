"""The ASGI middleware (https://asgi.readthedocs.io): it notes a request and its response as they pass.

It does so for ``http`` scopes; websockets and the lifespan pass untouched. It knows no framework.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.noting import noting_async
from timetracer_otel.constants import BodyEnd
from timetracer_otel.incoming.guarded import around_async
from timetracer_otel.incoming.receiver import RequestReceiver, receiver
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope
from timetracer_otel.incoming.uvicorn import added_prefix

__all__ = ["ConnectionScope", "Message", "Receive", "Send", "incoming_request", "serve"]

ConnectionScope = MutableMapping[str, Any]
"""What ASGI calls the scope of a connection: the facts of one request, as the server gives them."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[ConnectionScope, Receive, Send], Awaitable[None]]
RouteOf = Callable[[ConnectionScope], "str | None"]
Decider = Callable[[], RequestReceiver]

_SENT_BY_SERVER = {"http.response.pathsend", "http.response.zerocopysend"}
"""Messages of extensions that name a file instead of giving the body."""


async def _bare(app: App, scope: ConnectionScope, receive: Receive, send: Send, *_: Any) -> None:
    await app(scope, receive, send)


def _begin(
    _: None,
    app: App,
    scope: ConnectionScope,
    receive: Receive,
    send: Send,
    framework: str,
    route_of: RouteOf,
    decider: Decider = receiver,
) -> Flow | None:
    if scope["type"] != "http" or not decider().takes_requests:
        return None
    return _served(app, scope, receive, send, framework, route_of, decider())


serve = around_async("asgi", _bare, _begin)
"""Call an app for a connection, with the request's session around it.

Args:
    app: The app, as ASGI calls it.
    scope: As the server gives it.
    receive: As the server gives it.
    send: As the server gives it.
    framework: The framework's name, for the cassette.
    route_of: Finds the route that the framework chose, in the scope after the app has run.
    decider: Gives the receiver that decides on the session; by default that of the process.
"""


def _served(
    app: App,
    scope: ConnectionScope,
    receive: Receive,
    send: Send,
    framework: str,
    route_of: RouteOf,
    decider: RequestReceiver,
) -> Flow:
    incoming = incoming_request(scope, framework, added_prefix(scope, receive, send))
    if decider.reads_body_first(incoming):
        body, receive = yield from _read_first(receive)
        incoming = replace(incoming, body=body)
    request = decider.request_began(incoming)
    if request is None:
        return (yield AppStep(app, scope, receive, send))
    try:
        with request:
            try:
                return (yield AppStep(app, scope, _noting_receive(request, receive), _noting_send(request, send)))
            except BaseException as error:
                request.failed_with(error)
                raise
            finally:
                request.routed(lambda: route_of(scope))
    finally:
        request.end()


def incoming_request(scope: ConnectionScope, framework: str, added: str = "") -> IncomingRequest:
    """The request that a connection's scope tells of.

    Args:
        scope: As the server gives it.
        framework: The framework's name.
        added: The beginning of its path that the server has added (see `uvicorn.added_prefix`).
    """
    headers = scope["headers"]
    if not isinstance(headers, (list, tuple)):
        # The specification allows any iterable. One that can be read only once must still be there for the app.
        headers = scope["headers"] = list(headers)
    raw_path = scope.get("raw_path")
    path: str = scope["path"].removeprefix(added)
    target = raw_path.decode("latin-1").removeprefix(added) if raw_path else quote(path, safe="/:@!$&'()*+,;=~")
    query: bytes = scope.get("query_string") or b""
    client = scope.get("client")
    return IncomingRequest(
        method=scope["method"],
        path=path,
        target=f"{target.partition('?')[0]}?{query.decode('latin-1')}" if query else target,
        headers=tuple((bytes(name), bytes(value)) for name, value in headers),
        client_ip=str(client[0]) if client else None,
        framework=framework,
        scheme=scope.get("scheme") or "http",
    )


def _noting_receive(request: RequestScope, receive: Receive) -> Receive:
    return noting_async("asgi.receive", receive, partial(_note_received, request))


def _note_received(request: RequestScope, message: Message) -> None:
    if message["type"] == "http.request":
        request.request_chunk(message.get("body"))
        if not message.get("more_body"):
            request.request_body.finish(BodyEnd.COMPLETE)
    elif message["type"] == "http.disconnect":
        request.request_body.finish(BodyEnd.CUT)


def _noting_send(request: RequestScope, send: Send) -> Send:
    return noting_async("asgi.send", send, before=partial(_note_sent, request), failed=request.response_body.failed)


def _note_sent(request: RequestScope, message: Message) -> None:
    kind = message["type"]
    if kind == "http.response.start":
        request.response_began(message["status"], message.get("headers") or ())
    elif kind == "http.response.body":
        request.response_chunk(message.get("body"))
        if not message.get("more_body"):
            request.response_body.finish(BodyEnd.COMPLETE)
    elif kind in _SENT_BY_SERVER:
        request.response_left_to("the server (a file)")


def _read_first(receive: Receive) -> Flow:
    """Read the whole body; gives it, and a ``receive`` that gives the app the same messages again."""
    messages: list[Message] = []
    pieces: list[bytes] = []
    while True:
        message = yield receive
        messages.append(message)
        if message["type"] != "http.request":
            break
        pieces.append(bytes(message.get("body") or b""))
        if not message.get("more_body"):
            break
    messages.reverse()

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return b"".join(pieces), receive_again
