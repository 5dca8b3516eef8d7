"""What redaction leaves out for speed changes nothing: each shortcut gives what the long way gives."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import os
import random
import re
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.unit.ended_calls import Ended
from timetracer_otel.cassette import cassette_to_bytes
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.libraries.kits.dbapi import secrets as statements
from timetracer_otel.redact import secret_forms
from timetracer_otel.redact.echoes import echoes_in_json
from timetracer_otel.redact.nested import base64_like, json_in_base64, packed_in_base64
from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor, _gives_quoted
from timetracer_otel.redact.secret_forms import may_hold_assignment, well_known_secrets
from timetracer_otel.redact.splice import Edit, JsonKeys, apart, json_edits, json_keys, json_path_edits, json_values
from timetracer_otel.redact.texts import collect, joined
from timetracer_otel.session import TraceSession, secret_book
from timetracer_otel.session.secret_book import SecretBook
from timetracer_otel.types import BodySnapshot, Call, EventResult, HeaderMap

KEY = "AKIAIOSFODNN7EXAMPLE"
FORGE = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----"
BASIC = base64.b64encode(b"bob:hunter2secret").decode()
SECRETS = [
    KEY,
    FORGE,
    "sk-proj-Zq8vT41xKw0pLm7abcdef0123456789",
    "0123456789abcdef0123456789abcdef-us12",
    "EAAA" + "0123456789ABCDEF" * 4,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLW9mLXRva2Vu",
    "postgresql://bob:s3cretpw@db/shop",
    PRIVATE_KEY,
    "Bearer abcdefgh12345678",
    "BEARER abcdefghijklmnopqrstuvwxyz",
    "bearer+abcdefgh.12345678",
    f"Basic {BASIC}",
    f"bAsIc {BASIC}",
    "AccountKey=" + "Ab1+" * 12,
    "SharedAccessKey=" + "Ab1+" * 9,
    "https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXXXXXXXXXX",
    "https://discord.com/api/webhooks/123456/" + "x1Y2" * 12,
    "1//0" + "abcdef0123456789" * 3,
    "access_token$production$abc123$" + "0123456789abcdef" * 2,
    base64.b64encode(f'{{"key": "{FORGE}"}}'.encode()).decode(),
    "postgresql%3A%2F%2Fbob%3As3cretpw%40db%2Fshop",
]
OPEN = ["0af7651916cd43dd8448eb211c80319c", "0af76519-16cd-43dd-8448-eb211c80319c", "basis", "number", "a" * 30, "@"]
PIECES = st.sampled_from([*SECRETS, *OPEN, " ", "\n", '"', "+", "/", ":", ".", "$", "%3D", "\\n", "=", "B", "k"])
IN_BASE64 = [
    "+",
    "/",
    "1//",
    "-",
    "=",
    "a" * 19,
    "Ab1" * 9,
    base64.b64encode(random.Random(1).randbytes(300)).decode(),
    *(base64.b64encode(f"{before}{FORGE} {KEY}".encode()).decode().rstrip("=") for before in ("", "?", "~~~", "a>b")),
]
DATA = st.lists(PIECES | st.text(max_size=8), max_size=8).map("".join).map(lambda text: text.encode("utf-8"))


def decoded(data: bytes, start: int) -> list[bytes]:
    """What a run says in base64, or what the text says that it is a part of: each run is decoded for itself."""
    first = start
    if data[start - 1 : start] == b"/" and (segment := decoded_at(data, start)) is not None:
        return [segment]
    if data[start - 1 : start] in (b"+", b"/"):
        while first and chr(data[first - 1]).isalnum() and data[first - 1] < 128 and start - first < 1024:
            first -= 1
    elif start and data[start - 1] in (0xC4, 0xD9):
        first += 1
    text = decoded_at(data, first)
    return [] if text is None else [text]


def decoded_at(data: bytes, start: int) -> bytes | None:
    run = re.compile(rb"[A-Za-z0-9+/_-]{24,}").match(data, start)
    if run is None:
        return None
    bare = run[0][: len(run[0]) - (len(run[0]) % 4 == 1)]
    text = base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_" if {45, 95} & set(bare) else None)
    return text if text.isascii() else None


def the_long_way(data: bytes) -> tuple[list[tuple[int, int]], list[bytes]]:
    """Every form is looked for in all of the data."""
    found: list[tuple[int, int]] = []
    inner: list[bytes] = []
    position = 0
    while (run := re.compile(rb"[A-Za-z0-9_-]{20,}").search(data, position)) is not None:
        place = secret_forms._in_run(data, *run.span())
        if place is not None:
            found.append(place)
        elif run.end() - run.start() >= secret_forms._SHORTEST_INNER:
            inner += decoded(data, run.start())
        position = max(run.end(), place[1] if place is not None else 0)
    for pattern in (secret_forms._ADDRESS, *secret_forms._OTHERS):
        found += [match.span(1) for match in pattern.finditer(data)]
    found += [match.span() for match in secret_forms._PRIVATE_KEY.finditer(data)]
    found += [match.span(2) for match in secret_forms._SCHEME.finditer(data) if secret_forms._is_credential(match)]
    return apart(found), inner


@given(DATA)
@example(f"Basic {BASIC}Bearer abcdefgh12345678{PRIVATE_KEY}".encode())
@examples(40)
def test_forms_are_found_as_by_looking_for_each_of_them(data: bytes) -> None:
    inner: list[bytes] = []
    places = well_known_secrets(data, inner)
    expected, decoded = the_long_way(data)
    # Where two touch, one place may take in both.
    left = [place for place in expected if not any(start <= place[0] and place[1] <= stop for start, stop in places)]
    assert left == []
    assert [text for text in decoded if not any(one.endswith(text) for one in inner)] == []


@given(st.lists(st.sampled_from([*IN_BASE64, *SECRETS]), max_size=12).map("".join).map(str.encode))
@example(b"/" + base64.b64encode(f"<b>{FORGE}</b>".encode()) + b"+")
@examples(75)
def test_secrets_within_base64_are_found_as_by_decoding_at_each_run(data: bytes) -> None:
    inner: list[bytes] = []
    places = well_known_secrets(data, inner)
    expected, texts = the_long_way(data)
    assert [one for one in expected if not any(start <= one[0] and one[1] <= stop for start, stop in places)] == []
    assert [text for text in texts if not any(one.endswith(text) for one in inner)] == []
    found = {one[start:stop] for one in inner for start, stop in well_known_secrets(one)}
    assert {text[start:stop] for text in texts for start, stop in well_known_secrets(text)} <= found


@pytest.mark.parametrize("is_text", [False, True], ids=["random", "ascii"])
def test_a_long_text_in_base64_is_decoded_only_once(is_text: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In base64 of random bytes, or of HTML, many runs of letters end at a plus or a slash."""
    steps = {"decoded": 0, "runs": 0}
    decode, look = secret_forms._from_base64, secret_forms._in_run

    def counted_decode(text: bytes) -> bytes:
        steps["decoded"] += len(text)
        return decode(text)

    def counted_look(*args: Any) -> Any:
        steps["runs"] += 1
        return look(*args)

    monkeypatch.setattr(secret_forms, "_from_base64", counted_decode)
    monkeypatch.setattr(secret_forms, "_in_run", counted_look)
    content = b"Who asked? " * 6000 if is_text else random.Random(1).randbytes(66000)
    data = b'{"file": "%b"}' % base64.b64encode(content)
    inner: list[bytes] = []
    assert well_known_secrets(data, inner) == []
    assert inner == ([content] if is_text else [])
    assert steps["decoded"] <= len(data) + 1024
    assert steps["runs"] <= 4


