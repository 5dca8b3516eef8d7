"""Each process hashes text by a seed of its own, so sets have another order in it. No replay may depend on that.

The contract's classes record and replay in one process. Here each side is a process of its own, under another seed.
Two drivers share the cases; in ``make fuzz`` each runs all.
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
from tests.examples import WHOLE, seeded, shared
from tests.servers.postgres import Postgres

DRIVERS = ("psycopg", "psycopg2")


@pytest.mark.sweep
def test_a_recording_replays_under_another_hash_seed(postgres: Postgres, tmp_path: Path) -> None:
    cases = {driver: [case.name for case in SqlFlavour(driver).cases] for driver in DRIVERS}
    chosen = shared("hash seeds", cases)
    asked = {
        driver: (
            postgres.url(driver).render_as_string(hide_password=False),
            [name for name in names if WHOLE or name in chosen[driver]],
        )
        for driver, names in cases.items()
    }
    recorded, replayed = (_run(mode, asked, tmp_path) for mode in ("record", "replay"))
    assert {driver: list(seen) for driver, seen in recorded.items()} == {
        driver: names for driver, (_, names) in asked.items()
    }
    found = differences(recorded, replayed)
    assert not found, "\n".join(found)


def _run(mode: str, asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    seed = seeded("hash seed", mode).randrange(2**32)
    print(f"{mode}: PYTHONHASHSEED={seed}")
    made = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hash_seed_program.py")), mode, str(folder)],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), PYTHONHASHSEED=str(seed)),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    found: dict[str, Any] = json.loads(made.stdout)
    return found
