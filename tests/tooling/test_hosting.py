"""What a host of the repository reads: the workflow, and the forms for issues and pull requests."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from timetracer_otel import __version__

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def steps() -> list[dict[str, Any]]:
    return [step for path in (WORKFLOW, RELEASE) for job in read(path)["jobs"].values() for step in job["steps"]]


def test_the_workflow_runs_on_every_python_that_is_declared_and_on_three_systems() -> None:
    matrix = read(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    declared = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    assert matrix["python"] == declared
    assert f'requires-python = ">={declared[0]}"' in project
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_the_workflow_runs_on_changes_and_on_tags_of_releases() -> None:
    # YAML 1.1 reads the key `on` as a boolean.
    on = read(WORKFLOW)[True]
    assert on["push"]["tags"] == ["v*"]
    assert "pull_request" in on


def test_every_action_is_pinned_to_a_major_version() -> None:
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@v\d+", action)] == [
        "pypa/gh-action-pypi-publish@release/v1"
    ]


def test_a_release_is_published_without_a_stored_key_and_with_what_was_built_and_checked() -> None:
    release = read(RELEASE)
    assert release[True] == {"push": {"tags": ["v*"]}}
    build, publish = release["jobs"]["build"], release["jobs"]["publish"]
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in RELEASE.read_text("utf-8")
    assert [step["run"] for step in build["steps"] if step.get("run", "").startswith("make")] == [
        "make check",
        "make dist",
    ]
    (env,) = [step["env"] for step in build["steps"] if step.get("run") == "make dist"]
    assert env == {"PROJECT_URL": "${{ github.server_url }}/${{ github.repository }}"}
    (named,) = [step["run"] for step in build["steps"] if step.get("name") == "The tag names the version"]
    for tag, fits in ((f"v{__version__}", True), ("v999", False)):
        done = subprocess.run(
            ["sh", "-ec", named], cwd=ROOT, env={"GITHUB_REF_NAME": tag, "PATH": os.environ["PATH"]}
        )
        assert (done.returncode == 0) is fits


def test_every_make_target_of_the_workflow_exists() -> None:
    used = {line for step in steps() for line in re.findall(r"^make ([\w-]+)", step.get("run", ""), re.MULTILINE)}
    assert {"check", "docs", "test", "test-oldest", "test-newest", "dist"} <= used
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert used <= targets


def test_every_path_of_the_workflow_exists() -> None:
    (run,) = [step["run"] for step in steps() if step.get("if") == "runner.os == 'Windows'"]
    paths = re.findall(r"(?<=\s)(?:\./)?(?:tests|exporters)\b[\w./-]*", run)
    assert {"tests/unit", "exporters"} <= set(paths)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_forms_have_what_a_host_asks_for(form: Path) -> None:
    content = read(form)
    if form.name == "config.yml":
        assert content == {"blank_issues_enabled": False}
        return
    assert content["name"]
    assert content["description"]
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    identifiers = [field["id"] for field in fields]
    assert len(set(identifiers)) == len(identifiers)


def test_there_are_forms() -> None:
    assert {form.name for form in FORMS} == {"config.yml", "defect.yml", "wish.yml"}


def test_security_problems_are_sent_to_a_private_place() -> None:
    text = " ".join((ROOT / "SECURITY.md").read_text("utf-8").split())
    assert "private vulnerability reporting of the place that hosts" in text
    # An address that nobody reads would be worse than none.
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", text)
