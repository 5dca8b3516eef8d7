"""The cases of the contract for HTTP clients, in words that every client has.

Each takes a flavour, drives it, and returns what an app would see. What only one library has stands in a file of
its own. Servers answer as `tests/servers/http_app.py` and its neighbours say.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.contract.framework import CaseList
from tests.contract.http_flavour import HttpFlavour, Pieces

__all__ = ["HTTP_CASES", "case"]

case = CaseList()
HTTP_CASES = case.cases

JSON = {"name": "žluťoučký", "numbers": [1, 2.5, None, True], "nested": {"a": {"b": []}}}
SHORT = 0.4
"""Seconds until a call times out that is meant to."""


def _releasing(f: HttpFlavour, token: str) -> Callable[[int], None]:
    """What to do behind each piece of a stream that waits for it."""
    return lambda _: f.release(token)


async def _one(f: HttpFlavour, method: str, target: str, **options: Any) -> Any:
    async with f.open() as session:
        return await session.call(method, target, **options)


# Methods and targets


@case(7)
async def every_method(f: HttpFlavour) -> Any:
    async with f.open() as session:
        methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
        return [await session.call(method, f"/echo?m={method}") for method in methods]


@case()
async def unusual_method(f: HttpFlavour) -> Any:
    return await _one(f, "PROPFIND", "/echo")


@case(5)
async def parameters(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.call("GET", "/echo?a=1&b=2&a=3&empty=&flag"),
            await session.call("GET", "/echo", params={"a": "1", "b": "x y+z", "c": "ä/&="}),
            await session.call("GET", "/echo", params=[("a", "2"), ("a", "1"), ("b", "0")]),
            await session.call("GET", "/echo", params=[("a", "1"), ("a", "2"), ("b", "0")]),
            await session.call("GET", "/echo/a%2Fb/%C3%A9?q=%20+%25"),
        ]


@case(2)
async def same_path_with_other_parameters_answers_differently(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", "/echo", params={"page": page}) for page in ("2", "1")]


@case(2)
async def request_headers(f: HttpFlavour) -> Any:
    async with f.open(headers={"X-Session": "s", "User-Agent": "tests"}) as session:
        first = await session.call("GET", "/echo", headers={"X-One": "1", "Accept": "text/plain"})
        return [first, await session.call("GET", "/echo")]


# Request bodies


@case(3)
async def json_bodies(f: HttpFlavour) -> Any:
    bodies: tuple[Any, ...] = (JSON, [], None)
    async with f.open() as session:
        return [await session.call("POST", "/echo", json=value) for value in bodies]


@case(2)
async def form_bodies(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.call("POST", "/echo", form={"a": "1", "b": "ä&=", "c": ["x", "y"]}),
            await session.call("PUT", "/echo", form={"only": ""}),
        ]


@case(2, "multipart")
async def multipart_bodies(f: HttpFlavour) -> Any:
    files = {"upload": ("name ä.bin", b"\x00\x01 binary", "application/octet-stream")}
    async with f.open() as session:
        return [
            await session.call("POST", "/echo", form={"field": "value"}, files=files),
            await session.call("POST", "/echo", files={"f": ("a.txt", io.BytesIO(b"from a file"), "text/plain")}),
        ]


@case(2, "multipart")
async def multipart_bodies_that_differ_in_one_field(f: HttpFlavour) -> Any:
    files = {"upload": ("name.bin", b"same", "application/octet-stream")}
    async with f.open() as session:
        return [await session.call("POST", "/echo", form={"n": n}, files=files) for n in ("2", "1")]


@case(3)
async def plain_bodies(f: HttpFlavour) -> Any:
    async with f.open() as session:
        kind = {"Content-Type": "application/x-odd"}
        return [
            await session.call("POST", "/echo", content=b"\x00\xff\xfe bytes", headers=kind),
            await session.call("POST", "/echo", content="text ä", headers=kind),
            await session.call("POST", "/echo", content=b"", headers=kind),
        ]


@case(1, "sync")
async def file_body(f: HttpFlavour) -> Any:
    return await _one(f, "POST", "/echo", content=io.BytesIO(b"file-like " * 1000))


@case()
async def generator_body(f: HttpFlavour) -> Any:
    pieces = Pieces([b"one ", b"two ", b"", b"three"])
    return [await _one(f, "POST", "/echo", content=pieces), pieces.pulled]


@case(2)
async def generator_bodies_that_differ(f: HttpFlavour) -> Any:
    async with f.open() as session:
        bodies = ([b"a", b"b"], [b"ab", b"c"])
        return [await session.call("POST", "/echo", content=Pieces(body)) for body in bodies]


@case()
async def large_upload(f: HttpFlavour) -> Any:
    return await _one(f, "POST", "/status/200", content=b"0123456789abcdef" * 131_072)


class SourceBroke(Exception):  # noqa: N818 - as apps name theirs
    """An error of the app's own, which no cassette can rebuild."""


