"""What Django's ORM does by itself, in recordings and replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.children import told_under_hash_seed
from tests.examples import seeded
from timetracer_otel import plugins
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, arguments, packed_arguments, text_of

_SET_UP = ["CONNECT", "SELECT", "PRAGMA", "PRAGMA"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program saw."""
    folder = tmp_path_factory.mktemp("django")
    program = Path(__file__).with_name("django_program.py")
    seed = seeded("hash seed of Django").randrange(2**32)
    found: dict[str, Any] = told_under_hash_seed(seed, program, str(folder), folder=folder)
    return found


def test_the_first_request_of_a_connection_has_its_set_up_and_a_later_one_needs_none(seen: dict[str, Any]) -> None:
    assert seen["methods"] == [[*_SET_UP, "SELECT"], ["SELECT"]]
    value, verdict = seen["stays"]
    assert value == "0"
    assert verdict.startswith("1 hit, 0 missed, 0 unused")


def test_the_set_up_of_a_connection_that_is_open_already_is_not_unused(seen: dict[str, Any]) -> None:
    value, verdict, events = seen["open already"]
    assert (value, events) == ("0", len(_SET_UP) + 1)
    assert verdict == "1 hit, 0 missed, 0 unused, 0 live"


def test_django_goes_on_with_the_real_database_behind_a_replay(seen: dict[str, Any]) -> None:
    assert seen["live again"] == 1


def test_rows_of_a_set_up_are_answered_where_they_were_recorded_and_refused_elsewhere(seen: dict[str, Any]) -> None:
    recorded, elsewhere = seen["fetches"]
    assert recorded[0] == "1"
    assert recorded[1].startswith(f"{len(_SET_UP) + 2} hit, 0 missed, 0 unused")
    assert elsewhere[0].startswith("ReplayMismatchError: Nothing recorded answers this")
    assert "PRAGMA busy_timeout" in elsewhere[0]


def test_what_django_asked_before_the_recording_is_known_in_a_replay(seen: dict[str, Any]) -> None:
    value, verdict = seen["knows"]
    assert value == "(1, True)"
    assert verdict.startswith(f"{len(_SET_UP) + 1} hit, 0 missed, 0 unused")


def test_a_migration_is_refused_in_a_replay(seen: dict[str, Any]) -> None:
    text = "Not recorded: to unapply the migration django_shop.0001_initial to a database: a replay has none"
    assert text in seen["unapplies"][0]
    assert "migrate before the app is recorded or replayed" in seen["unapplies"][0]
    assert seen["nothing to do"][0] == "None"
    assert " 0 missed" in seen["nothing to do"][1]


def test_no_database_for_tests_is_made_in_a_replay(seen: dict[str, Any]) -> None:
    assert seen["for tests"][0] == str(["shop.db.test", "shop.db.test", "shop.db"])
    assert seen["files"] == ["shop.db"]


def test_enabling_is_harmless_when_repeated_and_undone() -> None:
    from django.db.backends.base.base import BaseDatabaseWrapper

    names = ("connect", "ensure_connection", "close_if_health_check_failed")
    before = [vars(BaseDatabaseWrapper)[name] for name in names]
    plugins.enable_django_orm()
    plugins.enable_django_orm()
    assert all(vars(BaseDatabaseWrapper)[name] is not own for name, own in zip(names, before, strict=True))
    plugins.disable_django_orm()
    assert [vars(BaseDatabaseWrapper)[name] for name in names] == before


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ('SAVEPOINT "s140123_x1"', 'SAVEPOINT "s77_x12"', True),
        ('RELEASE SAVEPOINT "s140123_x1"', 'RELEASE SAVEPOINT "s77_x12"', True),
        ("ROLLBACK TO SAVEPOINT `s1_x1`", "ROLLBACK TO SAVEPOINT `s2_x1`", True),
        ("SAVEPOINT mine", "SAVEPOINT yours", False),
        ("SELECT 's1_x1'", "SELECT 's2_x1'", False),
        ('TRUNCATE "b", "a" RESTART IDENTITY;', 'TRUNCATE "a", "b" RESTART IDENTITY;', True),
        ('TRUNCATE "a"', 'TRUNCATE "b"', False),
        (
            """UPDATE "sqlite_sequence" SET "seq" = 0 WHERE "name" IN ('b', 'a');""",
            """UPDATE "sqlite_sequence" SET "seq" = 0 WHERE "name" IN ('a', 'b');""",
            True,
        ),
        ("EXPLAIN (VERBOSE true, ANALYZE true) SELECT 1", "EXPLAIN (ANALYZE true, VERBOSE true) SELECT 1", True),
        ("SELECT x IN ('true','null','false')", "SELECT x IN ('false','true','null')", True),
        ("SELECT x IN ('a','b')", "SELECT x IN ('b','a')", False),
    ],
)
def test_what_django_names_anew_in_each_run_is_no_difference(one: str, other: str, are_equal: bool) -> None:
    assert (text_of(one) == text_of(other)) is are_equal


@pytest.mark.parametrize(
    ("text", "one", "other", "are_equal"),
    [
        ("SELECT 1 WHERE a IN (%s, %s, %s)", ("a", "b", "c"), ("c", "a", "b"), True),
        ("SELECT '100%%s' WHERE b = %s AND a IN (%s, %s)", ("x", "a", "b"), ("x", "b", "a"), True),
        ("SELECT 1 WHERE b = %s AND a IN (%s, %s)", ("x", "a", "b"), ("a", "x", "b"), False),
        ("SELECT 1 WHERE a IN (%s, %s)", (1, 2), (2, 1), False),
        ("SELECT 1 WHERE a = %s OR a = %s", ("a", "b"), ("b", "a"), False),
        ("SELECT 1 WHERE a IN (%s, 7, %s)", ("a", "b"), ("b", "a"), False),
    ],
)
def test_texts_of_a_set_are_compared_without_their_order(
    text: str, one: tuple[Any, ...], other: tuple[Any, ...], are_equal: bool
) -> None:
    first, second = (arguments(CursorCall(text, values), ()) for values in (one, other))
    assert (first == second) is are_equal
    packed, packed_too = (packed_arguments("SELECT", text, values, ()) for values in (one, other))
    assert packed is not None
    assert (packed == packed_too) is are_equal
