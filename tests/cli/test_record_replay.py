"""``record`` and ``replay`` become the program they run: its answers, exit code, signals and streams."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import SCRIPT, Run, command_environment
from tests.examples import drawn
from tests.loopback import Loopback
from tests.sample_cassettes import cassette, checkout, http_event
from timetracer_otel.cassette import AppendWriter, CassetteStore, read_cassette, save_cassette

APP = '''
"""A service that handles one request, and does not know that anybody looks."""

import json
import sys

import httpx
from opentelemetry import trace

upstream = sys.argv[1]
with trace.get_tracer("app").start_as_current_span("GET /hello", kind=trace.SpanKind.SERVER):
    with httpx.Client(base_url=upstream) as client:
        user = client.get("/users/7")
        items = client.get("/items", params={"of": "7"})
        missing = client.get("/nothing")
print(json.dumps([user.json(), items.json(), missing.status_code, items.headers["content-encoding"]]))
sys.exit(3)
'''
ANSWER = [{"id": 7, "name": "Ada"}, {"items": ["tea", "cake"]}, 404, "gzip"]


def said(stderr: str) -> str:
    """Without what OpenTelemetry says of instrumentations that do not fit the versions installed here."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.endswith("so nothing can be instrumented.\n"))


def began(stderr: str, folder: Path) -> str:
    """Without the line that says where the recording is written, which stands there first."""
    first, _, rest = said(stderr).partition("\n")
    assert first == f"timetracer-otel: recording into {folder}"
    return rest


@pytest.fixture(autouse=True)
def _app(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)


def test_a_program_is_recorded_and_replayed_with_its_upstream_stopped(
    run: Run, tmp_path: Path, upstream: Loopback
) -> None:
    recorded = run("record", "--service", "hello", "--", "python", "app.py", upstream.url)
    assert (recorded.returncode, json.loads(recorded.stdout)) == (3, ANSWER), recorded.stderr
    # A program that is forked for a test is not the process that the command was, and says nothing at its end.
    assert began(recorded.stderr, tmp_path / "cassettes").count("\n") <= 1
    assert upstream.hits == {"/users/7": 1, "/items": 1, "/nothing": 1}
    upstream.stop()

    (stored,) = CassetteStore(tmp_path / "cassettes").list()
    assert (stored.service, stored.events, stored.complete, stored.error) == ("hello", 3, True, None)

    replayed = run("replay", stored.path, "--", "python", "app.py", upstream.url)
    assert (replayed.returncode, json.loads(replayed.stdout)) == (3, ANSWER), replayed.stderr
    account = f"timetracer-otel: Replay of {tmp_path / stored.path}: 3 hit, 0 missed, 0 unused, 0 live\n"
    assert said(replayed.stderr) == account

    live = run("replay", stored.path, "--live", "http", "--", "python", "app.py", upstream.url)
    assert live.returncode == 1
    assert "httpx.ConnectError" in live.stderr


def test_a_replay_may_record_what_is_missing(run: Run, tmp_path: Path, upstream: Loopback) -> None:
    missing = run("replay", "new.msgpack", "--", "python", "app.py", upstream.url)
    assert (missing.returncode, missing.stdout) == (2, "")
    made = run("replay", "new.msgpack", "--record-mode", "once", "--", "python", "app.py", upstream.url)
    assert (made.returncode, json.loads(made.stdout)) == (3, ANSWER), made.stderr
    account = (
        f"timetracer-otel: Replay of {tmp_path / 'new.msgpack'}: 0 hit, 0 missed, 0 unused, 0 live, 3 recorded\n"
    )
    assert said(made.stderr) == account
    upstream.stop()
    replayed = run("replay", "new.msgpack", "--", "python", "app.py", upstream.url)
    assert (replayed.returncode, json.loads(replayed.stdout)) == (3, ANSWER), replayed.stderr


def test_a_call_that_was_not_recorded_ends_the_program_with_the_reason(
    run: Run, tmp_path: Path, upstream: Loopback
) -> None:
    save_cassette(cassette([http_event(1, f"{upstream.url}/users/8")]), tmp_path / "other.msgpack")
    replayed = run("replay", "other.msgpack", "--", "python", "app.py", upstream.url)
    assert replayed.returncode == 1
    assert "ReplayMismatchError" in replayed.stderr
    assert "/users/8" in replayed.stderr
    assert not upstream.hits


def test_spans_go_where_they_went_before(run: Run, tmp_path: Path, upstream: Loopback) -> None:
    recorded = run(
        "record",
        "--dir",
        "elsewhere",
        "--compression",
        "gzip",
        "--",
        "python",
        "app.py",
        upstream.url,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT=upstream.url,
    )
    assert recorded.returncode == 3, recorded.stderr
    assert upstream.hits["/v1/traces"] >= 1
    (stored,) = CassetteStore(tmp_path / "elsewhere").list()
    assert stored.path.endswith(".msgpack.gz")
    assert stored.events == 3, "sending the spans is no call of the program"
    assert read_cassette(stored.path).session.trace_id is not None


