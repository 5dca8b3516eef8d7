"""What a connection was told to send is read back as the commands that the app gave."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timetracer_otel.libraries.redis.commands import in_one_order, method_of, parse, plain_words, simple_method

WORDS = st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"\r\n", b"*1", b"$3\r\nGET", b"a\r\n*1\r\n$1\r\nb"]))
COMMANDS = st.lists(st.lists(WORDS, max_size=5), max_size=5)


def packed(commands: list[list[bytes]]) -> bytes:
    return b"".join(
        b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)
        for command in commands
    )


@given(COMMANDS)
@example([[b"SET", b"key", b"a line\r\nand another"], [b"GET", b"key"]])
def test_commands_are_read_back_whatever_is_in_their_words(commands: list[list[bytes]]) -> None:
    data = packed(commands)
    assert parse(data) == commands
    assert parse([data[:5], data[5:]]) == commands


@given(COMMANDS.filter(bool), st.data())
def test_commands_that_are_cut_are_refused(commands: list[list[bytes]], data: st.DataObject) -> None:
    whole = packed(commands)
    ends = {len(packed(commands[:count])) for count in range(len(commands) + 1)}
    cut = data.draw(st.integers(1, len(whole)).filter(lambda length: length not in ends))
    with pytest.raises((ValueError, IndexError)):
        parse(whole[:cut])


@given(st.lists(WORDS, min_size=1, max_size=5), st.binary(max_size=3))
@example([b"GET", b"user:1"], b"")
@example([b"SET", b"key", b"a line\r\nand another"], b"")
@example([b"SET", b"key", b'{"delivery_tag": 1}'], b"")
@example([b"GET", b"user:1"], b"\r\n")
def test_plain_words_are_those_of_the_command(command: list[bytes], behind: bytes) -> None:
    data = packed([command]) + behind
    words = plain_words([data])
    assert words == plain_words(data)
    if words is not None:
        assert not behind
        assert [word.encode() for word in words] == command
    elif not behind and b"delivery_tag" not in data:
        assert not data.isascii() or b"\r\n" in b"".join(command)


@pytest.mark.parametrize("word", ["GET", "get", "SET", "CLIENT", "SADD", "MSET", "SUBSCRIBE", "JSON.GET"])
def test_a_simple_method_is_that_of_the_whole_command(word: str) -> None:
    command = [word.encode(), b"b", b"a"]
    method = simple_method(word)
    if method is not None:
        assert method == method_of([command])
        assert in_one_order([word, "b", "a"]) == [word, "b", "a"]
    else:
        assert word in ("CLIENT", "SADD", "MSET", "SUBSCRIBE")
