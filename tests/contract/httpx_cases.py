"""The cases that only httpx and httpx2 have: their streams, hooks, transports, auth flows, models."""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.contract.framework import CaseList, each, settle
from tests.contract.http_cases import JSON, SHORT
from tests.contract.http_flavour import Pieces
from tests.contract.httpx_flavour import HttpxFlavour, observe_failure, observe_request, observe_response
from tests.contract.observation import attempt, class_name, observe_error, plain
from timetracer_otel import ReplayMismatchError

__all__ = ["HTTPX_CASES", "case"]

case = CaseList()
HTTPX_CASES = case.cases


async def _try(f: HttpxFlavour, awaitable: Any) -> Any:
    """What a call returns or raises, observed; takes a function, as synchronous calls raise at once."""
    try:
        response = await settle(awaitable())
    except ReplayMismatchError:
        raise
    except Exception as error:
        return observe_failure(error)
    return observe_response(response) if isinstance(response, f.lib.Response) else plain(response)


def _a(f: HttpxFlavour, name: str) -> str:
    return f"a{name}" if f.asynchronous else name


# The ways to call


@case(8, "sync")
async def top_level_functions(f: HttpxFlavour) -> Any:
    lib, ctx = f.lib, f.trusting()
    seen: list[Any] = [
        observe_response(getattr(lib, name)(f.url(f"/echo?{name}"), verify=ctx))
        for name in ("get", "options", "head", "delete")
    ]
    seen += [
        observe_response(getattr(lib, name)(f.url("/echo"), json={"by": name}, verify=ctx))
        for name in ("post", "put", "patch")
    ]
    with lib.stream("GET", f.url("/lines"), verify=ctx) as response:
        seen.append(list(response.iter_lines()))
    return seen