@case(2)
async def generator_that_raises_midway(f: HttpFlavour) -> Any:
    async with f.open() as session:
        seen = []
        for error in (ValueError("the source broke", 7), SourceBroke("mine")):
            pieces = Pieces([b"one ", b"two "], fails=error)
            seen.append([await session.call("POST", "/echo", content=pieces), pieces.pulled])
        return seen


@case()
async def generator_body_to_a_refused_connection_is_not_started(f: HttpFlavour) -> Any:
    pieces = Pieces([b"one "])
    return [await _one(f, "POST", f.url("/", "refused"), content=pieces), pieces.pulled]


@case()
async def answer_before_the_body_was_read(f: HttpFlavour) -> Any:
    return await _one(f, "POST", "/early", content=b"x" * 2000)


# Response bodies


@case(7)
async def texts_in_odd_charsets(f: HttpFlavour) -> Any:
    targets = ("latin-1", "utf-16", "shift_jis", "windows-1252", "utf-8", "utf-8/none", "latin-1/none")
    async with f.open() as session:
        return [await session.call("GET", f"/text/{target}") for target in targets]


@case(3)
async def binary_and_empty_bodies(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", f"/bytes/{size}") for size in (1000, 0, 1)]


@case()
async def two_megabytes(f: HttpFlavour) -> Any:
    return await _one(f, "GET", "/bytes/2000000")


@case(3)
async def statuses_without_a_body(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.call("GET", "/status/204"),
            await session.call("GET", "/status/304"),
            await session.call("HEAD", "/bytes/500"),
        ]


@case(6)
async def compressed_bodies(f: HttpFlavour) -> Any:
    codings = ("gzip", "deflate", "raw-deflate", "br", "zstd", "gzip,%20br")
    async with f.open() as session:
        return [await session.call("GET", f"/encoded/{coding}") for coding in codings]


@case(2)
async def broken_compressed_bodies(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", f"/encoded/{coding}") for coding in ("broken-gzip", "cut-gzip")]


@case(8)
async def exact_json(f: HttpFlavour) -> Any:
    which = ("exact", "duplicate", "space", "big", "nan", "utf16", "broken", "null")
    async with f.open() as session:
        return [await session.call("GET", f"/json/{name}") for name in which]


@case(5)
async def response_headers(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.call("GET", f"/headers/{which}")
            for which in ("duplicate", "latin1", "case", "links", "many")
        ]


@case(10)
async def error_statuses(f: HttpFlavour) -> Any:
    async with f.open() as session:
        codes = (200, 201, 400, 401, 404, 418, 429, 500, 503, 599)
        return [await session.call("GET", f"/status/{code}") for code in codes]


@case(2)
async def odd_reasons(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", f"/status/404?reason={text}") for text in ("Nope%20at%20all", "")]


@case(4)
async def odd_framings(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", f"/{path}") for path in ("hints", "trailers", "until-close", "http10")]


# Cookies


@case(4)
async def cookies_go_into_the_jar_and_back(f: HttpFlavour) -> Any:
    async with f.open(cookies={"mine": "0"}) as session:
        return [
            await session.call("GET", "/cookies/set?a=1&b=2"),
            session.jar(),
            await session.call("GET", "/echo"),
            await session.call("GET", "/cookies/clear"),
            session.jar(),
            await session.call("GET", "/echo"),
            session.jar(),
        ]


@case(2)
async def odd_cookies(f: HttpFlavour) -> Any:
    async with f.open() as session:
        first = await session.call("GET", "/cookies/odd")
        return [first, session.jar(), await session.call("GET", "/echo")]


@case(3)
async def cookies_set_across_redirects(f: HttpFlavour) -> Any:
    async with f.open(follow=True) as session:
        return [await session.call("GET", "/cookies/login"), session.jar()]


# Redirects


@case(10)
async def redirects_of_every_status_with_a_body(f: HttpFlavour) -> Any:
    async with f.open(follow=True) as session:
        return [
            await session.call("POST", f"/redirect/{status}?to=/echo", content=b"payload")
            for status in (301, 302, 303, 307, 308)
        ]


@case(2)
async def redirects_not_followed(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.call("GET", "/redirect/302?to=/echo"),
            await session.call("POST", "/redirect/307?to=/echo", json=[1]),
        ]


@case(4)
async def chain_of_relative_redirects(f: HttpFlavour) -> Any:
    async with f.open(follow=True) as session:
        return await session.call("GET", "/chain/3")


@case(2)
async def redirect_to_an_absolute_url_with_odd_characters(f: HttpFlavour) -> Any:
    async with f.open(follow=True) as session:
        return await session.call("GET", "/redirect/302", params={"to": f.url("/echo?q=a%20b&c=ü")})


@case(2)
async def redirect_to_another_origin_drops_the_password(f: HttpFlavour) -> Any:
    async with f.open(follow=True) as session:
        target = f.url("/echo", "tls")
        return await session.call("GET", f"/redirect/302?to={target}", headers={"Authorization": "Bearer t-1"})


@case(21)
async def redirect_loop(f: HttpFlavour) -> Any:
    async with f.open(follow=True) as session:
        return await session.call("GET", "/loop")


@case(2)
async def redirect_to_a_refused_connection(f: HttpFlavour) -> Any:
    async with f.open(follow=True) as session:
        return await session.call("GET", f"/redirect/302?to={f.url('/', 'refused')}")


# Auth


@case(3)
async def basic_and_bearer_auth(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.call("GET", "/auth/basic", auth=("basic", "user", "pass")),
            await session.call("GET", "/auth/basic", auth=("basic", "user", "wrong")),
            await session.call("GET", "/auth/bearer", headers={"Authorization": "Bearer t-1"}),
        ]


@case(2, "digest")
async def digest_auth(f: HttpFlavour) -> Any:
    return await _one(f, "GET", "/auth/digest", auth=("digest", "user", "pass"))


@case(3, "digest")
async def digest_auth_of_a_session_with_another_algorithm(f: HttpFlavour) -> Any:
    async with f.open(auth=("digest", "user", "pass")) as session:
        target = "/auth/digest?algorithm=SHA-256"
        return [await session.call("GET", target), await session.call("POST", target, content=b"x"), session.jar()]


@case(2, "digest")
async def digest_auth_with_a_wrong_password(f: HttpFlavour) -> Any:
    return await _one(f, "GET", "/auth/digest", auth=("digest", "user", "wrong"))


# Errors


@case()
async def connection_refused(f: HttpFlavour) -> Any:
    return await _one(f, "GET", f.url("/", "refused"))


@case()
async def name_that_does_not_resolve(f: HttpFlavour) -> Any:
    return await _one(f, "GET", "http://name.invalid/")


@case(1, "timeouts")
async def read_timeout_before_headers(f: HttpFlavour) -> Any:
    return await _one(f, "GET", "/slow/2000", timeout={"read": SHORT})


@case(1, "timeouts")
async def read_timeout_within_the_body(f: HttpFlavour) -> Any:
    return await _one(f, "GET", "/slow-body/2000", timeout={"read": SHORT})


@case(1, "timeouts")
async def connect_timeout(f: HttpFlavour) -> Any:
    return await _one(f, "GET", f.url("/", "backlog"), timeout={"connect": SHORT})


@case(1, "timeouts")
async def write_timeout(f: HttpFlavour) -> Any:
    return await _one(f, "POST", "/never-read", content=b"x" * 20_000_000, timeout={"write": SHORT})


@case()
async def one_number_as_timeout(f: HttpFlavour) -> Any:
    return await _one(f, "GET", "/slow/2000", timeout=SHORT)


@case(2)
async def certificate_of_an_unknown_authority(f: HttpFlavour) -> Any:
    async with f.open(trusts=False) as session:
        return [await session.call("GET", f.url("/echo", "tls")), await session.call("POST", f.url("/echo", "tls"))]


@case()
async def certificate_for_another_name(f: HttpFlavour) -> Any:
    return await _one(f, "GET", f.url("/echo", "tls-other"))


@case(2)
async def trusted_certificate(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call(method, f.url("/echo", "tls")) for method in ("GET", "POST")]


@case()
async def tls_to_a_plain_port(f: HttpFlavour) -> Any:
    return await _one(f, "GET", f.url("/echo").replace("http:", "https:"))


@case()
async def plain_text_to_a_tls_port(f: HttpFlavour) -> Any:
    return await _one(f, "GET", f.url("/echo", "tls").replace("https:", "http:"))


@case(10)
async def protocol_errors(f: HttpFlavour) -> Any:
    paths = (
        "garbage",
        "status-line",
        "no-answer",
        "mid-headers",
        "short-body",
        "cut-chunk",
        "bad-chunk",
        "bad-length",
        "two-lengths",
        "reset",
    )
    found = {}
    for path in paths:
        # Each on connections of its own: one that is kept may be closed by the server while the next call is sent.
        async with f.open() as session:
            found[path] = await session.call("GET", f"/raw/{path}")
    return found


@case(2)
async def error_then_a_good_call_on_the_same_session(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", "/raw/short-body"), await session.call("GET", "/echo")]


@case(3)
async def app_that_retries(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", "/flaky") for _ in range(3)]


# Streams


@case(3, "streams")
async def stream_arrives_as_it_is_sent(f: HttpFlavour) -> Any:
    readers = ["bytes"]
    readers += [read for read in ("raw", "text") if f"{read}-stream" in f.features]
    async with f.open() as session:
        return [
            await session.stream("GET", f"/gated/{read}", read=read, after=_releasing(f, read))
            for read in (*readers, *["bytes"] * (3 - len(readers)))
        ]


@case(1, "streams", "text-stream")
async def server_sent_events_arrive_one_by_one(f: HttpFlavour) -> Any:
    def release(lines: int) -> None:
        if lines % 4 == 0:
            f.release("events")

    async with f.open() as session:
        return await session.stream("GET", "/gated/events?sse=1&n=4", read="lines", after=release)


@case(2, "streams", "raw-stream")
async def compressed_stream_arrives_as_it_is_sent(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.stream("GET", f"/gated-gzip/{read}", read=read, after=_releasing(f, read))
            for read in ("raw", "bytes")
        ]


@case(2, "streams", "text-stream")
async def lines_cut_in_two_by_chunks(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.stream("GET", "/lines", read=read) for read in ("lines", "text")]


@case(3, "streams")
async def streams_in_pieces_of_a_given_size(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.stream("GET", target, size=size)
            for target, size in (("/bytes/1000", 300), ("/encoded/gzip", 100), ("/bytes/5", 10))
        ]


@case(1, "streams")
async def stream_abandoned_half_way(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return await session.stream("GET", "/gated/token", take=1)


@case(1, "streams")
async def stream_abandoned_after_its_second_piece(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return await session.stream("GET", "/gated/token", take=2, after=_releasing(f, "token"))


@case(2, "streams")
async def stream_never_read(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.stream("GET", "/gated/token", take=0), await session.call("GET", "/echo")]


@case(3, "streams")
async def streams_that_break(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [
            await session.stream("GET", "/raw/cut-chunk"),
            await session.stream("GET", "/raw/short-body"),
            await session.stream("GET", "/raw/reset-mid-body", after=_releasing(f, "reset")),
        ]


@case(1, "streams", "timeouts")
async def stream_that_times_out(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return await session.stream("GET", "/slow-body/2000", timeout={"read": SHORT})


@case(3, "streams")
async def stream_behind_redirects(f: HttpFlavour) -> Any:
    async with f.open(follow=True) as session:
        return await session.stream("GET", "/chain/2")


# Order and number


@case(3)
async def same_call_three_times_with_three_answers(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", "/counter/a") for _ in range(3)]


@case(6)
async def two_counters_in_turns(f: HttpFlavour) -> Any:
    async with f.open() as session:
        return [await session.call("GET", f"/counter/{name}") for name in "abbaab"]


@case(50)
async def fifty_calls_at_once_answered_in_another_order(f: HttpFlavour) -> Any:
    async with f.open(max_connections=100) as session:
        return await f.together([partial(session.call, "POST", "/reorder?of=50", json={"n": n}) for n in range(50)])


@case(20, "streams")
async def twenty_streams_at_once(f: HttpFlavour) -> Any:
    async with f.open(max_connections=30) as session:
        return await f.together([partial(session.stream, "GET", f"/lines?n={n}") for n in range(20)])


# HTTP/2 and proxies


@case(4, "http2")
async def http2(f: HttpFlavour) -> Any:
    async with f.open(http2=True) as session:
        return [
            await session.call("GET", f.url("/a?b=1", "h2")),
            await session.call("POST", f.url("/b", "h2"), json=JSON),
            await session.call("GET", f.url("/big", "h2")),
            await session.call("GET", "/echo"),
        ]


@case(2, "http2")
async def http2_streams_that_are_reset(f: HttpFlavour) -> Any:
    async with f.open(http2=True) as session:
        seen = [
            await session.call("GET", f.url("/rst", "h2")),
            await session.stream("GET", f.url("/rst-mid", "h2"), after=_releasing(f, "rst")),
        ]
    for error in (seen[0]["error"], seen[1]["failure"]["error"]):
        # The cause's argument is an object of the HTTP/2 library, which no cassette can hold.
        error["cause"] = {name: error["cause"][name] for name in ("class", "str")}
    return seen


@case(20, "http2")
async def http2_calls_at_once_on_one_connection(f: HttpFlavour) -> Any:
    async with f.open(http2=True) as session:
        url = f.url("/reorder", "h2")
        # Threads that send at the same time over one HTTP/2 connection break it, also without us: httpcore asks h2
        # for a stream's number and sends its headers in two steps.
        jobs = [partial(session.call, "POST", url, json={"n": n}) for n in range(20)]
        return await f.together(jobs, sent_in_turn="/reorder")


@case(3, "proxy")
async def proxy(f: HttpFlavour) -> Any:
    async with f.open(proxy="proxy") as session:
        return [
            await session.call("GET", f.url("/echo?a=1")),
            await session.call("POST", f.url("/echo", "tls"), json=JSON),
            await session.call("GET", f.url("/", "refused")),
        ]


@case(1, "proxy")
async def proxy_that_cannot_reach_the_server_of_a_tunnel(f: HttpFlavour) -> Any:
    async with f.open(proxy="proxy") as session:
        return await session.call("GET", f.url("/", "refused").replace("http:", "https:"))


@case(2, "proxy")
async def proxy_with_a_password(f: HttpFlavour) -> Any:
    async with f.open(proxy="proxy-private", proxy_userinfo="user:pass@") as session:
        return [await session.call("GET", f.url("/echo")), await session.call("GET", f.url("/echo", "tls"))]


@case(2, "proxy")
async def proxy_that_refuses(f: HttpFlavour) -> Any:
    async with f.open(proxy="proxy-private") as session:
        return [await session.call("GET", f.url("/echo")), await session.call("GET", f.url("/echo", "tls"))]


@case(1, "proxy")
async def proxy_that_is_not_there(f: HttpFlavour) -> Any:
    async with f.open(proxy="refused") as session:
        return await session.call("GET", f.url("/echo"))
