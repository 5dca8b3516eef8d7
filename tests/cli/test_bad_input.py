"""Bad input: one line on stderr that names the setting or file and the cure, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.sample_cassettes import checkout
from timetracer_otel.cassette import save_cassette
from timetracer_otel.cli import COMMANDS, main

ALL = ", ".join(COMMANDS)
NAMES = "custom, db, http, httpx"
EMPTY = "an empty name (is a variable not set?); name a file or folder."


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    save_cassette(checkout(), tmp_path / "good.msgpack")
    whole = (tmp_path / "good.msgpack").read_bytes()
    (tmp_path / "garbage.msgpack").write_bytes(b"\x00garbage")
    (tmp_path / "newer.msgpack").write_bytes(whole.replace(b"\xa7version\x01", b"\xa7version\x63"))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x55
    (tmp_path / "damaged.msgpack").write_bytes(flipped)
    (tmp_path / "file").write_text("")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            f"say which command: {ALL}. See: timetracer-otel --help",
        ),
        (
            ["recrod"],
            f"there is no command 'recrod'; did you mean 'record'? Commands: {ALL}.",
        ),
        (
            ["zap"],
            f"there is no command 'zap'. Commands: {ALL}.",
        ),
        (["--nonsense"], "the following arguments are required: COMMAND. See: timetracer-otel --help"),
        (["record"], "say what to run behind --, as in: timetracer-otel record -- python app.py"),
        (["record", "python", "app.py"], "say what to run behind --, as in: timetracer-otel record -- python app.py"),
        (
            ["replay", "good.msgpack"],
            "say what to run behind --, as in: timetracer-otel replay CASSETTE -- python app.py",
        ),
        (
            ["record", "--", "no-such-program"],
            "cannot run 'no-such-program': there is no such command on PATH, nor an executable file.",
        ),
        (
            ["record", "--compression", "rar", "--", "touch", "ran"],
            "--compression: 'rar' is not allowed. Allowed: none, gzip, zstd.",
        ),
        (
            ["record", "--sample-rate", "2", "--", "touch", "ran"],
            "--sample-rate: '2' is not allowed. Allowed: 0.0 to 1.0.",
        ),
        (
            ["record", "--sample-rate", "much", "--", "touch", "ran"],
            "--sample-rate: 'much' is not allowed. Allowed: 0.0 to 1.0.",
        ),
        (
            ["record", "--dir", "", "--", "touch", "ran"],
            (
                "--dir: an empty value counts as not set; leave the option out, or give a folder, or a URL of object "
                "storage."
            ),
        ),
        (
            ["record", "--dir", "file", "--", "touch", "ran"],
            "--dir: {tmp}/file is no folder. Name another folder for the cassettes.",
        ),
        (
            ["record", "--dir", "file/below", "--", "touch", "ran"],
            "--dir: {tmp}/file is no folder. Name another folder for the cassettes.",
        ),
        (
            ["record", "--capture", "htpx", "--", "touch", "ran"],
            "--capture: nobody knows a plugin or group called 'htpx'; did you mean 'httpx'?",
        ),
        (
            ["replay", "good.msgpack", "--mock", "redsi", "--", "touch", "ran"],
            "--mock: nobody knows a plugin or group called 'redsi'; did you mean 'redis'?",
        ),
        (
            ["replay", "good.msgpack", "--live", "http,sqlalchmy", "--", "touch", "ran"],
            "--live: nobody knows a plugin or group called 'sqlalchmy'; did you mean 'sqlalchemy'?",
        ),
        (
            ["replay", "good.msgpack", "--variables", "uid", "--", "touch", "ran"],
            (
                "--variables: 'uid' is not allowed. Allowed: on, off, or kinds separated by commas: secret, uuid, "
                "ulid, random, snowflake, time."
            ),
        ),
        (
            ["verify", ".", "--variables", "uid", "--", "touch", "ran"],
            (
                "--variables: 'uid' is not allowed. Allowed: on, off, or kinds separated by commas: secret, uuid, "
                "ulid, random, snowflake, time."
            ),
        ),
        (
            ["replay", "good.msgpack", "--clock", "slow", "--", "touch", "ran"],
            "--clock: 'slow' is not allowed. Allowed: real, recorded.",
        ),
        (
            ["verify", ".", "--clock", "recorded", "--jobs", "2", "--", "touch", "ran"],
            "--jobs: 2 is not allowed with --clock recorded, for which a process has one clock.",
        ),
        (["scrub", "good.msgpack", "--output", "."], "--output: . is a folder. Name a file."),
        (
            ["audit", "good.msgpack", "--redact", "some"],
            "--redact: 'some' is not allowed. Allowed: default, strict, off.",
        ),
        (
            ["show", "good.msgpack", "--event", "9"],
            "--event: there is no call 9 in good.msgpack; its calls are 1 to 5.",
        ),
        (
            ["show", "good.msgpack", "--event", "x"],
            "--event: 'x' is not allowed. Allowed: a whole number. See: timetracer-otel show --help",
        ),
        (["list", "--dir", "nowhere"], "--dir: nowhere does not exist. Name the folder that the cassettes are in."),
        (["list", "--dir", "file"], "--dir: file is no folder. Name the folder that the cassettes are in."),
        (["list"], "TIMETRACER_DIR: cassettes does not exist. Name the folder that the cassettes are in."),
        (
            ["export", "--to", "pdf", "good.msgpack"],
            (
                "--to: no exporter called 'pdf' is installed. Installed: har, jaeger, json, otlp, "
                "otlp-logs, otlp-proto, otlp-proto-logs, parquet, vcr, vcr-json. "
                "Try: pip install timetracer-otel-exporter-pdf"
            ),
        ),
        (
            ["replay", ".", "--record-mode", "once", "--", "touch", "ran"],
            "--record-mode: 'once' is not allowed with a folder. Allowed: none. Name one cassette to add to it.",
        ),
        (
            ["replay", "file/x.msgpack", "--record-mode", "once", "--", "touch", "ran"],
            (
                "file/x.msgpack: cannot be written (File exists). Name a folder that this user may write to "
                "(TIMETRACER_DIR, or the path argument)."
            ),
        ),
        (
            ["list", "--staus", "404"],
            "there is no option '--staus'; did you mean '--status'? See: timetracer-otel list --help",
        ),
        (["show", "good.msgpack", "--zap=1"], "there is no option '--zap'. See: timetracer-otel show --help"),
        (["list", ".", "more"], "'more' is one argument too many. See: timetracer-otel list --help"),
        (
            ["list", "--limit", "some"],
            "--limit: 'some' is not allowed. Allowed: a whole number. See: timetracer-otel list --help",
        ),
        (
            ["diff", "--slower", "x", "a", "b"],
            "--slower: 'x' is not allowed. Allowed: a number. See: timetracer-otel diff --help",
        ),
        (["diff", "good.msgpack"], "the following arguments are required: AFTER. See: timetracer-otel diff --help"),
        (["show", "god.msgpack"], "god.msgpack: there is no such file or folder. Did you mean good.msgpack?"),
        (
            ["diff", "good.msgpack", "xyz"],
            "xyz: there is no such file or folder. To see what there is: timetracer-otel list",
        ),
        (
            ["audit", "nowhere"],
            "nowhere: there is no such file or folder. To see what there is: timetracer-otel list",
        ),
        (
            ["scrub", "nowhere"],
            "nowhere: there is no such file or folder. To see what there is: timetracer-otel list",
        ),
        (
            ["reproduce", "nowhere", "--", "touch", "ran"],
            "nowhere: there is no such file or folder. To see what there is: timetracer-otel list",
        ),
        (
            ["reproduce", ".", "--", "touch", "ran"],
            "CASSETTE: . is a folder. Name one recording of it; list shows their ids.",
        ),
        (["find", "file"], "FOLDER: file is no folder. Name the folder that the cassettes are in."),
        (["stats", "nowhere"], "FOLDER: nowhere does not exist. Name the folder that the cassettes are in."),
        (
            ["prune", "nowhere", "--keep", "1"],
            "FOLDER: nowhere does not exist. Name the folder that the cassettes are in.",
        ),
        (
            ["show", "abcd1234"],
            (
                "abcd1234: there is no such file, and no cassette in ./cassettes whose session or trace has this id. "
                "Say where it is with --dir."
            ),
        ),
        (
            ["scrub", "good.msgpack", "-o", "file/x"],
            "--output: cannot write file/x: Not a directory. Name another one.",
        ),
        (["show", ""], f"CASSETTE: {EMPTY} See: timetracer-otel show --help"),
        (["export", "--to", "har", ""], f"CASSETTE: {EMPTY} See: timetracer-otel export --help"),
        (["replay", "", "--", "touch", "ran"], f"CASSETTE: {EMPTY} See: timetracer-otel replay --help"),
        (["verify", " ", "--", "touch", "ran"], f"FOLDER: {EMPTY} See: timetracer-otel verify --help"),
        (["export", "--to", "har", "good.msgpack", "-o", "."], "-o: . is a folder. Name a file."),
        (
            ["export", "--to", "har", "good.msgpack", "-o", "nowhere/x.har"],
            "-o: cannot write nowhere/x.har: No such file or directory. Name another file.",
        ),
        (
            ["export", "--to", "har", "good.msgpack", "-o", "file/x.har"],
            "-o: cannot write file/x.har: Not a directory. Name another file.",
        ),
    ],
)
def test_a_wrong_argument_is_one_line(run: Run, tmp_path: Path, arguments: list[str], line: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run(*arguments)
    assert done.stderr == f"timetracer-otel: {line.format(tmp=tmp_path)}\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(tmp_path.rglob("*")) == before, "something was written, or the program ran"


@pytest.mark.parametrize("command", ["show", "export", "replay"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.msgpack", ["missing.msgpack: there is no such file or folder. "]),
        ("garbage.msgpack", ["garbage.msgpack"]),
        ("newer.msgpack", ["newer.msgpack", "99"]),
        ("damaged.msgpack", ["damaged.msgpack"]),
    ],
)
def test_a_cassette_that_cannot_be_read_is_one_line(
    run: Run, tmp_path: Path, command: str, name: str, words: list[str]
) -> None:
    more = {"show": [], "export": ["--to", "har", "-o", "x.har"], "replay": ["--", "touch", "ran"]}[command]
    done = run(command, name, *more)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("timetracer-otel: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "x.har").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "garbage.msgpack"],
        ["diff", "good.msgpack", "garbage.msgpack"],
        ["merge", "good.msgpack", "garbage.msgpack", "-o", "x.har"],
        ["audit", "newer.msgpack"],
        ["scrub", "damaged.msgpack"],
        ["view", "damaged.msgpack", "-o", "x.har"],
        ["reproduce", "garbage.msgpack", "--", "touch", "ran"],
        ["to-test", "garbage.msgpack", "-o", "x.har", "--app", "a:b"],
        ["verify", "nowhere", "--", "touch", "ran"],
        ["view", "good.msgpack", "-o", "file/x.har"],
        ["view", "nowhere", "-o", "x.har"],
    ],
    ids=" ".join,
)
def test_no_error_of_a_command_speaks_of_python(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "only our own rules looked" not in line]
    assert line.startswith("timetracer-otel: ")
    for word in ("`", "Errno", "Error", "Traceback", "argument)", "NoneType", "int value", "record(", "None"):
        assert word not in line
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "x.har").exists()


@pytest.mark.parametrize("command", ["show", "export --to har"])
def test_a_folder_is_no_cassette(run: Run, command: str) -> None:
    done = run(*command.split(), ".")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "timetracer-otel: Cannot read cassette .: it is a folder. Name one of the files in it.\n"


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("TIMETRACER_MODE", "recrod", "TIMETRACER_MODE: 'recrod' is not allowed. Allowed: off, record, replay."),
        (
            "OTEL_PYTHON_TIMETRACER_MAX_BODY_KB",
            "lots",
            "OTEL_PYTHON_TIMETRACER_MAX_BODY_KB: 'lots' is not allowed. Allowed: 0 or more.",
        ),
        ("TIMETRACER_MAX_BODY_KB", "-1", "TIMETRACER_MAX_BODY_KB: -1 is not allowed. Allowed: 0 or more."),
        (
            "TIMETRACER_LIVE_PLUGINS",
            "htp",
            "TIMETRACER_LIVE_PLUGINS: nobody knows a plugin or group called 'htp'; did you mean 'http'?",
        ),
        (
            "OTEL_TRACES_EXPORTER",
            "timetracer, otlp",
            (
                "OTEL_TRACES_EXPORTER=timetracer, otlp: there is no 'otlp_proto_grpc' installed, and OpenTelemetry "
                "would instrument nothing. To have it: pip install opentelemetry-exporter-otlp-proto-grpc. "
                "To do without: take it out of OTEL_TRACES_EXPORTER."
            ),
        ),
        (
            "OTEL_SDK_DISABLED",
            "True",
            (
                "OTEL_SDK_DISABLED=True: that switches timetracer-otel off, and nothing would be recorded. "
                "Unset it for this command."
            ),
        ),
        (
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
            "redis, timetracer",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=redis, timetracer: that switches timetracer-otel off, and nothing",
        ),
        ("OTEL_METRICS_EXPORTER", "consoel", "OTEL_METRICS_EXPORTER=consoel: there is no 'consoel' installed, and"),
        ("OTEL_PYTHON_ID_GENERATOR", "mine", "OTEL_PYTHON_ID_GENERATOR=mine: there is no 'mine' installed, and"),
        (
            "TIMETRACER_DIR",
            "file",
            "TIMETRACER_DIR: {tmp}/file is no folder. Name another folder for the cassettes.",
        ),
    ],
)
def test_a_wrong_variable_is_one_line(run: Run, tmp_path: Path, variable: str, value: str, line: str) -> None:
    done = run("record", "--", "touch", "ran", **{variable: value})
    assert done.stderr.startswith(f"timetracer-otel: {line.format(tmp=tmp_path)}")
    assert done.stderr.count("\n") == 1
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "ran").exists()


def test_what_switches_every_instrumentation_off_is_refused_for_a_replay(run: Run, tmp_path: Path) -> None:
    done = run("replay", "good.msgpack", "--", "touch", "ran", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*")
    assert done.returncode == 2
    assert done.stderr == (
        "timetracer-otel: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=*: that switches timetracer-otel off, and nothing "
        "would be replayed. Unset it for this command.\n"
    )
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_permission_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    access = os.access
    # Whoever runs the tests may be root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and access(path, mode))
    assert main(["record", "--dir", str(locked / "below"), "--", "touch", str(tmp_path / "ran")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"timetracer-otel: --dir: cannot write to {locked}. Name another folder, or change its permissions.\n"
    )
    assert {path.name for path in locked.iterdir()} == set()
    assert not (tmp_path / "ran").exists()


def test_a_name_with_control_characters_stays_on_its_line(run: Run) -> None:
    done = run("show", "a\n\x1b[2Jb.msgpack")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_a_plugin_that_only_the_cassette_knows_may_be_named(run: Run, tmp_path: Path) -> None:
    done = run("replay", "good.msgpack", "--live", "pika", "--", "touch", "ran")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "ran").exists()


def test_a_compression_whose_package_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setattr(sys, "version_info", (3, 13))
    arguments = ["record", "--dir", str(tmp_path), "--compression", "ZSTD", "--", "touch", str(tmp_path / "ran")]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        'timetracer-otel: Cannot write cassettes: zstd needs another package: pip install "timetracer-otel[zstd]", '
        "or set TIMETRACER_COMPRESSION=gzip.\n"
    )
    assert not (tmp_path / "ran").exists()
