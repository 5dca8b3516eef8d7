"""What an index shows of the distributions: who made them, and where the project is hosted."""

from __future__ import annotations

import os
import subprocess
import sys
from email.parser import Parser
from importlib.metadata import distribution, metadata
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
HOST = "https://git.example/some/project"


EXPORTERS = sorted(path.parent.name for path in (ROOT / "exporters").glob("*/pyproject.toml"))


def test_there_are_the_exporters_that_the_tests_install() -> None:
    assert [name.rpartition("-")[2] for name in EXPORTERS] == ["har", "json", "otlp", "parquet", "vcr"]


@pytest.mark.parametrize("name", EXPORTERS)
@pytest.mark.parametrize("way", ["exporter", "importer"])
def test_each_exporter_has_both_ways(name: str, way: str) -> None:
    ours = [each for each in distribution(name).entry_points if each.group == f"timetracer_otel_{way}"]
    assert ours
    for each in ours:
        each.load()


@pytest.mark.parametrize("name", ["timetracer-otel", *EXPORTERS])
def test_each_distribution_has_an_author_and_a_license(name: str) -> None:
    found = metadata(name)
    assert found["Author"] == "The timetracer-otel maintainers"
    assert found["License-Expression"] == "Apache-2.0"


@pytest.mark.parametrize("host", [HOST, f"{HOST}/", ""])
def test_the_links_are_those_of_the_place_that_the_release_names(tmp_path: Path, host: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PROJECT_URL": host},
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.iterdir()
    with ZipFile(wheel) as content:
        (name,) = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
        found = Parser().parsestr(content.read(name).decode()).get_all("Project-URL", [])
    links = dict(link.split(", ") for link in found)
    assert sorted(links) == (["Changelog", "Documentation", "Issues", "Security", "Source"] if host else [])
    assert all(link.startswith(HOST) and "//" not in link.removeprefix("https://") for link in links.values())
