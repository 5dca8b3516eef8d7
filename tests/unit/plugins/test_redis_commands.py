"""What a connection was told to send is read back as the commands that the app gave."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timetracer_otel.libraries.redis.commands import parse

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
