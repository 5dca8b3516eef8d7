"""Documents of BSON come back from plain values byte for byte."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.cassette import Unencodable, pack, unpack
from timetracer_otel.libraries.pymongo.documents import plain_document, restored_document

_INT64 = st.integers(-(2**63), 2**63 - 1)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    _INT64,
    _INT64.map(Int64),
    st.floats(allow_nan=False),
    _TEXTS,
    st.binary(max_size=9),
    st.builds(Binary, st.binary(max_size=20), st.integers(0, 255)),
    st.uuids().map(lambda value: Binary(value.bytes, 4)),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.binary(min_size=16, max_size=16).map(Decimal128.from_bid),
    _INT64.map(DatetimeMS),
    st.datetimes(timezones=st.just(dt.timezone.utc)),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(Regex, _NAMES, st.integers(0, 255).map(lambda flags: flags & ~(4 | 1 | 32))),
    st.builds(Code, _TEXTS),
    st.builds(lambda text, value: Code(text, {"x": value}), _TEXTS, _INT64),
    st.builds(DBRef, _NAMES, _TEXTS, st.none() | _NAMES),
    st.just(MinKey()),
    st.just(MaxKey()),
)
_KEYS = st.one_of(_NAMES, st.sampled_from(["timetracer:type", "timetracer:value", "$ref", "$id"]))
_DOCUMENTS = st.dictionaries(
    _KEYS,
    st.recursive(
        _LEAVES,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
        max_leaves=8,
    ),
    max_size=4,
)


@given(_DOCUMENTS)
def test_documents_come_back_byte_for_byte(document: dict[str, Any]) -> None:
    data = bson.encode(document)
    try:
        plain = plain_document(data)
    except Unencodable:
        # Only of a document that is no reference, and looks like one in another order.
        assert "$ref" in repr(document)
        return
    assert restored_document(plain) == data
    # So they do from a file.
    assert restored_document(unpack(pack(plain))) == data


def test_a_uuid_is_one_to_those_who_bind_it() -> None:
    key = uuid.uuid4()
    assert plain_document(bson.encode({"_id": Binary(key.bytes, 4)})) == {"_id": key}


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a key twice", b"\x13\x00\x00\x00\x10a\x00\x01\x00\x00\x00\x10a\x00\x02\x00\x00\x00\x00"),
        ("a symbol", b"\x0e\x00\x00\x00\x0ea\x00\x02\x00\x00\x00b\x00\x00"),
        ("no UTF-8", b"\x0e\x00\x00\x00\x02a\x00\x02\x00\x00\x00\xff\x00\x00"),
    ],
)
def test_other_documents_are_refused(what: str, data: bytes) -> None:
    with pytest.raises(Unencodable, match="a BSON document that"):
        plain_document(data)
