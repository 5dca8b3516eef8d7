"""Secrets in documents within values: pickles, compressed values, JSON in base64, what Python shows of an object."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import pickle
import secrets
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lz4.frame
import msgpack  # type: ignore[import-untyped,unused-ignore]
import pytest
import zstandard

from tests.unit.ended_calls import Ended
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.match.signature import Signer
from timetracer_otel.redact.content_encoding import PACKED
from timetracer_otel.redact.nested import holds_digest, with_texts_of_pickle
from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.events import EventMaker
from timetracer_otel.session.secret_book import SecretBook
from timetracer_otel.types import BodySnapshot, Call, DependencyEvent, EventResult, RecordedError

SECRET = "h3WdZq7Kx9tNb5uR"


RULES = Redactor("default", ["ssn"])


def redacted(value: Any) -> Any:
    return Pseudonymiser(RULES, Pseudonyms()).value(value)


def in_base64(pack: Callable[[bytes], bytes], secret: str) -> str:
    """As Celery writes a message that it compresses."""
    plain = json.dumps([[], {"password": secret, "of": "x" * 40}]).encode()
    return json.dumps({"body": base64.b64encode(pack(plain)).decode()})


NESTED: dict[str, Callable[[str], Any]] = {
    "pickle": lambda s: pickle.dumps({"user": "ada", "password": s, "n": 1}),
    "old pickle": lambda s: pickle.dumps({"user": "ada", "password": s}, protocol=2),
    "pickle of lists": lambda s: pickle.dumps([{"token": "of another"}, {"token": s}]),
    "bytes in a pickle": lambda s: pickle.dumps({"token": s.encode()}),
    "json in a pickle": lambda s: pickle.dumps(("f", json.dumps({"token": s}))),
    "compressed pickle": lambda s: zlib.compress(pickle.dumps(("f", None, (), {"password": s}))),
    "compressed json": lambda s: zlib.compress(json.dumps({"password": s}).encode(), 9),
    "gzip": lambda s: gzip.compress(json.dumps({"password": s}).encode(), mtime=0),
    "zstd": lambda s: zstandard.ZstdCompressor().compress(json.dumps({"password": s}).encode()),
    "xz": lambda s: lzma.compress(pickle.dumps({"password": s})),
    "lzma": lambda s: lzma.compress(json.dumps({"password": s}).encode(), lzma.FORMAT_ALONE),
    "bzip2": lambda s: bz2.compress(json.dumps({"password": s}).encode()),
    "lz4": lambda s: lz4.frame.compress(json.dumps({"password": s}).encode()),
    "zlib in base64": lambda s: in_base64(zlib.compress, s),
    "gzip in base64": lambda s: in_base64(lambda data: gzip.compress(data, mtime=0), s),
    "bzip2 in base64": lambda s: in_base64(bz2.compress, s),
    "xz in base64": lambda s: in_base64(lzma.compress, s),
    "lzma in base64": lambda s: in_base64(lambda data: lzma.compress(data, lzma.FORMAT_ALONE), s),
    "zstd in base64": lambda s: in_base64(zstandard.ZstdCompressor().compress, s),
    "lz4 in base64": lambda s: in_base64(lz4.frame.compress, s),
    "bzip2 in xz": lambda s: lzma.compress(bz2.compress(json.dumps({"password": s}).encode())),
    "two of bzip2": lambda s: bz2.compress(b'{"password":') + bz2.compress(b'"%s"}' % s.encode()),
    "base64 in json": lambda s: json.dumps({"body": base64.b64encode(json.dumps({"token": s}).encode()).decode()}),
    "url's base64": lambda s: json.dumps(["", base64.urlsafe_b64encode(json.dumps([{"jwt": s}]).encode()).decode()]),
    "msgpack": lambda s: msgpack.packb({"user": "ada", "password": s, "n": 1}),
    "bytes in msgpack": lambda s: msgpack.packb([1, {"token": s.encode(), "at": 1.5}]),
    "a list in msgpack": lambda s: msgpack.packb({"of": {"password": [s, "x1"]}, "n": None}),
    "json in msgpack": lambda s: msgpack.packb([json.dumps({"token": s}), b"x"]),
    "msgpack in msgpack": lambda s: msgpack.packb(["token", msgpack.packb({"jwt": s})]),
    "compressed msgpack": lambda s: zlib.compress(msgpack.packb({"password": s})),
    "an own name in a pickle": lambda s: pickle.dumps({"ssn": s}),
    "an own name in msgpack": lambda s: msgpack.packb({"ssn": s}),
    "an object": lambda s: f"Login(user='ada', password='{s}')",
    "a dictionary": lambda s: f"work({{'password': '{s}'}})",
    "a quoted text": lambda s: f"""work("password='{s}'")""",
    "a dictionary in json": lambda s: json.dumps({"kwargsrepr": str({"password": s})}),
    "in double quotes": lambda s: f'work(password="{s}")',
}


def recorded(maker: EventMaker, reply: Any) -> DependencyEvent:
    """The event of a command that was answered by a reply."""
    call = Call("redis", EventType.REDIS, "GET", "redis://h:1/0", args=["GET", "k"])
    return maker.event(Ended(call, EventResult(reply=reply)), None, 0.0, 1.0)


def contents(value: Any) -> bytes:
    """All that stands in a value, without what hides it."""
    data: bytes = value if isinstance(value, bytes) else value.encode()
    if data[:2] in (b"x\x9c", b"x\xda"):
        data = zlib.decompress(data)
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data[:4] == b"(\xb5/\xfd":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if data[:3] in (b"\xfd7z", b"]\0\0"):
        data = lzma.decompress(data)
    if data[:3] == b"BZh":
        data = bz2.decompress(data)
    if data[:4] == b'\x04"M\x18':
        data = lz4.frame.decompress(data)
    for part in data.split(b'"'):
        if len(part) > 20 and len(part) % 4 == 0 and part.isascii():
            plain = base64.b64decode(part.translate(bytes.maketrans(b"-_", b"+/")))
            # How long a packed file is depends on what stands in it.
            data = data.replace(part, contents(plain)) if plain.startswith(PACKED) else data + plain
    return data


@pytest.mark.parametrize("place", NESTED)
class TestNestedDocuments:
    def test_a_secret_gets_a_pseudonym(self, place: str) -> None:
        value = NESTED[place](SECRET)
        assert SECRET.encode() in contents(value)
        made = redacted([value, {"of": value}])
        for one in (made[0], made[1]["of"]):
            assert type(one) is type(value)
            assert SECRET.encode() not in contents(one)
            assert len(contents(one)) == len(contents(value)), "what stands beside it is as it was"

    def test_calls_that_differ_in_it_are_equal(self, place: str) -> None:
        signer = Signer(RULES)
        one, other, third = (
            signer.arguments_hash("redis", signer.redacted_arguments("redis", ["SET", "k", NESTED[place](text)]))
            for text in (SECRET, "a8Kq" + SECRET[4:], "longer" + SECRET)
        )
        assert one == other == third

    def test_one_that_is_known_is_found_there(self, place: str) -> None:
        rules = Redactor("default")
        book = SecretBook(rules, Signer(rules))
        book.redactor.secret(SECRET)
        value = NESTED[place](f"of {SECRET}")
        made = book.occurrences.value([value])[0]
        assert SECRET.encode() not in contents(made)


@pytest.mark.parametrize("packed", ["zlib", "gzip in zlib", "twice gzip"])
def test_one_that_its_form_tells_is_found_in_what_is_packed(packed: str) -> None:
    rules = Redactor("default")
    book = SecretBook(rules, Signer(rules))
    token = "ghp_" + "x7Qr" * 9
    value = zlib.compress(json.dumps({"of": token}).encode())
    if packed != "zlib":
        value = gzip.compress(json.dumps({"of": token}).encode(), mtime=0)
        value = zlib.compress(value) if packed == "gzip in zlib" else gzip.compress(value, mtime=0)
    book.note([value])
    assert book.pseudonyms.is_one(token) or book.pseudonyms.names()
    made = book.occurrences.value([value])[0]
    assert token.encode() not in contents(contents(made))


def test_one_that_is_known_is_found_in_base64_of_json() -> None:
    rules = Redactor("default")
    book = SecretBook(rules, Signer(rules))
    for secret in ('p/9"Zq7+=\\x8 and more', "pässwort-of-ada-7"):
        book.redactor.secret(secret)
        for document in (json.dumps({"of": secret}), json.dumps({"of": secret}, ensure_ascii=False)):
            made = book.occurrences.value(json.dumps({"body": base64.b64encode(document.encode()).decode()}))
            assert json.loads(base64.b64decode(json.loads(made)["body"]))["of"] != secret


def test_what_a_pickle_holds_can_still_be_read() -> None:
    value = {"user": "ada", "password": SECRET, "list": ["password", 1], "of": ("token", "password", {"x": b"y"})}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        made = pickle.loads(redacted(pickle.dumps(value, protocol)))
        assert made["password"] != SECRET
        assert made | {"password": SECRET, "of": value["of"]} == value
        longer = with_texts_of_pickle(
            pickle.dumps(value, protocol), lambda text, _: text * 300 if text == "ada" else text
        )
        assert pickle.loads(longer) == value | {"user": "ada" * 300}


def too_long(secret: str) -> bytes:
    return json.dumps({"password": secret, "rest": "0" * (2 << 20)}).encode()


BOMBS: dict[str, Callable[[str], bytes]] = {
    "zlib": lambda s: zlib.compress(json.dumps({"password": s, "rest": "0" * (2 << 20)}).encode()),
    "gzip": lambda s: gzip.compress(json.dumps({"password": s, "rest": "0" * (2 << 20)}).encode(), mtime=0),
    "xz": lambda s: lzma.compress(too_long(s)),
    "bzip2": lambda s: bz2.compress(too_long(s)),
    "zstd": lambda s: zstandard.ZstdCompressor().compress(too_long(s)),
    "lz4": lambda s: lz4.frame.compress(too_long(s)),
    "in base64": lambda s: json.dumps({"body": base64.b64encode(BOMBS["zlib"](s)).decode()}).encode(),
    "within a pickle": lambda s: pickle.dumps({"password": "x", "data": BOMBS["zlib"](s)}),
    "within another": lambda s: zlib.compress(BOMBS["gzip"](s)),
}


@pytest.mark.parametrize("place", BOMBS)
def test_a_value_that_packs_too_well_to_be_looked_into_is_not_kept(place: str) -> None:
    value = BOMBS[place](SECRET)
    made = contents(redacted(["SET", "k", value])[2])
    assert b"cannot be looked into" in made
    assert len(made) < 300
    signer = Signer(Redactor())
    one, same, other = (
        signer.arguments_hash("redis", signer.redacted_arguments("redis", ["SET", "k", BOMBS[place](text)]))
        for text in (SECRET, SECRET, "a8Kq" + SECRET[4:])
    )
    assert one == same != other


PACKS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "lz4": lz4.frame.compress,
}


@pytest.mark.parametrize("packed", PACKS)
class TestFilesInBodies:
    def part(self, content: bytes, kind: str = "application/x") -> bytes:
        head = f'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\nContent-Type: {kind}\r\n\r\n'
        return head.encode() + content + b"\r\n--b--\r\n"

    def content(self, body: bytes) -> bytes:
        return contents(body.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n--b--\r\n"))

    def test_one_in_a_part_is_looked_into(self, packed: str) -> None:
        plain = json.dumps({"user": "ada", "password": SECRET}).encode()
        body = self.part(PACKS[packed](plain))
        assert SECRET.encode() in self.content(body)
        masked = Redactor().body(body, MULTIPART)
        assert json.loads(self.content(masked.data)) == {"user": "ada", "password": "[REDACTED]"}
        renamed = Pseudonymiser(RULES, Pseudonyms()).body(body, MULTIPART)
        assert json.loads(self.content(renamed.data))["password"] not in (SECRET, "[REDACTED]")
        harmless = self.part(PACKS[packed](b'{"user":"ada"}'))
        assert Redactor().body(harmless, MULTIPART).data is harmless

    def test_the_text_in_a_part_is_looked_into(self, packed: str) -> None:
        body = self.part(PACKS[packed](b"user: ada\npassword: %s\n" % SECRET.encode()), "text/yaml")
        assert self.content(Redactor().body(body, MULTIPART).data) == b"user: ada\npassword: [REDACTED]\n"

    def test_one_that_its_form_tells_is_found_in_a_part(self, packed: str) -> None:
        book = SecretBook(RULES, Signer(RULES))
        token = "ghp_" + "x7Qr" * 9
        book.redactor.body(self.part(PACKS[packed](b"of " + token.encode())), MULTIPART)
        assert book.pseudonyms.names()

    def test_one_that_is_known_is_replaced_in_a_part_and_in_a_body(self, packed: str) -> None:
        maker = EventMaker(TraceConfig(), RULES)
        book = maker.book
        assert book is not None
        book.redactor.secret(SECRET)
        file = PACKS[packed](f"of {SECRET}".encode())
        for body, lines in ((self.part(file), MULTIPART), (file, ())):
            data = book.body(BodySnapshot(captured=True, data=body), lines).data
            found = self.content(data) if lines else contents(data)
            assert found.startswith(b"of ")
            assert SECRET.encode() not in found
            call = Call("httpx", EventType.HTTP_CLIENT, "PUT", "http://h/", headers=lines, body=body)
            event = maker.event(Ended(call, EventResult()), None, 0.0, 1.0)
            book.clean(event)
            assert event.call is not None
            assert event.call.body is not None
            assert event.call.body.data == data

    def test_one_that_packs_too_well_makes_the_body_opaque(self, packed: str) -> None:
        bomb = PACKS[packed](json.dumps({"password": SECRET, "rest": "0" * (2 << 20)}).encode())
        for body, lines in ((self.part(bomb), MULTIPART), (bomb, ())):
            assert "when decoded" in Redactor().body(body, lines).opaque

    def test_a_damaged_one_with_a_secret_is_not_replayed(self, packed: str) -> None:
        noise = b",".join(str(number * number).encode() for number in range(30_000))
        file = PACKS[packed](b'{"password":"%s","noise":[%s]}' % (SECRET.encode(), noise))
        file = file[:-4] + bytes(byte ^ 0xFF for byte in file[-4:])
        assert "damaged" in Redactor().body(self.part(file), MULTIPART).opaque
        whole = Redactor().body(file, JSON)
        assert whole.changed
        assert SECRET.encode() not in whole.data
        assert Redactor().is_damaged(file, JSON)
        assert holds_digest([redacted(file)])


MULTIPART = ((b"content-type", b"multipart/form-data; boundary=b"),)
JSON = ((b"content-type", b"application/json"),)


def test_the_json_in_a_part_is_looked_into_by_path() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n{"user": {"ssn": "123-45"}}\r\n--b--\r\n'
    made = Redactor(rules=["body:$.user.ssn"]).body(body, MULTIPART).data
    assert made == body.replace(b"123-45", b"[REDACTED]")


def test_a_part_of_mixed_ones_is_a_body_with_headers_of_its_own() -> None:
    inner = b"--c\r\n\r\nplain\r\n--c\r\nCookie: sid=hush-1\r\n\r\n<a><token>hush-2</token></a>\r\n--c--"
    parts = [
        b'Authorization: Bearer hush-3\r\nShop: corner\r\n\r\n{"password": "hush-4", "pot": 1}',
        b'Content-Disposition: form-data; name="password"\r\n\r\nhush-5',
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=hush-6&pot=2",
        b"Content-Type: multipart/mixed; boundary=c\r\n\r\n" + inner,
        b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"password": "hush-7"}'),
        b"Note: name=password\r\n\r\nkept",
        b"X-Api-Key: hush-8\r\n\r\n",
    ]
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    made = Redactor().body(body, ((b"content-type", b"multipart/mixed; boundary=b"),)).data
    assert b"hush" not in made
    assert (made.count(b"--b\r\n"), made.count(b"--c\r\n")) == (len(parts), 2)
    for kept in (b"Shop: corner", b'"pot": 1}', b"&pot=2", b"plain", b"kept\r\n", b"</token></a>"):
        assert kept in made, kept
    packed = made[made.index(b"\x1f\x8b") : made.index(b"\r\n--b\r\nNote")]
    assert json.loads(gzip.decompress(packed)) == {"password": "[REDACTED]"}
    bomb = b"\r\n\r\n" + gzip.compress(json.dumps({"password": SECRET, "rest": "0" * (2 << 20)}).encode())
    found = Redactor().body(b"--b" + bomb + b"\r\n--b--", ((b"content-type", b"multipart/mixed; boundary=b"),))
    assert "when decoded" in found.opaque


def test_a_few_bytes_that_ask_for_gigabytes_are_opaque() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 1 << 30}]
    value = lzma.compress(b'{"password": "x"}', filters=filters)
    assert holds_digest([redacted(value)])
    assert "needs more than" in Redactor().body(value, ()).opaque


def test_what_stands_behind_a_file_hides_no_secret() -> None:
    for pack in (lzma.compress, bz2.compress):
        value = pack(json.dumps({"password": SECRET}).encode()) + b"and more"
        assert SECRET.encode() not in contents(redacted(value).removesuffix(b"and more"))


def test_a_reply_with_such_a_value_is_no_answer() -> None:
    maker = EventMaker(TraceConfig(), Redactor())
    for reply, is_kept in ((b"plain", True), (BOMBS["zlib"](SECRET), False)):
        event = recorded(maker, {"replies": [reply]})
        assert (event.result.reply == {"replies": [reply]}) is is_kept
        assert (event.not_replayable is None) is is_kept
        read = maker.anew(
            replace(event, not_replayable=None, result=replace(event.result, reply={"replies": [reply]}))
        )
        assert (read.not_replayable is None) is is_kept


@pytest.mark.parametrize("packed", ["json in zlib", "too long"])
def test_what_is_packed_in_an_error_is_looked_into(packed: str) -> None:
    maker = EventMaker(TraceConfig(), Redactor())
    value = BOMBS["zlib"](SECRET) if packed == "too long" else zlib.compress(json.dumps({"token": SECRET}).encode())
    call = Call("sqlalchemy", EventType.DB_QUERY, "SELECT", "mysql://h/a", args=["SELECT 1"])
    error = RecordedError(cls="UnicodeDecodeError", message="can't decode", args=("utf-8", value, 1, 2, "no"))
    event = maker.event(Ended(call, EventResult(exception=error)), None, 0.0, 1.0)
    for one in (event, maker.anew(replace(event, not_replayable=None, result=EventResult(exception=error)))):
        assert one.result.exception is not None
        kept = one.result.exception.args[1]
        assert SECRET.encode() not in contents(kept)
        assert (b"cannot be" in kept) is (one.not_replayable is not None) is (packed == "too long")


def test_what_would_pack_too_well_without_its_secret_is_not_kept_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pseudonyms, "of", lambda self, secret, **_: "0" * len(secret))
    value = zlib.compress(json.dumps({"password": secrets.token_hex(60_000), "rest": "0" * (5 << 20)}).encode())
    assert b"cannot be looked into" in redacted(value)


def test_a_compressed_file_that_is_sent_compressed_is_looked_into() -> None:
    file = gzip.compress(json.dumps({"password": SECRET}).encode(), mtime=0)
    headers = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"))
    made = Redactor().body(gzip.compress(file, mtime=0), headers).data
    assert json.loads(gzip.decompress(gzip.decompress(made))) == {"password": "[REDACTED]"}


def test_what_msgpack_holds_can_still_be_read() -> None:
    old = msgpack.packb({b"password": SECRET.encode(), b"x": 1}, use_bin_type=False)
    value = {"password": {"value": SECRET, "ttl": 60}, "token": [7_654_321, None], 5: "x" * 300, "at": 1.5}
    wide = b"\x84\xa5token\xce\x00\x01\x86\xa0\xa1n\xcd\x00\x07\xa1f\xca\x3f\x80\x00\x00\xa3ext\xd4\x05\x00"
    for data in (old, msgpack.packb(value), wide):
        before, made = (
            msgpack.unpackb(one, strict_map_key=False, unicode_errors="surrogateescape")
            for one in (data, redacted(data))
        )
        assert SECRET not in repr(made)
        for name in before:
            assert (made[name] == before[name]) is (name not in ("password", "token"))
    assert made["token"] != 100_000
    # Whatever is no secret is written as it was.
    assert redacted(wide)[-16:] == wide[-16:]


def test_a_known_secret_of_another_length_leaves_msgpack_whole() -> None:
    rules = Redactor("default")
    book = SecretBook(rules, Signer(rules))
    book.pseudonyms.set(SECRET, "short")
    value = msgpack.packb({"note": f"of {SECRET}", "n": [1, SECRET.encode()]})
    expected = {"note": "of short", "n": [1, b"short"]}
    assert msgpack.unpackb(book.occurrences.value([value])[0]) == expected
    lines = ((b"content-type", b"application/vnd.msgpack"),)
    assert msgpack.unpackb(book.body(BodySnapshot(captured=True, data=value), lines).data) == expected


def test_a_body_of_msgpack_is_looked_into() -> None:
    data = msgpack.packb({"user": "ada", "password": SECRET})
    for media in (b"application/msgpack", b"application/x-msgpack; v=1", b"application/vnd.msgpack", b"a/b+msgpack"):
        made = Redactor().body(data, ((b"Content-Type", media),)).data
        assert msgpack.unpackb(made) == {"user": "ada", "password": "[REDACTED]"}
        made = Pseudonymiser(Redactor(), Pseudonyms()).body(data, ((b"Content-Type", media),)).data
        assert msgpack.unpackb(made)["password"] not in (SECRET, "[REDACTED]")


def test_what_is_no_whole_document_stays() -> None:
    for data in (
        b"x\x9c and more",
        b"\x1f\x8b\x08",
        b"\x80 password \x8c",
        b"\x80\x04\x8c\xffpassword",
        b"x^2 = token",
        msgpack.packb({"password": SECRET})[:-1],
        msgpack.packb({"password": SECRET}) + b"x",
        b"\x91" * 300 + b"\xa8password",
        b"\xdf\xff\xff\xff\xff\xa8password",
        b"\xd0\xbf token",
    ):
        assert redacted(data) == data


def test_an_open_name_may_be_given_a_secret_one() -> None:
    assert Redactor().text("KeyError: 'token: h3Wd7xyz'") == "KeyError: 'token: [REDACTED]'"


def test_headers_are_secret_in_a_document_too() -> None:
    made = redacted(
        json.dumps({"headers": {"X-Vault-Token": SECRET, "x_api_key": SECRET, "authentication": "basic"}})
    )
    assert SECRET not in made
    assert "basic" in made


@pytest.mark.parametrize(
    "page",
    [
        "<tr><td>password</td> <td class='code'><pre>&#x27;{}&#x27;</pre></td></tr>",
        "<dt>token</dt><dd>{}</dd>",
        "<p>login failed: password=&#x27;{}&#x27;</p>",
        '<div data-page="{{&quot;token&quot;:&quot;{}&quot;}}">',
    ],
)
def test_what_the_page_of_an_error_shows_has_names(page: str) -> None:
    lines = ((b"content-type", b"text/html"),)
    for secret in (SECRET, "p/9&amp;" + SECRET):
        made = Pseudonymiser(Redactor(), Pseudonyms()).body(page.format(secret).encode(), lines).data.decode()
        assert SECRET not in made
        assert made[:12] == page.format("")[:12]
        assert Redactor().body(page.format(secret).encode(), lines).data.decode() == page.format("[REDACTED]")


def test_no_pseudonym_holds_its_secret() -> None:
    """A key whose lines Python has quoted has no line of its own."""
    lines = "\\n'\n '".join(
        ["-----BEGIN EC PRIVATE KEY-----", "aB3d" * 16, "aB3d" * 7 + "aQ==", "-----END EC PRIVATE KEY-----"]
    )
    made = Pseudonyms().of(lines)
    assert "aB3daB3d" not in made
    for secret in ("********", "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----"):
        assert secret not in Pseudonyms().of(secret)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_arrays_and_views_are_looked_into_as_bytes_are(kind: Callable[[bytes], Any]) -> None:
    """psycopg2 gives a view for a ``bytea``."""
    packed = zlib.compress(json.dumps({"password": SECRET}).encode())
    (made,) = redacted([kind(packed)])
    assert type(made) is kind
    assert zlib.decompress(made) != zlib.decompress(packed)
    assert SECRET.encode() not in zlib.decompress(made)
    too_well = zlib.compress(json.dumps({"password": SECRET, "rest": "0" * (2 << 20)}).encode())
    (made,) = redacted([kind(too_well)])
    assert type(made) is kind
    assert holds_digest([bytes(made)])
    assert RULES.documents(kind(too_well)) == made
    same = kind(zlib.compress(b"nothing"))
    assert redacted([same])[0] is same
