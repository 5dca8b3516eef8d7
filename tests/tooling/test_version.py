"""The version stands once, in ``timetracer_otel.__version__``; what needs it reads it from there."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import timetracer_otel

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "timetracer_otel" / "__init__.py"
BUILT = sorted({*(ROOT / "src").rglob("*.py"), ROOT / "pyproject.toml", ROOT / "mkdocs.yml", ROOT / "Makefile"})
"""What a package, a command or a site is made of. Examples and results of measurements name the version they had."""


def test_the_wheel_has_the_version_of_the_source() -> None:
    assert version("timetracer-otel") == timetracer_otel.__version__
    assert f'__version__ = "{timetracer_otel.__version__}"\n' in SOURCE.read_text("utf-8")


def test_no_other_file_repeats_the_version() -> None:
    number = re.compile(rf"(?<![\d.]){re.escape(timetracer_otel.__version__)}(?![\d.])")
    found = {
        file.relative_to(ROOT).as_posix(): len(number.findall(file.read_text("utf-8")))
        for file in BUILT
        if number.search(file.read_text("utf-8"))
    }
    assert found == {SOURCE.relative_to(ROOT).as_posix(): 1}


def test_the_changelog_has_a_section_for_it() -> None:
    assert f"## [{timetracer_otel.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
