"""What tests of replays with clients of several kinds share."""

from __future__ import annotations

from pathlib import Path

import pytest

from timetracer_otel import record


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A cassette without a call."""
    path = tmp_path / "empty.msgpack"
    with record(path, uncaptured="record"):
        pass
    return path
