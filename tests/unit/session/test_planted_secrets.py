"""Several hundred secrets, each planted in one place of a recording and once more in another: none is in any byte."""

from __future__ import annotations

import base64
import gzip
import html
import itertools
import json
import random
import string
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.unit.ended_calls import Ended
from tests.unit.redact.test_pseudonymiser import KNOWN
from timetracer_otel.cassette import AppendWriter, read_cassette, save_cassette
from timetracer_otel.cli import main
from timetracer_otel.constants import EventType
from timetracer_otel.session import TraceSession
from timetracer_otel.session.trace import EventFeed
from timetracer_otel.types import (
    BodySnapshot,
    Call,
    EventResult,
    HeaderMap,
    RecordedError,
    RequestSnapshot,
    ResponseSnapshot,
)

Plant = Callable[[str], Ended]

_chance = random.Random(7)


def _random(alphabet: str, length: int) -> str:
    made = "".join(_chance.choice(alphabet) for _ in range(length))
    return made[:-3] + "x7Q"  # letters and digits, whatever chance says


def fresh() -> Iterator[str]:
    """Secrets of no known form, each of another kind."""
    while True:
        yield _random(string.ascii_letters + string.digits, 24)
        yield _random(string.ascii_letters + string.digits + "/+=", 32)
        yield _random(string.ascii_lowercase + string.digits, 10)
        yield _random(string.ascii_letters + string.digits + "%&?#:@!$'\\ ü", 20)


def known(secret: str) -> str:
    """Another secret of the form of a well-known one."""
    head, tail = secret[:-8], secret[-8:]
    if "-----" in secret:
        return secret.replace("Ab0/Ab0/", _random(string.ascii_letters + string.digits, 64))
    digits = "0123456789abcdef" if set(tail) <= set("0123456789abcdef") else ""
    capital = string.ascii_uppercase if tail.isupper() else ""
    return head + "".join(_chance.choice(digits or capital or string.ascii_letters + string.digits) for _ in tail)


