"""Which texts are values that are not met by chance, what their kind and form are, and how one is put for another."""

from __future__ import annotations

import base64
import json
import random
import string
import time
import uuid
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.match.values import (
    RANDOM,
    SECRET,
    SNOWFLAKE,
    TIME,
    ULID,
    UUID,
    Literals,
    Nested,
    Value,
    capture,
    pieces_of,
    replaced,
    skeleton,
    values_in,
)

ORDER = "9f0c4f3e-7f0a-4c7e-9d55-0a1b2c3d4e5f"
OTHER = "0b9d8c7e-1f2a-4b3c-8d4e-5f6a7b8c9d0e"
SINGLE = [
    (ORDER, UUID),
    (ORDER.upper(), UUID),
    (uuid.UUID(ORDER).hex, RANDOM),
    ("9f0c4f3e7f0a4c7e", RANDOM),
    ("dyXk-3hR9_QzV1bTgW7mNc", RANDOM),
    ("YZBKj9Xt0oqPzW4m", RANDOM),
    ("9Xt0oqPzW4m", RANDOM),
    ("c3m4wi948f3qlkusosh9z88om", RANDOM),
    ("H5Xh81R1qQ4pCi/AR8pArQ==", RANDOM),
    ("H5Xh81R1qQ4pCi%2FAR8pArQ%3D%3D", RANDOM),
    (r"H5Xh81R1qQ4pCi\/AR8pArQ==", RANDOM),
    (r"H5Xh81R1qQ4pCi\\/AR8pArQ==", RANDOM),
    ("%2F5Xh81R1qQ4pCi%2BAR8pArQ%3D%3D", RANDOM),
    ("s0D%2FWkyf6SMRWi4Ye%2F24BA%3D%3D", RANDOM),
    ("01ARZ3NDEKTSV4RRFFQ69G5FAV", ULID),
    ("175928847299117063", SNOWFLAKE),
    ("2026-11-29", TIME),
    ("2026-11-29T01:02:03Z", TIME),
    ("2026-11-29 01:02:03.123456+00:00", TIME),
    ("2026-11-29T01%3A02%3A03.123%2B00%3A00", TIME),
    ("20261129T010203Z", TIME),
    ("Sun, 29 Nov 2026 01:02:03 GMT", TIME),
    ("Sun%2C+29+Nov+2026+01%3A02%3A03+GMT", TIME),
    ("1764379494", TIME),
    ("1764379494.123456", TIME),
    ("1764379494123", TIME),
    ("1764379494123456", TIME),
]


@pytest.mark.parametrize(("text", "kind"), SINGLE, ids=[text for text, _ in SINGLE])
def test_a_value_is_found_wherever_it_stands(text: str, kind: str) -> None:
    for before, behind in (
        ("", ""),
        ("order:", ":items"),
        ('{"id": "', '"}'),
        ("?id=", "&x=1"),
        ("a%3A", "%26b"),
        ("/v1/order/", "/items"),
        ("http://h/1/", ""),
        ("http://h/12/", "/x"),
    ):
        pieces = pieces_of(before + text + behind)
        (value,) = [piece for piece in pieces if isinstance(piece, Value)]
        assert (value.raw, value.kind) == (text, kind)
        assert skeleton(pieces) == f"{before}\0{behind}"
        assert capture(value, before + text + behind, len(before)) == (value, len(before) + len(text))


@pytest.mark.parametrize(
    "text",
    [
        "customer-address-line-2-code",
        "Product-Code-2024-Blue",
        "getUserAccountBalance2024",
        "AbstractSingletonProxyFactoryBean1",
        "application/x-www-form-urlencoded",
        "eu-central-1-production-cluster",
        "anon_1_customer_id_2",
        "00000000-0000-0000-0000-000000000001",
        "0000000000000000000000000000000a",
        "x" * 40 + "1",
        "deadbeef",
        "12345",
        "4111111111111111",
        "2026-13-45",
        "/v1/Users/2026/Report/Of/The/Month=",
        "0.1764379494",
    ],
)
def test_words_numbers_and_constants_are_no_values(text: str) -> None:
    assert not [value for value in values_in(pieces_of(text)) if value.instant is None or value.kind != TIME]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ORDER, ORDER.upper()),
        (ORDER, uuid.UUID(ORDER).hex),
        (ORDER, "c653cdb0-eb9c-11f1-8b09-02fc00000001"),
        ("9f0c4f3e7f0a4c7e", "9f0c4f3e7f0a4c7e9f"),
        ("9f0c4f3e7f0a4c7e", "9F0C4F3E7F0A4C7E"),
        ("2026-11-29T01:02:03Z", "2026-11-29 01:02:03Z"),
        ("2026-11-29T01:02:03Z", "2026-11-29T01:02:03+00:00"),
        ("2026-11-29T01:02:03Z", "2026-11-29T01:02:03"),
        ("2026-11-29", "2026-11-29T01:02:03"),
        ("1764379494", "1764379494.5"),
        ("1764379494", "1764379494000"),
        ("YZBKj9Xt0oqPzW4m", "GetUserAccounts2"),
        ("YZBKj9Xt0oqPzW4m", "9f0c4f3e7f0a4c7e"),
        ("YZBKj9Xt0oqPzW4m", "c3m4wi948f3qlkus"),
        ("c3m4wi948f3qlkus", "9f0c4f3e7f0a4c7e"),
    ],
)
def test_values_of_different_forms_do_not_stand_for_each_other(one: str, other: str) -> None:
    (value,) = values_in(pieces_of(one))
    held = capture(value, other, 0)
    assert held is None or held[1] != len(other)


