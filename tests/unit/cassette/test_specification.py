"""docs/cassette-format.md says what the code does: every key, every extension code, every limit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import timetracer_otel
from tests.contract.format_page import keys_of_replies
from timetracer_otel.cassette import codec, compression, costs, frames, model, scan
from timetracer_otel.cassette.extensions import EXTENSIONS
from timetracer_otel.cassette.tables import Table
from timetracer_otel.constants import FORMAT_NAME, FORMAT_VERSION, BodyEnd, EventType
from timetracer_otel.types import HeaderMap, RecordedError, SentRows

TEXT = (Path(__file__).parents[3] / "docs" / "cassette-format.md").read_text(encoding="utf-8")
TABLES = {name: table for name, table in vars(model).items() if isinstance(table, Table)}


@pytest.mark.parametrize("name", TABLES)
def test_every_key_of_every_map_is_specified(name: str) -> None:
    keys = {row.key for row in TABLES[name].rows}
    if name == "_SESSION":
        assert "versions" in keys
    assert {key for key in keys if f"`{key}`" not in TEXT} == set()


def test_every_key_of_a_reply_of_a_database_is_one_that_its_plugin_writes() -> None:
    """That none is missing is looked at where they are recorded (`tests.contract.framework`)."""
    assert ("sqlite3", "refused") in keys_of_replies()
    sources = "".join(path.read_text("utf-8") for path in (Path(timetracer_otel.__file__).parent).rglob("*.py"))
    written = {*re.findall(r'"(\w+)"', sources), *re.findall(r"\b(\w+)=", sources)}
    assert {key for _, key in keys_of_replies()} - written == set()


def test_every_extension_code_is_specified_with_its_type() -> None:
    rows: dict[int, str] = {}
    for codes, kinds in re.findall(
        r"^\| (\d+(?:, \d+)?) \| ([^|]+) \|", TEXT.split("## Extension types")[1], re.MULTILINE
    ):
        rows |= dict(zip(map(int, codes.split(", ")), kinds.split(", "), strict=codes.count(",") > 0))
    assert set(rows) == {row.code for row in EXTENSIONS}
    names = {HeaderMap: "headers", RecordedError: "error", SentRows: "rows as sent"}
    for row in EXTENSIONS:
        assert names.get(row.kind, row.kind.__name__) in rows[row.code]


def test_every_word_of_the_closed_lists_is_specified() -> None:
    for word in (FORMAT_NAME, *(kind.value for kind in EventType), *(end.value for end in BodyEnd)):
        assert f"`{word}`" in TEXT


def test_the_limits_are_those_of_the_code() -> None:
    assert f"# The cassette format, version {FORMAT_VERSION}\n" in TEXT
    assert codec.MAX_OBJECT_BYTES == 2**30
    assert compression.MAX_STREAM_BYTES == 2**32
    assert f"longer than {costs._FREE_STREAM_BYTES >> 10} KiB and {costs.MAX_STREAM_RATIO} times the file" in TEXT
    assert f"more than {costs._FREE_BYTES >> 10} KiB and {costs._PER_BYTE} times the file" in TEXT
    assert f"containers nest deeper than {codec.MAX_LEVELS}." in TEXT
    assert f"Writers nest at most {scan.MAX_DEPTH} containers" in TEXT
    assert f"It ends in {frames._SEAL.size} bytes of fixed shape" in TEXT
    assert f"bytes 1 to {len(frames.MAGIC)} of every stream" in TEXT
