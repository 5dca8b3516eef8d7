"""Lines about clients of HTTP. ``UPSTREAM`` in the environment is a server's URL."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import aiohttp
import httpx
import requests
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tests.contract.aiohttp_oddities import NoSuchName
from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "")
LINES = Lines()


@LINES.add
def seeded_random() -> Any:
    random.seed(5)
    found: list[Any] = [random.random()]
    for number in (1, 2):
        found += [httpx.get(f"{UPSTREAM}/users/{number}").json(), random.random(), random.gauss(0, 1)]
    return [*found, random.random()]


@LINES.add
def mocked_uuids() -> Any:
    counted = itertools.count(1)
    with patch.object(uuid, "uuid4", lambda: uuid.UUID(int=next(counted))):
        found = [uuid.uuid4()]
        for _ in range(3):
            key = str(uuid.uuid4())
            found += [requests.post(f"{UPSTREAM}/keys", json={"key": key}, timeout=60).json()["key"] == key]
        return [*found, uuid.uuid4()]


@LINES.add
def keys_made_anew() -> Any:
    """Of an app that nobody seeded: they come back as they were sent."""
    keys = [str(uuid.uuid4()) for _ in range(3)]
    return [
        httpx.post(f"{UPSTREAM}/keys", json={"key": key, "at": n}).json()["key"] == key for n, key in enumerate(keys)
    ]


@LINES.add
def secrets_of_one_letter() -> Any:
    """As tests give them to clients that want one: the letter stands in all other values, too."""
    headers = [{"Authorization": f"Bearer {letter}"} for letter in "xyz"]
    key = str(uuid.uuid4())
    found = [httpx.post(f"{UPSTREAM}/keys", json={"key": key}, headers=each).json()["key"] == key for each in headers]
    return [*found, httpx.get(f"{UPSTREAM}/users/6", headers=headers[0]).json()]


class SpanEndingStream(httpx.SyncByteStream):
    """As that of anthropic: what the transport would set stands there already, and may not be set."""

    __slots__ = ("_stream", "ended")

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream
        self.ended: list[str] = []

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream
        self.ended.append("read")

    @property
    def elapsed(self) -> Any:
        return getattr(self._stream, "elapsed", None)

    def close(self) -> None:
        self._stream.close()
        self.ended.append("closed")


@LINES.add
def streams_of_an_own_class() -> Any:
    streams: list[SpanEndingStream] = []

    def wrap(response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.SyncByteStream)
        streams.append(SpanEndingStream(response.stream))
        response.stream = streams[-1]

    with httpx.Client(event_hooks={"response": [wrap]}) as client:
        found = [client.get(f"{UPSTREAM}/users/3").json()]
        with client.stream("GET", f"{UPSTREAM}/items") as response:
            found.append(b"".join(response.iter_raw()))
    return [*found, [[type(stream.elapsed), stream.ended] for stream in streams]]


def _trace() -> str:
    return f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"


@LINES.add
def traces_in_bodies() -> Any:
    """An app that writes its trace into them by itself: MCP, and messages of SQS."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": {"traceparent": _trace()}}}
    attributes = {"traceparent": {"DataType": "String", "StringValue": _trace()}}
    form = {"Action": "SendMessage", "MessageAttribute.1.Name": "traceparent"}
    form["MessageAttribute.1.Value.StringValue"] = _trace()
    return [
        httpx.post(f"{UPSTREAM}/v1/mcp", json=message).status_code,
        requests.post(f"{UPSTREAM}/v1/sqs", json={"Id": 1, "MessageAttributes": attributes}, timeout=60).status_code,
        requests.post(f"{UPSTREAM}/v1/sqs", data=form, timeout=60).status_code,
    ]


class Refusing(aiohttp.TCPConnector):
    async def connect(self, *_: Any, **__: Any) -> Any:
        raise aiohttp.InvalidURL(URL("http://else.where/ä?a=b%20c"), "not there")


async def _failure(connector: aiohttp.BaseConnector, url: str, **options: Any) -> Any:
    async with aiohttp.ClientSession(connector=connector) as client:
        try:
            async with client.post(url, data=b"xyz", **options):
                return "answered"
        except aiohttp.ClientError as error:
            names = ("errno", "strerror", "host", "port", "os_error", "url")
            return [error, *(getattr(error, name, None) for name in names)]


def _aiohttp(line: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        return asyncio.run(line())

    run.__name__ = line.__name__
    return LINES.add(run)


@_aiohttp
async def names_that_aiodns_does_not_find() -> Any:
    return await _failure(aiohttp.TCPConnector(resolver=NoSuchName()), "http://nowhere.test/")


@_aiohttp
async def urls_of_yarl_in_errors() -> Any:
    found = [await _failure(Refusing(), "http://nowhere.test/")]
    async with aiohttp.ClientSession() as client, client.get(f"{UPSTREAM}/nothing/here?q=ä") as response:
        try:
            response.raise_for_status()
        except aiohttp.ClientResponseError as error:
            found.append([error.request_info.real_url, error.status, error.message, error.history])
    return found


@_aiohttp
async def trackers_of_uploads() -> Any:
    tracked = getattr(aiohttp, "UploadTracker", None)
    if tracked is None:  # before aiohttp 3.14.4
        return None
    tracker = tracked()
    failed = await _failure(aiohttp.TCPConnector(), "http://127.0.0.1:9/", upload_tracker=tracker)
    return [failed, tracker.attempts, tracker.bytes_written, repr(tracker.upload_complete.exception())]


class Unread(aiohttp.ClientResponse):
    """A response that is made without a look at what comes, as in aiohttp's own ``test_custom_req_rep``."""

    async def start(self, connection: Any) -> Any:
        self.status, self.reason, self._connection = 123, "Test OK", connection
        headers: CIMultiDict[str] = CIMultiDict()
        self._headers = CIMultiDictProxy(headers)
        return self


class Translated(aiohttp.ClientResponse):
    """A response that says otherwise than what came."""

    async def start(self, connection: Any) -> Any:
        await super().start(connection)
        self.status += 100
        self.reason = f"was {self.reason}"
        return self


@_aiohttp
async def responses_of_an_own_class() -> Any:
    found: list[Any] = []
    async with aiohttp.ClientSession(response_class=Unread) as client:
        response = await client.get(f"{UPSTREAM}/users/4")
        found.append([type(response).__name__, response.status, response.reason, dict(response.headers)])
        response.close()
    async with aiohttp.ClientSession(response_class=Translated) as client:
        for path in ("users/5", "nothing/here"):
            async with client.get(f"{UPSTREAM}/{path}") as response:
                found.append([response.status, response.reason, await response.read()])
    return found
