"""The upstream of the HTTP tests: one endpoint for each odd thing that a real server does.

Every answer is a function of the request and of counters that the tests reset: no dates, no random numbers.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import random
import re
import zlib
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

import brotli
import zstandard

from tests.servers import raw_app
from tests.servers._wire import Exchange, State, read_exchange

__all__ = ["serve_connection"]

Handler = Callable[[Exchange], Awaitable[None]]
_HANDLERS: dict[str, Handler] = {}
_compress_zstd: Callable[[bytes], bytes] = zstandard.compress

TEXT = "naïve café, Žluťoučký, 日本語, €uro\nsecond line\r\nthird\u2028line"
_CHARSET_TEXT = {
    "latin-1": "naïve café",
    "utf-16": TEXT,
    "shift_jis": "日本語テキスト",
    "windows-1252": "“quoted” €uro…",
    "utf-8": TEXT,
}


def _endpoint(handler: Handler) -> Handler:
    _HANDLERS[handler.__name__.rstrip("_").replace("_", "-")] = handler
    return handler


def _plain(kind: str) -> list[tuple[str | bytes, str | bytes]]:
    return [("Content-Type", kind)]


@_endpoint
async def echo(x: Exchange) -> None:
    body = json.dumps(await x.described()).encode()
    await x.reply(body, headers=_plain("application/json"))


@_endpoint
async def text(x: Exchange) -> None:
    """``/text/<codec>[/none]``: text in that codec, with or without saying so."""
    _, _, codec, *rest = x.path.split("/")
    kind = "text/plain" if rest else f"text/plain; charset={codec}"
    await x.reply(_CHARSET_TEXT[codec].encode(codec), headers=_plain(kind))


@_endpoint
async def bytes_(x: Exchange) -> None:
    """``/bytes/<number>``: that many bytes, always the same ones."""
    body = random.Random(7).randbytes(int(x.path.split("/")[2]))
    await x.reply(body, headers=_plain("application/octet-stream"))


@_endpoint
async def status(x: Exchange) -> None:
    """``/status/<code>[?reason=…]``."""
    code = int(x.path.split("/")[2])
    body = b"" if code in {204, 304} else b'{"status": %d}' % code
    await x.reply(body, code, _plain("application/json"), x.query.get("reason"))


@_endpoint
async def tagged(x: Exchange) -> None:
    """``/tagged[/chunked]``: a body with a tag, good for no time; "not modified" to whoever names the tag."""
    headers = [*_plain("text/plain"), ("ETag", '"v1"'), ("Cache-Control", "max-age=0")]
    if x.header("if-none-match"):
        await x.reply(status=304, headers=headers)
    elif x.path.endswith("/chunked"):
        await x.start(headers=[*headers, ("Transfer-Encoding", "chunked")])
        await x.chunk(b"one ")
        await x.chunk(b"two", last=True)
    else:
        await x.reply(b"one two", headers=headers)


@_endpoint
async def encoded(x: Exchange) -> None:
    """``/encoded/<coding>``: a text body under that content coding."""
    coding = x.path.split("/")[2]
    plain = (TEXT * 20).encode()
    raw_deflate = zlib.compressobj(wbits=-15)
    makers: dict[str, Callable[[], bytes]] = {
        "gzip": lambda: gzip.compress(plain, mtime=0),
        "deflate": lambda: zlib.compress(plain),
        "raw-deflate": lambda: raw_deflate.compress(plain) + raw_deflate.flush(),
        "br": lambda: brotli.compress(plain),
        "zstd": lambda: _compress_zstd(plain),
        "gzip, br": lambda: brotli.compress(gzip.compress(plain, mtime=0)),
        "broken-gzip": lambda: b"this is no gzip",
        "cut-gzip": lambda: gzip.compress(plain, mtime=0)[:-20],
    }
    announced = {"raw-deflate": "deflate", "broken-gzip": "gzip", "cut-gzip": "gzip"}.get(coding, coding)
    headers = [*_plain("text/plain; charset=utf-8"), ("Content-Encoding", announced)]
    await x.reply(makers[coding](), headers=headers)


@_endpoint
async def json_(x: Exchange) -> None:
    """``/json/<which>``: JSON whose exact bytes say more than its value."""
    body = {
        "exact": b'{"a":1e2}',
        "duplicate": b'{"a": 1, "a": 2}',
        "space": b' [ 1,\n2.0 , "\\u00e9" ]\n',
        "big": b'{"n": 123456789012345678901234567890, "f": 1.10}',
        "nan": b"[NaN, Infinity]",
        "utf16": '{"é": 1}'.encode("utf-16"),
        "broken": b'{"a": ',
        "null": b"null",
    }[x.path.split("/")[2]]
    await x.reply(body, headers=_plain("application/json"))


@_endpoint
async def headers(x: Exchange) -> None:
    """``/headers/<which>``: response headers that a dictionary of strings would lose."""
    sent: list[tuple[str | bytes, str | bytes]] = {
        "duplicate": [("X-Two", "1"), ("Other", "x"), ("x-two", "2"), ("X-TWO", "1")],
        "latin1": [(b"X-Name", "Jürgen".encode("latin-1")), (b"X-Utf8", "Jürgen".encode())],
        "case": [("x-lower", "a"), ("X-Upper", "B"), ("X-wEiRd", "c"), ("X-Empty", ""), ("X-Space", "a  b")],
        "links": [("Link", '</next?page=2>; rel="next", </last>; rel="last"')],
        "many": [(f"X-{n}", str(n) * 40) for n in range(60)],
    }[x.path.split("/")[2]]  # type: ignore[assignment]
    await x.reply(b"see headers", headers=[*_plain("text/plain"), *sent])


@_endpoint
async def cookies(x: Exchange) -> None:
    """``/cookies/set?name=value``, ``/cookies/odd``, ``/cookies/clear``, ``/cookies/login`` (set, then redirect)."""
    what = x.path.split("/")[2]
    pairs = parse_qsl(urlsplit(x.target).query)
    lines = [("Set-Cookie", f"{name}={value}; Path=/") for name, value in pairs]
    if what == "odd":
        lines = [
            ("Set-Cookie", 'quoted="a b"; Path=/; HttpOnly'),
            ("Set-Cookie", "far=1; Path=/echo; Expires=Wed, 01 Jan 2098 00:00:00 GMT; SameSite=Lax"),
            ("Set-Cookie", "secret=1; Path=/; Secure"),
            ("Set-Cookie", "gone=1; Path=/; Max-Age=0"),
            ("Set-Cookie", "empty=; Path=/"),
        ]
    elif what == "clear":
        lines = [("Set-Cookie", "a=; Path=/; Max-Age=0")]
    elif what == "login":
        lines = [("Set-Cookie", "session=s-1; Path=/"), ("Location", "/cookies/second")]
        await x.reply(b"", 302, lines)
        return
    elif what == "second":
        lines = [("Set-Cookie", "second=2; Path=/"), ("Location", "/echo")]
        await x.reply(b"", 303, lines)
        return
    await x.reply(b"ok", headers=[*_plain("text/plain"), *lines])


@_endpoint
async def redirect(x: Exchange) -> None:
    """``/redirect/<status>?to=<location>``."""
    body = b"moved"
    await x.reply(body, int(x.path.split("/")[2]), [*_plain("text/plain"), ("Location", x.query["to"])])


@_endpoint
async def chain(x: Exchange) -> None:
    """``/chain/<n>``: n relative redirects, then 200."""
    left = int(x.path.split("/")[2])
    if left == 0:
        await x.reply(b"end of chain", headers=_plain("text/plain"))
    else:
        await x.reply(b"hop %d" % left, 302, [("Location", f"{left - 1}?from={left}")])


@_endpoint
async def loop(x: Exchange) -> None:
    await x.reply(b"again", 302, [("Location", "/loop")])


@_endpoint
async def auth(x: Exchange) -> None:
    """``/auth/<scheme>``: 200 for ``user``/``pass`` or token ``t-1``, else 401 with a challenge."""
    scheme = x.path.split("/")[2]
    given = x.header("authorization")
    if scheme == "digest":
        challenge = (
            'Digest realm="tests", nonce="n-1", qop="auth", opaque="o-1", '
            f"algorithm={x.query.get('algorithm', 'MD5')}"
        )
        good = _digest_is_good(x.method, x.query.get("algorithm", "MD5"), given)
    else:
        challenge = f'{scheme.title()} realm="tests"'
        good = given in {"Basic " + base64.b64encode(b"user:pass").decode(), "Bearer t-1"}
    if good:
        await x.reply(b"welcome", headers=_plain("text/plain"))
    else:
        await x.reply(b"who are you", 401, [("WWW-Authenticate", challenge), *_plain("text/plain")])


def _digest_is_good(method: str, algorithm: str, given: str) -> bool:
    facts = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
    if "response" not in facts:
        return False

    def digest(value: str) -> str:
        return hashlib.new(algorithm.lower().replace("-", ""), value.encode()).hexdigest()

    ha1, ha2 = digest("user:tests:pass"), digest(f"{method}:{facts['uri']}")
    parts = [ha1, "n-1", facts["nc"], facts["cnonce"], facts["qop"], ha2]
    return facts["response"] == digest(":".join(parts))


@_endpoint
async def slow(x: Exchange) -> None:
    """``/slow/<ms>``: wait before answering."""
    await asyncio.sleep(int(x.path.split("/")[2]) / 1000)
    await x.reply(b"late", headers=_plain("text/plain"))


@_endpoint
async def slow_body(x: Exchange) -> None:
    """``/slow-body/<ms>``: headers and a first chunk at once, the rest after a wait."""
    await x.start(headers=[*_plain("text/plain"), ("Transfer-Encoding", "chunked")])
    await x.chunk(b"first")
    await asyncio.sleep(int(x.path.split("/")[2]) / 1000)
    await x.chunk(b"second")
    await x.chunk(b"")


@_endpoint
async def answers_first(x: Exchange) -> None:
    """Headers and a first chunk at once; then the body of the request, which may wait for them."""
    await x.start(headers=[*_plain("text/plain"), ("Transfer-Encoding", "chunked")])
    await x.chunk(b"go on")
    await x.chunk(await x.body(), last=True)


@_endpoint
async def never_read(x: Exchange) -> None:
    """Read nothing of the body for a second: a large upload gets stuck."""
    await asyncio.sleep(1)
    x.keep_alive = False


@_endpoint
async def early(x: Exchange) -> None:
    """Answer 413 without reading the body, then close."""
    await x.start(413, [("content-length", "7"), ("Connection", "close")])
    await x.send(b"too big")
    x.keep_alive = False


@_endpoint
async def gated(x: Exchange) -> None:
    """``/gated/<token>?n=3[&sse=1][&end=<token>]``: each chunk but the first waits until the test lets it through.

    The end comes together with the last chunk, or waits for a token of its own.
    """
    token = x.path.split("/")[2]
    sse, end, count = "sse" in x.query, x.query.get("end"), int(x.query.get("n", "3"))
    kind = "text/event-stream" if sse else "text/plain; charset=utf-8"
    await x.start(headers=[*_plain(kind), ("Transfer-Encoding", "chunked")])
    for number in range(count):
        if number and not await x.state.gate(token):
            await x.chunk(b"THE TEST NEVER SAW THE CHUNK BEFORE\n", last=True)
            return
        event = b'event: tick\nid: %d\ndata: {"n": %d}\n\n' % (number, number)
        await x.chunk(event if sse else b"line %d\npart " % number, last=number == count - 1 and end is None)
    if end is not None:
        if not await x.state.gate(end):
            await x.chunk(b"THE TEST NEVER SAW THE LAST CHUNK\n")
        await x.chunk(b"")


@_endpoint
async def gated_gzip(x: Exchange) -> None:
    """``/gated-gzip/<token>``: as `gated`, each chunk a flushed piece of one gzip stream."""
    packer = zlib.compressobj(wbits=31)
    headers = [*_plain("text/plain; charset=utf-8"), ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")]
    await x.start(headers=headers)
    for number in range(3):
        if number and not await x.state.gate(x.path.split("/")[2]):
            break
        await x.chunk(packer.compress(f"zeile {number} ä\n".encode()) + packer.flush(zlib.Z_SYNC_FLUSH))
    await x.chunk(packer.flush(), last=True)


@_endpoint
async def lines(x: Exchange) -> None:
    """Chunks that cut lines and characters in two."""
    body = "eins ä\r\nzwei 日\n\ndrei".encode()
    await x.start(headers=[*_plain("text/plain; charset=utf-8"), ("Transfer-Encoding", "chunked")])
    for start in range(0, len(body), 3):
        await x.chunk(body[start : start + 3])
    await x.chunk(b"")


@_endpoint
async def counter(x: Exchange) -> None:
    """``/counter/<name>``: how often it was asked since the last reset."""
    x.state.counters[x.path] += 1
    await x.reply(json.dumps({"n": x.state.counters[x.path]}).encode(), headers=_plain("application/json"))


@_endpoint
async def flaky(x: Exchange) -> None:
    """503, 503, then 200."""
    x.state.counters["flaky"] += 1
    if x.state.counters["flaky"] < 3:
        await x.reply(b"busy", 503, [("Retry-After", "0")])
    else:
        await x.reply(b"fine at last")


@_endpoint
async def reorder(x: Exchange) -> None:
    """POST a number as JSON ``{"n": …}``: the higher it is (of ``?of=``), the sooner it is answered."""
    number = json.loads(await x.body())["n"]
    await asyncio.sleep((int(x.query["of"]) - number) * 0.002)
    await x.reply(json.dumps({"answer": number}).encode(), headers=_plain("application/json"))


@_endpoint
async def hints(x: Exchange) -> None:
    """Informational responses before the real one."""
    await x.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    await x.send(b"HTTP/1.1 102 Processing\r\n\r\n")
    await x.reply(b"after hints")


@_endpoint
async def trailers(x: Exchange) -> None:
    """A chunked body with chunk extensions and trailers."""
    await x.start(headers=[("Trailer", "X-Sum"), ("Transfer-Encoding", "chunked")])
    await x.send(b"5;ext=1\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")


@_endpoint
async def until_close(x: Exchange) -> None:
    """A body without length, ended by closing."""
    await x.start(headers=[("Connection", "close")])
    await x.send(b"until the end")
    x.keep_alive = False


@_endpoint
async def http10(x: Exchange) -> None:
    await x.start(version="HTTP/1.0", headers=_plain("text/plain"))
    await x.send(b"old")
    x.keep_alive = False


@_endpoint
async def upgrade(x: Exchange) -> None:
    """Switch to a protocol that sends every byte back, in upper case."""
    await x.start(101, [("Connection", "Upgrade"), ("Upgrade", "shout")])
    while data := await x.reader.read(1000):
        await x.send(data.upper())
    x.keep_alive = False


@_endpoint
async def secret(x: Exchange) -> None:
    """``/secret/<which>``: answers that hold ``s3cr3t-`` values, for the redaction tests."""
    await x.body()
    value = {"user": "ann", "password": "s3cr3t-json", "nested": [{"access_token": "s3cr3t-deep"}]}
    body = json.dumps(value).encode()
    sent = [*_plain("application/json"), ("Set-Cookie", "session=s3cr3t-set; Path=/"), ("X-Api-Key", "s3cr3t-head")]
    if x.path.endswith("/redirect"):
        await x.reply(b"", 302, [("Location", "/status/200?access_token=s3cr3t-loc&page=1")])
        return
    if x.path.endswith(("/gzip", "/damaged")):
        body = gzip.compress(body, mtime=0)
        if x.path.endswith("/damaged"):
            body = body[:-8] + b"\0\0\0\0" + body[-4:]
        sent.append(("Content-Encoding", "gzip"))
    await x.reply(body, headers=sent)


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: State) -> None:
    """Answer requests on one connection until it ends."""
    try:
        while True:
            x = await read_exchange(reader, writer, state)
            if x is None:
                return
            name = x.path.split("/")[1]
            handler = raw_app.HANDLERS.get(x.path.split("/")[2]) if name == "raw" else _HANDLERS.get(name)
            if handler is None:
                await x.reply(b"no such endpoint", 404)
            else:
                await handler(x)
            if not x.keep_alive or x.body_pending:
                return
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
