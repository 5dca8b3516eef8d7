"""What one process of pytest-xdist runs together, and what is spread."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.remote import Producer

from tests.children import ROOT
from tests.scheduling import LONG, is_long, is_spread, make_scheduler, scope_of

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


class Node:
    """A process of pytest-xdist, as its scheduler sees it: it keeps what it is given, and runs nothing."""

    shutting_down = False

    def __init__(self, config: pytest.Config, number: int) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.config = config
        self.workerinput: dict[str, Any] = {}
        self.given: list[int] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += numbers

    def shutdown(self) -> None: ...


def test_what_takes_long_is_handed_out_behind_the_largest_scopes_alone(pytestconfig: pytest.Config) -> None:
    option = SimpleNamespace(**{**vars(pytestconfig.option), "dist": "loadscope", "loadscopereorder": True})
    config: Any = SimpleNamespace(
        option=option, rootpath=ROOT, getoption=lambda _: "loadscope", getvalue=lambda _: ["popen"] * 2
    )
    scheduler = make_scheduler(config, Producer("scheduler", enabled=False))
    assert scheduler is not None
    nodes: list[Any] = [Node(config, number) for number in range(2)]
    tests = [f"tests/unit/test_{letter}.py::test_{n}" for letter in "abcdef" for n in range(9)]
    tests += [f"{LONG[0]}::test_one", "tests/unit/test_last.py::test_one", f"{LONG[-1]}::test_one"]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    assert [tests[number] for number in nodes[0].given] == tests[:9]
    assert list(scheduler.workqueue)[:2] == [f"{LONG[0]}", f"{LONG[-1]}"]
    assert list(scheduler.workqueue)[-1] == "tests/unit/test_last.py"


def test_what_is_called_long_is_there() -> None:
    assert [module for module in LONG if not (ROOT / module).is_file()] == []
    assert not is_long("tests/verify/test_bad_input.py::test_a")
