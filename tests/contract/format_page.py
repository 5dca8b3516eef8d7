"""What the page of the file format says, for tests."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

__all__ = ["keys_of_replies"]

_PAGE = Path(__file__).parents[2] / "docs" / "cassette-format.md"


@cache
def keys_of_replies() -> frozenset[tuple[str, str]]:
    """The keys that replies of databases may have: plugins, each with a key."""
    section = _PAGE.read_text("utf-8").partition("### Replies of databases\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`.+?) \|.*\| (.*?) ?\|$", section, re.MULTILINE)
    plugins = [entry.name for entry in entry_points(group="timetracer_otel_plugin")]
    return frozenset(
        (plugin, key)
        for keys, named in rows
        for plugin in (re.findall(r"`(\w+)`", named) or plugins)
        for key in re.findall(r"`(\w+)`", keys)
    )
