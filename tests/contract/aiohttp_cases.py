"""The cases that only aiohttp has: its readers, middlewares, bodies, timeouts, errors and trace configs."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import ClientTimeout
from aiohttp.payload import AsyncIterablePayload

from tests.contract.aiohttp_flavour import AiohttpFlavour, observe_failure, observe_jar, observe_response, tried
from tests.contract.framework import CaseList
from tests.contract.http_cases import SHORT
from tests.contract.observation import attempt, plain
from timetracer_otel import ReplayMismatchError

__all__ = ["AIOHTTP_CASES", "case"]

case = CaseList()
AIOHTTP_CASES = case.cases


@asynccontextmanager
async def _client(f: AiohttpFlavour, **options: Any) -> AsyncIterator[Any]:
    async with f.client(**options) as client:
        yield client
    for _ in range(5):
        await asyncio.sleep(0)


async def _read(awaitable: Any) -> Any:
    """A call whose body is read, or its error."""
    try:
        response = await awaitable
        await response.read()
    except ReplayMismatchError:
        raise
    except Exception as error:
        return observe_failure(error)
    return observe_response(response)


async def _raises(awaitable: Any) -> Any:
    try:
        return plain(await awaitable)
    except ReplayMismatchError:
        raise
    except Exception as error:
        return observe_failure(error)


# Reading


@case(9)
async def every_reader_of_a_body_that_comes_piece_by_piece(f: AiohttpFlavour) -> Any:
    seen: dict[str, Any] = {}
    async with _client(f) as client:
        for name in (
            "iter_any",
            "iter_chunked",
            "readany",
            "read",
            "readexactly",
            "readline",
            "async for",
            "readuntil",
        ):
            async with client.get(f.url(f"/gated/{name.replace(' ', '-')}")) as response:
                content, token = response.content, name.replace(" ", "-")
                pieces: list[Any] = []
                if name in {"iter_any", "iter_chunked", "async for"}:
                    items = {"iter_any": content.iter_any, "async for": content.__aiter__}.get(
                        name, lambda content=content: content.iter_chunked(4)
                    )()
                    async for piece in items:
                        pieces.append(piece)
                        f.release(token)
                else:
                    arguments = {"read": (5,), "readexactly": (6,), "readuntil": (b"pa",)}.get(name, ())
                    while not content.at_eof():
                        pieces.append(await _raises(getattr(content, name)(*arguments)))
                        f.release(token)
                joined = b"".join(p for p in pieces if isinstance(p, bytes))
                # How the network cut it is compared by the replay alone.
                seen[name] = pieces if name in {"readexactly", "readline", "async for", "readuntil"} else joined
        async with client.get(f.url("/gated/chunks")) as response:
            pieces = []
            async for data, ends in response.content.iter_chunks():
                pieces.append((data, ends))
                f.release("chunks")
            seen["iter_chunks"] = b"".join(data for data, _ in pieces)
    return seen


@case(4)
async def readers_of_a_body_whose_end_comes_after_all_of_it(f: AiohttpFlavour) -> Any:
    seen: list[Any] = []
    async with _client(f) as client:
        for name, arguments in (("read", (5,)), ("readexactly", (6,)), ("readline", ()), ("readuntil", (b"l",))):
            async with client.get(f.url(f"/gated/late-end?n=1&end={name}")) as response:
                content = response.content
                seen.append([name, await content.readexactly(12), content.at_eof(), content.is_eof()])
                f.release(name)
                seen.append([await _raises(getattr(content, name)(*arguments)), content.at_eof(), content.is_eof()])
    return seen


@case(4)
async def readers_at_the_end(f: AiohttpFlavour) -> Any:
    seen: list[Any] = []
    async with _client(f) as client:
        async with client.get(f.url("/bytes/10")) as response:
            seen.append(await _raises(response.content.readexactly(20)))
            seen.append([await response.content.read(), await response.content.readany(), response.content.at_eof()])
        async with client.get(f.url("/bytes/0")) as response:
            seen.append([await response.content.read(), await response.content.readline(), response.closed])
        async with client.get(f.url("/status/204")) as response:
            seen.append([await response.content.read(), await response.content.readany(), repr(response.content)])
        async with client.get(f.url("/bytes/100")) as response:
            await response.content.wait_eof()
            seen.append(
                [response.content.read_nowait(10), response.content.read_nowait(-1), response.content.is_eof()]
            )
    return seen


@case(6)
async def read_text_and_json(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        response = await client.get(f.url("/text/latin-1"))
        seen = [await response.text(), await response.text("cp1252"), await response.read(), response.get_encoding()]
        response = await client.get(f.url("/json/exact"))
        seen += [await response.json(), await response.json(loads=str)]
        response = await client.get(f.url("/text/utf-8"))
        seen += [await _raises(response.json()), await _raises(response.json(content_type=None))]
        response = await client.get(f.url("/json/broken"))
        seen += [await _raises(response.json())]
        response = await client.get(f.url("/text/shift_jis"))
        seen += [await _raises(response.text("ascii")), await response.text("ascii", errors="replace")]
        response = await client.get(f.url("/status/204"))
        return [*seen, await response.json(content_type=None), await response.text()]


@case(4)
async def compressed_as_it_is_and_decoded(f: AiohttpFlavour) -> Any:
    seen = []
    async with _client(f) as client, _client(f, auto_decompress=False) as raw:
        for target in ("/encoded/gzip", "/encoded/br"):
            for one in (client, raw):
                response = await one.get(f.url(target))
                seen.append(
                    [await response.read(), response.content.total_bytes, response.headers["Content-Encoding"]]
                )
    return seen


@case(3)
async def large_bodies_stop_and_go(f: AiohttpFlavour) -> Any:
    seen = []
    async with _client(f, read_bufsize=1024) as client:
        async with client.get(f.url("/bytes/300000")) as response:
            pieces = []
            async for piece in response.content.iter_chunked(1000):
                pieces.append(piece)
                if len(pieces) % 50 == 0:
                    await asyncio.sleep(0)
            seen.append(b"".join(pieces))
        async with client.get(f.url("/bytes/300000"), read_bufsize=2**10) as response:
            seen.append(await response.content.readexactly(70_000))
        async with client.get(f.url("/encoded/gzip")) as response:
            seen.append(await response.read())
    return seen


@case(5)
async def released_closed_and_left(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        seen: list[Any] = []
        response = await client.get(f.url("/gated/left"))
        seen.append([await response.content.readany(), response.closed])
        response.release()
        seen.append([response.closed, await _raises(response.read()), plain(response.content.exception())])
        response = await client.get(f.url("/gated/closed"))
        response.close()
        seen.append([response.closed, await _raises(response.content.readany()), await _raises(response.read())])
        async with client.get(f.url("/bytes/10")) as response:
            body = await response.read()
        seen.append([body, await _raises(response.read()), response.closed])
        response = await client.get(f.url("/bytes/10"))
        async with response:
            seen.append(await response.read())
        await response.wait_for_close()
        async with await client.get(f.url("/echo")) as response:
            return [*seen, await response.read()]


@case(2)
async def raise_for_status_of_the_session_and_of_the_call(f: AiohttpFlavour) -> Any:
    async def mine(response: Any) -> None:
        if response.status == 418:
            raise KeyError(await response.text())

    async with _client(f, raise_for_status=True) as client:
        return [
            await _read(client.get(f.url("/status/500"))),
            await _raises(client.get(f.url("/status/418"), raise_for_status=mine)),
        ]


@case(5)
async def history_and_urls(f: AiohttpFlavour) -> Any:
    async with _client(f, base_url=f.url("/")) as client:
        response = await client.get("/redirect/302?to=/echo%23part#mine")
        seen = [[str(r.url) for r in response.history], str(response.url), str(response.real_url)]
        seen.append(await _read(client.get("/chain/1")))
        return [*seen, await _read(client.get("/redirect/302?to=/echo", allow_redirects=False))]


@case(1, "consumed-bodies")
async def redirect_of_a_body_that_is_gone(f: AiohttpFlavour) -> Any:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with _client(f) as client:
        return await _read(client.post(f.url("/redirect/307?to=/echo"), data=body()))


@case(4)
async def redirects_that_end_badly(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        return [
            await _read(client.get(f.url("/loop"), max_redirects=2)),
            await _read(client.get(f.url("/redirect/302?to=ftp://x/"))),
            await _read(client.get(f.url("/redirect/302?to=http:///none"))),
        ]


@case(0)
async def addresses_that_are_none(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        return [await _read(client.get(url)) for url in ("http://", "nothing", "ftp://x/", "http://[::1")]


# Bodies


@case(4)
async def forms(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        form = aiohttp.FormData({"a": "1"})
        form.add_field("upload", io.BytesIO(b"of a file"), filename="x.bin", content_type="application/x-one")
        form.add_field("text", "ä", content_type="text/plain")
        with aiohttp.MultipartWriter("mixed", boundary="b0undary") as writer:
            writer.append("part one")
            writer.append_json({"part": 2})
        return [
            await _read(client.post(f.url("/echo"), data=form)),
            await _read(client.post(f.url("/echo"), data=writer)),
            await _read(client.post(f.url("/echo"), data={"a": "1", "b": "ä&"})),
            await _read(client.post(f.url("/echo"), data=aiohttp.JsonPayload({"a": [1]}))),
        ]


@case(6)
async def uploads(f: AiohttpFlavour) -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        for n in range(3):
            await asyncio.sleep(0)
            yield b"piece %d " % n

    file = io.BytesIO(b"file " * 100)
    async with _client(f) as client:
        return [
            await _read(client.post(f.url("/echo"), data=pieces())),
            await _read(client.put(f.url("/echo"), data=AsyncIterablePayload(pieces(), content_type="x/y"))),
            await _read(client.put(f.url("/echo"), data=file)),
            file.closed,
            await _read(client.post(f.url("/echo"), data=io.StringIO("text ä"))),
            await _read(client.post(f.url("/echo"), data=b"in chunks", chunked=True)),
            await _read(client.post(f.url("/echo"), data=pieces(), headers={"Content-Length": "24"})),
        ]


@case(3)
async def compressed_uploads(f: AiohttpFlavour) -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one " * 50
        yield b"two " * 50

    async with _client(f) as client:
        return [
            await _read(client.post(f.url("/echo"), data=b"x" * 500, compress=True)),
            await _read(client.post(f.url("/echo"), data=b"x" * 500, compress="gzip")),
            await _read(client.post(f.url("/echo"), data=pieces(), compress="deflate")),
        ]


# Above the seam


@case(7)
async def middlewares_of_the_session_and_of_the_call(f: AiohttpFlavour) -> Any:
    log: list[Any] = []

    def named(name: str) -> Any:
        async def middleware(request: Any, handler: Any) -> Any:
            log.append(["to", name, request.method, str(request.url), "X-A" in request.headers])
            request.headers["X-" + name] = "1"
            response = await handler(request)
            log.append(["from", name, response.status])
            return response

        return middleware

    async def retrying(request: Any, handler: Any) -> Any:
        for _ in range(3):
            response = await handler(request)
            if response.status < 500:
                break
            response.release()
        return response

    async def editing(request: Any, handler: Any) -> Any:
        if hasattr(request, "update_body"):
            await request.update_body(b"edited")
        return await handler(request)

    async with _client(f, middlewares=(named("A"), named("B"))) as client:
        return [
            await _read(client.get(f.url("/chain/1"))),
            await _read(client.get(f.url("/echo"), middlewares=(named("C"),))),
            await _read(client.get(f.url("/flaky"), middlewares=(retrying,))),
            await _read(client.post(f.url("/echo"), data=b"first", middlewares=(editing,))),
            log,
        ]


@case(1)
async def middleware_that_answers_itself(f: AiohttpFlavour) -> Any:
    kept: list[Any] = []

    async def caching(request: Any, handler: Any) -> Any:
        if not kept:
            kept.append(await handler(request))
        return kept[0]

    async with _client(f, middlewares=(caching,)) as client:
        seen = [await _read(client.get(f.url("/counter/cached")))]
        return [*seen, await _read(client.get(f.url("/counter/cached")))]


@case(3)
async def trace_configs(f: AiohttpFlavour) -> Any:
    log: list[Any] = []
    config = aiohttp.TraceConfig()
    names = ("start", "end", "redirect", "exception", "chunk_sent", "headers_sent")
    for name in names:

        async def note(_: Any, __: Any, params: Any, name: str = name) -> None:
            log.append([name, params.method, str(params.url), getattr(params, "chunk", None)])

        getattr(config, f"on_request_{name}").append(note)

    async def received(_: Any, __: Any, params: Any) -> None:
        log.append(["received", params.chunk])

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    config.on_response_chunk_received.append(received)
    async with _client(f, trace_configs=[config]) as client:
        await _read(client.get(f.url("/chain/1")))
        await _read(client.post(f.url("/status/200"), data=pieces()))
    return log


@case(3)
async def cookies_of_the_response_and_of_the_jar(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        response = await client.get(f.url("/cookies/odd"))
        seen = [[m.OutputString() for m in response.cookies.values()], observe_jar(client.cookie_jar)]
        seen.append(await _read(client.get(f.url("/echo"), cookies={"own": "1"})))
        await _read(client.get(f.url("/cookies/clear")))
        return [*seen, observe_jar(client.cookie_jar)]


class Shouting(aiohttp.ClientResponse):
    """A response class of the user's."""

    async def start(self, connection: Any) -> Any:
        await super().start(connection)
        self.loud = (self.reason or "").upper()
        return self

    async def shout(self) -> str:
        return (await self.text()).upper()


