"""A shipper and a compaction are killed before each of their steps: nothing is lost, and nothing is there twice.

A step is a call of the file system, which Python's audit hook sees: opening, renaming and removing, both in the spool
and in the object storage, which is a folder here. A process is forked for each, and kills itself before that step.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stores._spool import fill, remote_ids, spooled_ids
from timetracer_otel.base.settings import KeptBounds
from timetracer_otel.storage.compacting import compact
from timetracer_otel.storage.objects import Objects
from timetracer_otel.storage.shipping import ship
from timetracer_otel.storage.spool import Spool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it forks")

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
EVERY = 1 if "STORES_FULL" in os.environ else 3
"""``make suite-stores`` tries each step, ``make test`` each third one, which changes from run to run."""


def killed_at(step: int, folder: Path, do: Callable[[], object]) -> bool:
    """Whether a forked process was killed before a step of what it does; False where it was done before that."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "it failed, and was not killed"
            return False
        return True
    try:
        seen = 0
        below = str(folder)

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in STEPS and str(arguments[0]).startswith(below):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        do()
        os._exit(0)
    finally:
        os._exit(1)


def start_of_steps() -> int:
    return 1 if EVERY == 1 else 1 + int(os.environ.get("TEST_SEED") or "0") % EVERY


def test_a_shipper_that_is_killed_loses_nothing_and_the_next_one_doubles_nothing(tmp_path: Path) -> None:
    kills = 0
    for step in range(start_of_steps(), 10_000, EVERY):
        folder = tmp_path / str(step)
        spool, url = Spool(folder / "spool"), f"file://{folder}/remote"
        ids = [*fill(spool.folder, 3), *fill(spool.folder, 2, service="till")]
        if not killed_at(step, folder, lambda spool=spool, url=url: ship(spool, Objects(url))):  # type: ignore[misc]
            break
        kills += 1
        between = {*spooled_ids(spool.folder), *remote_ids(url, folder / "between")}
        assert between == {*ids}, f"killed at step {step}: something is in neither place"
        assert ship(spool, Objects(url)).fault is None
        assert remote_ids(url, folder / "after") == Counter(ids), f"killed at step {step}"
        assert spooled_ids(spool.folder) == []
        assert [*spool.outbox.iterdir()] == []
        shutil.rmtree(folder)
    assert kills * EVERY > 40


def test_a_compaction_that_is_killed_loses_nothing_and_readers_see_each_cassette_once(tmp_path: Path) -> None:
    kills = 0
    made = tmp_path / "made"
    spool = Spool(tmp_path / "spool")
    ids: list[str] = []
    for _ in range(3):
        ids += fill(spool.folder, 2)
        ship(spool, Objects(f"file://{made}"))
    for step in range(start_of_steps(), 10_000, EVERY):
        folder = tmp_path / str(step)
        url = f"file://{folder}/remote"
        shutil.copytree(made, folder / "remote")
        if not killed_at(step, folder, lambda url=url: compact(Objects(url), KeptBounds(), settled_s=-60)):  # type: ignore[misc]
            break
        kills += 1
        assert remote_ids(url, folder / "between") == Counter(ids), f"killed at step {step}"
        compact(Objects(url), KeptBounds(), settled_s=-60)
        assert remote_ids(url, folder / "after") == Counter(ids), f"killed at step {step}"
        names = [each.name for each in Objects(url).list() if each.name.endswith(".parquet")]
        assert len(names) == 1
        shutil.rmtree(folder)
    assert kills * EVERY > 10