def test_settings_reach_the_program_as_variables(run: Run, tmp_path: Path) -> None:
    code = "import os; print({k: v for k, v in os.environ.items() if k.startswith(('TIMETRACER_', 'OTEL_TRACES'))})"
    recorded = run(
        "record",
        *("--dir", "d", "--service", "s", "--env", "e", "--capture", "http", "--errors-only", "--redact", "off"),
        *("--policy", "errors,share:1%", "--budget", "60/min"),
        *("--", "python", "-c", code),
        OTEL_TRACES_EXPORTER="console",
    )
    told = eval(recorded.stdout)
    assert float(told.pop("TIMETRACER_RECORD_ACCOUNT").partition(":")[2]) > 0
    assert told == {
        "OTEL_TRACES_EXPORTER": "console",
        "TIMETRACER_MODE": "record",
        "TIMETRACER_DIR": str(tmp_path / "d"),
        "TIMETRACER_SERVICE": "s",
        "TIMETRACER_ENV": "e",
        "TIMETRACER_CAPTURE": "http",
        "TIMETRACER_ERRORS_ONLY": "true",
        "TIMETRACER_POLICY": "errors,share:1%",
        "TIMETRACER_BUDGET": "60/min",
        "TIMETRACER_REDACT": "off",
    }
    save_cassette(checkout(), tmp_path / "c.msgpack")
    options = ["--timing", "--mock", "http", "--live", "db", "--variables", "uuid,time", "--clock", "recorded"]
    replayed = run("replay", "c.msgpack", *options, "--", "python", "-c", code)
    variables = eval(replayed.stdout)
    variables.pop("OTEL_TRACES_EXPORTER", None)
    assert variables == {
        "TIMETRACER_MODE": "replay",
        "TIMETRACER_CASSETTE": str(tmp_path / "c.msgpack"),
        "TIMETRACER_MOCK_PLUGINS": "http",
        "TIMETRACER_LIVE_PLUGINS": "db",
        "TIMETRACER_REPLAY_TIMING": "true",
        "TIMETRACER_VARIABLES": "uuid,time",
        "TIMETRACER_CLOCK": "recorded",
    }


def test_python_is_the_one_that_we_are_installed_in(run: Run) -> None:
    recorded = run("record", "--", "python", "-c", "import sys; print(sys.prefix)", PATH=os.defpath)
    assert recorded.stdout.strip() == sys.prefix


def test_arguments_behind_the_program_are_its_own(run: Run) -> None:
    recorded = run("record", "--", "python", "-c", "import sys; print(sys.argv[1:])", "--dir", "--", "-x", "a b", "")
    assert recorded.stdout == "['--dir', '--', '-x', 'a b', '']\n"


def test_the_program_has_our_streams(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.write(sys.stdin.read()[::-1]); sys.stderr.write('e')"
    done = subprocess.run(
        [SCRIPT, "record", "--", "python", "-c", code],
        input="abc",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=command_environment(),
        timeout=240,
    )
    folder = tmp_path / "cassettes"
    assert (done.stdout, done.returncode) == ("cba", 0)
    assert began(done.stderr, folder) == (
        f"etimetracer-otel: nothing was recorded: no cassette was written to {folder}. No request or job came that "
        "the settings record, and no call was made outside of them.\n"
    )


def test_at_its_end_a_program_says_what_was_recorded_and_where(tmp_path: Path, upstream: Loopback) -> None:
    """Its children write to the same folder, and are silent: their cassettes are counted with its own."""
    program = "import subprocess, sys; [subprocess.run([sys.executable, 'app.py', sys.argv[1]]) for _ in range(2)]"
    arguments = [SCRIPT, "record", "--dir", "made", "--", "python", "-c", program, upstream.url]

    def stderr(**changes: str) -> str:
        done = subprocess.run(
            arguments, capture_output=True, text=True, cwd=tmp_path, env=command_environment(**changes), timeout=240
        )
        assert done.returncode == 0, done.stderr
        return said(done.stderr)

    folder = tmp_path / "made"
    assert re.sub(r"\d+ KiB", "3 KiB", began(stderr(), folder)) == (
        f"timetracer-otel: recorded 2 cassettes (3 KiB) in {folder}. To see them: timetracer-otel list {folder}\n"
    )
    assert stderr(TIMETRACER_LOG_LEVEL="warning") == ""


@pytest.mark.parametrize("number", drawn([[signal.SIGTERM, signal.SIGINT, signal.SIGHUP]], "signals"))
def test_signals_reach_the_program(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(42))\n"
        "print('ready', flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen(
        [SCRIPT, "record", "--", "python", "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=command_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(100) == 42


def test_an_interrupt_ends_a_command_of_ours_with_130(tmp_path: Path) -> None:
    events = [http_event(eid, f"http://a/{eid}") for eid in range(1, 3000)]
    save_cassette(cassette(events), tmp_path / "long.msgpack")
    with subprocess.Popen(
        [SCRIPT, "show", "long.msgpack", "--bodies"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=command_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # the pipe is full soon, and the command waits for us
        process.send_signal(signal.SIGINT)
        assert process.wait(100) == 130
        assert process.stderr.read() == ""


def test_a_recovered_cassette_replays_and_says_so(run: Run, tmp_path: Path, upstream: Loopback) -> None:
    whole = checkout()
    writer = AppendWriter(tmp_path / "cut.msgpack", whole)
    writer.append(whole.events[0])
    writer.close()
    replayed = run("replay", "cut.msgpack", "--", "python", "-c", "print('ran')")
    assert (replayed.returncode, replayed.stdout) == (0, "ran\n")
    assert said(replayed.stderr) == (
        "timetracer-otel: cut.msgpack was not finished: its recorder died. "
        "Answering from the 1 calls that stand whole in it.\n"
        f"timetracer-otel: Replay of {tmp_path / 'cut.msgpack'}: 0 hit, 0 missed, 1 unused, 0 live\n"
        "unused:\n"
        "  #1 httpx GET http://127.0.0.1:8001/users/7\n"
    )