@case(2)
async def response_class_of_the_user(f: AiohttpFlavour) -> Any:
    async with _client(f, response_class=Shouting) as client:
        response = await client.get(f.url("/text/utf-8"))
        return [await response.shout(), response.loud, await _read(client.get(f.url("/gated/own?n=1")))]


@case(1)
async def expect_continue_and_be_told_otherwise(f: AiohttpFlavour) -> Any:
    async with _client(f, timeout=ClientTimeout(total=1)) as client:
        return await _read(client.post(f.url("/early"), data=b"x" * 50, expect100=True))


# Errors


@case(6)
async def timeouts_of_each_kind(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        slow, stuck, dead = f.url("/slow/2000"), f.url("/slow-body/2000"), f.url("/", "backlog")
        return [
            await _read(client.get(slow, timeout=ClientTimeout(total=SHORT))),
            await _read(client.get(slow, timeout=ClientTimeout(sock_read=SHORT))),
            await _read(client.get(stuck, timeout=ClientTimeout(total=SHORT))),
            await _read(client.get(stuck, timeout=ClientTimeout(sock_read=SHORT))),
            await _read(client.get(dead, timeout=ClientTimeout(connect=SHORT))),
            await _read(client.get(dead, timeout=ClientTimeout(sock_connect=SHORT))),
        ]


@case(1)
async def total_timeout_while_connecting(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        return await _read(client.get(f.url("/", "backlog"), timeout=ClientTimeout(total=SHORT)))


@case(2)
async def connection_errors_keep_the_objects_of_the_request(f: AiohttpFlavour) -> Any:
    context = f.trusting()
    async with _client(f) as client:
        seen: list[Any] = []
        for url in (f.url("/", "refused"), f.url("/", "tls-other")):
            try:
                await client.get(url, ssl=context)
            except aiohttp.ClientConnectorError as error:
                seen.append(
                    [error.ssl is context, error.host, error.port, type(error).__name__, error.args[0].is_ssl]
                )
                os_error = error.args[-1]
                seen.append([error.__cause__ is os_error, str(os_error)])
        return seen


@case(3)
async def bodies_that_break_after_some_was_read(f: AiohttpFlavour) -> Any:
    seen: list[Any] = []
    async with _client(f) as client:
        for path in ("short-body", "cut-chunk", "reset-mid-body"):
            async with client.get(f.url(f"/raw/{path}")) as response:
                pieces = [await response.content.readexactly(5)]
                f.release("reset")
                seen.append([pieces, await _raises(response.content.readexactly(10)), await _raises(response.read())])
    return seen


# Time, tasks and connections


@case(2)
async def a_reading_that_timed_out_and_was_taken_up_again(f: AiohttpFlavour) -> Any:
    async with _client(f) as client:
        response = await client.get(f.url("/gated/again"))
        first = await response.content.readline()
        f.release("again")
        f.release("again")
        return [first, await response.read(), await _read(client.get(f.url("/echo")))]


@case(1)
async def connection_tells_its_peer(f: AiohttpFlavour) -> Any:
    async with _client(f) as client, client.get(f.url("/gated/peer")) as response:
        connection = response.connection
        peer = connection.transport.get_extra_info("peername")
        first = await response.content.readany()
        return [type(connection).__name__, peer, connection.closed, first, attempt(lambda: repr(connection)[:15])]


@case(0)
async def closed_session(f: AiohttpFlavour) -> Any:
    client = f.client()
    await client.close()
    return await tried(client.get(f.url("/echo")))


@case(4)
async def top_level_request_and_other_shapes(f: AiohttpFlavour) -> Any:
    async with aiohttp.request("GET", f.url("/echo"), params={"a": [1, 2]}) as response:
        seen: list[Any] = [observe_response(response), await response.json()]
    async with _client(f, headers={"X-A": "1"}, skip_auto_headers=["User-Agent"]) as client:
        seen.append(await _read(client.request("PURGE", f.url("/echo"))))
        seen.append(await _read(client.get(f.url("/echo"), skip_auto_headers=["Accept"])))
        return [*seen, await _read(client.options(f.url("/echo")))]
