"""Our errors carry data, say what to do, and survive a process boundary."""

from __future__ import annotations

import pickle

import pytest

from timetracer_otel import exceptions
from timetracer_otel.exceptions import (
    CassetteError,
    CassetteNotFoundError,
    CassetteSchemaError,
    CassetteTooOldError,
    ConfigurationError,
    NetworkBlockedError,
    PluginNotFoundError,
    ReplayFailedError,
    ReplayMismatchError,
    TimetracerError,
)
from timetracer_otel.types import Verdict

EXAMPLES = [
    ConfigurationError("mode: 'x' is not allowed."),
    CassetteError("broken", path="x.msgpack", offset=7),
    CassetteNotFoundError("x.msgpack"),
    CassetteSchemaError("x.msgpack", "1", "2"),
    ReplayMismatchError("no", cassette_path="x", expected={"a": 1}, actual={"a": 2}, hint="record", event_index=3),
    PluginNotFoundError("httpx"),
    ReplayFailedError("Replay of x: 0 hit", Verdict(live={"redis": 2})),
    CassetteTooOldError("x.msgpack was recorded 40 days ago", path="x.msgpack"),
    NetworkBlockedError("10.0.0.1:80", "made.by", "app", "nothing", "lib", in_cassette="none", open_already=True),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_pickle_whole(error: TimetracerError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)


def test_a_missing_cassette_is_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"Cassette not found: x\.msgpack"):
        raise CassetteNotFoundError("x.msgpack")


def test_every_error_has_an_example() -> None:
    shown = {type(error).__name__ for error in EXAMPLES}
    assert shown == set(exceptions.__all__) - {"TimetracerError", "PluginError"}


def test_a_missing_library_names_the_line_that_installs_it() -> None:
    assert 'pip install httpx "timetracer-otel[httpx]"' in str(PluginNotFoundError("httpx"))


def test_a_mismatch_shows_fields_where_there_are_no_candidates() -> None:
    assert str(EXAMPLES[4]).splitlines() == [
        "no",
        "  nearest recorded call: #3",
        "    a: recorded 1, now 2",
        "  what to do: record",
        "  cassette: x",
    ]
