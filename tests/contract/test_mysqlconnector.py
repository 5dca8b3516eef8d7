"""mysqlconnector keeps the contract where an app uses it itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from tests.contract.framework import Contract
from tests.contract.mysqlconnector_cases import MYSQLCONNECTOR_CASES
from tests.contract.mysqlconnector_flavour import MySqlConnectorFlavour
from tests.servers.mariadb import needs_mariadb

# The first test makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = [pytest.mark.timeout(1200), needs_mariadb]


class TestMySqlConnector(Contract):
    flavour: ClassVar[MySqlConnectorFlavour] = MySqlConnectorFlavour()
    cases = flavour.cases


def test_over_a_handle_in_c(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    program = Path(__file__).with_name("mysqlconnector_program.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program, tmp_path],
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() >= MYSQLCONNECTOR_CASES.keys()
    assert not any(found.values()), found
