"""One program, run three times: bare, recorded, and replayed with the upstream stopped, each in its own process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.loopback import Loopback
from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.types import Cassette

__all__ = ["ThreeRuns", "three_runs"]


@dataclass
class ThreeRuns:
    """What came of the three runs: all of them printed the same."""

    cassettes: list[Cassette]
    recorded: subprocess.CompletedProcess[str]
    replayed: subprocess.CompletedProcess[str]

    @property
    def cassette(self) -> Cassette:
        """The only one."""
        (only,) = self.cassettes
        return only


def three_runs(
    run: Callable[..., subprocess.CompletedProcess[str]],
    code: str,
    folder: Path,
    hits: int = 1,
    elsewhere: int = 0,
    env: Mapping[str, str] | None = None,
) -> ThreeRuns:
    """Run code bare, recorded and replayed; it finds the upstream's address in ``UPSTREAM``.

    Args:
        run: Runs code with changes to its environment, as `tests.process._programs.plain`.
        code: The program.
        folder: Where it is recorded. If that is into several cassettes, it is replayed from the folder.
        hits: How many calls it makes to the upstream.
        elsewhere: How many it makes to others, that are answered as well.
        env: What stands in the environment in all three runs.
    """
    with Loopback() as upstream:
        variables = {**(env or {}), "UPSTREAM": upstream.url}
        bare = run(code, TIMETRACER_MODE="off", **variables)
        assert bare.returncode == 0, bare.stderr
        recorded = run(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(folder), **variables)
        assert sum(upstream.hits.values()) == 2 * hits
    paths = [str(stored.path) for stored in CassetteStore(folder).list()]
    source = paths[0] if len(paths) == 1 else str(folder)
    replayed = run(code, TIMETRACER_MODE="replay", TIMETRACER_CASSETTE=source, **variables)
    assert recorded.stdout == bare.stdout, recorded.stderr
    assert replayed.stdout == bare.stdout, replayed.stderr
    assert f"{hits + elsewhere} hit, 0 missed, 0 unused, 0 live" in replayed.stderr, replayed.stderr
    for done in (recorded, replayed):
        assert "timetracer-otel: fault" not in done.stderr
    return ThreeRuns([read_cassette(path) for path in paths], recorded, replayed)
