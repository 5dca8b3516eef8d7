"""What an app draws by chance is the same bare, recorded and replayed: nothing of ours draws from its sources."""

from __future__ import annotations

import itertools
import random
import uuid
from pathlib import Path
from typing import Any

import pytest

from timetracer_otel import TraceConfig, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.constants import TraceMode

SAMPLED = TraceConfig(mode=TraceMode.RECORD, sample_rate=0.5)


def app() -> list[Any]:
    return [random.random(), uuid.uuid4(), SAMPLED.should_sample() and None, random.random(), uuid.uuid4()]


def test_a_seeded_or_mocked_app_draws_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = random.getstate()
    drawn = []
    paths = [tmp_path / f"{number}.msgpack" for number in range(2)]
    try:
        for block in (None, record(paths[0]), record(paths[1]), replay(paths[0])):
            random.seed(5)
            counted = itertools.count(1)
            monkeypatch.setattr(uuid, "uuid4", lambda counted=counted: f"id {next(counted)}")
            if block is None:
                got = app()
            else:
                with block:
                    got = app()
            drawn.append([got[:2], got[3:], random.random(), uuid.uuid4()])
    finally:
        random.setstate(before)
    assert drawn[1:] == [drawn[0]] * 3
    first, second = (read_cassette(path).session.id for path in paths)
    assert first != second
    assert uuid.UUID(first).version == 4
