"""The reader of an aiohttp response that notes how its body ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.aiohttp.internals import _TapTimer, _TeedReader
from timetracer_otel.libraries.kits.http1.arriving import ArrivalTap
from timetracer_otel.session.body_taps import BodyLimits


@pytest.mark.parametrize("by_name", [True, False])
def test_a_failed_body_takes_its_cause_with_and_without_its_name(by_name: bool) -> None:
    """aiohttp gives the cause behind the error, an app that holds the reader may give it by its name."""

    async def failed() -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        reader: Any = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        tap = ArrivalTap(BodyLimits(10))
        reader._timer = _TapTimer(reader._timer, tap)
        reader.__class__ = _TeedReader
        cause = OSError("gone")
        if by_name:
            reader.set_exception(ValueError("failed"), exc_cause=cause)
        else:
            reader.set_exception(ValueError("failed"), cause)
        assert type(reader) is StreamReader
        assert str(reader.exception()) == "failed"
        return tap.end, tap.error

    end, error = asyncio.run(failed())
    assert end is BodyEnd.FAILED
    assert error.message == "failed"
