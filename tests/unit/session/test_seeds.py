"""What a recording says of the seeds of its process, without changing what the app draws."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from timetracer_otel import record
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.cassette.codec import decode
from timetracer_otel.cassette.model import encode_header, header_parts
from timetracer_otel.cassette.tables import MalformedError
from timetracer_otel.report import summary


def drawn() -> list[float]:
    return [random.random(), random.gauss(0, 1), random.randint(0, 1 << 60)]


def test_the_state_of_random_stands_in_the_header_and_draws_nothing(tmp_path: Path) -> None:
    random.seed(17)
    random.gauss(0, 1)  # the state has a value for the next one
    bare = drawn()
    random.seed(17)
    random.gauss(0, 1)
    with record(tmp_path / "a.msgpack", random_state=True):
        assert drawn() == bare
    recorded = read_cassette(tmp_path / "a.msgpack")
    assert recorded.session.random_state is not None
    random.seed(1)
    random.setstate(recorded.session.random_state)
    assert drawn() == bare
    assert (tmp_path / "a.msgpack").stat().st_size < 4000
    assert "state of random" in "\n".join(summary(recorded))


def test_without_the_setting_there_is_no_state(tmp_path: Path) -> None:
    random.seed(17)
    bare = drawn()
    random.seed(17)
    with record(tmp_path / "a.msgpack"):
        assert drawn() == bare
    assert read_cassette(tmp_path / "a.msgpack").session.random_state is None


def test_the_seed_of_hashes_stands_in_the_header_where_it_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "4711")
    with record(tmp_path / "a.msgpack"):
        pass
    monkeypatch.delenv("PYTHONHASHSEED")
    with record(tmp_path / "b.msgpack"):
        pass
    one, other = (read_cassette(tmp_path / f"{name}.msgpack") for name in "ab")
    assert (one.session.hash_seed, other.session.hash_seed) == ("4711", None)
    assert one.session.hash_randomization is bool(sys.flags.hash_randomization)
    assert any(line.startswith("seeds     PYTHONHASHSEED=4711") for line in summary(one))


def test_a_state_that_is_none_is_refused(tmp_path: Path) -> None:
    with record(tmp_path / "a.msgpack", random_state=True):
        pass
    header = decode(memoryview(encode_header(read_cassette(tmp_path / "a.msgpack"))[0]))
    state = header["session"]["random_state"]
    for wrong in ([*state, 1], [3, b"short", None], ["3", *state[1:]], [3, state[1], "x"]):
        header["session"]["random_state"] = wrong
        with pytest.raises(MalformedError):
            header_parts(header)
    assert save_cassette(read_cassette(tmp_path / "a.msgpack"), tmp_path / "b.msgpack")
