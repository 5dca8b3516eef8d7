"""What `make test-oldest` installs: the lowest versions that the project says it runs with."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
OURS = "timetracer-otel"


def pins() -> dict[str, set[Version]]:
    """By name; a library may have one for each of several Pythons."""
    found: dict[str, set[Version]] = {}
    for line in (ROOT / "tests" / "oldest.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition(";")[0].partition("==")
            found.setdefault(name, set()).add(Version(version))
    return found


def bounds(requirements: list[str]) -> dict[str, set[Version]]:
    """The lower bounds of requirements, by name."""
    found: dict[str, set[Version]] = {}
    for requirement in map(Requirement, requirements):
        for each in requirement.specifier:
            if each.operator == ">=":
                found.setdefault(requirement.name, set()).add(Version(each.version))
    return found


def test_each_dependency_and_extra_is_tried_at_its_lowest() -> None:
    required = bounds(metadata.requires(OURS) or [])
    assert {"msgpack", "sqlalchemy", "opentelemetry-instrumentation-psycopg"} <= required.keys()
    assert {name: found for name, found in required.items() if not found & pins().get(name, set())} == {}


def test_what_is_tried_at_its_lowest_is_what_the_tests_ask_for() -> None:
    groups = (
        (ROOT / "pyproject.toml").read_text("utf-8").partition("[dependency-groups]")[2].partition("\ndev = [")[0]
    )
    asked = bounds(re.findall(r'"([A-Za-z][^"]*>=[^"]*)"', groups))
    tried = pins()
    drivers = {"aiomysql", "aiosqlite", "asyncmy", "asyncpg", "mysqlclient", "psycopg", "psycopg2-binary", "pymysql"}
    assert drivers | {"django", "pymongo"} <= asked.keys() & tried.keys()
    assert {name: found for name, found in asked.items() if name in tried and not found & tried[name]} == {}