def test_a_value_has_one_name_however_it_is_written() -> None:
    token = "H5Xh81R1qQ4pCi/AR8pArQ=="
    written = [token, quote(token, safe=""), token.replace("/", "\\/")]
    assert len({value.value for text in written for value in values_in(pieces_of(text))}) == 1
    written = [ORDER, ORDER.upper(), uuid.UUID(ORDER).hex]
    assert len({value.value for text in written for value in values_in(pieces_of(text))}) == 1
    at = ["2026-11-29T01:02:03.5+00:00", "2026-11-29 01:02:03.5Z", quote_plus("2026-11-29 01:02:03.5+00:00")]
    assert len({value.value for text in at for value in values_in(pieces_of(text))}) == 1


@pytest.mark.parametrize(
    ("text", "value", "made"),
    [
        (f"a {ORDER.upper()} b", OTHER, f"a {OTHER.upper()} b"),
        (f"a {uuid.UUID(ORDER).hex} b", OTHER, f"a {uuid.UUID(OTHER).hex} b"),
        (
            "t=2026-11-29T01%3A02%3A03.12%2B00%3A00;",
            "2025-01-02 03:04:05.678+00:00",
            "t=2025-01-02T03%3A04%3A05.678%2B00%3A00;",
        ),
        ("2026-11-29T01:02:03.5Z", "2025-01-02T03:04:05Z", "2025-01-02T03:04:05Z"),
        ("Sun, 29 Nov 2026 01:02:03 GMT", "Thu, 02 Jan 2025 03:04:05 GMT", "Thu, 02 Jan 2025 03:04:05 GMT"),
        ("1764379494.123", "1764379499.7", "1764379499.7"),
    ],
)
def test_another_value_is_written_in_the_same_way(text: str, value: str, made: str) -> None:
    (other,) = values_in(pieces_of(value))
    assert replaced(pieces_of(text), lambda _: other.value) == made


@pytest.mark.parametrize(
    "text", ["item7/" * 40_000, "Ab3+" * 40_000, "Ab3%2B" * 40_000, "a1\\/" * 40_000, "a" * 160_000]
)
def test_a_long_text_is_gone_through_once(text: str) -> None:
    """To look at the rest of it from each of its places took minutes."""
    began = time.perf_counter()
    assert "".join(piece if isinstance(piece, str) else piece.raw for piece in pieces_of(text)) == text
    assert time.perf_counter() - began < 20


def test_texts_that_stand_in_base64_are_seen_through() -> None:
    # Celery's messages have their body so, and JWTs their claims.
    body = json.dumps([[ORDER], {}, {"callbacks": None}])
    message = json.dumps({"body": base64.b64encode(body.encode()).decode(), "id": OTHER})
    pieces = pieces_of(message)
    assert [type(piece) for piece in pieces] == [str, Nested, str, Value, str]
    assert [value.raw for value in values_in(pieces)] == [ORDER, OTHER]
    names = {uuid.UUID(ORDER).hex: uuid.UUID(OTHER).hex}
    made = json.loads(replaced(pieces, lambda value: names.get(value.value)))
    assert json.loads(base64.b64decode(made["body"])) == [[OTHER], {}, {"callbacks": None}]
    assert made["id"] == OTHER


def test_known_texts_are_found_plain_and_escaped() -> None:
    secret = 'p@ss/"wört'
    literals = Literals.of([secret])
    for way in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]):
        pieces = pieces_of(f"a={way}&b", literals)
        assert [(value.kind, value.value) for value in values_in(pieces)] == [(SECRET, secret)]
        (made,) = values_in(pieces_of(replaced(pieces, lambda _: 'q@ss/"w'), Literals.of(['q@ss/"w'])))
        assert made.value == 'q@ss/"w'
    assert Literals.of([]) is None


@given(st.text(), st.sampled_from(["", ORDER, "2026-11-29T01:02:03Z", "W3siYSI6MX1dCg"]), st.text())
def test_no_character_is_lost(before: str, value: str, behind: str) -> None:
    text = before + value + behind
    pieces = pieces_of(text)
    assert "".join(piece if isinstance(piece, str) else piece.raw for piece in pieces) == text
    assert replaced(pieces, lambda _: None) == text
    assert replaced(pieces, lambda value: value.value) == text


@pytest.mark.parametrize(
    ("alphabet", "length", "share"),
    [
        (string.ascii_letters + string.digits + "-_", 22, 0.01),
        (string.ascii_letters + string.digits, 27, 0.003),
        (string.ascii_lowercase + string.digits, 25, 0.005),
        ("0123456789abcdef", 16, 0.001),
    ],
)
def test_random_text_is_told_from_words(alphabet: str, length: int, share: float) -> None:
    chance = random.Random(7)
    texts = ["".join(chance.choices(alphabet, k=length)) for _ in range(4000)]
    unseen = [text for text in texts if [value.raw for value in values_in(pieces_of(text))] != [text]]
    assert len(unseen) <= share * len(texts)


def test_large_binary_data_is_not_looked_through() -> None:
    found = "5f0c4f3e-7f0a-4c7e-9d55-0a1b2c3d4e5f"
    small, text, binary = f"\0{found}", f"{'-' * 70_000}{found}", f"\0{'-' * 70_000}{found}"
    assert [value.raw for value in values_in(pieces_of(small))] == [found]
    assert [value.raw for value in values_in(pieces_of(text))] == [found]
    assert pieces_of(binary) == (binary,)