@pytest.mark.parametrize("secret", SECRETS)
def test_each_of_these_is_found(secret: str) -> None:
    """So that what the other tests plant is something to find."""
    inner: list[bytes] = []
    assert well_known_secrets(secret.encode(), inner) or any(map(well_known_secrets, inner))


NAMES = st.sampled_from(["password", "Api_Key", "token", "id", "name", "n", "X" * 50]) | st.text(max_size=4)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.binary(max_size=12)
    | st.sampled_from(['{"password": "x1y2z3w4"}', b'[{"token":"q"}]', "{not json", KEY, KEY.encode()])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.lists(st.tuples(inner, inner), max_size=24)
        | st.lists(st.lists(inner, max_size=3).map(tuple), max_size=4)
        | st.dictionaries(NAMES | st.binary(max_size=3) | st.just(b"password") | st.integers(), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(st.lists(VALUES, max_size=3))
@examples(25)
def test_values_are_redacted_as_by_walking_through_them(values: list[Any]) -> None:
    rules = Redactor()
    for redactor in (rules, Pseudonymiser(rules, Pseudonyms())):
        for value in values:
            assert repr(redactor.value(value)) == repr(redactor._redacted(value))


def leaves(value: Any) -> Iterator[bytes]:
    """The texts, bytes and large numbers of a value, one by one."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item)
            if not isinstance(key, str) or len(key) > 40:
                yield from leaves(key)
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, str) and len(value) >= 6:
        yield value.encode("utf-8", "surrogatepass")
    elif type(value) is int and value > 10_000_000:
        yield str(value).encode()


@given(VALUES)
@examples(25)
def test_all_that_may_hold_a_secret_is_searched(value: Any) -> None:
    texts: list[str] = []
    raw: list[bytes] = []
    collect(value, texts, raw)
    data = joined(texts, raw)
    assert [leaf for leaf in leaves(value) if leaf not in data] == []


KEYS = ["password", "cvc", "x-api-key", "Ωμέγα", "id_token", "pw1"]
JSON_PIECES = st.sampled_from(
    [*KEYS, *map(str.upper, KEYS), '"', '"', '":', '" :', '"\t:\r\n', "\\", '{"', "loc", "x", "[", "é", ", ", "1"]
)
ENCODINGS = st.sampled_from(["utf-8", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-le", "utf-32-be"])


@given(st.lists(JSON_PIECES, max_size=12).map("".join), ENCODINGS, st.sets(st.sampled_from(KEYS), min_size=1))
@examples(120)
def test_no_secret_key_is_missed_by_looking_from_behind(text: str, encoding: str, names: set[str]) -> None:
    data = f'{{"a": "{text}'.encode(encoding)
    keys = json_keys(names, besides=["loc"])
    assert keys.may_be_in(data) or not list(json_edits(data, keys))
    assert keys.may_be_in(data) or '"loc":' not in text


@given(
    st.lists(JSON_PIECES, max_size=12).map("".join),
    ENCODINGS,
    st.sets(st.sampled_from([*KEYS, "pw"]), min_size=1),
)
@example('x": 1, "password"\t: "', "utf-16-le", {"password"})
@example('x": 1, "Password"\t\r\n : "', "utf-8", {"password"})
@example('x": 1, "pw": "', "utf-8", {"pw", "password"})
@examples(120)
def test_no_secret_key_is_missed_in_a_long_body(text: str, encoding: str, names: set[str]) -> None:
    data = f'{{"a": "{text}", "b": "{" " * 17_000}"}}'.encode(encoding)
    keys = json_keys(names, besides=["loc"])
    assert keys.may_be_in(data) or not list(json_edits(data, keys))
    assert keys.may_be_in(data) or '"loc":' not in text


@pytest.mark.parametrize("name", sorted(Redactor.of("default", ())._fields))
def test_each_secret_key_is_found_in_a_long_body(name: str) -> None:
    keys = Redactor.of("default", ())._json_keys
    rest = f'"text": "{" " * 17_000}"}}'
    assert keys.may_be_in(f'{{"{name.upper()}" : 1, {rest}'.encode())
    assert keys.may_be_in(f'{{"{name}":1, {rest}'.encode())
    assert not keys.may_be_in(f'{{"names": ["{name}", "{name}s"], {rest}'.encode())


@pytest.mark.parametrize("name", sorted(Redactor.of("default", ())._fields))
def test_each_secret_key_is_found_from_behind(name: str) -> None:
    keys = Redactor.of("default", ())._json_keys
    assert keys.may_be_in(f'{{"{name.upper()}" : 1}}'.encode())
    assert not keys.may_be_in(f'["{name}", "{name}s"]'.encode())


def edits_by_walking(redactor: Redactor, data: bytes) -> list[Edit]:
    """Each text of a document is looked at."""
    edits = list(json_edits(data, redactor._json_keys, redactor))
    text = data.decode("latin-1")
    if '"loc"' in text and '"input"' in text:
        paths = [path for path in echoes_in_json(data, redactor._is_secret_anywhere) if "*" not in path]
        edits = apart([*edits, *json_path_edits(data, paths, redactor)])
    for start, stop, name in json_values(data):
        inner = data[start:stop]
        if name is not None and name in redactor._fields:
            continue
        if (document := json_in_base64(inner[1:-1])) is not None:
            made = redactor._document(document[0])
            if made != document[0]:
                edits.append(Edit(start, stop, b'"' + base64.b64encode(made, document[1]) + b'"'))
        elif (file := packed_in_base64(inner[1:-1])) is not None:
            made = redactor._file_in_base64(file)
            if made != file:
                edits.append(Edit(start, stop, b'"' + base64_like(inner, made) + b'"'))
        elif _gives_quoted(inner) and may_hold_assignment(inner):
            try:
                plain = json.loads(inner)
            except ValueError:
                continue
            changed = redactor._document(plain) if plain[:1] in ("{", "[") else plain
            changed = redactor._code(plain) if changed == plain else changed
            if changed != plain:
                edits.append(Edit(start, stop, json.dumps(changed, ensure_ascii=inner.isascii()).encode()))
    return apart(edits)


CODE = [
    "password = 'x1y2z3w4'",
    "it's a key: 'x1y2z3w4'",
    'token="x1y2z3w4"',
    '{"password": "x1y2z3w4"}',
    "{'api_key': 'x1y2z3w4'}",
    'f(secret: \\"x1y2z3w4\\")',
    "don't",
    "a \\ b",
    "password=  'x1y2z3w4'",
    "ß = 'x'",
    base64.b64encode(b'{"password": "x1y2z3w4"}').decode(),
    base64.b64encode(zlib.compress(b'{"password": "x1y2z3w4"}')).decode(),
    base64.b64encode(gzip.compress(b"plain", mtime=0)).decode(),
]
DOCUMENTS = st.recursive(
    st.sampled_from(CODE) | st.text(max_size=5) | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*CODE, "n", "text", "password", "token", "loc"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(DOCUMENTS, max_size=3), st.booleans(), st.sampled_from(["\n", "", "'", "\\"]), st.integers(0, 9))
@example(["password = 'x1y2z3w4'", {'token="x1y2z3w4"': None}], False, "\n", 0)
@examples(100)
def test_texts_of_json_are_redacted_as_by_looking_at_each(
    documents: list[Any], is_ascii: bool, between: str, cut: int
) -> None:
    text = between.join(json.dumps(one, ensure_ascii=is_ascii) for one in documents)
    data = text.encode("utf-8", "surrogatepass")
    redactor = Redactor.of("default", ())
    for one in (data, data[: len(data) - cut]):
        assert redactor._edits_of_json(one) == edits_by_walking(redactor, one)


def test_a_name_that_is_a_text_of_another_class_is_no_reason_to_trust_that_name() -> None:
    class Quoted(str):
        """As SQLAlchemy has it."""

    rules = Redactor()
    assert rules.value({Quoted("password"): "x"}) == {"password": "x"}
    assert rules.value({"password": "x"}) != {"password": "x"}
    args = {"statement": "SELECT :password", "parameters": {Quoted("password"): "x1y2z3"}}
    assert "x1y2z3" not in repr(statements.STATEMENT.arguments(args, rules))


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Authorization", b"authorization", b"Cookie", b"Set-Cookie", b"Location", b"Accept", b"X-Id"]
        ),
        st.sampled_from(
            [
                b"Bearer Zq8vT41xKw0pLm7",
                b"a=1; sessionid=Zq8vT41xKw0pLm7",
                b"https://h/?token=Zq8vT41xKw0pLm7",
                b"*/*",
            ]
        ),
    ),
    max_size=5,
)


@given(st.lists(HEADERS, max_size=4))
@examples(25)
def test_headers_that_were_met_before_are_redacted_as_the_first_time(calls: list[list[tuple[bytes, bytes]]]) -> None:
    known = Pseudonyms()
    used: list[str] = []
    redactor = Pseudonymiser(Redactor(), known)
    redactor.used = used.append
    for lines in calls:
        used.clear()
        made = redactor.headers(lines)
        before = sorted(used)
        used.clear()
        fresh = Pseudonymiser(Redactor(), known)
        fresh.used = used.append
        assert made == fresh.headers(lines)
        assert before == sorted(used), "the same pseudonyms are noted on the event"


PLANTED = "Zq8vT41xKw0pLm7"
TEXTS = st.sampled_from([PLANTED, f"say {PLANTED} twice", KEY, f"{FORGE} {KEY}", "nothing at all", "plain"])


@st.composite
def ended_calls(draw: st.DrawFn) -> Ended:
    """A call of one of three kinds, with secrets in some of its places."""
    kind = draw(st.sampled_from(["http", "sql", "redis"]))
    one, two, three = draw(TEXTS), draw(TEXTS), draw(TEXTS)
    if kind == "http":
        headers = [(b"X-Note", one.encode()), (b"Authorization", f"Bearer {PLANTED}".encode())]
        body = draw(st.sampled_from([f'{{"note": "{two}"}}', f'{{"password": "{two}"}}', two])).encode()
        call = Call("httpx", EventType.HTTP_CLIENT, "POST", "https://h/a", headers[: draw(st.integers(0, 2))], body)
        answer = BodySnapshot(True, "bytes", three.encode(), size_bytes=len(three))
        return Ended(call, EventResult(status=200, headers=HeaderMap(((b"X-Id", one.encode()),)), body=answer))
    if kind == "sql":
        name = draw(st.sampled_from(["id_1", "password", "password_1"]))
        column = draw(st.sampled_from(["id", "api_key"]))
        args = {"statement": f"SELECT '{one}' WHERE x = :{name}", "parameters": {name: two}}
        rows = [(three, 1)] * draw(st.sampled_from([1, 20]))
        reply = {"description": [(column,), ("n",)], "rows": rows}
        return Ended(
            Call("sqlalchemy", EventType.DB_QUERY, "SELECT", "sqlite:///", args=args), EventResult(reply=reply)
        )
    words = draw(st.sampled_from([["GET", one], ["AUTH", PLANTED], ["SET", one, f'{{"token": "{two}"}}']]))
    return Ended(
        Call("redis", EventType.REDIS, words[0], "redis://h/0", args=words), EventResult(reply=[three.encode()])
    )


def recorded(calls: list[Ended]) -> TraceSession:
    """A session of these calls."""
    session = TraceSession(TraceConfig())
    for call in calls:
        session.call_began(call)
    return session


def test_the_secrets_of_a_recording_are_forgotten_with_it() -> None:
    headers = ((b"Authorization", b"Bearer " + FORGE.encode()), (b"Cookie", b"sessionid=" + KEY.encode()))
    url = f"https://user:{KEY}@h.example/?token={FORGE}"
    session = recorded([Ended(Call("httpx", EventType.HTTP_CLIENT, "GET", url, headers), EventResult(status=200))])
    session.to_cassette()
    book = session._maker.book
    assert book is not None
    gone = [weakref.ref(part) for part in (book, book.redactor, book.signer, book.occurrences)]
    gc.disable()
    try:
        del book, session
        assert [ref() for ref in gone] == [None] * len(gone)
    finally:
        gc.enable()


@given(st.lists(ended_calls(), min_size=1, max_size=5))
@examples(25, HealthCheck.function_scoped_fixture)
def test_a_recording_is_the_same_without_the_shortcuts(monkeypatch: pytest.MonkeyPatch, calls: list[Ended]) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "urandom", lambda size: b"k" * size)
        quick = recorded(calls).to_cassette()
        patched.setattr(Redactor, "value", lambda self, value: self._redacted(value) if self.active else value)
        patched.setattr(secret_book._Notes, "takes", lambda *_: False)
        note_forms = SecretBook.note_forms
        patched.setattr(SecretBook, "note_forms", lambda self, event, kept=False: note_forms(self, event))
        patched.setattr(JsonKeys, "may_be_in", lambda *_: True)
        patched.setattr(statements, "_is_open", lambda *_: False)
        patched.setattr(statements, "_secret_positions", statements._secret_positions.__wrapped__)
        slow = recorded(calls).to_cassette()
    assert sorted(quick.pseudonyms) == sorted(slow.pseudonyms)
    for one, other in zip(quick.events, slow.events, strict=True):
        assert replace(one, pseudonyms=(), start_offset_ms=0.0) == replace(other, pseudonyms=(), start_offset_ms=0.0)
        # What only stood in a value that was replaced as a whole does not stand in the call any more.
        gone = set(other.pseudonyms) - set(one.pseudonyms)
        assert set(one.pseudonyms) <= set(other.pseudonyms)
        assert [name for name in gone if name in repr((one.call, one.signature))] == []
    packed = cassette_to_bytes(quick)
    assert KEY.encode() not in packed
    assert FORGE.encode() not in packed
    if PLANTED in slow.pseudonyms or PLANTED.encode() not in cassette_to_bytes(slow):
        assert PLANTED.encode() not in packed


def test_a_header_that_differs_in_each_call_is_not_remembered_with_the_token_beside_it() -> None:
    redactor = Pseudonymiser(Redactor.of("default", ()), Pseudonyms())
    token = (b"Authorization", b"Bearer Zq8vT41xKw0pLm7abcdef0123456789")
    made = {redactor.headers([token, (b"traceparent", f"00-{number:032x}".encode())])[0] for number in range(50)}
    assert len(made) == 1
    assert token not in made
    assert list(redactor._lines) == [token]