@case(5)
async def methods_of_the_client(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        return [
            await _try(f, lambda: client.get(f.url("/echo"), params={"a": [1, 2]})),
            await _try(f, lambda: client.post(f.url("/echo"), data={"a": "1"})),
            await _try(f, lambda: client.put(f.url("/echo"), content=b"x")),
            await _try(f, lambda: client.head(f.url("/echo"))),
            await _try(f, lambda: client.request("GET", f.url("/echo"), extensions={"mine": 1})),
        ]


@case(1, "httpx2", "query")
async def query_method(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        return await _try(f, lambda: client.query(f.url("/echo"), json=JSON))


@case(1, "httpx2", "sse")
async def events_of_httpx2_arrive_one_by_one(f: HttpxFlavour) -> Any:
    seen = []
    async with f.using(f.client()) as client, f.using(client.sse(f.url("/gated/sse?sse=1&n=3"))) as source:
        async for event in each(source.__aiter__() if f.asynchronous else iter(source)):
            seen.append([event.event, event.data, event.id, event.retry, event.json()])
            f.release("sse")
        return [seen, source.response.status_code]


@case(3)
async def base_url_and_defaults(f: HttpxFlavour) -> Any:
    options = {"params": {"always": "1"}, "headers": {"X-A": "1"}, "cookies": {"c": "1"}, "timeout": 3.0}
    async with f.using(f.client(base_url=f.url("/echo/base"), **options)) as client:
        return [
            await _try(f, lambda: client.get("")),
            await _try(f, lambda: client.get("/below", params={"b": "2"})),
            await _try(f, lambda: client.get(f.url("/echo/absolute"))),
        ]


@case(2)
async def built_requests_sent_twice(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        request = client.build_request("POST", f.url("/counter/built"), json=JSON)
        seen = [await _try(f, lambda: client.send(request)) for _ in range(2)]
        return [*seen, observe_request(request)]


@case(1)
async def request_without_the_client_headers(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        return await _try(f, lambda: client.send(f.lib.Request("GET", f.url("/echo"))))


@case(2)
async def send_with_stream_then_read(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        seen: list[Any] = []
        for target in ("/text/utf-8", "/encoded/gzip"):
            response = await settle(client.send(client.build_request("GET", f.url(target)), stream=True))
            seen.append([attempt(lambda r=response: r.content), attempt(lambda r=response: r.elapsed)])
            seen.append(plain(await settle(getattr(response, _a(f, "read"))())))
            seen.append(observe_response(response))
        return seen


@case(1)
async def streamed_response_read_twice(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client, f.using(client.stream("GET", f.url("/lines"))) as response:
        read = getattr(response, _a(f, "read"))
        first, second = await settle(read()), await settle(read())
        again = [piece async for piece in each(getattr(response, _a(f, "iter_bytes"))())]
        return [plain(first), first is second, again, observe_response(response)]


@case(1)
async def streamed_response_read_in_the_way_of_the_other_client(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client, f.using(client.stream("GET", f.url("/lines"))) as response:
        # Refused, by the client's own stream: sync code cannot read an async one, nor the other way round.
        refused = await _try(f, response.read if f.asynchronous else response.aread)
        return [refused, await _try(f, getattr(response, _a(f, "read")))]


@case(2)
async def streamed_response_iterated_twice(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        seen = []
        for reader in ("iter_raw", "iter_bytes"):
            async with f.using(client.stream("GET", f.url("/lines"))) as response:
                pieces = [piece async for piece in each(getattr(response, _a(f, reader))())]
                try:
                    seen += [piece async for piece in each(getattr(response, _a(f, "iter_raw"))())]
                except Exception as error:
                    seen.append(observe_error(error))
                seen += [pieces, await _try(f, getattr(response, _a(f, "read")))]
        return seen


@case(1)
async def streamed_response_read_after_closing(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        async with f.using(client.stream("GET", f.url("/lines"))) as response:
            await settle(getattr(response, _a(f, "close"))())
            await settle(getattr(response, _a(f, "close"))())
        return [await _try(f, getattr(response, _a(f, "read"))), observe_response(response)]


@case(1)
async def half_iterated_response_then_read(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client, f.using(client.stream("GET", f.url("/lines"))) as response:
        items = getattr(response, _a(f, "iter_raw"))()
        async for piece in each(items):
            first = piece
            break
        return [first, await _try(f, getattr(response, _a(f, "read"))), observe_response(response)]


@case(1, "sync")
async def response_outlives_its_client(f: HttpxFlavour) -> Any:
    with f.client() as client:
        response = client.send(client.build_request("GET", f.url("/bytes/5")), stream=True)
    return [await _try(f, response.read), observe_response(response)]


@case(1)
async def pickled_response(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        response = await settle(client.get(f.url("/text/utf-8")))
        copy = pickle.loads(pickle.dumps(response))
        return [copy.status_code, copy.text, copy.headers.raw, str(copy.url)]


# Encodings and models


@case(3)
async def default_encoding(f: HttpxFlavour) -> Any:
    seen = []
    for encoding in ("latin-1", lambda content: "utf-16" if content.startswith(b"\xff\xfe") else "shift_jis"):
        async with f.using(f.client(default_encoding=encoding)) as client:
            target = "/text/latin-1/none" if isinstance(encoding, str) else "/text/shift_jis/none"
            seen.append(await _try(f, lambda c=client, t=target: c.get(f.url(t))))
    async with f.using(f.client()) as client:
        response = await settle(client.get(f.url("/text/latin-1")))
        response.encoding = "ascii"
        seen.append(observe_response(response))
    return seen


@case(1)
async def server_address_from_the_network_stream(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client, f.using(client.stream("GET", f.url("/echo"))) as response:
        return plain("network_stream" in response.extensions)


# Hooks and logs


@case(3)
async def event_hooks(f: HttpxFlavour) -> Any:
    seen: list[Any] = []

    def on_request(request: Any) -> None:
        request.headers["X-Hook"] = "was here"
        seen.append(observe_request(request))

    def on_response(response: Any) -> None:
        seen.append([response.status_code, attempt(lambda: response.content), str(response.url)])

    async def on_request_async(request: Any) -> None:
        on_request(request)

    async def on_response_async(response: Any) -> None:
        on_response(response)
        await response.aread()
        seen.append(response.content)

    def on_response_read(response: Any) -> None:
        on_response(response)
        seen.append(response.read())

    hooks = {"request": [on_request], "response": [on_response_read]}
    if f.asynchronous:
        hooks = {"request": [on_request_async], "response": [on_response_async]}
    async with f.using(f.client(event_hooks=hooks, follow_redirects=True)) as client:
        seen.append(await _try(f, lambda: client.get(f.url("/chain/2"))))
    return seen


@case(2)
async def response_hook_that_raises(f: HttpxFlavour) -> Any:
    def check(response: Any) -> None:
        response.raise_for_status()

    async def check_async(response: Any) -> None:
        response.raise_for_status()

    async with f.using(f.client(event_hooks={"response": [check_async if f.asynchronous else check]})) as client:
        return [await _try(f, partial(client.get, f.url(f"/status/{code}"))) for code in (404, 200)]


@contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@case(2)
async def log_lines(f: HttpxFlavour) -> Any:
    with _logged(f.lib.__name__) as lines:
        async with f.using(f.client()) as client:
            await settle(client.get(f.url("/echo")))
            await settle(client.get(f.url("/status/503?reason=Odd")))
    return lines


# Transports


def _transport(f: HttpxFlavour, **options: Any) -> Any:
    kind = f.lib.AsyncHTTPTransport if f.asynchronous else f.lib.HTTPTransport
    return kind(verify=f.trusting(), **options)


def _wrapper(f: HttpxFlavour, inner: Any, log: list[Any]) -> Any:
    """A transport of the user's around another one, which counts and changes what goes through."""

    class Sync(f.lib.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            log.append(str(request.url))
            response = inner.handle_request(request)
            log.append([response.status_code, class_name(response)])
            response.headers["X-Wrapped"] = "yes"
            return response

        def close(self) -> None:
            log.append("closed")
            inner.close()

    class Async(f.lib.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            log.append(str(request.url))
            response = await inner.handle_async_request(request)
            log.append([response.status_code, class_name(response)])
            response.headers["X-Wrapped"] = "yes"
            return response

        async def aclose(self) -> None:
            log.append("closed")
            await inner.aclose()

    return Async() if f.asynchronous else Sync()


@case(3)
async def transport_of_the_user_around_the_real_one(f: HttpxFlavour) -> Any:
    log: list[Any] = []
    async with f.using(f.client(transport=_wrapper(f, _transport(f), log), follow_redirects=True)) as client:
        return [await _try(f, lambda: client.get(f.url("/chain/2"))), log]


@case(2)
async def transport_that_makes_a_response_of_its_own(f: HttpxFlavour) -> Any:
    """It gives the client the real response's stream in another response, as caches do."""
    inner = _transport(f)

    def anew(response: Any) -> Any:
        head = {"headers": response.headers, "extensions": response.extensions}
        return f.lib.Response(response.status_code, stream=response.stream, **head)

    class Sync(f.lib.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            return anew(inner.handle_request(request))

        def close(self) -> None:
            inner.close()

    class Async(f.lib.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            return anew(await inner.handle_async_request(request))

        async def aclose(self) -> None:
            await inner.aclose()

    async with f.using(f.client(transport=(Async if f.asynchronous else Sync)())) as client:
        whole = await _try(f, lambda: client.get(f.url("/lines")))
        async with f.using(client.stream("GET", f.url("/lines"))) as response:
            lines = [line async for line in each(getattr(response, _a(f, "iter_lines"))())]
        return [whole, lines]


@case(2)
async def subclass_of_the_transport(f: HttpxFlavour) -> Any:
    log: list[str] = []

    class Sync(f.lib.HTTPTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            log.append("before")
            request.headers["X-Signed"] = "s"
            return super().handle_request(request)

    class Async(f.lib.AsyncHTTPTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            log.append("before")
            request.headers["X-Signed"] = "s"
            return await super().handle_async_request(request)

    transport = (Async if f.asynchronous else Sync)(verify=f.trusting())
    async with f.using(f.client(transport=transport)) as client:
        seen = [await _try(f, lambda: client.get(f.url("/echo"))), await _try(f, lambda: client.get(f.url("/lines")))]
        return [*seen, log]


@case(3)
async def transport_that_retries_by_itself(f: HttpxFlavour) -> Any:
    class Sync(f.lib.HTTPTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            while (response := super().handle_request(request)).status_code == 503:
                response.read()
                response.close()
            return response

    class Async(f.lib.AsyncHTTPTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            while (response := await super().handle_async_request(request)).status_code == 503:
                await response.aread()
                await response.aclose()
            return response

    transport = (Async if f.asynchronous else Sync)(verify=f.trusting())
    async with f.using(f.client(transport=transport)) as client:
        return await _try(f, lambda: client.get(f.url("/flaky")))


@case(1)
async def transport_with_connection_retries(f: HttpxFlavour) -> Any:
    async with f.using(f.client(transport=_transport(f, retries=1))) as client:
        return await _try(f, lambda: client.get(f.url("/", "refused")))


@case(2)
async def mounted_transports(f: HttpxFlavour) -> Any:
    log: list[Any] = []
    mounts = {
        "all://": f.lib.MockTransport(lambda _: f.lib.Response(418, text="mounted mock")),
        f.url("").rsplit(":", 1)[0]: _wrapper(f, _transport(f), log),
    }
    async with f.using(f.client(mounts=mounts)) as client:
        return [
            await _try(f, lambda: client.get(f.url("/echo"))),
            await _try(f, lambda: client.get("http://elsewhere.test/")),
            await _try(f, lambda: client.get(f.url("/counter/m"))),
            log,
        ]


@case(1)
async def transport_called_directly(f: HttpxFlavour) -> Any:
    async with f.using(_transport(f)) as transport:
        handle = transport.handle_async_request if f.asynchronous else transport.handle_request
        request = f.lib.Request("GET", f.url("/headers/duplicate"))
        response = await settle(handle(request))
        content = await settle(getattr(response, _a(f, "read"))())
        await settle(getattr(response, _a(f, "close"))())
        return [response.status_code, response.headers.raw, content, plain(attempt(lambda: response.request))]


@case(0)
async def mock_transport_is_left_alone(f: HttpxFlavour) -> Any:
    calls: list[str] = []

    def handler(request: Any) -> Any:
        calls.append(request.method)
        if request.url.path == "/boom":
            raise f.lib.ConnectError("mocked", request=request)
        return f.lib.Response(200, json={"n": len(calls)})

    async with f.using(f.client(transport=f.lib.MockTransport(handler))) as client:
        return [
            await _try(f, lambda: client.get("http://mock.test/")),
            await _try(f, lambda: client.post("http://mock.test/", content=b"x")),
            await _try(f, lambda: client.get("http://mock.test/boom")),
            calls,
        ]


@case(0, "async")
async def asgi_transport_is_left_alone(f: HttpxFlavour) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1")]})
        await send({"type": "http.response.body", "body": b"asgi " + scope["path"].encode() + body})

    async with f.using(f.client(transport=f.lib.ASGITransport(app=app))) as client:
        return await _try(f, lambda: client.post("http://app.test/in-process", content=b"!"))


@case(0, "sync")
async def wsgi_transport_is_left_alone(f: HttpxFlavour) -> Any:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-A", "1")])
        return [b"wsgi ", environ["PATH_INFO"].encode()]

    with f.client(transport=f.lib.WSGITransport(app=app)) as client:
        return await _try(f, lambda: client.get("http://app.test/in-process"))


@case(1, "async")
async def app_in_process_that_calls_out(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as outer:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            answer = await outer.get(f.url("/counter/inner"))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": answer.content})

        async with f.using(f.client(transport=f.lib.ASGITransport(app=app))) as client:
            return await _try(f, lambda: client.get("http://app.test/"))


# Auth


@case(4)
async def custom_auth_flow(f: HttpxFlavour) -> Any:
    class TokenAuth(f.lib.Auth):  # type: ignore[misc, name-defined]
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            response = yield request
            if response.status_code == 401:
                token = yield f.lib.Request("POST", f.url("/counter/token"), json={"who": "me"})
                request.headers["Authorization"] = f"Bearer t-{token.json()['n']}"
                yield request

    async with f.using(f.client(auth=TokenAuth())) as client:
        return [
            await _try(f, lambda: client.get(f.url("/auth/bearer"))),
            await _try(f, lambda: client.get(f.url("/echo"))),
        ]


@case(1)
async def auth_by_function_and_in_the_url(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        url = f.url("/auth/basic").replace("//", "//user:pass@")
        return await _try(f, lambda: client.get(url))


@case(1)
async def auth_by_function(f: HttpxFlavour) -> Any:
    def sign(request: Any) -> Any:
        request.headers["Authorization"] = "Bearer t-1"
        return request

    async with f.using(f.client(auth=sign)) as client:
        return await _try(f, lambda: client.get(f.url("/auth/bearer")))


@case(1)
async def auth_from_netrc(f: HttpxFlavour) -> Any:
    with TemporaryDirectory() as folder:
        file = Path(folder, "netrc")
        file.write_text("machine 127.0.0.1 login user password pass\n")
        async with f.using(f.client(auth=f.lib.NetRCAuth(str(file)))) as client:
            return await _try(f, lambda: client.get(f.url("/auth/basic")))


# Errors


@case(3)
async def errors_before_anything_is_sent(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        return [
            await _try(f, lambda: client.get("http://[broken")),
            await _try(f, lambda: client.get("/no/host")),
            await _try(f, lambda: client.get("ftp://127.0.0.1/")),
            await _try(f, lambda: client.get(f.url("/echo"), headers={"X": "\u2028"})),
        ]


@case(2)
async def errors_of_the_local_side(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        return [
            await _try(f, lambda: client.get(f.url("/echo"), headers={b"X-Bad": b"a\nb"})),
            await _try(f, lambda: client.post(f.url("/echo"), content=b"123", headers={"Content-Length": "1"})),
        ]


@case(2)
async def pool_timeout(f: HttpxFlavour) -> Any:
    limits, timeout = f.lib.Limits(max_connections=1), f.lib.Timeout(5, pool=SHORT)
    async with (
        f.using(f.client(limits=limits, timeout=timeout)) as client,
        f.using(client.stream("GET", f.url("/gated/pool"))) as response,
    ):
        second = await _try(f, lambda: client.get(f.url("/echo")))
        f.release("pool")
        f.release("pool")
        return [second, await settle(getattr(response, _a(f, "read"))())]


@case(1)
async def closed_client(f: HttpxFlavour) -> Any:
    client = f.client()
    async with f.using(client):
        first = await _try(f, lambda: client.get(f.url("/echo")))
    return [first, await _try(f, lambda: client.get(f.url("/echo")))]


@case(2)
async def generator_body_cannot_follow_a_redirect(f: HttpxFlavour) -> Any:
    pieces = Pieces([b"a", b"b"])
    async with f.open(follow=True) as session:
        return [await session.call("POST", "/redirect/307?to=/echo", content=pieces), pieces.pulled]


@case(2)
async def generator_body_that_a_redirect_drops(f: HttpxFlavour) -> Any:
    pieces = Pieces([b"a", b"b"])
    async with f.open(follow=True) as session:
        return [await session.call("POST", "/redirect/303?to=/echo", content=pieces), pieces.pulled]


@case(1)
async def generator_body_with_a_length(f: HttpxFlavour) -> Any:
    pieces = Pieces([b"abc", b"def"])
    async with f.open() as session:
        return await session.call("POST", "/echo", content=pieces, headers={"Content-Length": "6"})


@case(1, "sync")
async def upload_of_a_file_object_moves_its_position(f: HttpxFlavour) -> Any:
    file = io.BytesIO(b"skip" + b"rest of it")
    file.seek(4)
    with f.client() as client:
        return [await _try(f, lambda: client.post(f.url("/echo"), content=file)), file.tell()]


@case(1)
async def multipart_with_a_boundary_of_the_user(f: HttpxFlavour) -> Any:
    headers = {"Content-Type": "multipart/form-data; boundary=mine"}
    async with f.using(f.client()) as client:
        return await _try(
            f, lambda: client.post(f.url("/echo"), files={"a": b"1", "b": ("n", b"2")}, headers=headers)
        )


@case(1)
async def redirect_by_hand_with_next_request(f: HttpxFlavour) -> Any:
    async with f.using(f.client()) as client:
        first = await settle(client.get(f.url("/redirect/301?to=http://127.0.0.1:1/x")))
        return [observe_response(first), plain(first.has_redirect_location)]


@case(3)
async def max_redirects(f: HttpxFlavour) -> Any:
    async with f.using(f.client(follow_redirects=True, max_redirects=2)) as client:
        return await _try(f, lambda: client.get(f.url("/chain/5")))
