"""A recorded service that is killed, at any moment: what it had done is on the disk, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples import seeded
from tests.faults._account import Account, check_folder
from tests.loopback import Loopback

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and sends signals")

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("FAULT_KILLS", "4"))
"""How often; ``make suite-faults`` does it a few hundred times. The moments depend on the seed of the run."""
LONGEST_S = 2.5
"""A service is killed somewhere in its first seconds, so many."""
BUSY = int(os.environ.get("FAULT_BUSY", "0"))
"""How many processes that take all they get run beside: ``make suite-faults`` does it with none and with 8."""
INTERVAL_S = 0.1
"""How often parts are brought up to date; the default of the setting."""

Killed = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def _busy() -> Iterator[None]:
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    yield
    for process in beside:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def killed(upstream: Loopback) -> Iterator[Killed]:
    """Run the service, and send it a signal after some time."""
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.faults._fork_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        orders, answers = server.stdin, server.stdout
        assert orders is not None
        assert answers is not None

        def run(folder: Path, sent: signal.Signals, after_s: float, **settings: str) -> dict[str, Any]:
            environment = {
                "TIMETRACER_MODE": "record",
                "TIMETRACER_DIR": str(folder),
                "TIMETRACER_JOURNAL_S": str(INTERVAL_S),
                **settings,
            }
            order = {
                "upstream": upstream.url,
                "diary": str(folder.with_suffix(".diary")),
                "environment": environment,
                "after_s": after_s,
                "signal": sent,
            }
            orders.write(json.dumps(order) + "\n")
            orders.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer

        yield run
        orders.close()


@pytest.mark.timeout(60 + KILLS * 10)
def test_a_service_killed_at_any_moment_leaves_all_that_it_had_done(
    killed: Killed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()
    lost_s: list[float] = []
    moments = seeded("moments of a kill")
    for number in range(KILLS):
        folder = tmp_path / str(number)
        # The first ones as it starts, a number of them in the very moment; some when it has done much.
        after_s = {0: 0.0, 1: LONGEST_S}.get(number % 20, moments.uniform(0.0, LONGEST_S))
        compression = ("none", "gzip", "zstd")[number % 3] if number % 4 == 3 else "none"
        end = killed(folder, signal.SIGKILL, after_s, TIMETRACER_COMPRESSION=compression)
        assert end["signal"] == signal.SIGKILL
        account = Account.of(folder.with_suffix(".diary"))
        checked = check_folder(folder, account, INTERVAL_S, end["killed_s"])
        lost_s.append(checked.pop("lost s"))
        seen.update({what: int(number) for what, number in checked.items()})
    lost_s.sort()
    oldest = ", ".join(f"{share:.0%} {lost_s[int((KILLS - 1) * share)]:.3f} s" for share in (0.5, 0.9, 1.0))
    with capsys.disabled():
        print(f" {KILLS} kills beside {BUSY}: {dict(seen)}; the oldest lost call had ended before: {oldest}", end="")
    assert min(seen["safe calls"], seen["recovered cassettes"], seen["whole cassettes"]) > 0
