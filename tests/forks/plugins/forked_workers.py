"""Has the processes of pytest-xdist forked: a plugin for test runs that tests start, which imports nothing of them.

Each of them would load pytest and all else again, which takes several times as long as their tests do. For ``python``
they begin with the words in ``TEST_FORKED_PYTHON``. They are as they would be otherwise: execnet speaks over their
standard streams.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


def pytest_xdist_setupnodes(specs: Sequence[Any]) -> None:
    """Name the Python of each process."""
    for spec in specs:
        spec.python = os.environ["TEST_FORKED_PYTHON"]
