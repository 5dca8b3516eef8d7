"""Where calls over HTTP can carry a secret: in the request, in its answer, in the error of the client."""

from __future__ import annotations

import base64
import gzip
import html
import json
import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import quote, quote_plus, urlencode

import msgpack  # type: ignore[import-untyped,unused-ignore]

from tests.planted.packed import PACKED
from tests.planted.planter import Planter, refusals_told
from tests.planted.secrets import odd, plain

__all__ = ["Client", "Upstream", "plant"]

Headers = list[tuple[str, str]]
_LOG = logging.getLogger("tests.planted.app")
# What an app's own logging prints is the app's.
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False


class Client(Protocol):
    """One way to send a request. It reads the whole answer, and raises what its library raises."""

    def __call__(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> object: ...


class Upstream:
    """A server that answers what it was told to.

    Attributes:
        url: Its address.
    """

    def __init__(self, port: int = 0, *, answers: bool = True) -> None:
        self._canned: dict[str, tuple[int, Headers, bytes]] = {}
        canned = self._canned

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One packet for head and body: the client would wait for the second.
            wbufsize = -1

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, body = canned.get(self.path.partition("?")[0], (200, [], b'{"ok":true}'))
                self.send_response(status)
                kinds = {name.lower() for name, _ in headers}
                for name, value in headers:
                    self.send_header(name, value)
                if "content-type" not in kinds:
                    self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - names of the standard library

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
                """Say nothing."""

        self.url = f"http://127.0.0.1:{port}"
        self._server: ThreadingHTTPServer | None = None
        if answers:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
            self._server.daemon_threads = True
            self.url = f"http://127.0.0.1:{self._server.server_port}"
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def gives(self, body: bytes, kind: str = "application/json", *headers: tuple[str, str], status: int = 200) -> str:
        """The address of another answer."""
        path = f"/canned/{len(self._canned)}"
        self._canned[path] = (status, [("Content-Type", kind), *headers], body)
        return self.url + path

    def fails(self, path: str) -> None:
        """Answer at a path that there is nothing."""
        self._canned[path] = (404, [], b"{}")

    def close(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _multipart(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(b"--bOuNd\r\n%s\r\n\r\n%s\r\n" % (head.encode(), body) for head, body in parts) + b"--bOuNd--\r\n"


def _named_requests(url: str) -> dict[str, Callable[[str], tuple[str, dict[str, str], bytes | None]]]:
    """Requests in which a name tells what is secret: URL, headers, body."""

    def sent(body: str | bytes, kind: str, **more: str) -> tuple[str, dict[str, str], bytes]:
        return url + "/sent", {"Content-Type": kind, **more}, body.encode() if isinstance(body, str) else body

    def header(name: str, value: str) -> tuple[str, dict[str, str], None]:
        return url + "/sent", {name: value}, None

    form = "application/x-www-form-urlencoded"
    multipart = "multipart/form-data; boundary=bOuNd"
    return {
        "authorization bearer": lambda s: header("Authorization", f"Bearer {s}"),
        "authorization basic": lambda s: header("Authorization", f"Basic {_b64('ada:' + s)}"),
        "authorization token": lambda s: header("Authorization", f"token {s}"),
        "authorization oauth 1": lambda s: header(
            "Authorization", f'OAuth oauth_consumer_key="c", oauth_token="t", oauth_signature="{quote(s, safe="")}"'
        ),
        "authorization aws": lambda s: header(
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential=AK/20260101/x/s3/aws4_request, SignedHeaders=host, Signature={quote(s)}",
        ),
        "api key header": lambda s: header("X-Api-Key", s),
        "vault header": lambda s: header("X-Vault-Token", s),
        "session cookie": lambda s: header("Cookie", f"theme=dark; sessionid={quote(s, safe='')}; n=1"),
        "query": lambda s: (f"{url}/sent?page=2&access_token={quote(s, safe='')}", {}, None),
        "query with plus": lambda s: (f"{url}/sent?{urlencode({'api_key': s, 'q': 'a b'})}", {}, None),
        "presigned": lambda s: (f"{url}/sent?X-Amz-Date=1&X-Amz-Signature={quote(s, safe='')}", {}, None),
        "user information": lambda s: (url.replace("://", f"://ada:{quote(s, safe='')}@") + "/sent", {}, None),
        "json": lambda s: sent(json.dumps({"user": "ada", "password": s}), "application/json"),
        "json in lists": lambda s: sent(json.dumps([{"a": [{"client_secret": s}]}]), "application/json"),
        "list under a name": lambda s: sent(json.dumps({"secret": [s, s]}), "application/json"),
        "object under a name": lambda s: sent(json.dumps({"accessToken": {"value": s, "n": 1}}), "application/json"),
        "vendor's json": lambda s: sent(json.dumps({"token": s}), "application/vnd.api+json"),
        "json as plain text": lambda s: sent(json.dumps({"token": s}), "text/plain"),
        "json without a type": lambda s: sent(json.dumps({"token": s}), "application/octet-stream"),
        "json in utf-16": lambda s: sent(json.dumps({"token": s}).encode("utf-16"), "application/json"),
        "graphql variables": lambda s: sent(
            json.dumps({"query": "mutation($password: String!) {a}", "variables": {"password": s}}),
            "application/json",
        ),
        "graphql literal": lambda s: sent(
            json.dumps({"query": f"mutation {{ login(user: 1, password: {json.dumps(s)}) {{ id }} }}"}),
            "application/json",
        ),
        "json in json": lambda s: sent(json.dumps({"SecretString": json.dumps({"password": s})}), "application/json"),
        "json in a plain field": lambda s: sent(
            json.dumps({"body": json.dumps({"password": s})}), "application/json"
        ),
        "lines of json": lambda s: sent(f'{{"a":1}}\n{json.dumps({"token": s})}\n', "application/x-ndjson"),
        "oauth token secret": lambda s: sent(json.dumps({"oauth_token_secret": s}), "application/json"),
        "form": lambda s: sent(f"a=1&client_secret={quote_plus(s)}&b=2", form),
        "form with another case": lambda s: sent(f"Password={quote_plus(s)}", form),
        "multipart field": lambda s: sent(
            _multipart(('Content-Disposition: form-data; name="password"', s.encode())), multipart
        ),
        "json part": lambda s: sent(
            _multipart(
                (
                    'Content-Disposition: form-data; name="data"\r\nContent-Type: application/json',
                    json.dumps({"token": s}).encode(),
                )
            ),
            multipart,
        ),
        "file of json": lambda s: sent(
            _multipart(
                (
                    'Content-Disposition: form-data; name="f"; filename="a.json"',
                    json.dumps({"type": "service_account", "private_key": s}).encode(),
                )
            ),
            multipart,
        ),
        "xml element": lambda s: sent(f"<a><Password>{html.escape(s)}</Password></a>", "application/xml"),
        "xml with a namespace": lambda s: sent(
            f'<wsse:Password Type="t">{html.escape(s)}</wsse:Password>', "application/soap+xml"
        ),
        "xml cdata": lambda s: sent(f"<a><password><![CDATA[{s}]]></password></a>", "text/xml"),
        "xml attribute": lambda s: sent(f'<login user="a" password="{html.escape(s)}"/>', "text/xml"),
        "compressed json": lambda s: sent(
            gzip.compress(json.dumps({"password": s}).encode(), mtime=0),
            "application/json",
            **{"Content-Encoding": "gzip"},
        ),
        "msgpack": lambda s: sent(msgpack.packb({"user": "ada", "password": s}), "application/msgpack"),
        "file compressed twice": lambda s: sent(
            gzip.compress(gzip.compress(json.dumps({"password": s}).encode(), mtime=0), mtime=0),
            "application/json",
            **{"Content-Encoding": "gzip"},
        ),
        **{
            f"file that is {kind}": partial(
                lambda pack, s: sent(
                    _multipart(
                        (
                            'Content-Disposition: form-data; name="f"; filename="a"\r\nContent-Type: application/x',
                            pack({"user": "ada", "password": s}),
                        )
                    ),
                    multipart,
                ),
                pack,
            )
            for kind, pack in PACKED.items()
            if kind.startswith("json in ") and kind not in ("json in a pickle", "json in base64")
        },
        "part of yaml": lambda s: sent(
            _multipart(
                (
                    'Content-Disposition: form-data; name="f"\r\nContent-Type: application/yaml',
                    f"user: ada\npassword: {_bare(s)}\n".encode(),
                )
            ),
            multipart,
        ),
        "lines of configuration": lambda s: sent(f"user=ada\npassword={_bare(s)}\n", "text/plain"),
        "yaml": lambda s: sent(f"user: ada\npassword: {_bare(s)}\n", "application/yaml"),
    }


def refused_input(secret: str) -> bytes:
    """What FastAPI answers where an input is refused."""
    told = {"type": "string_too_long", "loc": ["body", "password"], "msg": "at most 3", "input": secret}
    return json.dumps({"detail": [told]}).encode()


def _bare(secret: str) -> str:
    """A secret as a text without quotes can have it."""
    return secret.translate(str.maketrans("", "", "'\"&;,()<>{}[]\\ "))


def _named_answers(up: Upstream) -> dict[str, Callable[[str], str]]:
    """Answers in which a name tells what is secret; each by its address."""
    import brotli  # type: ignore[import-untyped,unused-ignore]
    import zstandard

    def packed(secret: str) -> bytes:
        return json.dumps({"n": 1, "access_token": secret}).encode()

    return {
        "json": lambda s: up.gives(packed(s)),
        "aws credentials": lambda s: up.gives(
            json.dumps({"Credentials": {"SecretAccessKey": s, "SessionToken": s}}).encode(),
            "application/x-amz-json-1.1",
        ),
        "secret string": lambda s: up.gives(
            json.dumps({"Name": "db", "SecretString": json.dumps({"username": "ada", "password": s})}).encode(),
            "application/x-amz-json-1.1",
        ),
        "secret string that is a text": lambda s: up.gives(json.dumps({"SecretString": s}).encode()),
        "secret binary": lambda s: up.gives(json.dumps({"SecretBinary": _b64(s)}).encode()),
        "vendor's json": lambda s: up.gives(packed(s), "application/vnd.x+json; charset=utf-8"),
        "plain text": lambda s: up.gives(packed(s), "text/plain"),
        "json with escapes": lambda s: up.gives(
            json.dumps({"token": s}).replace("/", "\\/").replace("&", "\\u0026").encode()
        ),
        "lines of json": lambda s: up.gives(b'{"a":1}\n' + packed(s) + b"\n", "application/x-ndjson"),
        "event stream": lambda s: up.gives(b"event: a\ndata: " + packed(s) + b"\n\n", "text/event-stream"),
        "gzip": lambda s: up.gives(gzip.compress(packed(s)), "application/json", ("Content-Encoding", "gzip")),
        "deflate": lambda s: up.gives(zlib.compress(packed(s)), "application/json", ("Content-Encoding", "deflate")),
        "brotli": lambda s: up.gives(brotli.compress(packed(s)), "application/json", ("Content-Encoding", "br")),
        "zstd": lambda s: up.gives(
            zstandard.ZstdCompressor().compress(packed(s)), "application/json", ("Content-Encoding", "zstd")
        ),
        "xml": lambda s: up.gives(
            f"<R><Credentials><SecretAccessKey>{html.escape(s)}</SecretAccessKey>"
            f"<SessionToken>{html.escape(s)}</SessionToken></Credentials></R>".encode(),
            "text/xml",
        ),
        "oauth 1 answer": lambda s: up.gives(
            f"oauth_token=a&oauth_token_secret={quote_plus(s)}".encode(), "application/x-www-form-urlencoded"
        ),
        "oauth 1 answer as html": lambda s: up.gives(
            f"oauth_token=a&oauth_token_secret={quote_plus(s)}".encode(), "text/html"
        ),
        "set-cookie": lambda s: up.gives(
            b"{}", "application/json", ("Set-Cookie", f"session={quote(s, safe='')}; Path=/; HttpOnly")
        ),
        "header": lambda s: up.gives(b"{}", "application/json", ("X-Auth-Token", s)),
        "location": lambda s: up.gives(
            b"", "text/plain", ("Location", f"{up.url}/sent?code=1&id_token={quote(s, safe='')}"), status=302
        ),
        "html field": lambda s: up.gives(
            f'<form><input type="hidden" name="csrf_token" value="{html.escape(s)}"></form>'.encode(), "text/html"
        ),
        "html meta": lambda s: up.gives(
            f'<meta content="{html.escape(s)}" name="csrf-token">'.encode(), "text/html; charset=utf-8"
        ),
        "javascript": lambda s: up.gives(f"window.x = {{token: {json.dumps(s)}}};".encode(), "text/javascript"),
        "error": lambda s: up.gives(json.dumps({"error": {"token": s}}).encode(), status=401),
        "msgpack": lambda s: up.gives(msgpack.packb([{"token": s}]), "application/vnd.msgpack"),
        "input that is refused": lambda s: up.gives(refused_input(s), status=422),
        "file compressed twice": lambda s: up.gives(
            gzip.compress(gzip.compress(packed(s))), "application/json", ("Content-Encoding", "gzip")
        ),
        **{
            f"file that is {kind}": partial(lambda pack, s: up.gives(pack({"token": s}), "application/x"), pack)
            for kind, pack in PACKED.items()
            if kind.startswith("json in ") and kind not in ("json in a pickle", "json in base64")
        },
        "latin-1": lambda s: up.gives(
            json.dumps({"name": "é", "token": s}, ensure_ascii=False).encode("latin-1"),
            "application/json; charset=iso-8859-1",
        ),
    }


def _elsewhere(
    up: Upstream, url: str
) -> dict[str, tuple[Callable[[str], tuple[str, dict[str, str], bytes | None]], str]]:
    """Places that no name tells of, each with what it does not take: (e)scapes, (l)ines."""

    def sent(body: str | bytes, kind: str, **more: str) -> tuple[str, dict[str, str], bytes]:
        return url + "/sent", {"Content-Type": kind, **more}, body.encode() if isinstance(body, str) else body

    def got(
        body: str | bytes, kind: str, *headers: tuple[str, str], status: int = 200
    ) -> tuple[str, dict[str, str], None]:
        data = body.encode() if isinstance(body, str) else body
        return up.gives(data, kind, *headers, status=status), {}, None

    plain = "text/plain"
    return {
        "path": (lambda s: (f"{url}/of/{quote(s, safe='')}/x", {}, None), ""),
        "path in base64": (
            lambda s: (f"{url}/of/{base64.urlsafe_b64encode(s.encode()).decode()}", {}, None),
            "",
        ),
        "another query": (lambda s: (f"{url}/sent?{urlencode({'of': s})}", {}, None), ""),
        "url in a query": (
            lambda s: (f"{url}/sent?{urlencode({'next': 'https://h/?' + urlencode({'of': s})})}", {}, None),
            "",
        ),
        "another header": (lambda s: (url + "/sent", {"X-Of": s}, None), "l"),
        "referer": (lambda s: (url + "/sent", {"Referer": f"https://h/{quote(s, safe='')}"}, None), ""),
        "another cookie": (lambda s: (url + "/sent", {"Cookie": f"lang={quote(s, safe='')}"}, None), ""),
        "another field": (lambda s: sent(json.dumps({"of": [f"see {s}."]}), "application/json"), ""),
        "name of a field": (lambda s: sent(json.dumps({s: 1}), "application/json"), ""),
        "json in json": (lambda s: sent(json.dumps({"of": json.dumps({"a": s})}), "application/json"), ""),
        "base64 in json": (lambda s: sent(json.dumps({"of": _b64("see " + s)}), "application/json"), ""),
        "another form field": (lambda s: sent(urlencode({"of": s}), "application/x-www-form-urlencoded"), ""),
        "name of a file": (
            lambda s: sent(
                _multipart((f'Content-Disposition: form-data; name="f"; filename="{quote(s)}"', b"x")),
                "multipart/form-data; boundary=bOuNd",
            ),
            "",
        ),
        "file": (
            lambda s: sent(
                _multipart(('Content-Disposition: form-data; name="f"; filename="a"', b"\0\1" + s.encode())),
                "multipart/form-data; boundary=bOuNd",
            ),
            "",
        ),
        **{
            f"file that is {kind}": (
                partial(
                    lambda pack, s: sent(
                        _multipart(
                            ('Content-Disposition: form-data; name="f"; filename="a"', pack({"of": f"of {s} "}))
                        ),
                        "multipart/form-data; boundary=bOuNd",
                    ),
                    PACKED[kind],
                ),
                "",
            )
            for kind in ("json in gzip", "json in zstd", "json in xz", "too well packed")
        },
        "xml text sent": (lambda s: sent(f"<a>{html.escape(s)}</a>", "application/xml"), ""),
        "compressed": (
            lambda s: sent(gzip.compress(s.encode(), mtime=0), plain, **{"Content-Encoding": "gzip"}),
            "",
        ),
        "bytes": (lambda s: sent(b"\x08\x96\x01\x12" + s.encode() + b"\xff\0", "application/x-protobuf"), ""),
        "text": (lambda s: got(f"it is {s}, they say", plain), ""),
        "json": (lambda s: got(json.dumps({"of": {"a": s}}), "application/json"), ""),
        "html": (lambda s: got(f"<p>{html.escape(s)}</p>", "text/html"), ""),
        "event": (lambda s: got(f"data: {json.dumps({'delta': s})}\n\n", "text/event-stream"), ""),
        "another field of msgpack": (
            lambda s: got(msgpack.packb({"of": [s, s.encode()]}), "application/x-msgpack"),
            "",
        ),
        "compressed answer": (
            lambda s: got(gzip.compress(f"of {s} ".encode()), plain, ("Content-Encoding", "gzip")),
            "",
        ),
        "file that is gzip": (lambda s: got(gzip.compress(f"of {s} ".encode()), "application/gzip"), "x"),
        "answer's header": (lambda s: got("{}", plain, ("X-Of", s)), "l"),
        "answer's link": (lambda s: got("{}", plain, ("Link", f'<{url}/?c={quote(s, safe="")}>; rel="next"')), ""),
        "page of an error": (lambda s: got(f"<h1>no {html.escape(s)}</h1>", "text/html", status=500), ""),
        "challenge": (lambda s: got("{}", plain, ("WWW-Authenticate", f'Bearer error="{quote(s)}"'), status=401), ""),
        "refused": (lambda s: (f"http://127.0.0.1:1/{quote(s, safe='')}", {}, None), ""),
        "header that is refused": (lambda s: (url + "/sent", {"X-Of": f"{s}\n"}, None), ""),
        "url that is refused": (lambda s: (f"http://[{quote(s)}/", {}, None), ""),
    }


def plant(planter: Planter, client: Client, up: Upstream, *, backwards: bool = True) -> None:
    """Plant a secret in each place of this client's calls."""

    def send(url: str, headers: dict[str, str], body: bytes | None) -> None:
        # Some clients refuse some of it. What they say of it is recorded as well.
        with refusals_told():
            client("POST" if body is not None else "GET", url, headers, body)

    elsewhere = _elsewhere(up, up.url)
    for place, request in _named_requests(up.url).items():
        send(*request(planter.named(f"request, {place}")))
    for place in ("path", "another query", "another field"):
        for make in (plain, odd):
            # The first call tells of the second, in a replay as well.
            secret = planter.named(f"header, and {place} of the next request", make)
            send(f"{up.url}/sent", {"X-Api-Key": secret}, None)
            send(*elsewhere[place][0](secret))
    for place, answer in _named_answers(up).items():
        send(answer(planter.named(f"answer, {place}")), {}, None)
    for place, (anything, without) in elsewhere.items():
        texts: Iterator[str] = planter.anywhere(
            place, escapes="l" not in without, lines="l" not in without, backwards=backwards
        )
        for text in texts:
            send(*anything(text))
    _LOG.warning("connects with password=%s", planter.named("a log record, behind a name", plain))
    for text in planter.anywhere("a log record", backwards=backwards):
        _LOG.warning("got %s", text)
        _LOG.error("failed", exc_info=ValueError(text))
