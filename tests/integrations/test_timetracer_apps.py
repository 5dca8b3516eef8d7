"""Apps for the package timetracer 1.6: what that package recorded replays in ours, and so does what ours records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.children import ROOT, environment
from tests.loopback import Loopback
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli import main

BESIDE = Path(sys.prefix, "beside")
"""Where the Makefile installs timetracer, which is a plugin of pytest as well."""
APPS = ("fastapi", "starlette", "flask", "django")
PAGE = ROOT / "docs" / "moving-from-timetracer.md"


def sed_line() -> str:
    """The command by which the page changes the imports."""
    (line,) = (line for line in PAGE.read_text().splitlines() if line.startswith("$ sed "))
    return line.removeprefix("$ ")


class Moved:
    """A folder with the apps before and after the move, their recordings, and what they answered. The upstream is
    stopped by now.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        before = Path(__file__).with_name("_timetracer_apps.py").read_text()
        (folder / "after.py").write_text(before)
        subprocess.run(sed_line(), shell=True, cwd=folder, check=True)
        (folder / "before.py").write_text(before)
        with Loopback() as server:
            self.url = server.url
            self.theirs = self.told("before", "record", "theirs")
            self.ours = self.told("after", "record", "ours")
            self.off = self.told("after", "off", "nothing")
        for path in sorted(Path(folder, "theirs").rglob("*.json")):
            assert main(["convert", str(path), f"{path}.msgpack"]) == 0

    def told(self, module: str, mode: str, folder: str) -> dict[str, Any]:
        """What the apps of a module answer in a process of its own."""
        done = forks.run(
            *(str(Path(__file__).with_name("_driver.py")), module, mode, folder),
            env=environment(
                PYTHONPATH=os.pathsep.join([str(self.folder), str(ROOT), str(BESIDE)]), UPSTREAM=self.url
            ),
            cwd=self.folder,
            loaded="tool",
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told: dict[str, Any] = json.loads(done.stdout)
        return told


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Moved:
    return Moved(tmp_path_factory.mktemp("moved"))


def without_changing(answers: Any) -> Any:
    """Answers without what the upstream makes anew for each request."""
    if isinstance(answers, dict):
        return {name: without_changing(each) for name, each in answers.items() if name not in {"counted", "fresh"}}
    return [without_changing(each) for each in answers] if isinstance(answers, list) else answers


def test_only_the_imports_change(moved: Moved) -> None:
    before, after = ((moved.folder / f"{name}.py").read_text().splitlines() for name in ("before", "after"))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 7
    assert all(new == old.replace("timetracer.", "timetracer_otel.") for old, new in changed)


def test_the_app_is_what_it_was(moved: Moved) -> None:
    bare = without_changing(moved.off)
    assert list(bare) == list(APPS)
    assert without_changing(moved.theirs) == without_changing(moved.ours) == bare


def test_what_timetracer_recorded_replays_in_the_moved_app(moved: Moved) -> None:
    assert moved.told("after", "replay", "theirs") == moved.theirs


def test_what_the_moved_app_recorded_replays_in_it(moved: Moved) -> None:
    assert moved.told("after", "replay", "ours") == moved.ours


@pytest.mark.parametrize("app", APPS)
def test_a_request_is_one_cassette_with_its_exchange(moved: Moved, app: str) -> None:
    paths = sorted(Path(moved.folder, "ours", app).rglob("*.msgpack"))
    get, post = (read_cassette(path) for path in paths)
    route = {"flask": "/users/<int:user>", "django": "/users/<int:user>"}.get(app, "/users/{user}")
    assert (get.request.method, get.request.path, get.request.target) == ("GET", "/users/7", "/users/7?b=2")
    assert (get.request.route_template, get.session.framework) == (route, app)
    assert (get.response.status, len(get.events)) == (200, 2)
    assert post.request.body is not None
    assert post.response.body is not None
    assert json.loads(post.request.body.data) == {"sku": "tea", "n": 2}
    assert json.loads(post.response.body.data) == moved.ours[app][1][1]
