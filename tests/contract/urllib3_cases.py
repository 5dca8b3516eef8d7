"""The cases that only urllib3 has: its retries, its pools, and responses whose bodies are read later."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, connection_from_url
from urllib3.util.retry import Retry

from tests.contract.framework import CaseList
from tests.contract.http_flavour import Pieces
from tests.contract.observation import attempt, observe_error
from tests.contract.requests_cases import _READERS
from tests.contract.requests_flavour import steady
from tests.contract.urllib3_flavour import Urllib3Flavour, observe_failure, observe_response, redirects, tried

__all__ = ["URLLIB3_CASES", "case"]

case = CaseList()
URLLIB3_CASES = case.cases
_HAS_REQUEST = hasattr(urllib3.HTTPResponse, "json")
"""Since 2.0. Before, `urllib3.request` is a module, which refuses to be called."""


# The ways to call


@case(3 if _HAS_REQUEST else 2)
async def ways_to_call(f: Urllib3Flavour) -> Any:
    seen = []
    if _HAS_REQUEST:
        seen.append(tried(lambda: urllib3.request("GET", f.url("/echo?top"), retries=False)))
    with connection_from_url(f.url("/"), maxsize=1) as pool:
        seen.append(tried(lambda: pool.urlopen("POST", "/echo?pool", body=b"a", headers={"X-A": "1"})))
        seen.append(tried(lambda: pool.request("GET", "/echo", fields={"a": "1"})))
    return seen


@case(4)
async def headers_in_every_form(f: Urllib3Flavour) -> Any:
    pairs = urllib3._collections.HTTPHeaderDict([("X-A", "1"), ("X-A", "2"), ("x-b", "ä")])
    with f.manager(headers={"X-Manager": "m"}) as manager:
        return [
            tried(lambda: manager.request("GET", f.url("/echo"))),
            tried(lambda: manager.request("GET", f.url("/echo"), headers=pairs)),
            tried(lambda: manager.request("GET", f.url("/echo"), headers={"X-Bytes": b"b"})),
            tried(lambda: manager.request("GET", f.url("/echo"), headers=urllib3.util.make_headers(keep_alive=True))),
        ]


class _Managed(urllib3.PoolManager):
    """As libraries make their own: it adds a header, and counts."""

    count = 0

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> Any:  # type: ignore[override]
        self.count += 1
        kw["headers"] = {**(kw.get("headers") or {}), "X-Count": str(self.count)}
        return super().urlopen(method, url, redirect, **kw)


class _Pool(HTTPConnectionPool):
    def urlopen(self, method: Any, url: Any, *args: Any, **kw: Any) -> Any:
        return super().urlopen(method, f"{url}?by=pool", *args, **kw)


@case(3)
async def managers_and_pools_of_ones_own(f: Urllib3Flavour) -> Any:
    with _Managed() as manager:
        seen = [tried(lambda: manager.request("GET", f.url("/echo"))) for _ in range(2)]
        manager.pool_classes_by_scheme = {"http": _Pool}
        manager.clear()
        return [*seen, tried(lambda: manager.request("GET", f.url("/echo"))), manager.count]


# Request bodies


class _Iterable:
    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one", b"two"])


@case(9)
async def bodies_of_many_kinds(f: Urllib3Flavour) -> Any:
    half_read = io.BytesIO(b"skip the rest")
    half_read.seek(5)
    bodies = [b"bytes", bytearray(b"array"), "text", half_read, _Iterable(), iter([b"a", b"b"])]
    with f.manager() as manager:
        seen = [tried(partial(manager.request, "POST", f.url("/echo"), body=body)) for body in bodies]
        for body in (b"bytes", io.BytesIO(b"file"), iter([b"a", b"", b"bc"])):
            call = {"body": body, "chunked": True}
            seen.append(tried(partial(manager.urlopen, "POST", f.url("/echo"), **call)))
    return [seen, half_read.tell()]


@case(1)
async def real_file_is_uploaded_from_disk(f: Urllib3Flavour) -> Any:
    with TemporaryDirectory() as folder:
        path = Path(folder, "upload.bin")
        path.write_bytes(b"0123456789" * 5000)
        with f.manager() as manager, path.open("rb") as file:
            response = manager.request("POST", f.url("/echo"), body=file)
            return [len(response.data), file.tell(), file.closed]


@case(2)
async def file_body_that_is_sent_again_behind_a_redirect(f: Urllib3Flavour) -> Any:
    file = io.BytesIO(b"first part, file " * 2000)
    file.seek(12)
    with f.manager() as manager:
        return [tried(lambda: manager.request("PUT", f.url("/redirect/308?to=/echo"), body=file)), file.tell()]


@case(3)
async def generator_body_is_empty_where_it_is_sent_again(f: Urllib3Flavour) -> Any:
    pieces = Pieces([b"a", b"b"])
    with f.manager() as manager:
        call = lambda: manager.request("POST", f.url("/status/503"), body=iter(pieces), retries=_STATUS)  # noqa: E731
        return [tried(call), pieces.pulled]


# Retries and redirects

_STATUS = Retry(2, status_forcelist=[503], allowed_methods=None, backoff_factor=0)


@case(3)
async def retries_by_status_end_in_an_answer(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        return tried(lambda: manager.request("GET", f.url("/flaky"), retries=Retry(5, status_forcelist=[503])))


@case(3)
async def retries_by_status_end_in_an_error(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        return tried(lambda: manager.request("GET", f.url("/status/503"), retries=_STATUS))


@case(3)
async def retries_by_status_that_return_the_last_answer(f: Urllib3Flavour) -> Any:
    rule = Retry(2, status_forcelist=[503], raise_on_status=False)
    with f.manager() as manager:
        return tried(lambda: manager.request("GET", f.url("/status/503"), retries=rule))


@case(6)
async def retries_of_failures(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        return [
            tried(lambda: manager.request("GET", f.url("/", "refused"), retries=Retry(connect=2, backoff_factor=0))),
            tried(lambda: manager.request("GET", f.url("/raw/no-answer"), retries=Retry(read=2, total=None))),
        ]


@case(4)
async def redirects_leave_a_history(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        return tried(lambda: manager.request("GET", f.url("/chain/3"), retries=redirects(5)))


@case(4)
async def too_many_redirects(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        quiet = Retry(redirect=1, raise_on_redirect=False)
        return [
            tried(lambda: manager.request("GET", f.url("/loop"), retries=redirects(1))),
            tried(lambda: manager.request("GET", f.url("/loop"), retries=quiet)),
        ]


@case(3)
async def redirects_of_one_pool(f: Urllib3Flavour) -> Any:
    with connection_from_url(f.url("/")) as pool:
        return [
            tried(lambda: pool.urlopen("GET", "/redirect/302?to=/echo", retries=redirects(2))),
            tried(lambda: pool.urlopen("GET", "/redirect/302?to=/echo", redirect=False)),
        ]


# Responses


@case(4 * len(_READERS))
async def bodies_read_in_every_way(f: Urllib3Flavour) -> Any:
    seen: dict[str, Any] = {}
    with f.manager() as manager:
        for target in ("/lines", "/bytes/50", "/encoded/gzip", "/until-close"):
            for name, reader in _READERS.items():
                raw: Any = manager.request("GET", f.url(target), preload_content=False, decode_content=False)
                seen[f"{target} {name}"] = [
                    attempt(lambda reader=reader, raw=raw: reader(raw)),
                    raw.tell(),
                    raw.closed,
                    raw.length_remaining,
                ]
                raw.close()
    return steady(seen)


@case(4)
async def decoding_that_is_chosen(f: Urllib3Flavour) -> Any:
    seen = []
    with f.manager() as manager:
        for preload in (True, False):
            for decode in (True, False):
                response: Any = manager.request(
                    "GET", f.url("/encoded/gzip"), preload_content=preload, decode_content=decode
                )
                seen.append([response.data, response.data, response.closed, response.tell()])
                response.release_conn()
    return seen


@case(3)
async def framings(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        return [
            tried(partial(manager.request, "GET", f.url(f"/{path}")))
            for path in ("trailers", "until-close", "http10")
        ]


@case(3)
async def lengths_that_are_wrong(f: Urllib3Flavour) -> Any:
    seen: list[Any] = []
    with f.manager() as manager:
        for preload, strict in ((True, True), (False, False), (False, True)):
            options = {"preload_content": preload, "enforce_content_length": strict, "retries": False}
            try:
                response: Any = manager.request("GET", f.url("/raw/short-body"), **options)
                seen.append(attempt(response.read))
            except urllib3.exceptions.HTTPError as error:
                seen.append(observe_failure(error))
    return steady(seen)


@case(2)
async def responses_that_are_copied(f: Urllib3Flavour) -> Any:
    seen = []
    with f.manager() as manager:
        for target in ("/echo", "/headers/duplicate"):
            response = manager.request("GET", f.url(target))
            seen.append([list(pickle.loads(pickle.dumps(response.headers)).items()), response.headers.getlist("x-a")])
    return seen


# Pools


@case(2)
async def full_pool_waits_for_a_response_to_be_released(f: Urllib3Flavour) -> Any:
    with f.manager(maxsize=1, block=True) as manager:
        held: Any = manager.request("GET", f.url("/bytes/100"), preload_content=False)
        refused = tried(lambda: manager.request("GET", f.url("/echo"), pool_timeout=0.05, retries=False))
        held.read()
        held.release_conn()
        return [refused, tried(lambda: manager.request("GET", f.url("/echo"), pool_timeout=0.05, retries=False))]


@case(2)
async def pools_that_are_closed(f: Urllib3Flavour) -> Any:
    with connection_from_url(f.url("/")) as pool:
        seen = [tried(lambda: pool.request("GET", "/echo"))]
    seen.append(tried(lambda: pool.request("GET", "/echo")))
    with f.manager() as manager:
        manager.request("GET", f.url("/echo"))
        manager.clear()
        return [*seen, len(manager.pools), pool.num_connections, pool.num_requests]


@case(2)
async def numbers_of_a_pool(f: Urllib3Flavour) -> Any:
    with connection_from_url(f.url("/"), maxsize=2) as pool:
        answers = [pool.request("GET", f"/counter/{n}").status for n in "ab"]
        return [answers, pool.num_requests]


# Errors


@case(0)
async def calls_that_never_leave(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        return [
            tried(lambda: manager.request("GET", "nowhere://x/")),
            tried(lambda: manager.request("GET", "http://")),
            attempt(lambda: observe_error(urllib3.exceptions.LocationParseError("x"))),
        ]


@case(2)
async def timeouts_with_their_reasons(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        once = Retry(1, backoff_factor=0)
        return tried(lambda: manager.request("GET", f.url("/slow/2000"), timeout=0.3, retries=once))


@case(2)
async def heads_and_bodies_where_none_should_be(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        empty = manager.request("GET", f.url("/bytes/0"), preload_content=False)
        return [
            observe_response(manager.request("HEAD", f.url("/encoded/gzip"))),
            empty.read(),
            observe_response(empty),
        ]


@case(1)
async def body_that_cannot_be_sent(f: Urllib3Flavour) -> Any:
    with f.manager() as manager:
        return tried(lambda: manager.request("POST", f.url("/echo"), body=object(), retries=False))


@case(1)
async def timeout_behind_a_proxy(f: Urllib3Flavour) -> Any:
    async with f.open(proxy="proxy") as session:
        return await session.call("GET", f.url("/slow/2000"), timeout={"read": 0.4})


@case(2)
async def timeouts_behind_a_proxy_that_are_tried_again(f: Urllib3Flavour) -> Any:
    once = Retry(1, backoff_factor=0)
    address = f"http://127.0.0.1:{f.upstream.port('proxy')}"
    with urllib3.ProxyManager(address) as manager:
        return tried(lambda: manager.request("GET", f.url("/slow/2000"), timeout=0.4, retries=once))


@case(1)
async def attempt_that_is_asked_for_directly(f: Urllib3Flavour) -> Any:
    with connection_from_url(f.url("/")) as pool:
        response: Any = pool._make_request(pool._get_conn(), "GET", "/echo")  # type: ignore[arg-type]
        return [response.status, response.read()]
