"""What a type checker says about calls of the public functions: mypy and pyright, each run once over all of them.

``make check`` runs this, beside the other work of the two.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROLOGUE = """\
from pathlib import Path

from typing_extensions import Unpack, assert_type

from timetracer_otel import CompressionType, RecordMode, TraceConfig, record, replay
from timetracer_otel.config import Settings
from timetracer_otel.pytest_plugin import AutoFixture, RecordFixture, ReplayFixture
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import CallView


def same(recorded: CallView, now: CallView) -> bool:
    return recorded.url == now.url


def replay_of_ours(path: str, **settings: Unpack[Settings]) -> replay:
    return replay(path, **settings)


@record("x")
def typed(number: int) -> str:
    return str(number)


def calls(on_replay: ReplayFixture, on_record: RecordFixture, on_auto: AutoFixture, shared: Settings) -> None:
"""
RIGHT = (
    "record()",
    "record('x')",
    "record(Path('x'), config=TraceConfig())",
    "record('x', redact_extra=['ssn'], max_body_kb=12, late_s=1, cassette_dir=Path('y'))",
    "record('x', compression='zstd', store_request_body='on_error')",
    "record('x', compression=CompressionType.ZSTD)",
    "replay('x', record_mode='once', strict_replay=False, mock_plugins=[])",
    "replay('x', record_mode=RecordMode.ONCE, live_plugins=('db', 'redis'))",
    "replay('x', match_on=['method', same], ignore=['query:ts'])",
    "replay('x', **shared)",
    "replay_of_ours('x', allow_repeats=True)",
    "assert_type(replay('x').__enter__(), ReplaySession | TraceSession)",
    "assert_type(record('x').__enter__(), TraceSession)",
    "assert_type(typed(7), str)",
    "on_replay('x', strict=True, plugins=['http'])",
    "assert_type(on_record(use_tmp=True).__enter__(), TraceSession)",
    "assert_type(on_auto('x').__enter__(), TraceSession | ReplaySession)",
)
WRONG = {
    # what is called: (the code of mypy, the rule of pyright)
    "replay('x', strict=True)": ("call-arg", "reportCallIssue"),
    "record('x', max_body=12)": ("call-arg", "reportCallIssue"),
    "replay('x', mode='once')": ("call-arg", "reportCallIssue"),
    "record('x', mode='record')": ("call-arg", "reportCallIssue"),
    "replay_of_ours('x', repeats=True)": ("call-arg", "reportCallIssue"),
    "replay('x', record_mode='twice')": ("arg-type", "reportArgumentType"),
    "replay('x', record_mode='record')": ("arg-type", "reportArgumentType"),
    "replay('x', strict_replay='no')": ("arg-type", "reportArgumentType"),
    "record('x', max_body_kb='12')": ("arg-type", "reportArgumentType"),
    "record('x', compression='zip')": ("arg-type", "reportArgumentType"),
    "replay('x', live_plugins=[1])": ("list-item", "reportArgumentType"),
    "replay('x', match_on=[len])": ("list-item", "reportArgumentType"),
    "replay_of_ours('x', redact='no')": ("arg-type", "reportArgumentType"),
    "replay(7)": ("arg-type", "reportArgumentType"),
    "typed('7')": ("arg-type", "reportArgumentType"),
    "on_replay('x', mode='once')": ("call-arg", "reportCallIssue"),
    "on_record('x', plugins=7)": ("arg-type", "reportArgumentType"),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("typed") / "program.py"
    path.write_text(PROLOGUE + "".join(f"    {call}\n" for call in (*RIGHT, *WRONG)))
    return path


def said(program: Path, findings: list[tuple[int, str]]) -> dict[str, set[str]]:
    """What was found, by the text of the line."""
    lines = program.read_text().splitlines()
    found: dict[str, set[str]] = {}
    for line, what in findings:
        found.setdefault(lines[line - 1].strip(), set()).add(what)
    return found


def test_mypy_refuses_wrong_settings_and_no_other(program: Path) -> None:
    options = ["--strict", "--no-error-summary", "--cache-dir", str(ROOT / ".mypy_cache" / "typed")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *options, program.name],
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=240,
    )
    findings = [
        (int(line), code)
        for line, code in re.findall(r"^program\.py:(\d+): error: .* \[([\w-]+)\]$", done.stdout, re.MULTILINE)
    ]
    assert len(findings) == done.stdout.count("error:"), done.stdout + done.stderr
    assert said(program, findings) == {call: {code} for call, (code, _) in WRONG.items()}


def test_pyright_refuses_wrong_settings_and_no_other(program: Path) -> None:
    (program.parent / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "reportUnusedCallResult": False, "reportUnusedCoroutine": False})
    )
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"],
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=240,
    )
    findings = [
        (found["range"]["start"]["line"] + 1, found.get("rule", found["message"]))
        for found in json.loads(done.stdout)["generalDiagnostics"]
    ]
    assert said(program, findings) == {call: {rule} for call, (_, rule) in WRONG.items()}
