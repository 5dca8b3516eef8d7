"""Fields of hashes, put together and taken apart: commands that the tests' server may be too old for."""

from __future__ import annotations

from typing import Any

import pytest

from timetracer_otel.libraries.redis.fields import folded_arguments, folded_reply, unfolded_reply


@pytest.mark.parametrize(
    ("words", "folded"),
    [
        (["HSETEX", "h", "EX", "10", "FIELDS", "1", "a", "b"], {"a": "b"}),
        (["HSETEX", "FIELDS", "FNX", "fields", "2", "a", "b", "c", "d"], {"a": "b", "c": "d"}),
        (["HSET", "h", "a", "b", "a", "c"], [{"a": "b"}, {"a": "c"}]),
        (["XADD", "x", "*", "a", "b"], {"a": "b"}),
    ],
)
def test_fields_of_a_command(words: list[Any], folded: Any) -> None:
    assert folded_arguments(words)[-1] == folded


@pytest.mark.parametrize("words", [["HSETEX", "h"], ["HSETEX", "h", "FIELDS", "1", "a"], ["HSET", "h"], []])
def test_what_has_no_fields(words: list[Any]) -> None:
    assert folded_arguments(words) == words


@pytest.mark.parametrize(
    ("command", "reply", "folded"),
    [
        ("HGETEX h EX 10 FIELDS 2 a b", [b"1", None], ("fields", {b"a": b"1", b"b": None})),
        ("HGETDEL h FIELDS 1 a", [b"1"], ("fields", {b"a": b"1"})),
        ("HGETDEL h FIELDS 2 a", [b"1", b"2"], [b"1", b"2"]),
        ("HMGET h a a", [b"1", b"1"], ("fields", [{b"a": b"1"}, {b"a": b"1"}])),
        ("HSCAN h 0", [b"0", [b"a", b"1"]], [b"0", ("fields", {b"a": b"1"})]),
        ("HSCAN h 0 novalues", [b"0", [b"a", b"b"]], [b"0", [b"a", b"b"]]),
        ("HRANDFIELD h 2 WITHVALUES", [b"a", b"1"], ("fields", {b"a": b"1"})),
        ("HRANDFIELD h 2 WITHVALUES", [[b"a", b"1"]], [("fields", {b"a": b"1"})]),
        ("HRANDFIELD h 2 WITHVALUES", [], []),
        ("XREAD STREAMS 1-1 0", [[b"1-1", [[b"1-1", None], [b"1-2", [b"a", b"b"]]]]], None),
        ("XAUTOCLAIM x g c 0 0", [b"0-0", [None, None]], [b"0-0", [None, None]]),
    ],
)
def test_a_reply_there_and_back(command: str, reply: Any, folded: Any) -> None:
    commands = [command.encode().split()]
    found = folded_reply(commands, 0, reply)
    assert folded is None or found == folded
    assert unfolded_reply(commands, 0, found) == reply
    # As it is in cassettes of before.
    assert unfolded_reply(commands, 0, reply) == reply
