"""Redaction: what is secret goes, every byte beside it stays."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import sys
import tracemalloc
import zlib
from typing import Any
from urllib.parse import quote

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.urls import split_url

JSON = [(b"Content-Type", b"application/json")]
DEFAULT = Redactor()


@pytest.mark.parametrize(
    ("body", "redacted"),
    [
        (b'{"a":1e2,"password":"p","a":2}', b'{"a":1e2,"password":"[REDACTED]","a":2}'),
        (b'{"Token" : 12 , "x":[1]}', b'{"Token" : "[REDACTED]" , "x":[1]}'),
        (b'{"secret":{"a":["}a1b2c3d4"]},"b":1}', b'{"secret":"[REDACTED]","b":1}'),
        (b'{"secret":{"kind":"bearer","ttl":3600},"b":1}', b'{"secret":{"kind":"bearer","ttl":3600},"b":1}'),
        (b'{"secret":["x\\"]",{"y":1}],"b":1}', b'{"secret":"[REDACTED]","b":1}'),
        (b'{"password":"a\\"b","c":"d"}', b'{"password":"[REDACTED]","c":"d"}'),
        (b'{"password":null,"token":true,"secret":""}', b'{"password":null,"token":true,"secret":""}'),
        (b'{"page_token":"next","password_hint":"dog"}', b'{"page_token":"next","password_hint":"dog"}'),
        (b'{"said":"my \\"password\\": x"}', b'{"said":"my \\"password\\": x"}'),
        (b'[{"token":"a"},{"token":"b"}]', b'[{"token":"[REDACTED]"},{"token":"[REDACTED]"}]'),
        (b'{"password":"cut off he', b'{"password":"[REDACTED]"'),
        (b'{"secret":{"cut": ["o', b'{"secret":"[REDACTED]"'),
        (b'{"password":', b'{"password":'),
    ],
)
def test_json_fields_are_cut_out_and_nothing_else_moves(body: bytes, redacted: bytes) -> None:
    assert DEFAULT.body(body, JSON).data == redacted


def test_events_of_a_stream_are_json_too() -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    body = b'data: {"token":"a"}\n\ndata: {"n":1}\n\n'
    assert DEFAULT.body(body, headers).data == b'data: {"token":"[REDACTED]"}\n\ndata: {"n":1}\n\n'


def test_form_fields() -> None:
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    body = b"user=ada&pass%77ord=x%20y&token=&Secret=1&tokens=2"
    assert DEFAULT.body(body, headers).data == b"user=ada&pass%77ord=[REDACTED]&token=&Secret=[REDACTED]&tokens=2"


def test_multipart_fields() -> None:
    headers = [(b"content-type", b'multipart/form-data; boundary="b1"')]
    part = b'--b1\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = part % (b"password", b"se\r\ncret") + part % (b"note", b"password") + b"--b1--\r\n"
    expected = part % (b"password", b"[REDACTED]") + part % (b"note", b"password") + b"--b1--\r\n"
    assert DEFAULT.body(body, headers).data == expected


def test_parts_that_are_json_are_looked_into() -> None:
    headers = [(b"content-type", b"multipart/form-data; boundary=b1")]
    part = b'--b1\r\nContent-Disposition: form-data; name="meta"\r\nContent-Type: %s\r\n\r\n{"password":"p"}\r\n'
    # A file has the type that the client thinks of.
    body = part % b"application/json" + part % b"application/octet-stream" + b"--b1--\r\n"
    redacted = DEFAULT.body(body, headers).data
    assert redacted == body.replace(b'"p"', b'"[REDACTED]"')


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_json_in_wide_characters_is_looked_into(encoding: str, mark: str) -> None:
    text = mark + '{"\U0001f600é":"日","token":"\U0001f511","b":[{"Secret":1}],"c":"ü"}'
    expected = mark + '{"\U0001f600é":"日","token":"[REDACTED]","b":[{"Secret":"[REDACTED]"}],"c":"ü"}'
    body = text.encode(encoding)
    assert DEFAULT.body(body, JSON).data == expected.encode(encoding)
    # Half a character, and a character that is none, are left as they are.
    odd = b"\xd8\xd8\xd8\xd8"
    assert DEFAULT.body(body + odd + b"x", JSON).data == expected.encode(encoding) + odd + b"x"
    cut = text[: text.index("\U0001f511") + 1].encode(encoding)
    assert DEFAULT.body(cut, JSON).data == (mark + '{"\U0001f600é":"日","token":"[REDACTED]"').encode(encoding)


@pytest.mark.parametrize(
    "encoding", [b"utf-8", b"none", b"aws-chunked, identity", b"gzip", b"br", b"x-unknown, deflate"]
)
def test_a_body_that_is_in_no_encoding_is_looked_into_whatever_its_headers_say(encoding: bytes) -> None:
    redacted = DEFAULT.body(b'{"password":"p"}', [*JSON, (b"content-encoding", encoding)])
    assert redacted.data == b'{"password":"[REDACTED]"}'


def test_what_clients_do_not_know_among_the_encodings_is_passed_over() -> None:
    body = gzip.compress(b'{"password":"p"}', mtime=0)
    redacted = DEFAULT.body(body, [*JSON, (b"content-encoding", b"Aws-Chunked,GZIP")])
    assert gzip.decompress(redacted.data) == b'{"password":"[REDACTED]"}'


def test_encodings_in_lines_of_their_own_are_all_undone() -> None:
    body = zlib.compress(gzip.compress(b'{"password":"p"}'))
    redacted = DEFAULT.body(body, [*JSON, (b"content-encoding", b"gzip"), (b"Content-Encoding", b"deflate")])
    assert gzip.decompress(zlib.decompress(redacted.data)) == b'{"password":"[REDACTED]"}'


@pytest.mark.parametrize("behind", [b"\0\0", b"\x1f\x8b", gzip.compress(b" ", mtime=0)])
def test_what_stands_behind_the_end_of_gzip_hides_no_secret(behind: bytes) -> None:
    headers = [*JSON, (b"content-encoding", b"gzip")]
    body = gzip.compress(b'{"password":"p"}') + behind
    redacted = DEFAULT.body(body, headers)
    assert gzip.decompress(redacted.data).rstrip() == b'{"password":"[REDACTED]"}'
    assert not DEFAULT.is_damaged(gzip.compress(b'{"password":"p"}') + b"\0\0", headers)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_damaged_body_is_looked_into_as_far_as_it_goes(encoding: str) -> None:
    from timetracer_otel.redact.content_encoding import decode_body, encode_body

    headers = [*JSON, (b"content-encoding", encoding.encode())]
    noise = b",".join(str(number * number).encode() for number in range(20_000))
    whole = encode_body(b'{"password":"p","noise":[%s]}' % noise, encoding)
    damaged = bytearray(whole)
    if encoding == "br":
        # It has no checksum, and takes most damages for text.
        damaged += b"more"
    else:
        for place in range(len(whole) * 3 // 4, len(whole) * 3 // 4 + 40):
            damaged[place] ^= 0xFF
        damaged[-8:] = b"\xff" * 8
    assert decode_body(bytes(damaged), encoding) is None
    redacted = DEFAULT.body(bytes(damaged), headers)
    assert redacted.changed
    assert (decode_body(redacted.data, encoding) or b"").startswith(b'{"password":"[REDACTED]","noise":[')
    assert DEFAULT.is_damaged(bytes(damaged), headers)
    assert not DEFAULT.is_damaged(whole, headers)


def test_a_wrong_checksum_hides_no_secret() -> None:
    headers = [*JSON, (b"content-encoding", b"gzip")]
    body = gzip.compress(b'{"password":"p"}')
    wrong = body[:-8] + b"\0\0\0\0" + body[-4:]
    assert gzip.decompress(DEFAULT.body(wrong, headers).data) == b'{"password":"[REDACTED]"}'
    assert DEFAULT.is_damaged(wrong, headers)


def test_gzip_of_very_many_members() -> None:
    body = gzip.compress(b" ") * 3000 + gzip.compress(b'{"password":"p"}')
    redacted = DEFAULT.body(body, [*JSON, (b"content-encoding", b"gzip")])
    assert gzip.decompress(redacted.data).strip() == b'{"password":"[REDACTED]"}'


def test_a_secret_of_many_bytes_is_found_in_a_few_steps() -> None:
    """The engine of regular expressions keeps a place for each step: one a byte were a hundred bytes a byte."""
    body = b'{"secret":"%s","a":1}' % (b"x" * 2_000_000)
    tracemalloc.start()
    assert DEFAULT.body(body, JSON).data == b'{"secret":"[REDACTED]","a":1}'
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(body)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, br"])
def test_compressed_bodies_are_looked_into(encoding: str) -> None:
    from timetracer_otel.redact.content_encoding import decode_body, encode_body

    headers = [*JSON, (b"content-encoding", encoding.encode())]
    secret = encode_body(b'{"password":"p"}', encoding)
    harmless = encode_body(b'{"passwords":"p"}', encoding)
    assert decode_body(DEFAULT.body(secret, headers).data, encoding) == b'{"password":"[REDACTED]"}'
    assert DEFAULT.body(harmless, headers).data is harmless
    assert DEFAULT.body(b"no such encoding", headers).data == b"no such encoding"


def test_a_compressed_body_that_breaks_off_is_redacted_as_far_as_it_goes() -> None:
    whole = zlib.compress(b'{"password":"p","noise":"%s"}' % b"abcdefgh".join(str(n).encode() for n in range(5000)))
    cut = DEFAULT.body(whole[: len(whole) // 2], [*JSON, (b"content-encoding", b"deflate")])
    assert cut.changed
    assert b'"password":"[REDACTED]"' in zlib.decompressobj().decompress(cut.data)


def _zeros(size: int) -> bytes:
    return b'{"password":"hidden-in-a-bomb"}' + bytes(size)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "br, gzip"])
def test_a_bomb_is_opaque_and_costs_what_its_size_allows(encoding: str) -> None:
    from timetracer_otel.redact.content_encoding import decode_body, decoded_bound, encode_body

    bomb = encode_body(_zeros(10 << 20), encoding)
    headers = [*JSON, (b"content-encoding", encoding.encode())]
    tracemalloc.start()
    made = DEFAULT.body(bomb, headers)
    assert decode_body(bomb, encoding) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "when decoded" in made.opaque
    assert peak < 3 * decoded_bound(len(bomb)) + (2 << 20)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "br, gzip"])
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_537, 98_273, 700_000])
def test_what_is_longer_than_a_step_is_decoded_whole(encoding: str, size: int) -> None:
    from timetracer_otel.redact.content_encoding import decode_body, encode_body

    for body in (bytes(size), random.Random(size).randbytes(size)):
        assert decode_body(encode_body(body, encoding), encoding) == body


def test_more_encodings_than_anybody_stacks_are_opaque() -> None:
    headers = [*JSON, (b"content-encoding", b"gzip" + b", gzip" * 1000)]
    assert "more than 8 content encodings" in DEFAULT.body(gzip.compress(b"{}"), headers).opaque


def test_a_window_beyond_what_http_allows_is_opaque() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=25, strategy=1)
    body = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = body.compress(b'{"password":"p"}') + body.flush()
    assert "window" in DEFAULT.body(data, [*JSON, (b"content-encoding", b"zstd")]).opaque


def test_a_body_whose_decoder_is_missing_is_opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert DEFAULT.body(b"\x28\xb5\x2f\xfd", [*JSON, (b"content-encoding", b"zstd")]).opaque


def test_frames_and_members_behind_the_first_one_are_looked_into() -> None:
    from timetracer_otel.redact.content_encoding import decode_body

    for encoding, pack in (("zstd", zstandard.ZstdCompressor().compress), ("gzip", gzip.compress)):
        data = b"".join(pack(part) for part in (b'{"a":1,', b"", b'"password":"p"}'))
        made = DEFAULT.body(data, [*JSON, (b"content-encoding", encoding.encode())])
        assert decode_body(made.data, encoding) == b'{"a":1,"password":"[REDACTED]"}'


@given(
    st.binary(max_size=3000),
    st.sampled_from([1, 50, 5000]),
    st.sampled_from(["gzip", "deflate", "br", "zstd"]),
    st.integers(0, 5000),
    st.integers(0, 255),
)
def test_a_damaged_body_is_decoded_up_to_its_damage(
    data: bytes, times: int, encoding: str, at: int, byte: int
) -> None:
    from timetracer_otel.redact.content_encoding import decode_body, encode_body

    data = data[:100] * times if times > 1 else data
    whole = encode_body(data, encoding)
    assert decode_body(whole, encoding) == data
    cut = decode_body(whole[:at], encoding, damaged_too=True)
    assert cut is None or data.startswith(cut)
    broken = bytearray(whole)
    broken[at % len(whole)] = byte
    decode_body(bytes(broken), encoding, damaged_too=True)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1)
    | st.text(max_size=12)
    | st.sampled_from(
        ["", " ", "bearer", "https://h/p", "https://h/p?token=a1", "https://u:pw1@h/", '{"kind": "bearer"}', "[]"]
    )
    | st.from_regex(r"[a-zA-Z0-9]{8,20}", fullmatch=True),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["token", "kind", "value", "password_hash"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    name=st.sampled_from(["password", "password_hash"]),
    value=VALUES,
    others=st.dictionaries(st.text().filter(lambda name: name.lower() not in DEFAULT._fields), st.text()),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_redacted_json_is_json_with_only_the_secret_changed(
    name: str, value: object, others: dict[str, object], cuts: list[int]
) -> None:
    body = json.dumps({**others, name: value}).encode()
    sizes = _sizes(len(body), cuts)
    redacted = DEFAULT.body(body, JSON, sizes)
    made = json.loads(redacted.data)
    # What is judged no secret as a whole may hold a name under which there is one.
    assert {other: made[other] for other in others} == others
    assert made.keys() == {*others, name}
    assert sum(redacted.sizes) == len(redacted.data)
    assert all(size >= 0 for size in redacted.sizes)
    assert len(redacted.sizes) == len(sizes)


@given(name=st.sampled_from(["password", "password_hash", "token"]), value=VALUES)
def test_a_recording_and_a_replay_judge_alike(name: str, value: Any) -> None:
    """What a recording left as it is must be compared as it is: nothing tells a replay to mask it."""
    text, args = json.dumps({name: value}), {name: value}
    for data, head in [
        (text.encode(), JSON),
        (json.dumps({"sent": text}).encode(), JSON),
        (f"{name}={quote(str(value))}".encode(), [(b"Content-Type", b"application/x-www-form-urlencoded")]),
    ]:
        recording = Pseudonymiser(DEFAULT, Pseudonyms())
        recorded = recording.body(data, head)
        masked = DEFAULT.body(data, head)
        assert (masked.data == data) == (recorded.data == data)
        assert DEFAULT.body(recorded.data, head).data == masked.data
    recording = Pseudonymiser(DEFAULT, Pseudonyms())
    kept = recording.value(args)
    assert (DEFAULT.value(args) == args) == (kept == args)
    assert DEFAULT.value(kept) == DEFAULT.value(args)
    url = f"https://h/a?{name}={quote(str(value))}"
    kept_url = recording.url(url)
    assert (DEFAULT.url(url) == url) == (kept_url == url)
    assert DEFAULT.url(kept_url) == DEFAULT.url(url)


def test_a_pseudonym_of_control_characters_is_no_white_space() -> None:
    """U+0085 is the only one of them that is. A replay judges a text of nothing else to be no secret."""
    others = "".join(char for char in map(chr, range(0x80, 0xA0)) if not char.isspace())
    assert "\x85" not in Pseudonyms().of(others * 10)


@pytest.mark.parametrize(
    "value", ["a1b2c3d4e5", 12345, ["a1b2c3d4e5"], ["x", ["a1b2c3d4e5"]], {"kind": "b", "to": [8]}]
)
@pytest.mark.parametrize("name", ["password", "cvv", "jwt", "own_name"])
def test_json_in_a_text_of_json_is_judged_as_json_is(name: str, value: object) -> None:
    redactor = Redactor.of("default", ["own_name"])
    plain = json.dumps({name: value, "n": 1})
    expected = redactor.body(plain.encode(), JSON).data.decode()
    assert (expected == plain) == isinstance(value, dict)
    for text in (plain, plain.replace(": ", ":")):
        sent = json.dumps({"id": 7, "sent": text}).encode()
        made = json.loads(redactor.body(sent, JSON).data)
        assert made["sent"] == (expected if text is plain else expected.replace(": ", ":"))
        recorded = json.loads(Pseudonymiser(redactor, Pseudonyms()).body(sent, JSON).data)["sent"]
        assert (recorded == text) == isinstance(value, dict)


def _sizes(length: int, cuts: list[int]) -> list[int]:
    edges = sorted({0, length, *(min(cut, length) for cut in cuts)})
    return [after - before for before, after in itertools.pairwise(edges)]


def test_chunk_boundaries_beside_a_secret_stay() -> None:
    body = b'{"a":"xxxx","token":"y","b":1}'
    before = body.index(b',"token"')
    sizes = [4, before - 4, 12, len(body) - before - 12]
    redacted = DEFAULT.body(body, JSON, sizes)
    assert redacted.sizes[:2] == [4, before - 4]
    assert redacted.data[:before] == body[:before]
    assert sum(redacted.sizes) == len(redacted.data)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("http://ada:pw@h/p?a=1", "http://%5BREDACTED%5D@h/p?a=1"),
        (
            "http://h/p?token=x&a=b%20c&TOKEN=&sig=1",
            "http://h/p?token=%5BREDACTED%5D&a=b%20c&TOKEN=&sig=%5BREDACTED%5D",
        ),
        ("http://h/p?page_token=x#top=1", "http://h/p?page_token=x#top=1"),
        ("/relative?api_key=k", "/relative?api_key=%5BREDACTED%5D"),
        ("https://a/cb#access_token=x&state=1", "https://a/cb#access_token=%5BREDACTED%5D&state=1"),
        ("/#/in?token=x&a=1", "/#/in?token=%5BREDACTED%5D&a=1"),
        ("http://[bad?token=x", "http://[bad?token=%5BREDACTED%5D"),
        ("http://u:p@[bad:x/ y?a#", "http://%5BREDACTED%5D@[bad:x/ y?a#"),
        ("HTTP://h?", "HTTP://h?"),
    ],
)
def test_urls(url: str, redacted: str) -> None:
    assert DEFAULT.url(url) == redacted


@given(st.text() | st.text("ab:/?#[]@%&=.\n", max_size=20))
def test_any_text_is_the_parts_of_a_url(text: str) -> None:
    assert split_url(text).unsplit() == text
    assert Redactor().url(text).count("\n") == text.count("\n") or "@" in text


def test_headers() -> None:
    pairs = [
        (b"Authorization", b"Bearer x"),
        (b"X-Api-Key", b"k"),
        (b"Cookie", b"sid=1; theme=dark"),
        (b"Cookie", b"path=1; bare; priority=2"),
        (b"Set-Cookie", b"bare; Path=/; Secure"),
        (b"Set-Cookie", b"sid=1; Version=1; Port=80; Secure"),
        (b"Set-Cookie", b"sid=1; Path=/; HttpOnly; Expires=Wed, 01 Jan 2031 00:00:00 GMT"),
        (b"Set-Cookie", b"empty=; Max-Age=0"),
        (b"Location", b"/next?token=x"),
        (b"WWW-Authenticate", b'Digest nonce="n"'),
        (b"X-Other", b"sid=1"),
    ]
    assert DEFAULT.headers(pairs) == (
        (b"Authorization", b"[REDACTED]"),
        (b"X-Api-Key", b"[REDACTED]"),
        (b"Cookie", b"sid=[REDACTED]; theme=[REDACTED]"),
        (b"Cookie", b"path=[REDACTED]; [REDACTED]; priority=[REDACTED]"),
        (b"Set-Cookie", b"[REDACTED]; Path=/; Secure"),
        (b"Set-Cookie", b"sid=[REDACTED]; Version=1; Port=80; Secure"),
        (b"Set-Cookie", b"sid=[REDACTED]; Path=/; HttpOnly; Expires=Wed, 01 Jan 2031 00:00:00 GMT"),
        (b"Set-Cookie", b"empty=; Max-Age=0"),
        (b"Location", b"/next?token=%5BREDACTED%5D"),
        (b"WWW-Authenticate", b'Digest nonce="n"'),
        (b"X-Other", b"sid=1"),
    )


def test_arguments_of_other_calls() -> None:
    args = {"statement": "insert", "parameters": [{"password": "p", "n": None, "token": None}], "t": ({"PWD": 1},)}
    assert DEFAULT.value(args) == {
        "statement": "insert",
        "parameters": [{"password": "[REDACTED]", "n": None, "token": None}],
        "t": ({"PWD": "[REDACTED]"},),
    }


def test_off_is_off_and_extra_names_count_everywhere() -> None:
    off, extra = Redactor("off"), Redactor("default", ["X-Tenant", "nino"])
    assert off.body(b'{"password":"p"}', JSON).data == b'{"password":"p"}'
    assert off.url("http://u:p@h/?token=1") == "http://u:p@h/?token=1"
    assert off.rules == []
    assert extra.headers([(b"x-tenant", b"a")]) == ((b"x-tenant", b"[REDACTED]"),)
    assert extra.body(b'{"NINO":"QQ"}', JSON).data == b'{"NINO":"[REDACTED]"}'
    assert Redactor.from_rules("default", extra.rules).body(b'{"nino":"QQ"}', JSON).changed
