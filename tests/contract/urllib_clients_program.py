"""Run in a process of its own: what an app does with one client above http.client.

Usage: ``urllib_clients_program.py google|httplib2|slack bare|record|replay URL FOLDER``. Prints what the app saw, and
in a replay the account.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from timetracer_otel import record, replay
from timetracer_otel.session import ReplaySession


def google(url: str) -> list[Any]:
    """A service that is described by a document of the tests."""
    import httplib2  # type: ignore[import-untyped]
    from googleapiclient.discovery import build_from_document  # type: ignore[import-untyped]
    from googleapiclient.errors import HttpError  # type: ignore[import-untyped]
    from googleapiclient.http import MediaInMemoryUpload  # type: ignore[import-untyped]

    document = {
        "name": "shelf",
        "version": "v1",
        "rootUrl": f"{url}/",
        "servicePath": "shelf/v1/",
        "batchPath": "batch",
        "schemas": {
            "Book": {"id": "Book", "type": "object", "properties": {"title": {"type": "string"}}},
            "Page": {"id": "Page", "type": "object", "properties": {"nextPageToken": {"type": "string"}}},
        },
        "resources": {
            "books": {
                "methods": {
                    "list": {
                        "id": "shelf.books.list",
                        "path": "books",
                        "httpMethod": "GET",
                        "parameters": {"pageToken": {"type": "string", "location": "query"}},
                        "response": {"$ref": "Page"},
                    },
                    "get": {
                        "id": "shelf.books.get",
                        "path": "books/{id}",
                        "httpMethod": "GET",
                        "parameters": {"id": {"type": "string", "location": "path", "required": True}},
                    },
                    "insert": {
                        "id": "shelf.books.insert",
                        "path": "books",
                        "httpMethod": "POST",
                        "request": {"$ref": "Book"},
                        "supportsMediaUpload": True,
                        "mediaUpload": {
                            "accept": ["*/*"],
                            "protocols": {"simple": {"path": "/upload/shelf/v1/books", "multipart": True}},
                        },
                    },
                }
            }
        },
    }
    service = build_from_document(document, http=httplib2.Http(timeout=10))
    books = service.books()
    seen: list[Any] = []
    page = books.list()
    while page is not None:
        answer = page.execute()
        seen.append(answer)
        page = books.list_next(page, answer)
    seen.append(books.insert(body={"title": "new"}).execute())
    seen.append(books.insert(media_body=MediaInMemoryUpload(b"\x00\x01", "application/x-book")).execute())
    try:
        books.get(id="missing").execute()
    except HttpError as error:
        seen.append([error.status_code, error.reason, str(error)])
    return seen


def httplib2(url: str) -> list[Any]:
    """Requests with redirects, a cache, a password and compressed answers; one to a server that is not there."""
    from tempfile import TemporaryDirectory

    import httplib2 as library

    seen: list[Any] = []
    with TemporaryDirectory() as cache:
        client = library.Http(cache, timeout=10)
        client.add_credentials("user", "pass")
        asked: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("/json", "GET", {}),
            ("/redirect", "GET", {}),
            ("/gzip", "GET", {}),
            ("/etag", "GET", {}),
            ("/etag", "GET", {}),
            ("/basic", "GET", {}),
            ("/echo", "POST", {"body": "sent ä".encode(), "headers": {"X-One": "1"}}),
            ("/echo", "PUT", {"body": "text"}),
        )
        for path, method, options in asked:
            response, content = client.request(url + path, method, **options)
            head = {name: value for name, value in response.items() if name not in {"date", "-varied-cookie"}}
            seen.append([response.status, response.fromcache, head, content.decode("latin-1"), response.reason])
    try:
        library.Http(timeout=10).request("http://127.0.0.1:1/", "GET")
    except OSError as error:
        seen.append(repr(error))
    try:
        library.Http(timeout=10).request("http://name.invalid/", "GET")
    except library.ServerNotFoundError as error:
        seen.append(repr(error))
    return seen


def slack(url: str) -> list[Any]:
    """A bot: messages, a list by pages, an error, an upload, and a retry behind a rate limit."""
    from slack_sdk import WebClient
    from slack_sdk.errors import SlackApiError
    from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

    client = WebClient(token="xoxb-not-a-real-token", base_url=f"{url}/api/")
    client.retry_handlers.append(RateLimitErrorRetryHandler(max_retry_count=1))
    seen: list[Any] = [client.auth_test().data, client.chat_postMessage(channel="C1", text="hello ä").data]
    seen += [page.data for page in client.conversations_list(limit=2)]
    try:
        client.chat_postMessage(channel="nowhere", text="x")
    except SlackApiError as error:
        seen.append([str(error), error.response.data, error.response.status_code])
    seen.append(client.api_call("files.echo", files={"file": b"content"}, data={"title": "a file"}).data)
    seen.append(client.api_call("limited.once").data)
    return seen


RUNS: dict[str, Callable[[str], list[Any]]] = {"google": google, "httplib2": httplib2, "slack": slack}


def main(client: str, mode: str, url: str, folder: Path) -> None:
    cassette = folder / "cassette.msgpack"
    scope: Any = nullcontext()
    if mode != "bare":
        scope = record(cassette) if mode == "record" else replay(cassette)
    with scope as session:
        found: dict[str, Any] = {"seen": RUNS[client](url)}
    if mode == "record":
        found["libraries"] = sorted({event.signature.lib for event in session.events})
    if isinstance(session, ReplaySession):
        found["account"] = {
            "missed": len(session.misses),
            "unused": len(session.get_unconsumed_events()),
            "live": dict(session.live_calls),
            "blocked": len(session.blocked),
        }
    print(json.dumps(found, default=repr))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
