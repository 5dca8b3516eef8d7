"""What the documentation site is made of. `make docs` builds it, and fails on broken links by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import timetracer_otel
from tests.import_arrows import FLOORS, READERS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def hooks() -> Any:
    sys.path.insert(0, str(DOCS))
    try:
        import site_hooks  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(DOCS))
    return site_hooks


def settings() -> Any:
    return yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))


def named(entry: Any) -> list[str]:
    """The pages of an entry of the navigation."""
    if isinstance(entry, str):
        return [entry]
    below = entry.values() if isinstance(entry, dict) else entry
    return [page for item in below for page in named(item)]


def test_every_page_stands_in_the_navigation_once(hooks: Any) -> None:
    pages = [path.name for path in DOCS.glob("*.md")] + list(hooks.OUTSIDE.values())
    assert sorted(named(settings()["nav"])) == sorted(pages)


def test_a_warning_is_an_error_and_links_are_checked() -> None:
    assert settings()["strict"] is True
    assert set(settings()["validation"]["links"].values()) == {"warn"}
    assert settings()["validation"]["nav"]["omitted_files"] == "warn"
    # MkDocs does not count the warnings that --quiet keeps back, and lets a broken link pass.
    recipe = subprocess.run(
        ["make", "--dry-run", "docs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "-m mkdocs build" in recipe
    assert "--quiet build" not in recipe


def test_nothing_is_fetched_from_elsewhere(hooks: Any) -> None:
    assert settings()["theme"]["font"] is False
    # The theme's script would fetch what draws such a diagram.
    assert [path.name for path in DOCS.glob("*.md") if "```mermaid" in path.read_text("utf-8")] == []
    assert hooks.fetched_by('<link rel="stylesheet" href="https://fonts.example/css">')
    assert hooks.fetched_by('<link href="//fonts.example" rel="preconnect">')
    assert hooks.fetched_by('<script async src="https://cdn.example/x.js"></script>')
    assert hooks.fetched_by("body { background: url(https://cdn.example/x.png) }")
    assert not hooks.fetched_by('<a href="https://example.org">x</a><script src="assets/x.js"></script>')


@pytest.mark.parametrize(
    ("page", "target", "link"),
    [
        ("cli.md", "../exporters/README.md", "exporters/README.md"),
        ("releasing.md", "../CHANGELOG.md", "changelog.md"),
        ("changelog.md", "docs/redaction.md", "redaction.md"),
        ("exporters/README.md", "../docs/how-to-add-an-exporter.md", "../how-to-add-an-exporter.md"),
        ("cli.md", "verify.md", "verify.md"),
        ("overview.md", "LICENSE", "license.md"),
        ("overview.md", "docs/README.md", "README.md"),
        ("changelog.md", "pyproject.toml", "pyproject.toml"),
    ],
)
def test_links_lead_to_pages_of_the_site(hooks: Any, page: str, target: str, link: str) -> None:
    assert hooks.relative_link(page, target) == link


def test_a_list_may_follow_a_paragraph(hooks: Any) -> None:
    page = "Names:\n- a\n  and more\n- b\n\n```text\nx\n- y\n```"
    assert hooks.with_lists_apart(page) == page.replace("Names:\n", "Names:\n\n")


def test_the_reference_has_every_name_of_the_front_door() -> None:
    text = (DOCS / "api.md").read_text("utf-8")
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    modules = {"timetracer_otel.exceptions", "timetracer_otel.constants"}
    assert modules <= shown
    for name in timetracer_otel.__all__:
        if name == "__version__":
            continue
        home = getattr(timetracer_otel, name).__module__
        assert {home, f"{home}.{name}", f"timetracer_otel.{name}"} & shown, name


def test_the_architecture_names_functions_that_exist() -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    way = page[page.index("### While recording") : page.index("## Why it is so")]
    named = {name for found in re.findall(r"`(\w+(?:\.\w+)?)(?:\([^`]*\))?`", way) for name in found.split(".")}
    assert {"Site", "flow", "call_began", "rebuild_error"} <= named
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert sorted(named - set(re.findall(r"\w+", source))) == []


PACKAGE = ROOT / "src" / "timetracer_otel"


def rooms_of_the_page() -> list[tuple[str, ...]]:
    """The rooms that the table of the page names, row by row."""
    page = (DOCS / "architecture.md").read_text("utf-8")
    table = page[page.index("| room | what it is for |") :].partition("\n\n")[0]
    return [tuple(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()[2:]]


def test_every_room_stands_in_the_table_of_the_architecture_once() -> None:
    shown = [room for row in rooms_of_the_page() for room in row]
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert sorted([*shown, *READERS]) == sorted(folders | modules)
    page = (DOCS / "architecture.md").read_text("utf-8")
    # These stand beside the floors, and below the table.
    assert [room for room in READERS if f"`{room}` (" not in page] == []


def test_the_table_of_the_architecture_has_the_floors_that_are_checked() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    rows = [{floor[room] for room in row} for row in rooms_of_the_page()]
    numbers = [number for row in rows for number in sorted(row)]
    assert numbers == sorted(numbers)


PATHS = re.compile(r"`((?:[\w.-]+/)+(?:[\w.-]+\.(?:py|md|toml|txt|yml))?|(?:[\w-]+\.)+(?:py|toml|yml))`")
"""Paths as pages write them: ``calls/flow.py``, ``libraries/httpx/``, ``pyproject.toml``."""
PAGES_FOR_DEVELOPERS = (
    "CONTRIBUTING.md",
    "docs/architecture.md",
    *(f"docs/{path.name}" for path in DOCS.glob("how-to-*")),
)


OF_A_READER = {"src/", "tests/", "__init__.py", "internals.py", "call.py", "answer.py", "errors.py", "secrets.py"}
"""Files of a folder that is not there yet: what a reader makes."""


@pytest.mark.parametrize("page", PAGES_FOR_DEVELOPERS)
def test_the_pages_for_developers_name_files_that_exist(page: str) -> None:
    named = set(PATHS.findall((ROOT / page).read_text("utf-8"))) - OF_A_READER
    assert [name for name in sorted(named) if not any((base / name).exists() for base in (ROOT, PACKAGE))] == []


def test_paths_are_found_in_pages() -> None:
    text = "`calls/flow.py`, `libraries/httpx/`, `pyproject.toml`, not `a.b`, `text/plain`, or `x.msgpack`"
    assert PATHS.findall(text) == ["calls/flow.py", "libraries/httpx/", "pyproject.toml"]