def http(
    secret: str,
    url: str = "https://h/a",
    sent: bytes | None = None,
    sent_type: str = "application/json",
    got: bytes = b"{}",
    got_type: str = "application/json",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    got_headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Ended:
    call = Call(
        "httpx", EventType.HTTP_CLIENT, "POST", url, (*headers, (b"Content-Type", sent_type.encode())), sent or None
    )
    body = BodySnapshot(True, "bytes", got, size_bytes=len(got), chunks=((1.0, len(got)),))
    pairs = [*got_headers, (b"Content-Type", got_type.encode()), (b"Content-Length", str(len(got)).encode())]
    return Ended(call, EventResult(status=200, headers=HeaderMap(pairs), body=body))


def redis(*words: Any, reply: Any = b"OK") -> Ended:
    return Ended(Call("redis", EventType.REDIS, "X", "redis://h/0", args=list(words)), EventResult(reply=reply))


def sql(statement: str, parameters: Any = None, **reply: Any) -> Ended:
    args = {"statement": statement, "parameters": parameters}
    return Ended(Call("sqlalchemy", EventType.DB_QUERY, "SELECT", "db://h/d", args=args), EventResult(reply=reply))


def failed(text: str) -> Ended:
    error = RecordedError("builtins:ValueError", text, (text, [text.encode()]), {"of": text})
    result = EventResult(error=text, error_type="ValueError", exception=error)
    return Ended(Call("custom", EventType.CUSTOM, "f", args={"n": 1}), result)


def named_path(secret: str) -> Ended:
    call = http(secret)
    call.path = ("GET /", f"work {secret}")
    return call


def _json(secret: str, **fields: Any) -> bytes:
    return json.dumps({**fields, "token": secret}).encode()


NAMED: dict[str, Plant] = {
    "bearer": lambda s: http(s, headers=((b"Authorization", b"Bearer " + s.encode()),)),
    "basic": lambda s: http(s, headers=((b"Authorization", b"Basic " + base64.b64encode(f"ada:{s}".encode())),)),
    "api key": lambda s: http(s, headers=((b"X-Api-Key", s.encode("latin-1")),)),
    "query": lambda s: http(s, url=f"https://h/a?access_token={quote(s, safe='')}&n=1"),
    "query with plus": lambda s: http(s, url=f"https://h/a?token={quote_plus(s)}"),
    "fragment": lambda s: http(s, got_headers=((b"Location", f"/#access_token={quote(s)}".encode()),)),
    "user information": lambda s: http(s, url=f"https://ada:{quote(s, safe='')}@h/a"),
    "json sent": lambda s: http(s, sent=_json(s)),
    "json got": lambda s: http(s, got=_json(s, n=1)),
    "json of another type": lambda s: http(s, got=b" " + _json(s), got_type="application/octet-stream"),
    "json in an object": lambda s: http(s, got=json.dumps({"accessToken": {"value": s}}).encode()),
    "json of aws": lambda s: http(
        s, got=json.dumps({"SecretAccessKey": s}).encode(), got_type="application/x-amz-json-1.1"
    ),
    "json in json": lambda s: http(s, got=json.dumps({"SecretString": json.dumps({"password": s})}).encode()),
    "lines of json": lambda s: http(s, got=b'{"n":1}\n' + _json(s) + b"\n", got_type="application/x-ndjson"),
    "event stream": lambda s: http(s, got=b"data: " + _json(s) + b"\n\n", got_type="text/event-stream"),
    "graphql": lambda s: http(s, sent=json.dumps({"query": "{a}", "variables": {"password": s}}).encode()),
    "form": lambda s: http(
        s, sent=f"a=1&client_secret={quote_plus(s)}".encode(), sent_type="application/x-www-form-urlencoded"
    ),
    "multipart": lambda s: http(
        s,
        sent=b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n' + s.encode() + b"\r\n--b--\r\n",
        sent_type="multipart/form-data; boundary=b",
    ),
    "xml element": lambda s: http(
        s, got=f"<a><SessionToken>{html.escape(s)}</SessionToken></a>".encode(), got_type="text/xml"
    ),
    "xml attribute": lambda s: http(s, got=f'<a password="{html.escape(s)}"/>'.encode(), got_type="application/xml"),
    "html field": lambda s: http(
        s, got=f'<input name="csrf_token" value="{html.escape(s)}">'.encode(), got_type="text/html"
    ),
    "redis password": lambda s: redis("AUTH", "ada", s),
    "redis field": lambda s: redis("HSET", "h", {"password": s}),
    "redis json": lambda s: redis("GET", "k", reply=_json(s)),
    "bound value": lambda s: sql("SELECT 1 WHERE a = :password_1", {"password_1": s}),
    "column": lambda s: sql("SELECT token FROM t", description=[("id",), ("token",)], rows=[(1, s), (2, None)]),
    "argument": lambda s: Ended(Call("custom", EventType.CUSTOM, "f", args=[{"secret": s}]), EventResult(reply=1)),
}
"""Places where a name tells that a value is a secret."""

ANYWHERE: dict[str, Plant] = {
    "path": lambda s: http(s, url=f"https://h/of/{quote(s, safe='')}/x"),
    "another query": lambda s: http(s, url=f"https://h/a?of={quote(s, safe='')}"),
    "another header": lambda s: (
        http(s, got_headers=((b"X-Of", s.encode().replace(b"\n", b" ")),)) if "\n" not in s else http(s)
    ),
    "text": lambda s: http(s, got=f"it is {s}, they say".encode(), got_type="text/plain"),
    "json text": lambda s: http(s, got=json.dumps({"of": [f"see {s}"]}).encode()),
    "json in json": lambda s: http(s, got=json.dumps({"of": json.dumps({"a": s})}).encode()),
    "compressed": lambda s: http(
        s, got=gzip.compress(f"it is {s} ".encode()), got_headers=((b"Content-Encoding", b"gzip"),)
    ),
    "xml text": lambda s: http(s, got=f"<a>{html.escape(s)}</a>".encode(), got_type="text/xml"),
    "base64": lambda s: http(s, got=json.dumps({"of": base64.b64encode(f"of {s}!".encode()).decode()}).encode()),
    "redis key": lambda s: redis("GET", f"of:{s}"),
    "redis value": lambda s: redis("SET", "k", s),
    "redis reply": lambda s: redis("GET", "k", reply=[s.encode(), {b"f": f"a {s}".encode()}]),
    "redis name": lambda s: redis("HGETALL", "k", reply={s.encode(): b"1"}),
    "sql literal": lambda s: sql("SELECT 1 WHERE of = '" + s.replace("'", "''") + "'"),
    "another bound value": lambda s: sql("SELECT 1 WHERE a = :of", {"of": s}),
    "another column": lambda s: sql("SELECT of FROM t", description=[("of",)], rows=[(f"x {s}",)]),
    "error": lambda s: failed(f"refused: {s}"),
    "quoted in an error": lambda s: failed(f"Illegal header value {s!r}"),
    "name of a span": named_path,
}
"""Other places, and other ways to write."""


@cache
def forms(secret: str) -> set[bytes]:
    """How a secret could be found in bytes."""
    found = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}
    packed = {secret.encode(), html.escape(secret).encode(), repr(secret)[1:-1].encode()} | {
        one.encode() for one in found
    }
    for skipped in range(3):
        core = base64.b64encode(b"\0" * skipped + secret.encode())
        packed.add(core[(0, 2, 3)[skipped] : (skipped + len(secret.encode())) * 8 // 6])
    return packed


def unpacked(data: bytes) -> bytes:
    """All bytes, and those of compressed bodies in them."""
    pieces = [data]
    at = data.find(b"\x1f\x8b\x08")
    while at >= 0:
        try:
            import zlib

            pieces.append(zlib.decompressobj(31).decompress(data[at:]))
        except zlib.error:
            pass
        at = data.find(b"\x1f\x8b\x08", at + 1)
    return b"\n".join(pieces)


def planted() -> list[tuple[str, list[Ended]]]:
    """Each secret, with the calls that carry it."""
    secrets, places = fresh(), itertools.cycle(ANYWHERE.values())
    found: list[tuple[str, list[Ended]]] = []
    for plant in NAMED.values():
        for _ in range(6):
            secret = next(secrets)
            try:
                secret.encode("latin-1")
                found.append((secret, [plant(secret), next(places)(secret)]))
            except UnicodeError:
                continue
    for other in KNOWN.values():
        for plant in ANYWHERE.values():
            secret = known(other)
            found.append((secret, [plant(secret)]))
    return found


def leaks(data: bytes, secrets: list[str]) -> list[str]:
    everything = unpacked(data)
    return [secret for secret in secrets if any(form in everything for form in forms(secret))]


def test_none_of_several_hundred_secrets_is_in_a_cassette_or_in_what_is_shown_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plants = planted()
    assert len(plants) > 500
    session = TraceSession()
    # The second occurrence comes first as often as not.
    for number, (_, calls) in enumerate(plants):
        for call in calls if number % 2 else reversed(calls):
            session.call_began(call)
    # The request, its answer and its error carry the first ones again.
    secrets = [secret for secret, _ in plants]
    some = secrets[:120:7]
    request = {"x-of": " ".join(some[:4]), "cookie": f"sessionid={some[0]}"}
    session.set_request(RequestSnapshot("GET", f"/{quote(some[1], safe='')}", headers=request, query={"a": some[2]}))
    session.set_response(
        ResponseSnapshot(500, {"x-of": some[3]}, BodySnapshot(True, "bytes", "\n".join(some).encode()))
    )
    session.mark_error("ValueError", f"no {some[4]}", "Traceback:\n" + "\n".join(some))
    path = save_cassette(session.to_cassette(), tmp_path / "a.msgpack")
    assert leaks(Path(path).read_bytes(), secrets) == []
    assert len(read_cassette(path).pseudonyms) >= len(plants)
    for command in (["show", path], ["show", "--event", "3", path], ["export", "--to", "har", path]):
        try:
            main(command)
        except SystemExit:
            pass
    shown = capsys.readouterr().out
    assert len(shown) > 10_000
    assert leaks(shown.encode(), secrets) == []


def test_what_is_appended_holds_no_secret_that_was_found_before(tmp_path: Path) -> None:
    plants = planted()[::3]
    session = TraceSession()
    feed = EventFeed(session)
    with AppendWriter(tmp_path / "a.msgpack", session.head()) as output:
        for _, calls in plants:
            for call in calls:
                session.call_began(call)
                for event in feed.take(0.0):
                    output.append(event)
    data = (tmp_path / "a.msgpack").read_bytes()
    assert leaks(data, [secret for secret, _ in plants]) == []
    assert len(read_cassette(tmp_path / "a.msgpack").pseudonyms) >= len(plants)
