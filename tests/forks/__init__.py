"""Programs that tests start by the hundred: `run` has them forked from a Python that has loaded what they need.

To start Python and to import OpenTelemetry, pytest and what they need costs more than most programs of tests do. A
server (`tests/forks/server.py`) has done it once, and forks for each program. It has also found what each program
would find alike, such as what is installed. Nothing else is shared: the program gets the arguments, environment,
folder and standard streams that it is given, loads sitecustomize and what it imports itself, and ends as a Python
ends, up to its last output: its interpreter is finalised only where the test asks for it.
`tests/tooling/test_forks.py` compares the two.

A distribution that is found by a program's ``PYTHONPATH`` alone is not among what is installed there.

The processes of pytest-xdist, which run the tests, are forked as well, from a server that has imported the client
libraries (`worker`).

Servers are shared by all processes of a test run. There are two of a kind, with different hash seeds, which take
turns: what was recorded under one is replayed under the other. The seeds are drawn from ``TEST_SEED``. Where a test
chooses a hash seed, its program is a Python of its own.

With ``TEST_FORKS=0`` each program is a Python of its own, as it is where Python cannot fork, and where a program asks
for what is decided when an interpreter starts.
"""

from __future__ import annotations

from tests.forks.client import (
    OWNER,
    RUN,
    forked_workers,
    in_shell,
    on_path,
    python,
    run,
    runs_in_a_fork,
    start,
    worker,
)

__all__ = [
    "OWNER",
    "RUN",
    "forked_workers",
    "in_shell",
    "on_path",
    "python",
    "run",
    "runs_in_a_fork",
    "start",
    "worker",
]
