"""What `make check` says about packages that are known to be unsafe."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests import known_vulnerabilities

SAFE: dict[str, Any] = {"name": "httpx", "version": "0.28.1", "vulns": []}
UNSAFE = {"name": "h11", "version": "0.14", "vulns": [{"id": "PYSEC-1", "fix_versions": ["0.16"]}]}
UNKNOWN = {"name": "idna", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            [SAFE, UNSAFE, UNKNOWN],
            1,
            "h11 0.14: PYSEC-1, mended in 0.16\nknown vulnerabilities: 1 of 2 packages have one",
        ),
        ([SAFE, UNKNOWN], 0, "known vulnerabilities: 0 of 1 packages have one"),
        ([UNKNOWN], 0, "known vulnerabilities: not looked for, since the index knows none of 1 packages"),
        (None, 0, "known vulnerabilities: not looked for, since the index gives no answer (no network)"),
    ],
)
def test_an_unsafe_package_fails_the_check(
    answer: list[Any] | None,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        output = "" if answer is None else json.dumps({"dependencies": answer})
        return subprocess.CompletedProcess(command, bool(code), output, "a warning\nno network\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert known_vulnerabilities.main() == code
    assert capsys.readouterr().out == said + "\n"


def test_all_that_comes_with_the_extras_is_looked_at_and_nothing_of_the_tests() -> None:
    found = known_vulnerabilities.requirements()
    assert {"msgpack", "opentelemetry-sdk", "httpx", "h11", "zstandard", "kingfisher-secret-scanner"} <= found.keys()
    assert found.keys().isdisjoint({"pytest", "timetracer-otel", "hiredis"})
