"""Chunked bodies as they arrive, taken apart and put together again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.kits.http1.arriving import LAST_CHUNK, ArrivalTap, framed, head_bytes
from timetracer_otel.session.body_taps import BodyLimits

_PARSED = ((1, 1), 200, "OK", [(b"Transfer-Encoding", b"chunked")])
_HEAD = head_bytes(*_PARSED)


def _wire(chunks: list[bytes], whole: bool) -> bytes:
    return b"".join(b"%x;x=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + (b"0\r\n\r\n" if whole else b"")


def _tap(arrivals: list[bytes], with_head: int) -> ArrivalTap:
    tap = ArrivalTap(BodyLimits(10_000))
    for number, arrival in enumerate(arrivals):
        if number == with_head:
            tap.head_arrived(_PARSED, chunked=True, length=None)
        tap.arrived(arrival, 0)
    return tap


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(data) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


_chunks = st.lists(st.binary(min_size=1, max_size=30), max_size=6)


@given(_chunks, st.lists(st.integers(0, 300), max_size=8), st.booleans())
def test_cut_anywhere_the_body_is_the_same(chunks: list[bytes], places: list[int], whole: bool) -> None:
    body = _wire(chunks, whole)
    # The head comes first, in whatever pieces, and is parsed with the arrival that ends it.
    arrivals = [*_cut(_HEAD, places), *(_cut(body, places) if body else [])]
    tap = _tap(arrivals, len(_cut(_HEAD, places)))
    if not body:
        tap.head_arrived(_PARSED, chunked=True, length=None)
    tap.finish(BodyEnd.COMPLETE)
    assert b"".join(tap.chunks) == b"".join(chunks)
    again = framed(tap.chunks, tap.frames)
    assert b"".join(again) == _wire(chunks, whole).replace(b";x=1", b"")
    # An arrival that brought nothing but framing of the next chunk is none.
    assert len(again) <= len(arrivals)


@given(_chunks.filter(bool), st.binary(max_size=20))
def test_a_redacted_arrival_becomes_a_chunk_of_its_own(chunks: list[bytes], other: bytes) -> None:
    tap = _tap([_HEAD, _wire(chunks, whole=True)], 1)
    (again,) = framed([other], tap.frames)
    fresh = _tap([_HEAD, again], 1)
    assert b"".join(fresh.chunks) == other
    assert fresh.frames[0][-1] == LAST_CHUNK


def test_a_body_behind_informational_heads_is_found() -> None:
    tap = ArrivalTap(BodyLimits(100))
    tap.arrived(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent", 0)
    tap.arrived(b"-Length: 3\r\n\r\nabcdef", 0)
    tap.head_arrived(_PARSED, chunked=False, length=3)
    assert tap.chunks == [b"abc"]
