"""Each process hashes text by a seed of its own, so sets have another order in it. No replay may depend on that.

The contract's classes record and replay in one process. Here each side is a process of its own, under another seed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.children import ROOT, environment
from tests.contract.observation import differences
from tests.contract.sql_flavour import SqlFlavour
from tests.examples import seeded
from tests.servers.postgres import Postgres


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_recording_replays_under_another_hash_seed(driver: str, postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url(driver).render_as_string(hide_password=False)
    recorded, replayed = (_run(mode, driver, url, tmp_path) for mode in ("record", "replay"))
    assert list(recorded) == [case.name for case in SqlFlavour(driver).cases]
    found = differences(recorded, replayed)
    assert not found, "\n".join(found)


def _run(mode: str, driver: str, url: str, folder: Path) -> dict[str, Any]:
    seed = seeded("hash seed", driver, mode).randrange(2**32)
    print(f"{mode}: PYTHONHASHSEED={seed}")
    variables = environment(PYTHONPATH=str(ROOT), PYTHONHASHSEED=str(seed))
    program = str(Path(__file__).with_name("hash_seed_program.py"))
    made = subprocess.run(
        [sys.executable, program, mode, driver, url, str(folder)],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    found: dict[str, Any] = json.loads(made.stdout)
    return found
