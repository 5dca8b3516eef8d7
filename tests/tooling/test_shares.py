"""Test classes that share their cases run each of them once; all of them in ``make fuzz``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.contract import (
    framework,
    test_httpx,
    test_mysql,
    test_pymongo,
    test_redis,
    test_sqlalchemy,
    test_sqlalchemy_mysql,
)
from tests.contract.framework import Case, Contract, SharedTests, Shares

_SHARED = [
    cls
    for module in (test_httpx, test_mysql, test_pymongo, test_redis, test_sqlalchemy, test_sqlalchemy_mysql)
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, Contract) and cls.shares is not None
]


def _nothing(_: object) -> None: ...


def _case(name: str) -> Case:
    return Case(name, _nothing)


def _function(case: Case) -> tuple[str, Any]:
    return case.name, case.run.args[0] if isinstance(case.run, partial) else case.run


def _classes(shares: Shares) -> list[type[Contract]]:
    both, one = [_case(f"both {number}") for number in range(10)], _case("one")
    first = type("First", (Contract,), {"cases": [*both, one]})
    return [shares(first), shares(type("Second", (Contract,), {"cases": both}))]


def test_each_case_is_run_by_one_class_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework, "WHOLE", False)
    shares = Shares("a test")
    classes = _classes(shares)
    drawn = set()
    for seed in map(str, range(20)):
        monkeypatch.setenv("TEST_SEED", seed)
        parts = [[case.name for case in shares.of(cls)] for cls in classes]
        assert sorted(parts[0] + parts[1]) == sorted([*(f"both {number}" for number in range(10)), "one"])
        assert "one" in parts[0]
        assert min(map(len, parts)) >= 4
        assert parts == [[case.name for case in shares.of(cls)] for cls in classes]
        drawn.add(tuple(parts[1]))
    assert len(drawn) > 10


def test_every_class_runs_all_where_all_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework, "WHOLE", True)
    shares = Shares("a test")
    assert [len(shares.of(cls)) for cls in _classes(shares)] == [11, 10]


def test_a_class_that_is_skipped_has_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework, "WHOLE", False)
    shares = Shares("a test")
    first, second = _classes(shares)
    pytest.mark.skipif(True, reason="not here")(second)
    assert [len(shares.of(cls)) for cls in (first, second)] == [11, 10]


def test_each_test_is_run_by_one_class_unless_all_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Base:
        def test_a(self) -> None: ...
        def test_b(self) -> None: ...
        def test_c(self) -> None: ...

    shares = SharedTests("a test")
    classes: list[type] = [shares(type(name, (Base,), {})) for name in ("First", "Second")]
    tests = ["test_a", "test_b", "test_c"]
    for whole, runs in ((False, 1), (True, 2)):
        monkeypatch.setattr(framework, "WHOLE", whole)
        for seed in map(str, range(20)):
            monkeypatch.setenv("TEST_SEED", seed)
            run_by = [[cls for cls in classes if not shares.leaves(cls, test)] for test in tests]
            assert [len(found) for found in run_by] == [runs] * 3
            assert {cls for found in run_by for cls in found} == set(classes)


def test_cases_with_one_name_and_other_functions_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework, "WHOLE", False)
    shares = Shares("a test")

    def other(_: object) -> None: ...
    def way(function: Callable[[object], None], given: object) -> None:
        function(given)

    runs: dict[str, Callable[[Any], Any]] = {"First": _nothing, "Second": other, "Third": partial(way, other)}
    classes: list[type[Contract]] = [
        shares(type(name, (Contract,), {"cases": [Case("same", run)]})) for name, run in runs.items()
    ]
    for seed in map(str, range(20)):
        monkeypatch.setenv("TEST_SEED", seed)
        assert [len(shares.of(cls)) for cls in classes] in ([1, 1, 0], [1, 0, 1])


def test_no_case_of_a_library_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework, "WHOLE", False)
    groups: dict[Shares, list[type[Contract]]] = {}
    for cls in _SHARED:
        assert cls.shares is not None
        groups.setdefault(cls.shares, []).append(cls)
    assert len(groups) == 8
    assert min(map(len, groups.values())) > 1
    for shares, classes in groups.items():
        run = Counter(_function(case) for cls in classes for case in shares.of(cls))
        assert run == dict.fromkeys((_function(case) for cls in classes for case in cls.cases), 1)
        assert "sweep" in {mark.name for cls in classes for mark in getattr(cls, "pytestmark", ())}
