"""A noted body: our stream in the place of the one that a transport makes, or around another."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from importlib import import_module
from types import FrameType, ModuleType

import httpx
import pytest

from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.httpx.internals import tee_of
from timetracer_otel.libraries.kits.http.bodies import BodyTap
from timetracer_otel.session.body_taps import BodyLimits


class _Pieces:
    """Stands where httpcore's stream is: two pieces, and an error of httpcore behind them."""

    def __init__(self, module: str) -> None:
        self.closed = 0
        self.error = import_module(module.replace("httpx", "httpcore")).ReadError

    def __iter__(self) -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        raise self.error("the peer is gone")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(params=["httpx", "httpx2"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return import_module(request.param)


def _transports(module: ModuleType) -> ModuleType:
    """Where it has the streams that its transports make."""
    return import_module(f"{module.__name__}._transports.default")


def _through(module: ModuleType, pieces: _Pieces) -> tuple[list[bytes], Exception, BodyTap, set[str]]:
    """What an app gets of a transport's stream that is noted, and the files whose code gave it the first piece."""
    tap = BodyTap(BodyLimits())
    tee = tee_of(module)(_transports(module).ResponseStream(pieces), tap)
    got: list[bytes] = []
    entered: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        entered.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        chunks = iter(tee)
        got.append(next(chunks))
    finally:
        sys.setprofile(None)
    with pytest.raises(module.ReadError) as raised:
        got.extend(chunks)
    tee.close()
    return got, raised.value, tap, entered


def test_the_tee_stands_in_the_place_of_a_transports_stream(module: ModuleType) -> None:
    pieces = _Pieces(module.__name__)
    got, error, tap, entered = _through(module, pieces)
    assert (got, tap.chunks, tap.end, pieces.closed) == ([b"one", b"two"], [b"one", b"two"], BodyEnd.FAILED, 1)
    assert (str(error), type(error.__cause__), error.__context__) == (
        "the peer is gone",
        pieces.error,
        error.__cause__,
    )
    assert tap.error is not None
    assert tap.error.cls == f"{module.__name__}:ReadError"
    # This is what it is for; where a release keeps its streams in another way, it is lost, and nothing else.
    assert _transports(module).__file__ not in entered


def test_so_does_the_asynchronous_one(module: ModuleType) -> None:
    pieces, tap, got = _Pieces(module.__name__), BodyTap(BodyLimits()), list[bytes]()

    async def read() -> None:
        tee = tee_of(module)(_transports(module).AsyncResponseStream(pieces), tap)
        async for chunk in tee:
            got.append(chunk)

    with pytest.raises(module.ReadError, match="the peer is gone") as raised:
        asyncio.run(read())
    assert (got, tap.chunks, tap.end) == ([b"one", b"two"], [b"one", b"two"], BodyEnd.FAILED)
    assert type(raised.value.__cause__) is pieces.error


def test_around_the_streams_of_a_release_that_keeps_them_in_another_way(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, tap = _Pieces(module.__name__), BodyTap(BodyLimits())
    known = _transports(module)
    monkeypatch.setitem(sys.modules, known.__name__, ModuleType(known.__name__))
    tee = tee_of(module)(known.ResponseStream(pieces), tap)
    got: list[bytes] = []
    with pytest.raises(module.ReadError, match="the peer is gone") as raised:
        got.extend(tee)
    assert (got, tap.chunks, tap.end) == ([b"one", b"two"], [b"one", b"two"], BodyEnd.FAILED)
    assert type(raised.value.__cause__) is pieces.error
    assert raised.value.__context__ is raised.value.__cause__


def test_an_error_of_somebody_elses_stream_keeps_its_class() -> None:
    pieces, tap = _Pieces("httpx"), BodyTap(BodyLimits())
    with pytest.raises(pieces.error) as raised:
        list(tee_of(httpx)(pieces, tap))
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)
    assert tap.error is not None
    assert tap.error.cls == "httpcore:ReadError"


def test_a_body_that_is_left_is_closed(module: ModuleType) -> None:
    pieces, tap = _Pieces(module.__name__), BodyTap(BodyLimits())
    chunks = iter(tee_of(module)(_transports(module).ResponseStream(pieces), tap))
    assert next(chunks) == b"one"
    del chunks
    gc.collect()
    assert (tap.chunks, tap.end) == ([b"one"], BodyEnd.CLOSED)


def test_an_error_keeps_no_more_alive_than_without_us(module: ModuleType) -> None:
    """The library itself makes a cycle of it from Python 3.12 on, which the collector takes apart."""
    tee = tee_of(module)

    def is_alive(made: Callable[[], Iterable[bytes]]) -> bool:
        stream = made()
        alive = weakref.ref(stream)
        try:
            list(stream)
        except module.ReadError:
            del stream
        return alive() is not None

    def bare() -> Iterable[bytes]:
        return _transports(module).ResponseStream(_Pieces(module.__name__))  # type: ignore[no-any-return]

    gc.disable()
    try:
        assert is_alive(lambda: tee(bare(), BodyTap(BodyLimits()))) <= is_alive(bare)
    finally:
        gc.enable()
