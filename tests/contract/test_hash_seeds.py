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
from tests.contract.hash_seed_program import SAMPLE
from tests.contract.observation import differences
from tests.contract.sql_flavour import SqlFlavour
from tests.examples import seeded
from tests.servers.mariadb import MariaDb, needs_mariadb
from tests.servers.postgres import Postgres


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_recording_replays_under_another_hash_seed(driver: str, postgres: Postgres, tmp_path: Path) -> None:
    seen = _both({driver: postgres.url(driver).render_as_string(hide_password=False)}, tmp_path)
    assert list(seen[driver]) == [case.name for case in SqlFlavour(driver).cases]


def test_recordings_of_all_libraries_replay_under_another_hash_seed(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url("asyncpg").render_as_string(hide_password=False)
    libraries = {**dict.fromkeys(("httpx", "requests", "aiohttp", "redis", "sqlite"), ""), "asyncpg": url}
    seen = _both(libraries, tmp_path)
    assert [name for name in libraries if len(seen[name]) < SAMPLE] == []


@needs_mariadb
def test_recordings_of_pymysql_replay_under_another_hash_seed(tmp_path: Path) -> None:
    server = MariaDb()
    try:
        seen = _both({"pymysql": server.url("pymysql").render_as_string(hide_password=False)}, tmp_path)
        assert len(seen["pymysql"]) >= SAMPLE
    finally:
        server.close()


def _both(libraries: dict[str, str], folder: Path) -> dict[str, Any]:
    """What the recording saw; the replay saw the same."""
    recorded, replayed = (_run(mode, libraries, folder) for mode in ("record", "replay"))
    found = differences(recorded, replayed)
    assert not found, "\n".join(found)
    return recorded


def _run(mode: str, libraries: dict[str, str], folder: Path) -> dict[str, Any]:
    seed = seeded("hash seed", *libraries, mode).randrange(2**32)
    print(f"{mode}: PYTHONHASHSEED={seed}")
    variables = environment(PYTHONPATH=str(ROOT), PYTHONHASHSEED=str(seed))
    program = str(Path(__file__).with_name("hash_seed_program.py"))
    made = subprocess.run(
        [sys.executable, program, mode, str(folder)],
        input=json.dumps(libraries),
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
