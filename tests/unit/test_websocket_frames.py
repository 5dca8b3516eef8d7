"""Frames of WebSockets: as the bytes of another implementation, in any pieces, compressed or not."""

from __future__ import annotations

import random
import zlib

import pytest
from websockets import frames as theirs
from websockets.streams import StreamReader

from tests.examples import seeded
from timetracer_otel.libraries.kits.websocket.exchange import SocketExchange
from timetracer_otel.libraries.kits.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameParser,
    TooLongError,
    frame_bytes,
)
from timetracer_otel.session.body_taps import BodyLimits

LENGTHS = (0, 1, 125, 126, 127, 65535, 65536, 70001)


def sent(frame: Frame, *, mask: bool = True, compressed: bool = False) -> bytes:
    """A frame as websockets sends it."""
    made = bytearray(theirs.Frame(theirs.Opcode(frame.opcode), frame.data, frame.final).serialize(mask=mask))
    if compressed:
        made[0] |= 0x40
    return bytes(made)


def read(data: bytes) -> Frame:
    """What websockets reads of one frame."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = theirs.Frame.parse(reader.read_exact, mask=False)
    try:
        next(parser)
    except StopIteration as stop:
        return Frame(int(stop.value.opcode), stop.value.fin, bytes(stop.value.data))
    raise AssertionError("the frame is not whole")


def some_frames(chance: random.Random) -> list[Frame]:
    return [Frame(chance.choice((TEXT, BINARY)), True, chance.randbytes(length)) for length in LENGTHS]


@pytest.mark.parametrize("mask", [True, False])
def test_frames_are_read_in_whatever_pieces_they_come(mask: bool) -> None:
    chance = seeded("pieces of frames", str(mask))
    frames = some_frames(chance)
    data = b"".join(sent(frame, mask=mask) for frame in frames)
    parser, found = FrameParser(), []
    while data:
        count = chance.choice((1, 2, 3, 7, 4096, 100_000))
        found += parser.feed(data[:count])
        data = data[count:]
    assert found == frames


def test_frames_are_written_as_a_server_writes_them() -> None:
    chance = seeded("frames of a server")
    for frame in (*some_frames(chance), Frame(CONTINUATION, False, b"x"), Frame(PONG, True, b"ab")):
        assert read(frame_bytes(frame)) == frame
        assert frame_bytes(frame) == sent(frame, mask=False)


@pytest.mark.parametrize("forgets", [True, False])
def test_compressed_messages_are_read(forgets: bool) -> None:
    messages = [b"tea" * 1000, b"", b"milk" * 5, b"tea" * 1000]
    deflater = zlib.compressobj(wbits=-15)
    parser = FrameParser(forgets=forgets)
    for message in messages:
        if forgets:
            deflater = zlib.compressobj(wbits=-15)
        data = deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)
        data = data.removesuffix(b"\x00\x00\xff\xff")
        half = len(data) // 2
        first = sent(Frame(TEXT, False, data[:half]), compressed=True)
        ping = sent(Frame(PING, True, b"p"))
        found = parser.feed(first + ping + sent(Frame(CONTINUATION, True, data[half:])))
        assert [frame.opcode for frame in found] == [TEXT, PING, CONTINUATION]
        assert found[0].data + found[2].data == message


def test_what_is_too_long_or_damaged_is_no_frame() -> None:
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(b"x" * 10_000) + deflater.flush()
    with pytest.raises(TooLongError, match="more than 100 bytes"):
        FrameParser(most_bytes=100).feed(sent(Frame(TEXT, True, packed), compressed=True))
    with pytest.raises(ValueError, match="damaged"):
        FrameParser().feed(sent(Frame(TEXT, True, b"\xff\xff\xff"), compressed=True))


REQUEST = b"GET /x HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def test_an_exchange_notes_both_sides_in_their_order() -> None:
    exchange = SocketExchange()
    exchange.sends(REQUEST[:10])
    exchange.sends(REQUEST[10:])
    exchange.receives(ANSWER[:20])
    exchange.receives(ANSWER[20:] + sent(Frame(TEXT, True, b"hello"), mask=False))
    exchange.sends(sent(Frame(TEXT, True, b"tea")))
    exchange.sends(sent(Frame(PING, True, b"clock")))
    exchange.receives(sent(Frame(PONG, True, b"clock"), mask=False))
    exchange.receives(sent(Frame(PING, True, b"theirs"), mask=False))
    exchange.sends(sent(Frame(PONG, True, b"theirs")))
    exchange.receives(sent(Frame(PONG, True, b"unasked"), mask=False))
    exchange.gives_up()
    exchange.sends(sent(Frame(CLOSE, True, (1000).to_bytes(2, "big") + b"bye")))
    exchange.ends()
    assert exchange.request is not None
    assert exchange.request.first == b"GET /x HTTP/1.1"
    said = [(whose, kind, content) for whose, _, kind, _, content in exchange.entries]
    assert said == [
        ("server", "text", "hello"),
        ("app", "text", "tea"),
        ("server", "ping", b"theirs"),
        ("server", "pong", b"unasked"),
        ("app", "gave up", None),
        ("app", "close", [1000, "bye"]),
        ("server", "end", None),
    ]
    assert exchange.steps == 2
    assert exchange.ended_s is not None


def test_an_exchange_keeps_no_more_than_it_may() -> None:
    exchange = SocketExchange(BodyLimits(100, 10_000))
    exchange.sends(REQUEST)
    exchange.receives(ANSWER)
    for _ in range(3):
        exchange.sends(sent(Frame(BINARY, True, b"x" * 60)))
    assert exchange.too_long
    assert len(exchange.entries) == 1
