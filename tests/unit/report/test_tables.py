"""Tables fit their width, and nothing recorded can play with the terminal."""

from __future__ import annotations

import pytest

from timetracer_otel.report.tables import Column, clip, display_width, format_size, pad, printable, table


def test_columns_are_aligned_and_lines_have_no_trailing_space() -> None:
    lines = table((Column("name"), Column("n", right=True), Column("x")), [["a", "1", ""], ["bcd", "22", "z"]], 80)
    assert lines == ["name   n  x", "a      1", "bcd   22  z"]


def test_a_table_that_is_too_wide_clips_its_elastic_columns_only() -> None:
    columns = (Column("request", elastic=True), Column("status"), Column("file", elastic=True, keep="end"))
    lines = table(columns, [["GET /" + "a" * 60, "200", "2026/" + "b" * 60 + ".msgpack"]], 60)
    assert all(len(line) <= 60 for line in lines)
    assert "…" in lines[1]
    assert "  200     …" in lines[1]
    assert lines[1].endswith("b.msgpack")


def test_a_table_never_clips_a_column_to_nothing() -> None:
    lines = table((Column("a" * 30), Column("request", elastic=True)), [["b" * 30, "c" * 40]], 20)
    assert lines[1] == "b" * 30 + "  " + "c" * 11 + "…"


def test_a_table_without_rows_has_its_headings() -> None:
    assert table((Column("a"), Column("b")), [], 80) == ["a  b"]


def test_wide_and_combining_characters_count_as_the_terminal_draws_them() -> None:
    assert display_width("日本") == 4
    assert display_width("e\u0301") == 1
    assert pad("日", 4) == "日  "
    assert clip("日本語", 5) == "日本…"
    assert clip("日本語", 5, keep="end") == "…本語"
    assert clip("http://host/a/long/path", 12, keep="ends") == "http:…g/path"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\rb", "a\nb", "\u202egpj.exe", "\ud800", "\x9b31m", "\x00"])
def test_what_could_move_the_cursor_is_escaped(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert "\\" in shown


def test_plain_text_of_any_script_stays_as_it_is() -> None:
    assert printable("GET /café/日本?q=a b") == "GET /café/日本?q=a b"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (2 * 1024**2, "2.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
    ],
)
def test_sizes_are_given_in_the_unit_that_suits_them(size: int | None, text: str) -> None:
    assert format_size(size) == text
