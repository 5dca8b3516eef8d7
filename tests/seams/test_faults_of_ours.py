"""Functions of ours fail one at a time: the app that is recorded does not notice, and a replay never hangs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.examples import drawn

_HTTP = ["httpx_sync", "httpx_async", "requests", "aiohttp", "threads"]
_OTHERS = ["sqlalchemy", "sqlalchemy_async", "redis_sync", "redis_async"]
_CONNECTIONS = ["redis_connections", "redis_connections_async"]


@pytest.mark.parametrize("workload", drawn([_HTTP, [*_OTHERS, *_CONNECTIONS]], "faults of ours"))
def test_the_app_notices_no_fault_of_ours(workload: str) -> None:
    """A sample, drawn by ``TEST_SEED``. ``make suite-injection`` tries all."""
    command = [sys.executable, "-m", "tests.suite_injection.run", workload, "--sample", "6", "--modes", "record"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert tried.returncode == 0, tried.stdout + tried.stderr
