"""Messages of gRPC as trees: what comes back of a tree is the message, byte for byte."""

from __future__ import annotations

from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BytesValue, DoubleValue, Int64Value, StringValue
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.libraries.grpc.internals import STATUS, host_of, method_of, operation, target_of
from timetracer_otel.libraries.grpc.wire import decoded, encoded, readable


def _struct(**fields: Any) -> Struct:
    made = Struct()
    made.update(fields)
    return made


@pytest.mark.parametrize(
    ("message", "tree"),
    [
        (StringValue(), []),
        (StringValue(value="tea"), [[10, "tea"]]),
        # A message whose bytes could pass for a text all the same.
        (_struct(key="5f0c4f2e-1111-4222-8333-abcdefabcdef"), None),
        (StringValue(value="two\nlines"), [[10, "two\nlines"]]),
        (Int64Value(value=-1), [[8, 2**64 - 1]]),
        (DoubleValue(value=1.5), [[9, b"\x00\x00\x00\x00\x00\x00\xf8?"]]),
        (BytesValue(value=b"\xff\xfe"), [[10, b"\xff\xfe"]]),
        (Timestamp(seconds=5, nanos=7), [[8, 5], [16, 7]]),
        (_struct(a=1, b=["x", {"c": None}], d=True), None),
    ],
)
def test_messages(message: Any, tree: Any) -> None:
    data = message.SerializeToString(deterministic=True)
    made = decoded(data)
    assert isinstance(made, list)
    assert tree is None or made == tree
    assert encoded(made) == data


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"a": 1}',
        b"\xff",
        b"\x08",
        b"\x08\x80",
        b"\x08\x80\x00",
        b"\x0a\x05tea",
        b"\x0b",
        b"\x00\x00",
        b"\x12\x80\x00",
    ],
)
def test_what_is_no_message_is_a_text_or_bytes(data: bytes) -> None:
    made = decoded(data)
    assert isinstance(made, (str, bytes))
    assert encoded(made) == data


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_come_back(data: bytes) -> None:
    assert encoded(decoded(data)) == data


@given(
    st.recursive(
        st.binary(max_size=20) | st.text(max_size=20),
        lambda inner: st.dictionaries(st.text(max_size=9), inner, max_size=3),
    )
)
def test_any_message_comes_back(value: Any) -> None:
    def build(value: Any) -> bytes:
        if isinstance(value, bytes):
            return BytesValue(value=value).SerializeToString()
        if isinstance(value, str):
            return StringValue(value=value).SerializeToString()
        parts = [BytesValue(value=build(each)).SerializeToString() for each in value.values()]
        return b"".join(parts)

    data = build(value)
    assert encoded(decoded(data)) == data


def test_a_longer_text_changes_the_lengths_around_it() -> None:
    inner = StringValue(value="tea").SerializeToString()
    tree: Any = decoded(BytesValue(value=inner).SerializeToString())
    tree[0][1][0][1] = "x" * 300
    inner = StringValue(value="x" * 300).SerializeToString()
    assert encoded(tree) == BytesValue(value=inner).SerializeToString()


@pytest.mark.parametrize("tree", [[[9, b"short"]], [[8, -1]], [[8, 2**64]]])
def test_what_is_no_tree_is_refused(tree: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        encoded(tree)


def test_a_readable_message() -> None:
    assert readable(decoded(_struct(a=1).SerializeToString())).startswith("{1: {1: 'a', 2: {2: b'")


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"stock:50051", "stock:50051"),
        (b"dns:///stock:50051", "stock:50051"),
        (b"dns://8.8.8.8/stock:50051", "stock:50051"),
        (b"ipv4:10.0.0.1:50051", "10.0.0.1:50051"),
        (b"unix:/run/stock.sock", "/run/stock.sock"),
        (b"unix:///run/stock.sock", "/run/stock.sock"),
        (b"unix-abstract:stock", "@stock"),
    ],
)
def test_targets(target: bytes, found: str) -> None:
    assert host_of(target_of(SimpleNamespace(_target=target))) == found
    assert host_of(target_of(SimpleNamespace(_channel=SimpleNamespace(target=target)))) == found


def test_methods() -> None:
    assert method_of(b"/shop.Stock/Reserve") == ("shop.Stock", "Reserve")
    assert method_of("odd") == ("", "odd")


def test_nothing_of_ours_runs_where_grpc_reads_an_operation() -> None:
    """It reads them in threads of its own, which an error would end."""
    ended = operation(STATUS, (), None, (5, "no", ("a",), "why"))
    told = (ended.type, ended.initial_metadata, ended.message, ended.code, ended.details, ended.trailing_metadata)
    assert [tell() for tell in (*told, ended.error_string)] == [STATUS, (), None, 5, "no", ("a",), "why"]
    assert [tell() for tell in told] == [STATUS, (), None, 5, "no", ("a",)]
    assert not any(isinstance(tell, (FunctionType, MethodType)) for tell in (*told, ended.error_string))
