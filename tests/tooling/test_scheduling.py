"""What one process of pytest-xdist runs together, and what is spread."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scheduling import is_spread, scope_of

_SPREAD = frozenset({"tests/process/test_a.py"})


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/process/test_a.py::test_x", "tests/process/test_a.py::test_x"),
        ("tests/process/test_a.py::test_x[a::b]", "tests/process/test_a.py::test_x[a::b]"),
        ("tests/unit/test_b.py::test_x", "tests/unit/test_b.py"),
        ("tests/unit/test_b.py::test_x[a::b]", "tests/unit/test_b.py"),
        ("tests/unit/test_b.py::TestOne::test_x[1]", "tests/unit/test_b.py::TestOne"),
    ],
)
def test_a_class_or_module_stays_whole_unless_it_is_spread(nodeid: str, scope: str) -> None:
    assert scope_of(nodeid, _SPREAD) == scope


@pytest.mark.parametrize(
    ("module", "text", "spread"),
    [
        ("tests/process/test_a.py", "def test_x(tmp_path): ...\n", True),
        ("tests/unit/test_a.py", "def test_x(tmp_path): ...\n", False),
        ("tests/process/test_a.py", '@pytest.fixture(scope="module")\ndef a(): ...\n', False),
        ("tests/process/test_a.py", '@pytest.fixture(name="b", scope="module")\ndef a(): ...\n', False),
        ("tests/process/test_a.py", "@cache\ndef a(): ...\n", False),
        # The text of a test module that a test writes and runs.
        ("tests/process/test_a.py", 'TEXT = """\n    @pytest.fixture(scope="module")\n"""\n', True),
    ],
)
def test_what_shares_something_is_not_spread(module: str, text: str, spread: bool, tmp_path: Path) -> None:
    file = tmp_path / module
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert is_spread(module, tmp_path) is spread
